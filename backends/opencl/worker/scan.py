"""The search on a device: launches that follow each other without a gap, each with a kernel and memory of its own.

    run queue     search 0 | search 1 | search 0 | ...
    copy queue             | read 0, clear 0 | read 1, clear 1 | ...

Two queues, because on one a search would wait for the answer of the one before to be read. A runtime on the processor
has one: its threads would not read before the running search is at its end, and the next be launched too late.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from backends.base import NONCES, Misuse
from backends.opencl.runtime import opencl, reported
from backends.opencl.worker import program
from backends.opencl.worker.pace import Pace
from backends.opencl.worker.reference import hits_by_hashlib
from backends.opencl.worker.search import IN_FLIGHT, Job, Outcome, Ticket
from backends.opencl.worker.source import KERNEL, OUT_WORDS, PAIRS, Form, parameters

_SPARE = IN_FLIGHT  # the place where a launch is searched again whose hits did not fit
_AWAKE = 0.1  # of a launch's time is waited through in the driver, which may keep a core busy


@dataclass(slots=True)
class _Place:
    """Of a launch in flight: its kernels by form, its memory, and the events of its search, read and clearing."""

    kernels: dict[Form, Any]
    out: Any
    answer: Any
    searched: Any = None
    read: Any = None
    cleared: Any = None


class DeviceSearch:
    """Implements `search.Search`."""

    def __init__(self, device: Any, forms: Sequence[Form], folder: Path | None, launch_s: float) -> None:
        cl = self._cl = opencl()
        self.forms = tuple(dict.fromkeys(forms))
        self._single, self._several = min(forms, key=_versions), max(forms, key=_versions)
        self._folder = folder
        with reported("the device cannot be opened"):
            self._context = cl.Context([device])
            self._run = cl.CommandQueue(self._context, properties=cl.command_queue_properties.PROFILING_ENABLE)
            self._on_processor = bool(device.type & cl.device_type.CPU)
            self._copy = self._run if self._on_processor else cl.CommandQueue(self._context)
        self._programs = {form: program.build(self._context, device, form, folder) for form in self.forms}
        with reported("the device has no memory for a search"):
            self._places = [self._place() for _ in range(IN_FLIGHT + 1)]
        units = device.max_compute_units
        self._paces = {form: Pace(launch_s, form.quantum, form.quantum * units) for form in self.forms}
        self._launched = 0
        self._flying: deque[Ticket] = deque()
        self._since = 0.0  # when the oldest launch in flight had the device to itself

    @property
    def name(self) -> str:
        return ", ".join(form.name for form in self.forms)

    @property
    def midstates(self) -> int:
        return self._several.midstates

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Job:
        return self.prepare_for(self._form(len(versions)), header76, versions, target)

    def prepare_for(self, form: Form, header76: bytes, versions: Sequence[int], target: int) -> Job:
        """`prepare` for a form that is not this many versions' best."""
        if len(header76) != 76:
            raise ValueError(f"76 bytes of header are needed, not {len(header76)}")
        if not 0 < target < 1 << 256:
            raise ValueError(f"target out of range: {target:#x}")
        if not 0 < len(versions) <= form.midstates or not 0 <= min(versions) <= max(versions) < NONCES:
            raise ValueError(f"1 to {form.midstates} versions of 32 bits are needed, not {list(versions)}")
        words = np.array(parameters(header76, versions, target, form.midstates), np.uint32)
        flags = self._cl.mem_flags
        with reported("a job does not fit the device"):
            params = self._cl.Buffer(self._context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=words)
        return Job(header76, tuple(versions), target, form, params)

    def nonces(self, job: Job) -> int:
        return self._paces[job.form].for_target(len(job.versions), job.target)

    def launch(self, job: Job, start: int, count: int) -> Ticket:
        if not 0 <= start < start + count <= NONCES:
            raise ValueError(f"not a range of nonces: {count} from {start}")
        if len(self._flying) == IN_FLIGHT:
            raise Misuse(f"{IN_FLIGHT} launches are in flight: collect one first")
        ticket = Ticket(job, start, count, self._launched)
        self._enqueue(self._places[ticket.number % IN_FLIGHT], job, start, count)
        if not self._flying:
            self._since = time.monotonic()
        self._flying.append(ticket)
        self._launched += 1
        return ticket

    def collect(self, ticket: Ticket) -> Outcome:
        if not self._flying or self._flying[0] is not ticket:
            raise Misuse(f"launch {ticket.number} is not the oldest in flight")
        self._flying.popleft()
        self._sleep(ticket)
        job, place = ticket.job, self._places[ticket.number % IN_FLIGHT]
        hits = self._answer(place, job, ticket.start, ticket.count)
        self._since = time.monotonic()
        took_s = _duration_s(place.searched)
        self._paces[job.form].took(ticket.count, took_s)
        hashes = ticket.count * len(job.versions)
        if hits is None:
            hits = self._again(job, ticket.start, ticket.count)
            return Outcome(tuple(hits), hashes, took_s, rescanned=True)
        return Outcome(tuple(hits), hashes, took_s)

    def close(self) -> None:
        with reported("the device does not come to an end"):
            self._run.finish()
            self._copy.finish()
        self._flying.clear()

    def keep(self, form: Form) -> None:
        """Keep the program for the next run."""
        if not program.is_kept(form, self._folder):
            program.keep(self._programs[form], form, self._folder)

    def _form(self, versions: int) -> Form:
        return self._single if versions <= self._single.midstates else self._several

    def _place(self) -> _Place:
        kernels = {form: self._cl.Kernel(built, KERNEL) for form, built in self._programs.items()}
        out = self._cl.Buffer(self._context, self._cl.mem_flags.READ_WRITE, 4 * OUT_WORDS)
        place = _Place(kernels, out, np.zeros(OUT_WORDS, np.uint32))
        for kernel in kernels.values():
            kernel.set_scalar_arg_dtypes([None, np.uint32, None])
        self._clear(place)
        return place

    def _clear(self, place: _Place) -> None:
        place.cleared = self._cl.enqueue_fill_buffer(self._copy, place.out, np.uint32(0), 0, 4)

    def _enqueue(self, place: _Place, job: Job, start: int, count: int) -> None:
        form, kernel = job.form, place.kernels[job.form]
        base = start // form.item * form.item
        groups = -(-(start + count - base) // form.quantum)
        with reported("a launch was refused"):
            kernel.set_args(job.params, base, place.out)
            place.searched = self._cl.enqueue_nd_range_kernel(
                self._run, kernel, (groups * form.group,), (form.group,), wait_for=[place.cleared]
            )
            self._run.flush()
            place.read = self._cl.enqueue_copy(
                self._copy, place.answer, place.out, is_blocking=False, wait_for=[place.searched]
            )
            self._clear(place)
            self._copy.flush()

    def _answer(self, place: _Place, job: Job, start: int, count: int) -> list[tuple[int, int]] | None:
        """The hits of a launch in their order; None if there were more than fit."""
        with reported("a launch did not end well"):
            place.read.wait()
        found = place.answer.item(0)
        if not found:
            return []
        if found > PAIRS:
            return None
        pairs = place.answer[1 : 1 + 2 * found].reshape(-1, 2).tolist()
        rows = len(job.versions)  # beyond them, and beyond the range, a work-group searched to be full
        return [
            (nonce, job.versions[row]) for nonce, row in sorted(pairs) if start <= nonce < start + count and row < rows
        ]

    def _again(self, job: Job, start: int, count: int) -> list[tuple[int, int]]:
        """The hits of a range that has too many for one launch: in halves, and if need be by hashlib."""
        if count <= job.form.quantum:
            return hits_by_hashlib(job.header76, job.versions, job.target, range(start, start + count))
        half = -(-count // 2 // job.form.quantum) * job.form.quantum
        hits: list[tuple[int, int]] = []
        for first, many in ((start, half), (start + half, count - half)):
            if many > 0:
                place = self._places[_SPARE]
                self._enqueue(place, job, first, many)
                found = self._answer(place, job, first, many)
                hits += self._again(job, first, many) if found is None else found
        return hits

    def _sleep(self, ticket: Ticket) -> None:
        """Until shortly before a launch should be done; not on a processor, where who waits may take part in it."""
        if self._on_processor:  # PoCL's wait costs nothing, Intel's searches: asleep, one of two cores would be idle
            return
        left_s = self._since + self._paces[ticket.job.form].expected_s(ticket.count) - time.monotonic()
        if left_s > 0:
            time.sleep((1 - _AWAKE) * left_s)


def _duration_s(event: Any) -> float | None:
    """What the device's clock says; some runtimes know no such clock, and answer 0, or an end before the start."""
    known = opencl().profiling_info
    with reported("a launch cannot be timed"):
        ticks = event.get_profiling_info(known.END) - event.get_profiling_info(known.START)
    return ticks * 1e-9 if ticks > 0 else None


def _versions(form: Form) -> int:
    return form.midstates
