from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import kernels
from backends.base import NONCES, DeviceFault, State, Verdict
from backends.cpu.choice.forge import Forge
from backends.cpu.choice.workshop import Workshop
from backends.cpu.hasher import Hasher
from backends.cpu.search import Words
from backends.duty import PERIOD_S, SLICE_S
from backends.testing import FakeFeed, Template
from backends.threaded import Controls
from native import NonceRange

EASY = Template()


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class FakeMailbox:
    posted: tuple[Words, int, int] | None = None

    def post(self, *job: Any) -> None:
        assert self.posted is None, "what a scan may be reading was changed"
        self.posted = job

    def clear(self) -> None:
        self.posted = None


@dataclass
class FakeSearch:
    """Passes `hps` nonces a second of the clock without hashing any; `hits` are found when passed."""

    clock: Clock
    name: str = "fake"
    hps: float = 1e7
    hits: tuple[int, ...] = ()
    midstates: int = 1
    prepared: list[tuple[bytes, tuple[int, ...], int]] = field(default_factory=list)
    scanned: list[range] = field(default_factory=list)
    before: Callable[[], None] = lambda: None
    searched: list[tuple[int, range]] = field(default_factory=list)  # with what was prepared, by its number
    mailboxes: list[FakeMailbox] = field(default_factory=list)
    cut: int = 0  # nonces that a scan is through with when it is cancelled

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Words:
        self.prepared.append((header76, tuple(versions), target))
        return np.full((len(versions), 1), len(self.prepared) - 1, np.uint32)

    def mailbox(self) -> Any:
        self.mailboxes.append(FakeMailbox())
        return self.mailboxes[-1]

    def relay(self, asked: NonceRange, mailbox: Any) -> tuple[int, int, int, int]:
        done, found = self.scan(asked)
        params, count, epoch = mailbox.posted or (asked.params, 0, -1)
        if asked.cancel[0] != epoch or len(params) != len(asked.params):
            return done, found, 0, 0
        return done, found, *self.scan(NonceRange(params, 0, count, asked.hits[found:], asked.cancel, epoch))

    def scan(self, asked: NonceRange) -> tuple[int, int]:
        params, start, hits = asked.params, asked.start, asked.hits
        self.before()
        count = asked.count if asked.cancel[0] == asked.epoch else self.cut
        self.clock.now += count * len(params) / self.hps
        nonces = range(start, start + count)
        if nonces:
            self.scanned.append(nonces)
            self.searched.append((int(params[0, 0]), nonces))
        found = [nonce for nonce in self.hits if nonce in nonces]
        hits[: len(found), 0] = found
        hits[: len(found), 1] = len(params) - 1
        return count, len(found)


class WaitingFeed(FakeFeed):
    """Its waits pass at once, on the clock; notes how long they were."""

    def __init__(self, clock: Clock, template: Template) -> None:
        super().__init__(template)
        self.clock = clock
        self.waits: list[float] = []

    def wait(self, epoch: int, timeout: float) -> bool:  # nobody interrupts one thread
        self.waits.append(timeout)
        self.clock.now += timeout
        return False


class Bench:
    """One hasher with everything around it in the test's hands."""

    def __init__(self, template: Template = EASY, duty: float = 1.0, **search: Any) -> None:
        self.clock = Clock()
        self.feed = WaitingFeed(self.clock, template)
        self.controls = Controls(duty=duty)
        self.forge = Forge(Workshop([], kernels.NO_CACHE, "none"))
        self.search = FakeSearch(self.clock, **search)
        self.forge.search = self.search
        self.stopping = False
        self.hasher = Hasher(self.feed, self.controls, self.forge, lambda: self.stopping, self.clock)
        self.feed.before_replacing(self.hasher.stage)

    def serve_while_scanning(self, *templates: Template, and_then: Callable[[], None] = lambda: None) -> None:
        """In the middle of the next scan these replace each other, and what they replace."""

        def replaced() -> None:
            self.search.before = lambda: None
            for template in templates:
                self.feed.serve(template, replace=True)
            and_then()

        self.search.before = replaced
        before = len(self.feed.taken)
        self.until(lambda: self.search.before is not replaced)
        assert len(self.feed.taken) <= before + 1

    def until(self, happened: Callable[[], bool]) -> None:
        for _ in range(100_000):
            if happened():
                return
            assert self.hasher.step()
        pytest.fail("it never happens")


def test_a_lease_is_searched_whole_and_once_then_the_next_is_taken() -> None:
    bench = Bench(Template(version_mask=3), hps=1e11)
    bench.until(lambda: len(bench.feed.taken) == 2)
    work = bench.feed.taken[0]
    assert bench.feed.hashes[work.id] == 4 * NONCES
    assert [x for _, versions, _ in bench.search.prepared for x in versions] == [work.version | x for x in range(4)]
    covered = 0
    for nonces in bench.search.scanned:
        assert nonces.start == covered % NONCES
        covered += len(nonces)
    assert covered == 4 * NONCES


