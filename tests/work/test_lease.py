from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.work import lease as lease_module
from miner.work.job import Job, ReadyRoot
from miner.work.lease import Lease, Leases
from tests.work.making import NTIME, a_job, coinbase


def headers(lease: Lease) -> Iterator[tuple[bytes, bytes, int]]:
    """Everything that must never come twice."""
    for ntime in range(lease.ntime, lease.ntime + lease.ntime_span + 1):
        yield lease.job.prev_hash, lease.merkle_root, ntime


def test_a_lease_carries_the_root_of_its_own_extranonce2() -> None:
    job = a_job(body=coinbase(size=3, levels=5))
    lease = Leases().issue(job, now=0.0)
    assert lease is not None and len(lease.extranonce2) == 3
    assert lease.merkle_root == job.body.merkle_root(lease.extranonce2)  # type: ignore[union-attr]


def test_a_repeated_job_continues_where_it_was_left() -> None:
    leases = Leases()
    roots = set()
    for session in (1, 1, 2):
        job = a_job(session=session)  # the same to the byte, under a new id
        roots |= {issued.merkle_root for _ in range(5) if (issued := leases.issue(job, now=0.0))}
    assert len(roots) == 15


def test_two_sources_with_the_same_coinbase_share_no_header() -> None:
    leases = Leases()
    first, second = (leases.issue(a_job(source=name), now=0.0) for name in ("one", "two"))
    assert first and second and first.merkle_root != second.merkle_root


def test_the_last_extranonce2_is_followed_by_nothing_until_time_moves_on() -> None:
    leases, job = Leases(), a_job(body=coinbase(size=1), roll=600)
    lap = [leases.issue(job, now=0.5) for _ in range(257)]
    assert len({lease.extranonce2 for lease in lap[:-1] if lease}) == 256
    assert lap[-1] is None
    later = leases.issue(job, now=1.0)
    assert later is not None and later.ntime == NTIME + 1


def test_each_lap_has_the_whole_room_and_none_reaches_back_into_the_one_before() -> None:
    leases, body = Leases(), coinbase(size=1)
    job, late = a_job(body=body, roll=600), a_job(body=body, roll=600, arrived=9.0)
    for _ in range(256):
        assert leases.issue(job, now=0.0)
    assert leases.issue(job, now=9.0)
    assert leases.issue(late, now=9.0) is None  # its clock starts only now: that second is taken
    for _ in range(255):
        assert leases.issue(job, now=9.0)
    assert leases.issue(job, now=9.0) is None


def test_without_rolling_an_exhausted_job_stays_exhausted() -> None:
    leases, job = Leases(), a_job(body=coinbase(size=1), roll=0)
    for _ in range(256):
        assert leases.issue(job, now=0.0)
    assert leases.issue(job, now=1e6) is None


def test_timestamps_follow_the_clock_up_to_the_limit() -> None:
    leases, job = Leases(), a_job(roll=20, arrived=100.0)
    ntimes = [lease.ntime - NTIME for now in (99.0, 100.9, 107.2, 500.0) if (lease := leases.issue(job, now=now))]
    assert ntimes == [0, 0, 7, 20]


def test_only_a_device_that_rolls_ntime_is_given_a_span() -> None:
    leases, job = Leases(), a_job(roll=20)
    still, rolling = leases.issue(job, now=5.0), leases.issue(job, now=5.0, rolls_ntime=True)
    assert still and still.ntime_span == 0
    assert rolling and rolling.ntime + rolling.ntime_span == NTIME + 20


def test_only_a_device_that_rolls_versions_is_given_the_mask() -> None:
    leases, job = Leases(), a_job(version_mask=0x00FF0000)
    fixed, rolling = leases.issue(job, now=0.0), leases.issue(job, now=0.0, rolls_version=True)
    assert fixed and fixed.version_mask == 0
    assert rolling and rolling.version_mask == 0x00FF0000


