"""A worker with a search by hashlib that does wrong what it is told: `fake_worker MODE PARENT`."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable

from backends.opencl.errors import BuildFailed, OutOfResources, WrongResult
from backends.opencl.protocol import Open
from backends.opencl.worker import worker
from backends.opencl.worker.search import Outcome, Search, Ticket
from tests.backends.opencl.fakes import HashlibSearch

WELL = 5  # launches


class Failing(HashlibSearch):
    """Fails in its way after a few good launches."""

    mode = ""

    def collect(self, ticket: Ticket) -> Outcome:
        outcome = super().collect(ticket)
        if ticket.number < WELL:
            return outcome
        match self.mode:
            case "segfault":
                os.write(2, b"driver: illegal address\n")
                os.kill(os.getpid(), signal.SIGSEGV)
            case "hang":
                time.sleep(1000)
            case "garbage":
                for descriptor in range(3, 10):  # reports go out by one of them
                    try:
                        os.write(descriptor, b"\x00\xff{}" * 1000 + b"\n")
                    except OSError:
                        continue
            case "memory":
                raise OutOfResources("the card's memory is full")
            case "lie":
                return Outcome(((ticket.start, ticket.job.versions[0]),), outcome.hashes, 0.001)
        return outcome


def opener(mode: str) -> Callable[[Open, Callable[[str], None]], Search]:
    def opened(opening: Open, doing: Callable[[str], None]) -> Search:
        doing("building")
        match mode:
            case "unbuildable":
                raise BuildFailed("the program does not compile", "error: no such thing\n" * 5000)
            case "wrong":
                raise WrongResult("a known answer was not found: the card computes wrongly")
            case "crash-at-start":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "noisy":
                os.write(1, b"driver speaking, version 3\n" * 100)
                os.write(2, b"warning: loud\n" * 20_000)
        search = Failing()
        search.mode = mode
        return search

    return opened


if __name__ == "__main__":
    os._exit(worker.run(int(sys.argv[2]), opener(sys.argv[1])))