def test_a_search_is_given_as_many_versions_as_it_likes_and_the_lease_has() -> None:
    bench = Bench(Template(version_mask=7 << 13), hps=1e11, midstates=5)
    bench.until(lambda: len(bench.feed.taken) == 2)
    work = bench.feed.taken[0]
    given = [versions for _, versions, _ in bench.search.prepared]
    assert [len(versions) for versions in given[:2]] == [5, 3]
    assert sorted(given[0] + given[1]) == [work.version | rolled << 13 for rolled in range(8)]
    assert bench.feed.hashes[work.id] == 8 * NONCES


def test_a_hit_is_reported_with_the_version_of_its_row() -> None:
    bench = Bench(Template(version_mask=7, target=(1 << 256) - 1), hits=(7,), midstates=8)
    bench.until(lambda: len(bench.feed.hits) == 1)
    (hit,) = bench.feed.hits
    assert (hit.nonce, hit.version) == (7, bench.search.prepared[0][1][-1])
    assert bench.feed.hashes[hit.work.id] == 8 * len(bench.search.scanned[0])


def test_many_versions_make_a_chunk_of_fewer_nonces_not_a_longer_one() -> None:
    bench = Bench(Template(version_mask=0xF), hps=3e7, midstates=16)
    bench.until(lambda: len(bench.search.scanned) == 20)
    assert 16 * len(bench.search.scanned[-1]) / 3e7 == pytest.approx(SLICE_S, rel=0.05)
    assert bench.hasher.best_hps == pytest.approx(3e7)


def test_the_search_is_prepared_for_the_header_that_hits_are_reported_on() -> None:
    bench = Bench(Template(target=(1 << 256) - 1), hits=(7, 70_000))
    bench.until(lambda: len(bench.feed.hits) == 2)
    work, hit = bench.feed.taken[0], bench.feed.hits[0]
    header76, (version,), target = bench.search.prepared[0]
    assert (header76, target) == (work.header(0, version, work.ntime)[:76], work.target)
    assert (hit.work, hit.nonce, hit.version, hit.ntime) == (work, 7, version, work.ntime)
    assert bench.feed.verdicts == {Verdict.GOOD: 2}


def test_chunks_grow_to_the_slice_that_is_wanted_and_no_further() -> None:
    bench = Bench(hps=3e7)
    bench.until(lambda: len(bench.search.scanned) == 20)
    assert len(bench.search.scanned[-1]) / 3e7 == pytest.approx(SLICE_S, rel=0.01)
    assert max(len(b) / len(a) for a, b in zip(bench.search.scanned, bench.search.scanned[1:], strict=False)) <= 4
    assert bench.hasher.best_hps == pytest.approx(3e7)


@pytest.mark.parametrize("duty", [0.05, 0.3, 0.75])
def test_a_duty_cycle_hashes_for_its_share_of_the_time(duty: float) -> None:
    bench = Bench(duty=duty)
    bench.until(lambda: bench.clock.now > 60.0)
    hashing = sum(map(len, bench.search.scanned)) / bench.search.hps
    assert hashing / bench.clock.now == pytest.approx(duty, rel=0.01)
    assert max(bench.feed.waits) < PERIOD_S * 1.5
    assert bench.hasher.state is State.MINING


def test_a_new_duty_forgets_the_rest_that_the_old_one_owed() -> None:
    bench = Bench(duty=0.0001)
    bench.until(lambda: len(bench.search.scanned) == 1)
    bench.controls.duty = 1.0
    bench.until(lambda: len(bench.search.scanned) == 3)
    assert not bench.feed.waits


@pytest.mark.parametrize("pause", [{"enabled": False}, {"duty": 0.0}])
def test_paused_it_neither_takes_nor_searches(pause: dict[str, bool | float]) -> None:
    bench = Bench()
    for name, value in pause.items():
        setattr(bench.controls, name, value)
    bench.until(lambda: len(bench.feed.waits) == 5)
    assert bench.hasher.state is State.PAUSED
    assert not bench.feed.taken and not bench.search.scanned


def test_a_better_kernel_goes_on_where_the_first_one_was() -> None:
    bench = Bench(hps=1e6)
    bench.until(lambda: len(bench.search.scanned) == 3)
    better = FakeSearch(bench.clock, "better", hps=5e6)
    bench.forge.search = better
    bench.until(lambda: len(better.scanned) == 9)
    assert better.scanned[0].start == bench.search.scanned[-1].stop
    assert better.prepared == bench.search.prepared
    assert len(bench.feed.taken) == 1
    assert bench.hasher.best_hps == pytest.approx(5e6)


