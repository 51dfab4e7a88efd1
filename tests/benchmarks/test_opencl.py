from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from backends.opencl.runtime import Identity
from backends.opencl.worker.reference import hits_by_hashlib
from backends.opencl.worker.search import IN_FLIGHT, Job, Outcome, Ticket
from backends.opencl.worker.source import Form
from benchmarks.opencl import benchmark as opencl
from benchmarks.opencl import program as opencl_program
from benchmarks.opencl.launches import Walk
from benchmarks.pipeline import program
from benchmarks.pipeline.program import Worked

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
def test_launches_are_kept_in_flight_and_a_search_that_misses_hits_is_called_wrong(*, blind: bool) -> None:
    target = (1 << 249) - 1  # a hit in 128: chance leaves no doubt after one launch
    search = Hashlib(blind=blind)
    walk = Walk(search, search.prepare(bytes(76), [1 << 29], target))
    walk.go(0.05)
    assert search.most_in_flight == IN_FLIGHT
    assert walk.hashes >= 2 * 2000
    assert walk.hits()["right"] is not blind


def test_the_whole_miner_is_held_against_the_bare_search_on_the_same_device(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def whole(device: str, state: Path, seconds: float, options: Sequence[str], **environ: str) -> Worked:
        order.append(device)
        return Worked(hashes=900, seconds=10.0, processor_s=20.0)

    def bare(identity: Identity, state: Path, seconds: float) -> Worked:
        order.append(identity.name)
        return Worked(hashes=500, seconds=5.0, processor_s=10.0)

    monkeypatch.setattr(opencl_program.program, "mine_on", whole)
    monkeypatch.setattr(opencl_program, "search_alone", bare)
    options = argparse.Namespace(pairs=2, seconds=5.0)
    measured: dict[str, Any] = {}
    for identity in (CARD, PROCESSOR):
        figures = opencl_program.measure(identity, [PROCESSOR, CARD], Path(), options, Console(quiet=True))
        measured[identity.name] = {figure.name: figure.values["median"] for figure in figures}
    assert measured["Rocket 9000"] == {"whole/bare, by the clock": pytest.approx(0.9)}
    assert measured["EPYC"]["whole/bare, by processor time"] == pytest.approx(0.9)
    card = "opencl:acme-opencl:rocket-9000"
    assert order[:4] == [card, "Rocket 9000", "Rocket 9000", card]


def test_a_bare_search_that_fails_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(program.ProgramError, match="Rocket 9000"):
        opencl_program.search_alone(CARD, tmp_path, 1.0)


def test_processor_time_counts_children_that_live_and_those_that_have_ended() -> None:
    work = "sum(range(3_000_000)); print(flush=True); input()"
    before = program._childrens_s(os.getpid())
    with subprocess.Popen([sys.executable, "-c", work], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline()
        living = program._childrens_s(os.getpid())
    ended = program._childrens_s(os.getpid())
    assert living - before > 0.005
    assert ended - before > living - before - 0.03  # counted in ticks
