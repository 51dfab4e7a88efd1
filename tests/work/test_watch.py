from __future__ import annotations

from dataclasses import replace

import pytest

from backends.base import State
from miner.work.watch import DeviceWatch, Disable, Observation, Patience, Phase, Recovered, Restart, Sick, WatchEffect

PATIENCE = Patience(silent_s=10, starting_s=50, tries=3, window_s=1000, backoff_s=2, backoff_limit_s=6, trial_s=20)


class Ward:
    """One watched device, seen each second."""

    def __init__(self) -> None:
        self.watch = DeviceWatch("cpu:0", PATIENCE)
        self.now = 0.0
        self.seen = Observation(hashes=0, good=0, wrong=0, has_work=True, state=State.MINING)

    def pass_time(
        self,
        seconds: int,
        hashes: int = 100,
        good: int = 0,
        wrong: int = 0,
        **changes: object,
    ) -> list[WatchEffect]:
        """Each second adds so much to the counters."""
        effects = []
        self.seen = replace(self.seen, **changes)  # type: ignore[arg-type]
        for _ in range(seconds):
            self.now += 1
            self.seen = replace(
                self.seen,
                hashes=self.seen.hashes + hashes,
                good=self.seen.good + good,
                wrong=self.seen.wrong + wrong,
            )
            effects += self.watch.handle(self.seen, self.now)
        return effects


@pytest.fixture
def ward() -> Ward:
    ward = Ward()
    assert ward.pass_time(5, good=3) == []
    return ward


def kinds(effects: list[WatchEffect]) -> list[type]:
    return [type(effect) for effect in effects]


def test_a_device_that_works_is_left_alone(ward: Ward) -> None:
    assert ward.pass_time(5000, good=3) == []
    assert ward.watch.phase is Phase.WELL


def test_a_silent_device_is_sick_and_restarted_and_recovers_when_it_hashes(ward: Ward) -> None:
    assert ward.pass_time(9, hashes=0) == []
    assert ward.pass_time(3, hashes=0) == [
        Sick("cpu:0", "no hashes for 10 s"),
        Restart("cpu:0", "no hashes for 10 s"),
    ]
    assert ward.pass_time(19) == []
    assert ward.pass_time(1) == [Recovered("cpu:0")]
    assert ward.watch.phase is Phase.WELL and ward.watch.restarts == 1 and ward.watch.reason is None


@pytest.mark.parametrize(
    "excuse", [{"has_work": False}, {"state": State.PAUSED}, {"state": State.OFF}], ids=["no work", "paused", "off"]
)
def test_silence_with_an_excuse_is_no_trouble(ward: Ward, excuse: dict[str, object]) -> None:
    assert ward.pass_time(500, hashes=0, **excuse) == []
    assert ward.pass_time(9, hashes=0, has_work=True, state=State.MINING) == []
    assert kinds(ward.pass_time(1, hashes=0)) == [Sick]


def test_starting_may_take_longer_but_not_for_ever(ward: Ward) -> None:
    assert ward.pass_time(49, hashes=0, state=State.STARTING) == []
    assert kinds(ward.pass_time(1, hashes=0)) == [Sick]


def test_a_lying_device_is_restarted_once_and_then_disabled(ward: Ward) -> None:
    effects = ward.pass_time(60, wrong=1)
    assert kinds(effects) == [Sick, Restart, Disable]
    assert isinstance(effects[-1], Disable) and effects[-1].reason.endswith("hits were wrong, again after a restart")
    assert ward.watch.phase is Phase.DEAD
    assert ward.pass_time(1000, good=3) == []


def test_a_few_wrong_hits_are_luck_and_an_honest_error_rate_is_tolerated(ward: Ward) -> None:
    assert ward.pass_time(3, wrong=1) == []
    for _ in range(500):
        assert ward.pass_time(1, good=50, wrong=1) == []


def test_a_long_good_past_does_not_hide_a_bad_present(ward: Ward) -> None:
    ward.pass_time(3000, good=10)
    assert kinds(ward.pass_time(1100, good=5, wrong=5))[:2] == [Sick, Restart]


def test_a_crashing_device_is_restarted_ever_later_and_then_given_up(ward: Ward) -> None:
    restarts = []
    for _ in range(3):
        assert kinds(ward.pass_time(1, hashes=0, state=State.DEAD, fault="core dumped")) == [Sick]
        sick_at = ward.now
        while not ward.pass_time(1, hashes=0):
            pass
        restarts.append(ward.now - sick_at)
        ward.pass_time(5, state=State.MINING)
    assert restarts == [2, 4, 6]  # doubling, up to the limit
    (last,) = ward.pass_time(1, state=State.DEAD)
    assert last == Disable("cpu:0", "core dumped, after 3 restarts in 1000 s")


def test_crashes_far_apart_are_forgiven(ward: Ward) -> None:
    for _ in range(10):
        assert kinds(ward.pass_time(3, hashes=0, state=State.DEAD)) == [Sick, Restart]
        assert kinds(ward.pass_time(1000, good=3, state=State.MINING)) == [Recovered]


def test_a_restarted_device_that_stays_silent_is_given_its_time_and_restarted_again(ward: Ward) -> None:
    happened = [(int(ward.now), kind) for _ in range(60) for kind in kinds(ward.pass_time(1, hashes=0))]
    assert happened == [
        (15, Sick),
        (17, Restart),
        (27, Sick),
        (31, Restart),
        (41, Sick),
        (47, Restart),
        (57, Disable),
    ]


def test_a_new_window_does_not_forgive_the_silence_of_the_one_before(ward: Ward) -> None:
    ward.pass_time(990)
    assert ward.now == 995
    assert ward.pass_time(9, hashes=0) == []
    assert kinds(ward.pass_time(1, hashes=0)) == [Sick]


def test_a_restart_is_no_recovery_without_hashes(ward: Ward) -> None:
    ward.pass_time(3, hashes=0, state=State.DEAD)
    assert ward.pass_time(400, hashes=0, state=State.MINING, has_work=False) == []
    assert ward.watch.phase is Phase.TRIAL
    assert ward.pass_time(1, has_work=True) == [Recovered("cpu:0")]


def test_a_start_that_goes_on_may_take_long(ward: Ward) -> None:
    for number in range(20):
        assert ward.pass_time(49, hashes=0, state=State.STARTING, activity=f"trying form {number}") == []
    assert kinds(ward.pass_time(2, hashes=0)) == [Sick]


def test_to_speak_is_no_excuse_for_who_has_started(ward: Ward) -> None:
    effects = [effect for number in range(10) for effect in ward.pass_time(1, hashes=0, activity=f"busy {number}")]
    assert kinds(effects) == [Sick]
