"""The way through a lease: a few versions under the mask at a time, with all 2^32 nonces of theirs upwards from 0.

Versions go together because kernels share work between them: on AVX-512 16 of them are searched 1.2 times as fast.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from backends.base import NONCES, Work


class Position:
    """Where one thread is in its lease.

    versions: those that are searched now, at most `together` of them; empty when the lease is used up.
    """

    def __init__(self, work: Work, together: int) -> None:
        self.work = work
        self.nonce = 0
        self._together = together
        self._left = versions(work)
        self.versions = self._next()

    def advance(self, nonces: int) -> None:
        self.nonce += nonces
        if self.nonce == NONCES:
            self.nonce, self.versions = 0, self._next()

    def _next(self) -> tuple[int, ...]:
        return tuple(islice(self._left, self._together))


def versions(work: Work) -> Iterator[int]:
    """Every version that the lease holds, its own first."""
    return (work.version | rolled for rolled in subsets(work.version_mask))


def subsets(mask: int) -> Iterator[int]:
    """Every value that has no bit outside the mask, rising from 0."""
    value = 0
    while True:
        yield value
        value = (value - mask) & mask
        if not value:
            return
