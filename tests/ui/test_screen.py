from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable

import pytest
from rich.console import Console
from structlog.testing import capture_logs

from miner.telemetry.snapshot import Snapshot
from miner.ui.frame import Row, compose
from miner.ui.screen import Painter, Screen, possible
from miner.ui.tail import Tail
from tests.telemetry.snapshots import HOSTILE, device, snapshot, source
from tests.ui.terminal import Terminal


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def painter(terminal: Terminal) -> tuple[Painter, Console]:
    console = terminal.console()
    console.set_alt_screen(True)
    return Painter(console), console


@pytest.mark.parametrize(("width", "height"), [(60, 24), (100, 30), (200, 60)])
def test_what_was_composed_is_what_stands_on_the_terminal(width: int, height: int) -> None:
    terminal = Terminal(width, height)
    rows = compose(snapshot(worthless=True), width, height, ["share_accepted device=cpu:0"])
    painter(terminal)[0].paint(rows, (width, height))
    assert terminal.shown() == "\n".join(row.text for row in rows)


def test_nothing_is_written_when_nothing_changed() -> None:
    terminal = Terminal()
    paint = painter(terminal)[0].paint
    paint(compose(snapshot(), 80, 24), (80, 24))
    before = terminal.getvalue()
    assert paint(compose(snapshot(), 80, 24), (80, 24)) == 0
    assert terminal.getvalue() == before


def test_only_what_changed_is_written_and_what_went_is_erased() -> None:
    terminal = Terminal()
    paint = painter(terminal)[0].paint
    paint([Row("rate"), Row("a long line", "red"), Row("log")], (80, 24))
    written = len(terminal.getvalue())
    assert paint([Row("rate"), Row("short")], (80, 24)) == 2
    assert terminal.shown() == "rate\nshort"
    assert "rate" not in terminal.getvalue()[written:]


def test_a_change_of_style_alone_is_a_change() -> None:
    paint = painter(Terminal())[0].paint
    paint([Row("cpu:0")], (80, 24))
    assert paint([Row("cpu:0", "red")], (80, 24)) == 1


def test_after_a_resize_all_is_painted_anew() -> None:
    terminal = Terminal()
    paint = painter(terminal)[0].paint
    paint([Row("one"), Row("two")], (80, 24))
    terminal.screen[5][0] = "x"  # what reflowing left behind
    assert paint([Row("one"), Row("two")], (60, 24)) == 2
    assert terminal.shown() == "one\ntwo"


def test_a_picture_is_one_write() -> None:
    terminal = Terminal()
    paint, console = painter(terminal)
    before = terminal.writes
    paint.paint([Row("one"), Row("two")], tuple(console.size))
    assert terminal.writes == before + 1


def test_a_terminal_of_another_encoding_gets_what_it_can_show() -> None:
    raw = io.BytesIO()
    console = Console(
        file=io.TextIOWrapper(raw, encoding="ascii"), force_terminal=True, width=80, height=24, _environ={}
    )
    console.set_alt_screen(True)
    Painter(console).paint([Row("61 °C")], (80, 24))
    assert b"61 ?C" in raw.getvalue()


def test_the_terminal_is_given_back_with_the_last_picture_on_it() -> None:
    terminal = Terminal()
    views = [snapshot(height=1)]
    with Screen(lambda: views[-1], Tail(terminal), terminal.console()) as screen:
        until(lambda: "height 1" in terminal.shown())
        assert terminal.alternate and not terminal.cursor
        views.append(snapshot(height=2))
    assert not terminal.alternate and terminal.cursor
    assert any("height 2" in line for line in terminal.normal)
    screen.close()


def test_the_terminal_is_given_back_after_an_exception() -> None:
    terminal = Terminal()
    out, err = sys.stdout, sys.stderr

    def fail_once_it_shows() -> None:
        with Screen(snapshot, Tail(terminal), terminal.console()):
            until(lambda: "cpu:0" in terminal.shown())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_once_it_shows()
    assert not terminal.alternate and terminal.cursor
    assert (sys.stdout, sys.stderr) == (out, err)


def test_it_follows_the_miner() -> None:
    terminal = Terminal()
    views = [snapshot(height=1)]
    with Screen(lambda: views[-1], Tail(terminal), terminal.console(), period_s=0.01):
        until(lambda: "height 1" in terminal.shown())
        views.append(snapshot(height=2))
        until(lambda: "height 2" in terminal.shown())


def test_what_others_print_shows_below_instead_of_tearing_the_picture() -> None:
    terminal = Terminal()
    tail = Tail(terminal)
    with Screen(snapshot, tail, terminal.console(), period_s=0.01):
        sys.stdout.write("from a library\n")
        sys.stderr.write("a warning\n")
        tail.write("block_accepted source=embedded:\n")
        until(lambda: "a warning\nblock_accepted source=embedded:" in terminal.shown())
        assert "from a library" in terminal.shown()
        assert terminal.shown().startswith("rate")


def test_a_peer_cannot_reach_the_terminal() -> None:
    terminal = Terminal()  # which accepts no sequence that is not the screen's own
    tail = Tail(terminal)
    view = snapshot(device(HOSTILE, fault=HOSTILE), sources=(source(HOSTILE, failed=HOSTILE),))
    with Screen(lambda: view, tail, terminal.console()):
        tail.write(HOSTILE + "\n")
        until(lambda: "device" in terminal.shown())
    assert "\x1b]" not in terminal.getvalue() and "\u202e" not in terminal.getvalue()


def test_a_defect_of_the_screen_gives_the_terminal_back_and_is_logged() -> None:
    terminal = Terminal()

    def broken() -> Snapshot:
        raise RuntimeError("no snapshot")

    with capture_logs() as logs, Screen(broken, Tail(terminal), terminal.console()):
        until(lambda: bool(logs))
        assert not terminal.alternate and terminal.cursor
    assert [entry["event"] for entry in logs] == ["screen_failed"]


def test_a_terminal_that_went_away_is_no_defect() -> None:
    class Gone(Terminal):
        def write(self, text: str) -> int:
            if "cpu:0" in text:
                raise OSError(5, "Input/output error")
            return super().write(text)

    terminal = Gone()
    with capture_logs() as logs, Screen(snapshot, Tail(terminal), terminal.console()):
        until(lambda: bool(logs))
    assert [entry["event"] for entry in logs] == ["terminal_lost"]


def test_a_stopped_terminal_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("miner.ui.screen.CLOSE_S", 0.05)
    go_on = threading.Event()

    class Stopped(Terminal):
        def write(self, text: str) -> int:
            if "cpu:0" in text:
                go_on.wait(10)
            return super().write(text)

    terminal = Stopped()
    with Screen(snapshot, Tail(terminal), terminal.console()) as screen:
        pass
    assert screen._thread.is_alive()
    go_on.set()
    screen._thread.join(10)
    assert not terminal.alternate


def test_only_a_terminal_that_can_move_its_cursor_will_do() -> None:
    assert possible(Terminal().console())
    assert not possible(Console(file=io.StringIO(), _environ={}))
    assert not possible(Console(file=Terminal(), force_terminal=True, _environ={"TERM": "dumb"}))