def test_a_ready_root_gives_each_second_once() -> None:
    leases, job = Leases(), a_job(body=ReadyRoot(b"r" * 32), roll=600)
    assert [lease and lease.ntime - NTIME for lease in (leases.issue(job, now=2.5) for _ in range(4))] == [
        0,
        1,
        2,
        None,
    ]
    again = a_job(body=ReadyRoot(b"r" * 32), roll=600, arrived=3.0)
    assert leases.issue(again, now=3.0) is None
    fresh = leases.issue(again, now=6.0)
    assert fresh is not None and fresh.ntime == NTIME + 3 and fresh.extranonce2 == b""


def test_a_ready_roots_span_ends_now_so_that_later_seconds_are_left_to_others() -> None:
    leases, job = Leases(), a_job(body=ReadyRoot(b"r" * 32), roll=600)
    rolling = leases.issue(job, now=9.0, rolls_ntime=True)
    assert rolling and (rolling.ntime, rolling.ntime_span) == (NTIME, 9)
    later = leases.issue(job, now=10.0)
    assert later and later.ntime == NTIME + 10


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "REMEMBERED", 10)
    leases = Leases()
    for number in range(50):
        leases.issue(a_job(body=coinbase(tag=bytes([number]))), now=0.0)
    assert len(leases._laps) == 10


def test_a_template_in_use_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "REMEMBERED", 3)
    leases, job = Leases(), a_job(body=ReadyRoot(b"r" * 32))
    assert leases.issue(job, now=0.0)
    for number in range(9):
        leases.issue(a_job(body=coinbase(tag=bytes([number]))), now=0.0)
        assert leases.issue(job, now=0.0) is None


@pytest.fixture
def hasty_switching() -> Iterator[None]:
    """Threads interrupt each other at every chance."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty_switching")
def test_threads_never_get_the_same_lease() -> None:
    leases, jobs = Leases(), [a_job(body=coinbase(size=2, levels=0)), a_job(body=ReadyRoot(b"r" * 32), roll=10_000)]
    got: list[list[Lease]] = [[] for _ in range(4)]

    def take(mine: list[Lease]) -> None:
        for job in jobs * 400:
            lease = leases.issue(job, now=5000.0)
            if lease:
                mine.append(lease)

    threads = [threading.Thread(target=take, args=(mine,)) for mine in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keys = [key for mine in got for lease in mine for key in headers(lease)]
    assert len(keys) == 4 * 800 and len(set(keys)) == len(keys)


bodies = st.sampled_from([coinbase(size=1, levels=0), coinbase(b"other", size=1, levels=0), ReadyRoot(b"r" * 32)])
jobs = st.builds(
    a_job,
    source=st.sampled_from(["one", "two"]),
    session=st.integers(1, 3),
    prev_hash=st.sampled_from([b"p" * 32, b"q" * 32]),
    body=bodies,
    ntime=st.integers(NTIME, NTIME + 30),
    roll=st.integers(0, 40),
    arrived=st.floats(0, 20),
)
asks = st.tuples(jobs, st.floats(0, 60), st.booleans(), st.integers(1, 300))


@given(st.lists(asks, max_size=30))
def test_no_header_is_leased_twice_whatever_is_asked_in_whatever_order(
    calls: list[tuple[Job, float, bool, int]],
) -> None:
    leases = Leases()
    seen: set[tuple[bytes, bytes, int]] = set()
    for job, now, rolls, times in calls:
        issued = itertools.takewhile(
            lambda lease: lease is not None,
            (leases.issue(job, now, rolls_ntime=rolls) for _ in range(times)),
        )
        for lease in issued:
            assert lease is not None
            assert job.ntime <= lease.ntime <= lease.ntime + lease.ntime_span <= job.ntime_limit
            assert lease.ntime <= job.ntime + max(0.0, now - job.arrived)
            for key in headers(lease):
                assert key not in seen
                seen.add(key)
