"""Version bits against pools that read them differently.

A share carries the rolled bits beside the job; how they meet the job's version is up to the pool (all measured):

    replace      (version & ~mask) | bits     BIP 310's text, strict servers
    OR           version | bits               ckpool
    XOR          version ^ bits               public-pool

We only ever roll bits that the job's version leaves 0. Then OR and XOR agree on the *difference* of the two versions,
and all three agree where no bit of the job's version lies under the mask. Where one does, first ask the pool for a
mask without it (see session). A pool that ignores that is sent the difference, and if it refuses those as of low
difficulty although they are not, the replacing form:

      +------------+   REJECTS in a row, each verified here   +---------+
      | DIFFERENCE | ---------------------------------------> | REPLACE |
      |            | <--------------------------------------- |         |
      +------------+                  the same                +---------+

At first at most REJECTS such shares are under way, so that a change-over costs fewer than twice as many; with each one
that is accepted the window opens further.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

REJECTS = 4


class Style(StrEnum):
    """What is submitted for a header's version."""

    DIFFERENCE = "difference"
    REPLACE = "replace"


def bits(style: Style, *, version: int, job_version: int, mask: int) -> int:
    """The sixth parameter of a submit; `mask` as granted."""
    return (version if style is Style.REPLACE else version ^ job_version) & mask


@dataclass(slots=True)
class VersionBits:
    """What is known of how one pool reads bits; outlives its connections. Only ambiguous shares are told of."""

    fixed: Style | None = None  # decided by hand
    style: Style = Style.DIFFERENCE
    _accepted: int = 0  # in a row
    _under_way: int = 0
    _rejects: int = 0

    def __post_init__(self) -> None:
        if self.fixed is not None:
            self.style = self.fixed

    @property
    def may_send(self) -> bool:
        """Whether one more ambiguous share may go out now."""
        return self.fixed is not None or self._under_way < REJECTS + self._accepted

    def sent(self) -> None:
        """An ambiguous share went out in the present style."""
        self._under_way += 1

    def answered(self, style: Style, *, accepted: bool, low: bool) -> bool:
        """Whether this answer makes us change over; `low`: refused as of low difficulty although it is not."""
        if style is not self.style:
            return False
        self._under_way = max(0, self._under_way - 1)
        if accepted:
            self._accepted, self._rejects = self._accepted + 1, 0
        if not low or self.fixed is not None:
            return False
        self._accepted, self._rejects = 0, self._rejects + 1
        if self._rejects < REJECTS:
            return False
        self.style = Style.REPLACE if style is Style.DIFFERENCE else Style.DIFFERENCE
        self._rejects = self._under_way = 0
        return True

    def forget_under_way(self) -> None:
        """The connection is gone, and with it the answers."""
        self._under_way = 0
