"""Follows a device through its leases: stretches given to the worker, confirmed by it, or to be searched again.

A stretch is a run of nonces under a few versions of one lease. It counts as searched only as far as the worker has
reported it, together with its hits. What a killed worker had not reported is searched again, and nothing else is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

from backends.base import NONCES, DeviceFault, Work
from backends.opencl.protocol import Done, Stretch
from backends.rectangle import Position

AHEAD = 4  # stretches given out at most


@dataclass(frozen=True, slots=True)
class Part:
    """Nonces start .. start + count - 1 of a lease under these versions."""

    work: Work
    versions: tuple[int, ...]
    start: int
    count: int


class Progress:
    """together: the most versions that the worker takes at once."""

    def __init__(self) -> None:
        self.together = 1
        self._position: Position | None = None
        self._again: deque[Part] = deque()
        self._out: deque[tuple[int, Part]] = deque()  # as given out; of the first, the part not done
        self._number = 0

    @property
    def work(self) -> Work | None:
        """The latest lease."""
        return self._position.work if self._position else None

    @property
    def busy(self) -> bool:
        """Whether the worker has stretches that it has not reported yet."""
        return bool(self._out)

    def full(self, hashes: float) -> bool:
        """Whether more than so many hashes are given out, or the most stretches."""
        return len(self._out) >= AHEAD or sum(part.count * len(part.versions) for _, part in self._out) > hashes

    @property
    def exhausted(self) -> bool:
        """Whether everything of the lease was given out."""
        return not self._again and (self._position is None or not self._position.versions)

    def begin(self, work: Work) -> None:
        """Continue with this lease once the present one is given out."""
        self._position = Position(work, self.together)

    def forget(self) -> None:
        """Drop the lease and all of it that is not given out."""
        self._position = None
        self._again.clear()

    def rewind(self) -> None:
        """Give out again what the worker did not report, since it is gone or has dropped its stretches."""
        self._again.extendleft(part for _, part in reversed(self._out))
        self._out.clear()

    def next(self) -> Stretch:
        """The next stretch to give out. Do not call it when the lease is exhausted."""
        part = self._again.popleft() if self._again else self._fresh()
        if len(part.versions) > self.together:  # a new worker may take fewer
            self._again.appendleft(replace(part, versions=part.versions[self.together :]))
            part = replace(part, versions=part.versions[: self.together])
        self._number += 1
        self._out.append((self._number, part))
        work = part.work
        return Stretch(
            id=self._number,
            header76=work.header(0, part.versions[0], work.ntime)[:76].hex(),
            versions=part.versions,
            target=f"{work.target:x}",
            start=part.start,
            count=part.count,
        )

    def done(self, report: Done) -> Part:
        """The part that this report covers. Raises DeviceFault for a stretch never given out, or out of order."""
        if not self._out or self._out[0][0] != report.stretch:
            raise DeviceFault(f"the worker reports stretch {report.stretch}, which it was not working on")
        number, part = self._out[0]
        if report.start != part.start or report.count > part.count:
            raise DeviceFault(
                f"the worker reports nonces {report.start} + {report.count}, asked were {part.start} + {part.count}"
            )
        for nonce, version in report.hits:
            if not report.start <= nonce < report.start + report.count or version not in part.versions:
                raise DeviceFault(
                    f"the worker reports nonce {nonce} and version {version:08x}, which it was not asked for"
                )
        if report.count == part.count:
            self._out.popleft()
        else:
            self._out[0] = number, replace(part, start=part.start + report.count, count=part.count - report.count)
        return replace(part, count=report.count)

    def _fresh(self) -> Part:
        position = self._position
        assert position is not None  # exhausted otherwise
        part = Part(position.work, position.versions, position.nonce, NONCES - position.nonce)
        position.advance(part.count)
        return part
