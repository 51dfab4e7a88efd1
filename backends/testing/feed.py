"""A feed in memory: leases without a manager, hits judged by hashlib, and every call on record.

It says what a device did, in order and by thread, so that a test can wait for something to happen and then ask what
happened before it. It can also hang and raise, as a defect above the device would.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backends.base import TOP_WORD, Hit, Misuse, Verdict, Work

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Template:
    """What leases are cut from: each gets a merkle root of its own."""

    target: int = (1 << 256) - 1 >> 12  # one header in 4096: seldom enough for Python to follow a fast kernel
    version: int = 0x20000000
    version_mask: int = 0
    ntime: int = 1_700_000_000
    ntime_span: int = 0
    nbits: int = 1 << 29
    prev_hash: bytes = bytes(range(32))

    def lease(self, epoch: int) -> Work:
        number = next(_ids)
        return Work(
            id=number,
            epoch=epoch,
            prev_hash=self.prev_hash,
            merkle_root=number.to_bytes(32, "little"),
            version=self.version,
            version_mask=self.version_mask,
            ntime=self.ntime,
            ntime_span=self.ntime_span,
            nbits=self.nbits,
            target=self.target,
        )


@dataclass(frozen=True, slots=True)
class Call:
    """One call by the device; `work` is None for a take that got nothing."""

    thread: int
    name: str  # take, found, worked
    work: Work | None


class FakeFeed:
    """Implements `backends.base.Feed`. Serves one Template until told otherwise; None: nothing to do.

    enough: stop serving, and drop running work, once this many hashes are accounted for.
    """

    def __init__(self, template: Template | None = None, *, enough: int | None = None) -> None:
        self.cancel: NDArray[np.uint32] = np.zeros(1, np.uint32)
        self.calls: list[Call] = []
        self.taken: list[Work] = []
        self.hits: list[Hit] = []
        self.verdicts: Counter[Verdict] = Counter()
        self.hashes: Counter[int] = Counter()  # accounted for, by Work.id
        self.total = 0  # hashes, over all work
        self.held = 0  # callers that are kept waiting by hang()
        self.late: list[str] = []  # calls after close()
        self.fault: Exception | None = None  # raised by every call that a device makes while it mines
        self._template = template if template is not None else Template()
        self._serving = True
        self._enough = enough
        self._dead: set[int] = set()  # ids of work that was replaced
        self._stage: Callable[[int], None] | None = None
        self._ahead = 0  # by how much new leases are, while work is staged
        self._current: set[int] = set()  # ids leased from the template that is served now
        self._reported: set[tuple[int, int, int, int]] = set()
        self._hung = False
        self._closed = False
        self._changed = threading.Condition()

    # ---- what a test does

    def serve(self, template: Template | None, *, replace: bool) -> None:
        """Lease from this template from now on. `replace`: what runs must be dropped at once."""
        with self._changed:
            self._serving = template is not None
            self._template = template or self._template
            self._current.clear()
            if replace:
                self._dead.update(work.id for work in self.taken)
                if self._serving and self._stage is not None:
                    self._ahead = 1
                    self._stage(self.epoch + self._ahead)
                    self._ahead = 0
                self._raise()
            self._changed.notify_all()

    def hang(self) -> None:
        """Keep whoever calls from now on until release(): the defect that no device may be held up by."""
        with self._changed:
            self._hung = True
            self._raise()

    def release(self) -> None:
        with self._changed:
            self._hung = False
            self._changed.notify_all()

    def close(self) -> None:
        """The device says that it is off: every call from now on is noted in `late`."""
        with self._changed:
            self._closed = True

    def wait_for(self, happened: Callable[[], bool], timeout: float) -> bool:
        """Wait until this is true of the record, `timeout` seconds at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(happened, timeout)

    # ---- what a device calls

    @property
    def epoch(self) -> int:
        return int(self.cancel[0])

    def take(self, timeout: float) -> Work | None:
        with self._entered("take"):
            epoch = self.epoch
            self._changed.wait_for(lambda: self._serving or self.epoch != epoch, timeout)
            work = self._template.lease(self.epoch + self._ahead) if self._serving else None
            if work:
                self._current.add(work.id)
                self.taken.append(work)
            self._note(Call(threading.get_ident(), "take", work))
            return work

    def fresh(self, work: Work) -> bool:
        with self._entered("fresh"):
            return self._serving and work.id in self._current

    def wait(self, epoch: int, timeout: float) -> bool:
        with self._entered("wait"):
            return self._changed.wait_for(lambda: self.epoch != epoch, timeout)

    def interrupt(self) -> None:
        with self._changed:
            self._raise()

    def before_replacing(self, stage: Callable[[int], None] | None) -> None:
        with self._changed:
            if self._closed:
                self.late.append("before_replacing")
            self._stage = stage

    def found(self, hit: Hit, ticket: int = 0) -> Verdict:
        with self._entered("found"):
            verdict = self._judge(hit, ticket)
            self.hits.append(hit)
            self.verdicts[verdict] += 1
            self._note(Call(threading.get_ident(), "found", hit.work))
            return verdict

    def worked(self, work: Work, hashes: int) -> None:
        if hashes <= 0:
            raise Misuse(f"{hashes} hashes are nothing to account for")
        with self._entered("worked"):
            self.hashes[work.id] += hashes
            self.total += hashes
            self._note(Call(threading.get_ident(), "worked", work))
            if self._enough is not None and self.total >= self._enough and self._serving:
                self.serve(None, replace=True)

    # ---- how

    def _judge(self, hit: Hit, ticket: int) -> Verdict:
        if not hit.work.covers(hit.nonce, hit.version, hit.ntime):
            return Verdict.OUTSIDE
        value = hit.hash()
        if value > max(hit.work.target | TOP_WORD, ticket):
            return Verdict.WRONG
        if value > hit.work.target:
            return Verdict.BELOW
        key = (hit.work.id, hit.nonce, hit.version, hit.ntime)
        if key in self._reported:
            return Verdict.DUPLICATE
        self._reported.add(key)
        return Verdict.STALE if hit.work.id in self._dead else Verdict.GOOD

    def _entered(self, name: str) -> threading.Condition:
        """Every call passes here: hang, raise, or note that it comes too late. Answers the lock to work under."""
        with self._changed:
            if self._closed:
                self.late.append(name)
            self._hold()
            if self.fault:
                raise self.fault
        return self._changed

    def _hold(self) -> None:
        if not self._hung:
            return
        self.held += 1
        self._changed.notify_all()
        self._changed.wait_for(lambda: not self._hung)
        self.held -= 1

    def _note(self, call: Call) -> None:
        self.calls.append(call)
        self._changed.notify_all()

    def _raise(self) -> None:
        self.cancel[0] += np.uint32(1)
        self._changed.notify_all()
