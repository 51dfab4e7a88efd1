"""A search by hashlib in place of a card's, and devices without any driver."""

from __future__ import annotations

import hashlib
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from backends.base import Capability, DeviceInfo, Kind
from backends.opencl.device.device import OpenclDevice, Setup
from backends.opencl.listing import Listed
from backends.opencl.protocol import Open
from backends.opencl.runtime import Identity
from backends.opencl.worker.search import IN_FLIGHT, Job, Outcome, Ticket
from backends.opencl.worker.source import Form

CARD = Identity(
    platform="Fake Platform",
    platform_version="OpenCL 3.0 FAKE",
    index=0,
    name="Fake Card",
    vendor="Nobody",
    driver="1.0",
    type="gpu",
    pci=None,
    units=4,
    clock_hz=1e9,
    vector_width=1,
    work_group=256,
)


@dataclass
class HashlibSearch:
    """Implements `search.Search`. size: nonces of a launch under one version."""

    size: int = 512
    midstates: int = 2
    name: str = "hashlib"
    flying: deque[Ticket] = field(default_factory=deque)
    launched: list[tuple[int, int]] = field(default_factory=list)
    closed: bool = False

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Job:
        assert len(header76) == 76 and 1 <= len(versions) <= self.midstates
        return Job(header76, tuple(versions), target, form=Form(), params=None)

    def nonces(self, job: Job) -> int:
        return self.size

    def launch(self, job: Job, start: int, count: int) -> Ticket:
        assert len(self.flying) < IN_FLIGHT and start + count <= 1 << 32
        ticket = Ticket(job, start, count, len(self.launched))
        self.launched.append((start, count))
        self.flying.append(ticket)
        return ticket

    def collect(self, ticket: Ticket) -> Outcome:
        assert ticket is self.flying.popleft()
        job, nonces = ticket.job, range(ticket.start, ticket.start + ticket.count)
        hits = tuple((nonce, version) for version in job.versions for nonce in _hits(job, version, nonces))
        return Outcome(hits, ticket.count * len(job.versions), 0.001)

    def close(self) -> None:
        self.closed = True


def _hits(job: Job, version: int, nonces: range) -> list[int]:
    header = version.to_bytes(4, "little") + job.header76[4:]
    middle, tail = hashlib.sha256(header[:64]), header[64:]
    found = []
    for nonce in nonces:
        first = middle.copy()
        first.update(tail + nonce.to_bytes(4, "little"))
        if int.from_bytes(hashlib.sha256(first.digest()).digest(), "little") <= job.target:
            found.append(nonce)
    return found


def a_listed(**changes: Any) -> Listed:
    """A fake card as it is listed, its identity with these changes."""
    return Listed(identity=replace(CARD, **changes))


def a_device(mode: str = "well", *, info: DeviceInfo | None = None, **setup: Any) -> OpenclDevice:
    """A device whose worker is a real process with a fake search; the mode is what that does wrong."""
    known = DeviceInfo("opencl:fake", "opencl", Kind.GPU, "Fake Card")
    known = replace(info or known, capabilities=frozenset({Capability.DUTY, Capability.ROLLS_VERSION}))
    command = (sys.executable, "-m", "tests.backends.opencl.fake_worker", mode)
    return OpenclDevice(known, Setup(opening=Open(identity=CARD, launch_s=0.05), command=command, **setup))
