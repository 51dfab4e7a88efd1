"""The interface of a search on an OpenCL device, as a worker uses it: jobs, launches, outcomes.

    folder, why_not = open_folder(state_dir, identity)  `program`: where programs and measurements are kept
    tuned = settle(identity, folder)                    `tune`: measured now, which takes minutes, or remembered
    search = open_search(identity, tuned.forms, folder) `proof`: known answers come first
    job = search.prepare(header76, versions, target)    once for each group of versions
    ticket = search.launch(job, start, count)           returns at once; keep two in flight, so that none waits for us
    outcome = search.collect(ticket)                    in the order of the launches

A launch takes the time that the search was opened for; `search.nonces(job)` is the number of nonces for that time.
Nothing stops a launch, so a new job waits for at most the two launches in flight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from backends.opencl.worker.source import Form

IN_FLIGHT = 2
LAUNCH_S = 0.05  # a launch costs its host about 0.2 ms
DISPLAY_LAUNCH_S = 0.01  # a screen that is redrawn by the same card waits for this long


@dataclass(frozen=True, slots=True)
class Job:
    """What a launch searches: a header under some versions. params: the parameter block on the device, for one form."""

    header76: bytes
    versions: tuple[int, ...]
    target: int
    form: Form
    params: Any


@dataclass(frozen=True, slots=True)
class Ticket:
    """A launch under way. number: how many launches came before it."""

    job: Job
    start: int
    count: int
    number: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """All nonces of a launch were tested under all of its versions.

    hits: (nonce, full header version) of every hash whose most significant 32 bits are at most the target's.
    took_s: the device's own time; None where it does not tell. rescanned: the hits did not fit, so it was searched
    again in parts.
    """

    hits: tuple[tuple[int, int], ...]
    hashes: int
    took_s: float | None
    rescanned: bool = False


class Search(Protocol):
    """A search on one device, used from one thread. Any call raises DeviceLost, OutOfResources or WrongResult."""

    @property
    def name(self) -> str: ...

    @property
    def midstates(self) -> int:
        """The best number of versions to search at once, which is also the most."""

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Job:
        """1 .. `midstates` versions that replace the header's own. ValueError for anything else."""

    def nonces(self, job: Job) -> int:
        """How many nonces make a launch of the time that this search was opened for."""

    def launch(self, job: Job, start: int, count: int) -> Ticket:
        """Search start .. start + count - 1, inside 0 .. 2**32. Misuse when IN_FLIGHT launches have not been collected.

        A count that is not a multiple of `nonces` costs as much as the next one that is.
        """

    def collect(self, ticket: Ticket) -> Outcome:
        """Wait for a launch, the oldest in flight (Misuse for another)."""

    def close(self) -> None:
        """Wait for the launches in flight, and free the device's memory."""
