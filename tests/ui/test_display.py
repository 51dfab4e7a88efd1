"""The live screen goes with the foreground."""

from __future__ import annotations

from typing import Self

from miner.ui.display import Display


class Screen:
    def __init__(self, told: list[str]) -> None:
        self._told = told

    def __enter__(self) -> Self:
        self._told.append("drawn")
        return self

    def close(self) -> None:
        self._told.append("closed")


def test_a_screen_is_drawn_once_while_in_front_and_taken_away_in_the_background() -> None:
    told: list[str] = []
    front = [False]
    display = Display(lambda: Screen(told), lambda: front[0])
    display.look()
    assert told == []
    front[0] = True
    display.look()
    display.look()
    assert told == ["drawn"]
    front[0] = False
    display.look()
    display.look()
    assert told == ["drawn", "closed"]


def test_a_screen_that_was_closed_is_drawn_anew_at_the_next_look() -> None:
    told: list[str] = []
    display = Display(lambda: Screen(told), lambda: True)
    display.look()
    display.close()
    display.close()
    assert told == ["drawn", "closed"]
    display.look()
    assert told == ["drawn", "closed", "drawn"]
