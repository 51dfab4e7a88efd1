"""The way through a lease for chips that search all nonces of a few versions on their own.

A piece is what one job covers. Versions that the chip rolls itself are one piece together; of the others it takes so
many at a time. After the last version time goes on by a second, where the lease lets it. No header is in two pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from backends.base import NONCES, Work
from backends.rectangle import subsets


@dataclass(frozen=True, slots=True)
class Piece:
    """All nonces of these versions at this time. `rolled`: bits under which the chip varies each of them."""

    work: Work
    ntime: int
    versions: tuple[int, ...]
    rolled: int = 0

    @property
    def headers(self) -> int:
        return NONCES * len(self.versions) << self.rolled.bit_count()


def pieces(work: Work, together: int, rolled: int = 0) -> Iterator[Piece]:
    """The lease in pieces of `together` versions, or of one where fewer than that are left.

    rolled: the version bits that the chip rolls, as far as the lease has them.
    """
    by_chip = work.version_mask & rolled
    by_host = work.version_mask & ~rolled
    for ntime in range(work.ntime, work.ntime + work.ntime_span + 1):
        left = (work.version | bits for bits in subsets(by_host))
        while some := tuple(islice(left, together)):
            if len(some) == together:
                yield Piece(work, ntime, some, by_chip)
            else:
                yield from (Piece(work, ntime, (version,), by_chip) for version in some)
