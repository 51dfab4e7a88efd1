"""A scan that goes straight on with the next job: both exact, for every kernel, with a plain scan as judge."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

import native
from native import Mailbox, relay

Words = NDArray[np.uint32]
Pairs = list[tuple[int, int]]

OLD, NEW = bytes(range(76)), bytes(range(1, 77))
EASY = 1 << 252  # one hash in 16
VERSIONS = (0x20000000, 0x20002000, 0x20004000)


def room(capacity: int = 4096) -> Words:
    return np.zeros((capacity, 2), np.uint32)


def epoch(value: int) -> Words:
    return np.array([value], np.uint32)


def pairs(hits: Words) -> Pairs:
    return [(int(nonce), int(row)) for nonce, row in hits]


def params(kernel: native.Kernel, header: bytes, versions: Sequence[int] = VERSIONS, target: int = EASY) -> Words:
    return native.prepare(kernel, header, versions, target)


def scanned(kernel: native.Kernel, job: Words, start: int, count: int) -> Pairs:
    hits = room(max(count, 1) * len(job))
    done, found = native.scan(kernel, native.NonceRange(job, start, count, hits, epoch(0), 0))
    assert done == count
    return pairs(hits[:found])


def test_without_a_job_for_the_epoch_it_is_a_scan(kernel: native.Kernel) -> None:
    old, hits = params(kernel, OLD), room()
    done, found, *more = relay(kernel, native.NonceRange(old, 5, 700, hits, epoch(7), 7), Mailbox())
    assert (done, more) == (700, [0, 0])
    assert pairs(hits[:found]) == scanned(kernel, old, 5, 700)


@pytest.mark.parametrize("versions", [VERSIONS, VERSIONS[:1]], ids=["several", "single"])
def test_cancelled_it_goes_on_with_what_was_posted_for_the_new_epoch(
    kernel: native.Kernel, versions: Sequence[int]
) -> None:
    old, new, hits, mailbox = params(kernel, OLD, versions), params(kernel, NEW, versions), room(), Mailbox()
    mailbox.post(new, 500, 8)
    assert relay(kernel, native.NonceRange(old, 0, 700, hits, epoch(8), 7), mailbox)[:3] == (0, 0, 500)
    expected = scanned(kernel, new, 0, 500)
    assert pairs(hits[: len(expected)]) == expected
    assert not hits[len(expected) :].any()


def test_the_next_job_has_the_room_that_the_hits_of_the_old_leave(kernel: native.Kernel) -> None:
    """That a scan ends is all that counts: here because it was through, and the epoch rises at the same moment."""
    old, new, hits, mailbox = params(kernel, OLD), params(kernel, NEW), room(100), Mailbox()
    mailbox.post(new, 1 << 20, 7)
    done, found, more, others = relay(kernel, native.NonceRange(old, 0, 200, hits, epoch(7), 7), mailbox)
    assert done == 200 and 0 < found < 100 - len(VERSIONS)
    assert found + others <= 100
    assert 0 < more < 1 << 20  # full
    assert pairs(hits[:found]) == scanned(kernel, old, 0, 200)
    assert pairs(hits[found : found + others]) == scanned(kernel, new, 0, more)
    assert len(scanned(kernel, new, more, 1)) > 100 - found - others


def test_what_is_not_for_the_epoch_that_is_now_stays(quick: native.Kernel) -> None:
    old, new = params(quick, OLD), params(quick, NEW)
    mailbox = Mailbox()
    for posted, now in ((8, 9), (8, 7), (9, 8)):
        mailbox.post(new, 500, posted)
        assert relay(quick, native.NonceRange(old, 0, 0, room(), epoch(now), 7), mailbox) == (0, 0, 0, 0)
        assert relay(quick, native.NonceRange(old, 0, 0, room(), epoch(posted), 7), mailbox)[2] == 500
        mailbox.clear()
        assert relay(quick, native.NonceRange(old, 0, 0, room(), epoch(posted), 7), mailbox) == (0, 0, 0, 0)


def test_a_job_with_other_rows_stays(quick: native.Kernel) -> None:
    """Another function may be compiled for it, with other parameters."""
    mailbox = Mailbox()
    mailbox.post(params(quick, NEW, VERSIONS[:1]), 500, 8)
    assert relay(quick, native.NonceRange(params(quick, OLD), 0, 9, room(), epoch(8), 7), mailbox) == (0, 0, 0, 0)


def test_what_is_refused_is_what_a_scan_refuses(quick: native.Kernel) -> None:
    with pytest.raises(ValueError, match="room"):
        relay(quick, native.NonceRange(params(quick, OLD), 0, 9, room(2), epoch(7), 7), Mailbox())
    with pytest.raises(ValueError, match="range"):
        relay(quick, native.NonceRange(params(quick, OLD), 1, 1 << 32, room(), epoch(7), 7), Mailbox())


def test_jobs_that_follow_one_another_at_random_moments_lose_and_invent_nothing(quick: native.Kernel) -> None:
    """One thread posts, while the other scans, and raises the epoch; the other clears. Each has its own idea of when.

    Posted before the scan's epoch is read, a job would be scanned twice: `backends.cpu.hasher` does not do that either.
    """
    rounds, draw, turn = 200, random.Random(1), threading.Lock()
    jobs = [params(quick, draw.randbytes(76), target=1 << 243) for _ in range(rounds)]
    cancel, mailbox, posted, scanning = epoch(0), Mailbox(), list[int](), threading.Event()

    def serve() -> None:
        for number in range(1, rounds):
            time.sleep(draw.random() / 2000)
            with turn:
                if scanning.is_set() and not posted:
                    mailbox.post(jobs[number], draw.choice((1, 1000, 1 << 30)), number)
                    posted.append(number)
            cancel[0] = number

    done_of, hits_of = [0] * rounds, [list[tuple[int, int]]() for _ in range(rounds)]
    serving = threading.Thread(target=serve)
    serving.start()
    went_on = 0
    while serving.is_alive():
        now, hits = int(cancel[0]), room()
        scanning.set()
        nonces = native.NonceRange(jobs[now], done_of[now], 10_000, hits, cancel, now)
        done, found, more, others = relay(quick, nonces, mailbox)
        done_of[now] += done
        hits_of[now] += pairs(hits[:found])
        with turn:
            scanning.clear()
            if posted:
                done_of[posted[0]] += more
                hits_of[posted.pop()] += pairs(hits[found : found + others])
                mailbox.clear()
        went_on += more > 0
    assert went_on
    for job, done, hits_found in zip(jobs, done_of, hits_of, strict=True):
        assert hits_found == scanned(quick, job, 0, done)
