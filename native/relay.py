"""A scan that goes straight on with the next job, without a word of Python between.

    another thread   post(job, 8) -> epoch = 8
    relay            scan at 7 ............... is the mailbox for 8? scan at 8, from nonce 0 -> both results

Compiled, as the scans are that it calls. Whoever posts writes the epoch last (release) and the relay reads it first
(acquire), so that what belongs to it is whole on every processor. Should the epoch rise once more, the second scan
sees that before it does anything.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native.features import host_features
from native.kernel import Kernel, NonceRange, memory, scanning

Words = NDArray[np.uint32]

_NO_EPOCH = -1


class Mailbox:
    """A job that another thread leaves for a `relay` that runs. Whoever posts and whoever clears must take turns."""

    def __init__(self) -> None:
        self._post = _functions()[1]
        self._words = np.full(4, _NO_EPOCH, np.int64)
        self.memory = memory(self._words)  # for compiled functions

    def post(self, params: Words, count: int, epoch: int) -> None:
        """Scan the nonces 0 .. count - 1 as soon as the epoch is this one.

        `params` must live, and nothing else be posted, until the relay has returned and the mailbox is cleared.
        """
        self._post(self.memory, memory(params), len(params), count, epoch)

    def clear(self) -> None:
        """Nothing is left; while no relay runs."""
        self._words[0] = _NO_EPOCH


def relay(kernel: Kernel, nonces: NonceRange, mailbox: Mailbox) -> tuple[int, int, int, int]:
    """A `native.scan` that goes on with what is in the mailbox, if that is for the epoch which is when it ends.

    Returns (done, found, done of the next, found of the next): the next one's hits are behind the others. Both are
    exact, as a scan is. A job with another number of rows than `nonces.params` stays in the mailbox. Raises ValueError
    as a scan.
    """
    scan, arguments = scanning(kernel, nonces)
    results = (ctypes.c_int64 * 3)()
    done: int = _functions()[0](scan, *arguments, mailbox.memory, results)
    return done, *results


@cache
def _functions() -> tuple[Any, Any]:
    """The relay and the post: a few instructions, compiled in a moment for each process. Raises CompilationError."""
    from native.object_code import compiled  # noqa: PLC0415 # who only looks needs no generator
    from native.relay_code import POST, RELAY, emit_post, emit_relay  # noqa: PLC0415

    features = host_features()
    return compiled("relay", RELAY, emit_relay, features), compiled("post", POST, emit_post, features)