def test_without_a_kernel_yet_it_waits_without_taking_work() -> None:
    bench = Bench()
    bench.forge.search = None
    bench.until(lambda: len(bench.feed.waits) == 3)
    assert bench.hasher.state is State.STARTING and not bench.feed.taken


def test_when_no_kernel_works_it_says_why() -> None:
    bench = Bench()
    bench.forge.search, bench.forge.failure = None, "no kernel works here: fake: wrong"
    with pytest.raises(DeviceFault, match="fake: wrong"):
        bench.hasher.step()


def test_work_replaced_while_it_is_about_to_be_searched_is_not_searched() -> None:
    """The race that reading the epoch first is for: the replacement comes between the look and the scan."""
    bench = Bench()
    bench.until(lambda: len(bench.search.scanned) == 1)
    newer = Template(prev_hash=bytes(32))

    def replaced() -> None:
        bench.search.before = lambda: None
        bench.feed.serve(newer, replace=True)

    bench.search.before = replaced
    bench.until(lambda: len(bench.search.scanned) == 2)
    old, new = bench.feed.taken
    assert new.prev_hash == newer.prev_hash
    assert bench.feed.hashes[old.id] == len(bench.search.scanned[0])


NEWER = Template(prev_hash=bytes(32))
NEWEST = Template(prev_hash=bytes(31) + b"1")


def test_a_scan_goes_straight_on_with_the_work_that_replaces_its_own_and_each_lease_gets_what_is_its_own() -> None:
    bench = Bench(Template(target=(1 << 256) - 1), hps=1e7, hits=(3, 70_001), cut=80_000)
    bench.until(lambda: len(bench.search.scanned) == 5)
    reported, done = len(bench.feed.hits), sum(map(len, bench.search.scanned))
    bench.hasher._position.advance(NONCES - done)  # type: ignore[union-attr] # a lease ends: the next begins at nonce 0
    bench.until(lambda: len(bench.feed.taken) == 2)
    bench.serve_while_scanning(replace(NEWER, target=(1 << 256) - 1))
    _, old, new = bench.feed.taken
    assert new.prev_hash == NEWER.prev_hash
    assert bench.feed.hashes[old.id] == 80_000
    assert bench.feed.hashes[new.id] == len(bench.search.scanned[-1]) < 80_000  # a slice, so that the old is told soon
    assert [(hit.work.id, hit.nonce) for hit in bench.feed.hits[reported:]] == [
        (old.id, 3), (old.id, 70_001), (new.id, 3)
    ]  # fmt: skip
    told = [call.work.id for call in bench.feed.calls if call.work and call.name in {"found", "worked"}][-5:]
    assert told == [old.id] * 3 + [new.id] * 2
    bench.until(lambda: len(bench.search.scanned) == 9)
    assert bench.search.scanned[-1].start == sum(map(len, bench.search.scanned[6:-1]))
    assert len(bench.feed.taken) == 3


@pytest.mark.parametrize("why", ["paused", "no duty", "stopping", "another kernel", "no kernel"])
def test_nothing_is_staged_for_a_thread_that_is_wanted_for_something_else(why: str) -> None:
    bench = Bench()
    bench.until(lambda: len(bench.search.scanned) == 2)

    def wanted_otherwise() -> None:
        bench.search.before = lambda: None
        match why:
            case "paused":
                bench.controls.enabled = False
            case "no duty":
                bench.controls.duty = 0.0
            case "stopping":
                bench.stopping = True
            case "another kernel":
                bench.forge.search = FakeSearch(bench.clock, "better")
            case "no kernel":
                bench.forge.search = None
        bench.feed.serve(NEWER, replace=True)

    bench.search.before = wanted_otherwise
    assert bench.hasher.step()
    assert len(bench.feed.taken) == 1
    assert len(bench.search.scanned) == 2


def test_nothing_is_staged_for_a_thread_that_does_not_scan() -> None:
    bench = Bench()
    bench.feed.serve(NEWER, replace=True)
    assert not bench.feed.taken
    bench.until(lambda: len(bench.search.scanned) == 2)
    bench.feed.serve(NEWEST, replace=True)
    assert [work.prev_hash for work in bench.feed.taken] == [NEWER.prev_hash]
    bench.until(lambda: len(bench.search.scanned) == 3)
    assert [work.prev_hash for work in bench.feed.taken] == [NEWER.prev_hash, NEWEST.prev_hash]


