"""What hash threads search with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import native
from native import Mailbox, NonceRange

Words = NDArray[np.uint32]


class Search(Protocol):
    """Proven kernels, as hash threads use them (`native.prepare`, `native.scan` and `native.relay`)."""

    @property
    def name(self) -> str: ...

    @property
    def midstates(self) -> int:
        """How many versions it likes to be given at once."""

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Words: ...

    def scan(self, nonces: NonceRange) -> tuple[int, int]: ...

    def mailbox(self) -> Mailbox:
        """For one thread's relays."""
        ...

    def relay(self, nonces: NonceRange, mailbox: Mailbox) -> tuple[int, int, int, int]: ...


class NativeSearch:
    """The kernels of native/: one for a single version and one, often the same, for several together."""

    def __init__(
        self, single: native.Kernel, several: native.Kernel | None = None, midstates: int | None = None
    ) -> None:
        self._single = single
        self._several = several or single
        self.midstates = midstates or self._several.midstates

    @property
    def name(self) -> str:
        names = dict.fromkeys((self._single.name, self._several.name))
        return ", ".join(names) + (f" x{self.midstates}" if self.midstates > 1 else "")

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Words:
        return native.prepare(self._kernel(len(versions)), header76, versions, target)

    def scan(self, nonces: NonceRange) -> tuple[int, int]:
        return native.scan(self._kernel(len(nonces.params)), nonces)

    def mailbox(self) -> Mailbox:
        return Mailbox()

    def relay(self, nonces: NonceRange, mailbox: Mailbox) -> tuple[int, int, int, int]:
        return native.relay(self._kernel(len(nonces.params)), nonces, mailbox)

    def _kernel(self, versions: int) -> native.Kernel:
        return self._single if versions == 1 else self._several
