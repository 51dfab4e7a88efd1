from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from backends.opencl.reference import hits_by_hashlib
from backends.opencl.runtime import Identity
from backends.opencl.search import IN_FLIGHT, Job, Outcome, Ticket
from backends.opencl.source import Form
from benchmarks import opencl

CARD = Identity("ACME OpenCL", "3.0", 0, "Rocket 9000", "ACME", "1", "gpu", None, 4, 2e9, 1, 256)
PROCESSOR = replace(CARD, platform="PoCL", name="EPYC", type="cpu")


class Hashlib:
    """A search of 2000 nonces a launch, which finds what is there, or nothing."""

    name, midstates = "hashlib", 1

    def __init__(self, *, blind: bool = False) -> None:
        self.most_in_flight = 0
        self._flying: list[Ticket] = []
        self._blind = blind

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Job:
        return Job(header76, tuple(versions), target, Form(), None)

    def nonces(self, job: Job) -> int:
        return 2000

    def launch(self, job: Job, start: int, count: int) -> Ticket:
        self._flying.append(Ticket(job, start, count, 0))
        self.most_in_flight = max(self.most_in_flight, len(self._flying))
        return self._flying[-1]

    def collect(self, ticket: Ticket) -> Outcome:
        assert self._flying.pop(0) is ticket
        job = ticket.job
        hits = hits_by_hashlib(job.header76, job.versions, job.target, range(ticket.start, ticket.start + ticket.count))
        return Outcome(() if self._blind else tuple(hits), ticket.count, 0.001)

    def close(self) -> None: ...


def test_cards_are_measured_and_the_processor_only_when_there_is_none_or_it_is_asked_for() -> None:
    assert opencl.choose([CARD, PROCESSOR], None) == [CARD]
    assert opencl.choose([PROCESSOR], None) == [PROCESSOR]
    assert opencl.choose([CARD, PROCESSOR], "CPU") == [PROCESSOR]
    assert opencl.choose([CARD, PROCESSOR], "rocket") == [CARD]
    assert opencl.choose([CARD, PROCESSOR], "arc") == []


@pytest.mark.parametrize("blind", [False, True])
def test_launches_are_kept_in_flight_and_a_search_that_misses_hits_is_called_wrong(
    monkeypatch: pytest.MonkeyPatch, *, blind: bool
) -> None:
    monkeypatch.setattr(opencl, "TARGET", (1 << 249) - 1)  # a hit in 128: chance leaves no doubt after one launch
    search = Hashlib(blind=blind)
    walk = opencl.Walk(search, search.prepare(bytes(76), [1 << 29], opencl.TARGET))
    walk.go(0.05)
    assert search.most_in_flight == IN_FLIGHT
    assert walk.hashes >= 2 * 2000
    assert walk.hits()["right"] is not blind
