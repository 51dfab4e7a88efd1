"""A driver's decisions, without its threads: a clock to turn, and results that come when a test says so."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backends.asic.boards.board import Nonce
from backends.asic.boards.chain import START_HZ
from backends.asic.driver import HASHES, Controls, Driver, Terms
from backends.asic.health import Health, Silence
from backends.base import DeviceFault, Hit, Verdict, Work
from backends.testing import FakeFeed, Template
from tests.backends.asic.fake_board import GAMMA, FakeBoard

EASIER, HARDER = (1 << 252) - 1, (1 << 250) - 1  # one hash in 16, and one in 64
ONE_IN_16, ONE_IN_64 = 16, 64


class Allowed:
    """Implements `driver.Permit`."""

    allowed = True
    ceiling_hz = float("inf")

    def look(self) -> None:
        """Nothing changes with time."""


class Rig:
    """A driver whose board is up, before its first work."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.feed = FakeFeed(Template(target=EASIER))
        self.terms = Terms(now=lambda: self.now)  # at a board's real pace, the work's target is the ticket
        self.board, self.permit = FakeBoard(powered=True), Allowed()
        self.driver = Driver(self.board, self.feed, Controls(525e6), self.permit, self.terms, lambda *_a, **_k: None)
        self.driver.health = Health(GAMMA, self.now, Silence(due=1e9))

    def take(self, target: int) -> Work:
        self.feed.serve(Template(target=target), replace=False)
        work = self.driver._take()
        assert work is not None and self.driver._ticket == target
        return work

    def finds(self, work: Work, *, between: tuple[int, int]) -> int:
        """Report a result of this work with a hash in this range; the hashes that are claimed for it."""
        before = self.feed.total
        hit = next(hit for hit in candidates(work) if between[0] < hit.hash() <= between[1])
        self.driver._found(Nonce(work, hit.nonce, hit.version, hit.ntime, 0, 0))
        return self.feed.total - before

    def falls_silent(self, *, after_a_result: bool = False) -> bool:
        """Start the chips, let them find nothing for a while; whether the driver wants to start them anew."""
        health = self.driver.health = Health(GAMMA, self.now, Silence(due=20.0, least_s=5.0))
        if after_a_result:
            health.good(0, 0, self.now)
            assert not self.driver._judge(health, self.now)
        self.now += 30.0
        health.hashed(1.0, self.now)
        return self.driver._judge(health, self.now)


def candidates(work: Work) -> Iterator[Hit]:
    for nonce in range(1 << 20):
        yield Hit(work, nonce, work.version, work.ntime)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_result_under_the_ticket_counts_for_the_hashes_that_the_ticket_takes(rig: Rig) -> None:
    assert rig.finds(rig.take(EASIER), between=(0, EASIER)) == ONE_IN_16 == HASHES // (EASIER + 1)
    assert rig.finds(rig.take(HARDER), between=(0, HARDER)) == ONE_IN_64


def test_a_result_that_only_the_former_ticket_lets_through_is_good_and_claims_no_hashes(rig: Rig) -> None:
    """It was found under the easier ticket: the harder one's share of hashes would be four times what was done."""
    early = rig.take(EASIER)
    rig.take(HARDER)
    assert rig.finds(early, between=(HARDER, EASIER)) == 0
    assert rig.feed.verdicts[Verdict.WRONG] == 0
    assert rig.driver.health is not None and rig.driver.health.results == 1
    assert rig.finds(early, between=(0, HARDER)) == ONE_IN_64


def test_the_former_ticket_is_forgotten_when_its_last_results_must_have_come(rig: Rig) -> None:
    rig.take(EASIER)
    work = rig.take(HARDER)
    rig.now += 1.9
    rig.finds(work, between=(HARDER, EASIER))
    assert rig.feed.verdicts[Verdict.WRONG] == 0
    rig.now += 0.2
    rig.finds(work, between=(HARDER, EASIER))
    assert rig.feed.verdicts[Verdict.WRONG] == 1
    assert rig.driver.health is not None and rig.driver.health.wrong == 1


def test_chips_that_fall_silent_for_the_fourth_time_in_a_row_are_given_up(rig: Rig) -> None:
    assert [rig.falls_silent() for _ in range(3)] == [True] * 3
    with pytest.raises(DeviceFault, match="also after 3 starts anew"):
        rig.falls_silent()


def test_chips_that_find_something_between_their_silences_are_started_anew_each_time(rig: Rig) -> None:
    assert all(rig.falls_silent(after_a_result=True) for _ in range(10))


def test_a_driver_is_as_old_as_the_last_sign_of_the_thread_that_shows_less_life(rig: Rig) -> None:
    rig.now += 5.0
    rig.driver._beats[0] = rig.now
    assert rig.driver.age_s == 0.0, "nobody listens to a board that is off"
    rig.driver._listening = True
    assert rig.driver.age_s == 5.0
    rig.driver._beats[1] = rig.now
    assert rig.driver.age_s == 0.0


def test_a_clock_is_ramped_down_before_the_end_unless_the_board_must_be_off_at_once(rig: Rig) -> None:
    rig.driver.hertz, rig.driver.ramp_down_s = 525e6, 10.0
    rig.permit.allowed = False
    rig.driver._ramp_down()
    assert rig.board.clocks == []
    rig.permit.allowed = True
    rig.driver._ramp_down()
    assert rig.board.clocks == [START_HZ]


def test_a_board_whose_start_fails_after_its_cut_off_is_turned_off_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bring_up() -> int:
        rig.permit.allowed = False
        rig.board.powered = True
        raise DeviceFault("it was turned off meanwhile")

    monkeypatch.setattr(rig.board, "bring_up", bring_up)
    rig.board.powered = False
    rig.driver._work()
    assert not rig.board.powered
