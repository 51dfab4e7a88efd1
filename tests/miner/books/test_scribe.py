from __future__ import annotations

import threading

from miner.books import scribe
from miner.books.scribe import Scribe


def test_jobs_are_done_in_order_and_before_the_end() -> None:
    done: list[int] = []
    writer = Scribe()
    for number in range(100):
        assert writer.do(lambda number=number: done.append(number))  # type: ignore[misc]
    writer.close()
    assert done == list(range(100))


def test_a_job_that_fails_does_not_keep_the_others_from_being_done() -> None:
    def fails() -> None:
        raise ValueError("a defect")

    done = threading.Event()
    writer = Scribe()
    writer.do(fails)
    writer.do(done.set)
    writer.close()
    assert done.is_set()


def test_a_disk_that_hangs_holds_up_neither_the_giver_nor_the_end() -> None:
    hangs = threading.Event()
    writer = Scribe()
    writer.do(hangs.wait)
    taken = 0
    while writer.do(lambda: None):
        taken += 1
    assert taken <= scribe.WAITING
    writer.close(timeout=0.01)
    hangs.set()
    writer.close()


def test_after_the_end_nothing_is_taken() -> None:
    writer = Scribe()
    writer.close()
    assert not writer.do(lambda: None)
