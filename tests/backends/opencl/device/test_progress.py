from __future__ import annotations

import pytest

from backends.base import DeviceFault, Work
from backends.opencl.device.progress import AHEAD, Progress
from backends.opencl.protocol import Done
from backends.testing import Template

MASK = 0b11 << 13


@pytest.fixture
def work() -> Work:
    return Template(version_mask=MASK).lease(0)


@pytest.fixture
def progress(work: Work) -> Progress:
    progress = Progress()
    progress.together = 2
    progress.begin(work)
    return progress


def done(stretch: int, start: int, count: int, *hits: tuple[int, int]) -> Done:
    return Done(stretch=stretch, start=start, count=count, hits=hits)


def test_a_lease_is_given_out_once_versions_together(progress: Progress, work: Work) -> None:
    given = [progress.next(), progress.next()]
    assert progress.exhausted
    assert [(x.start, x.count) for x in given] == [(0, 1 << 32)] * 2
    versions = [version for x in given for version in x.versions]
    assert sorted(versions) == [work.version | bits << 13 for bits in range(4)]
    assert bytes.fromhex(given[0].header76) == work.header(0, given[0].versions[0], work.ntime)[:76]
    assert int(given[0].target, 16) == work.target


def test_what_a_lost_worker_did_not_tell_is_given_out_again_and_nothing_else(progress: Progress) -> None:
    first, second = progress.next(), progress.next()
    progress.done(done(first.id, 0, 1000))
    progress.done(done(first.id, 1000, 24))
    progress.rewind()
    assert not progress.busy
    again = [progress.next(), progress.next()]
    assert [(x.versions, x.start, x.count) for x in again] == [
        (first.versions, 1024, (1 << 32) - 1024),
        (second.versions, 0, 1 << 32),
    ]
    assert progress.exhausted
    with pytest.raises(DeviceFault, match="not working on"):
        progress.done(done(first.id, 1024, 1))  # told too late


def test_a_new_worker_that_takes_fewer_versions_gets_fewer(progress: Progress) -> None:
    first = progress.next()
    progress.rewind()
    progress.together = 1
    assert [progress.next().versions for _ in range(2)] == [(version,) for version in first.versions]


def test_a_report_is_taken_only_for_what_was_asked(progress: Progress) -> None:
    stretch = progress.next()
    version = stretch.versions[0]
    for false in (
        done(stretch.id + 1, 0, 10),
        done(stretch.id, 1, 10),
        done(stretch.id, 0, 10, (10, version)),
        done(stretch.id, 0, 10, (3, version ^ 1)),
    ):
        with pytest.raises(DeviceFault):
            progress.done(false)
    part = progress.done(done(stretch.id, 0, 10, (9, version)))
    assert (part.start, part.count, part.versions) == (0, 10, stretch.versions)
    with pytest.raises(DeviceFault):
        progress.done(done(stretch.id, 10, 1 << 32))


def test_not_more_is_out_than_is_needed(progress: Progress) -> None:
    assert not progress.full(0)
    progress.next()
    assert progress.full(1 << 32)
    assert not progress.full(1 << 34)
    for _ in range(AHEAD - 1):
        progress.rewind()
        progress.begin(Template().lease(0))
    assert progress.work is not None


def test_a_forgotten_lease_leaves_nothing(progress: Progress) -> None:
    progress.next()
    progress.rewind()
    progress.forget()
    assert (progress.work, progress.busy, progress.exhausted) == (None, False, True)
