"""From candidates to the kernel in use: something that starts quickly first, the best one behind it.

    begin() -> load -> proven: `search` is set, changed() called -> load the better one -> proven: `search` replaced
                    -> refused: noted, the next one's turn;  none left: `failure`

One thread of its own, which gives way once something hashes; what it made outlives stop() and start() of the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

import native

from .dispatch import Candidate

Words = NDArray[np.uint32]


class Search(Protocol):
    """A proven kernel, as hash threads use it (`native.prepare` and `native.scan`)."""

    @property
    def name(self) -> str: ...

    @property
    def midstates(self) -> int:
        """How many versions it likes to be given at once."""

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Words: ...

    def scan(  # noqa: PLR0917 # native.scan's
        self, params: Words, start: int, count: int, hits: Words, cancel: Words, epoch: int
    ) -> tuple[int, int]: ...


class NativeSearch:
    """A kernel of native/."""

    def __init__(self, kernel: native.Kernel) -> None:
        self._kernel = kernel

    @property
    def name(self) -> str:
        return self._kernel.name

    @property
    def midstates(self) -> int:
        return self._kernel.midstates

    def prepare(self, header76: bytes, versions: Sequence[int], target: int) -> Words:
        return native.prepare(self._kernel, header76, versions, target)

    def scan(  # noqa: PLR0917 # native.scan's
        self, params: Words, start: int, count: int, hits: Words, cancel: Words, epoch: int
    ) -> tuple[int, int]:
        return native.scan(self._kernel, params, start, count, hits, cancel, epoch)


class Forge:
    """Loads candidates in the background.

    order: of those that are left, what to load in turn (`startup_order`); the last is the best of them.
    load: may take seconds; what it raises refuses this candidate.
    settle: called in the forge's thread as soon as something hashes.
    """

    def __init__(
        self,
        choice: Sequence[Candidate],
        order: Callable[[Sequence[Candidate]], Sequence[Candidate]],
        load: Callable[[Candidate], Search],
        *,
        settle: Callable[[], None] = lambda: None,
        log: Callable[..., None] = lambda *_a, **_k: None,
    ) -> None:
        self.search: Search | None = None  # the one to use: looked at before every chunk
        self.compiling: str | None = None
        self.failure: str | None = None  # no candidate is left
        self.refused: dict[str, str] = {}  # candidate's name: why
        self.changed: Callable[[], None] = lambda: None  # called in the forge's thread
        self._choice = choice
        self._order = order
        self._load = load
        self._settle = settle
        self._log = log
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Have it loading, unless it is or has been; after a failure, try everything again."""
        if self._thread and (self._thread.is_alive() or self.search):
            return
        self.failure = None
        self.refused = {}
        self._thread = threading.Thread(target=self._work, name="cpu-kernels", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        made: dict[str, Search] = {}
        while self._left():
            if self._load_in_turn(made):
                return
        self.failure = "no kernel works here: " + "; ".join(f"{name}: {why}" for name, why in self.refused.items())
        self._log("kernels_exhausted", reason=self.failure)
        self.changed()

    def _load_in_turn(self, made: dict[str, Search]) -> bool:
        """Load what is left, quickest and best; False when one was refused, so that what is left is another set."""
        for candidate in self._order(self._left()):
            name = candidate.name
            if name not in made and not self._make(candidate, made):
                return False
            if self.search is not made[name]:
                self.search = made[name]
                self._log("kernel_ready", kernel=name)
                self.changed()
                self._settle()
        return True

    def _make(self, candidate: Candidate, made: dict[str, Search]) -> bool:
        self.compiling = candidate.name
        try:
            made[candidate.name] = self._load(candidate)
        except Exception as e:  # noqa: BLE001 # whatever is wrong with one kernel, the next may do
            self.refused = {**self.refused, candidate.name: str(e) or type(e).__name__}
            self._log("kernel_refused", kernel=candidate.name, reason=str(e))
            return False
        finally:
            self.compiling = None
        return True

    def _left(self) -> list[Candidate]:
        return [x for x in self._choice if x.unusable is None and x.name not in self.refused]