def test_of_two_that_come_during_one_scan_the_first_is_dropped_and_the_second_taken_afterwards() -> None:
    bench = Bench()
    bench.until(lambda: len(bench.search.scanned) == 2)
    bench.serve_while_scanning(NEWER, NEWEST)
    bench.until(lambda: len(bench.search.scanned) == 3)
    old, _, newest = bench.feed.taken
    assert newest.prev_hash == NEWEST.prev_hash
    assert bench.feed.hashes.keys() == {old.id, newest.id}
    assert bench.search.scanned[-1].start == 0


def test_what_was_staged_and_not_come_to_is_done_next() -> None:
    """It has other rows than what ran, or the scan was through by itself a moment before the epoch rose."""
    bench = Bench(Template(version_mask=7), midstates=8)
    bench.until(lambda: len(bench.search.scanned) == 2)
    bench.serve_while_scanning(NEWER)
    assert len(bench.search.scanned) == 2
    bench.until(lambda: len(bench.search.scanned) == 3)
    old, new = bench.feed.taken
    assert new.prev_hash == NEWER.prev_hash
    assert bench.search.scanned[-1].start == 0
    assert bench.feed.hashes.keys() == {old.id, new.id}
    assert len(bench.search.prepared) == 2


def test_an_interrupt_between_two_jobs_does_not_start_the_one_that_was_staged() -> None:
    bench = Bench()
    bench.until(lambda: len(bench.search.scanned) == 2)
    bench.serve_while_scanning(NEWER, and_then=bench.feed.interrupt)
    assert len(bench.search.scanned) == 2
    bench.until(lambda: len(bench.search.scanned) == 3)
    assert [work.prev_hash for work in bench.feed.taken[1:]] == [NEWER.prev_hash]


def test_where_there_is_no_more_work_nothing_is_staged() -> None:
    bench = Bench()
    bench.until(lambda: len(bench.search.scanned) == 2)
    take = bench.feed.take
    bench.feed.take = lambda _: None  # type: ignore[method-assign,assignment,return-value]
    bench.serve_while_scanning(NEWER)
    bench.feed.take = take  # type: ignore[method-assign]
    assert [mailbox.posted for mailbox in bench.search.mailboxes] == [None]
    bench.until(lambda: len(bench.search.scanned) == 3)
    assert len(bench.feed.taken) == 2


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 50_000), st.sampled_from([0, 7])), max_size=12))
def test_whatever_replaces_what_each_lease_is_searched_from_its_beginning_without_a_gap(
    replacements: list[tuple[int, int, int]],
) -> None:
    bench = Bench(midstates=8)
    bench.until(lambda: len(bench.search.scanned) == 1)
    for number, (templates, cut, mask) in enumerate(replacements):
        bench.search.cut = cut
        newer = [Template(prev_hash=bytes([number, x] * 16), version_mask=mask) for x in range(templates)]
        bench.serve_while_scanning(*newer)
        assert bench.hasher.step()
    leases = {int.from_bytes(header76[36:68], "little") for header76, _, _ in bench.search.prepared}
    assert len(leases) == len(bench.search.prepared)  # none is begun twice
    hashes, ends = Counter[int](), Counter[int]()
    for number, nonces in bench.search.searched:
        header76, versions, _ = bench.search.prepared[number]
        assert nonces.start == ends[number]
        ends[number] = nonces.stop
        hashes[int.from_bytes(header76[36:68], "little")] += len(nonces) * len(versions)
    assert bench.feed.hashes == hashes
    assert len(bench.feed.taken) >= len(replacements)


def test_an_update_is_taken_up_after_the_chunk_that_runs() -> None:
    bench = Bench()
    bench.until(lambda: len(bench.search.scanned) == 2)
    bench.feed.serve(Template(prev_hash=bytes(32)), replace=False)
    bench.until(lambda: len(bench.search.scanned) == 3)
    assert bench.feed.taken[-1].prev_hash == bytes(32)
    assert bench.search.scanned[-1].start == 0


def test_told_to_stop_it_touches_nothing_any_more() -> None:
    bench = Bench()
    bench.until(lambda: len(bench.search.scanned) == 2)
    calls, bench.stopping = len(bench.feed.calls), True
    assert not bench.hasher.step()
    assert len(bench.feed.calls) == calls


def test_hits_are_handed_in_before_their_hashes_are_claimed() -> None:
    order: list[str] = []

    class Noting(WaitingFeed):
        def found(self, *_: object) -> Verdict:
            order.append("found")
            return Verdict.GOOD

        def worked(self, *_: object) -> None:
            order.append("worked")

    bench = Bench(hits=(3,))
    bench.hasher._feed = Noting(bench.clock, EASY)
    bench.until(lambda: len(bench.search.scanned) == 1)
    assert order == ["found", "worked"]
