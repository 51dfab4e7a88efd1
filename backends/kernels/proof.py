"""The examination of a kernel: it must give known answers before it is trusted with a range of nonces.

A compiler or a processor can be wrong where the source is right. A miner that misses every block looks exactly like a
miner without luck.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from backends.base import NONCES
from backends.kernels.blocks import HEADERS
from native import Kernel, KernelError, NonceRange, prepare, scan

_EASY = 1 << 252  # one hash in sixteen
_HARD = 1 << 224  # the most significant word is 0, or 1


class ProofError(KernelError):
    """The kernel was compiled and gave a wrong answer."""


def prove(kernel: Kernel) -> None:
    """Compare the kernel with hashlib in cases where miners have gone wrong before. Raises ProofError if it differs."""
    for height, header in HEADERS.items():
        version, nonce = int.from_bytes(header[:4], "little"), int.from_bytes(header[76:], "little")
        if (nonce, 0) not in _examine(kernel, header, [version], _HARD, range(nonce - 100, nonce + 101)):
            raise ProofError(f"{kernel.name}: missed the nonce of block {height}")
        _examine(kernel, header, [version, 0x20000000, 0x3FFFE000], _EASY, range(nonce - 77, nonce + 73))
        _examine(kernel, header, [version], _EASY, range(NONCES - 205, NONCES))
        _examine(
            kernel, header, [version, version ^ 1 << 13], (1 << 256) - 1, range(nonce, nonce + 3 * kernel.lanes + 1)
        )
    params = prepare(kernel, HEADERS[0][:76], [1], _EASY)
    answer = scan(kernel, NonceRange(params, 0, NONCES, np.empty((1, 2), np.uint32), np.ones(1, np.uint32), 0))
    if answer != (0, 0):
        raise ProofError(f"{kernel.name}: went on after it was cancelled: {answer}")


def _examine(kernel: Kernel, header: bytes, versions: list[int], target: int, nonces: range) -> list[tuple[int, int]]:
    """Scan with little room for hits, so that the scan must be continued, and compare with hashlib."""
    params = prepare(kernel, header[:76], versions, target)
    hits, cancel = np.zeros((5, 2), np.uint32), np.zeros(1, np.uint32)
    got: list[tuple[int, int]] = []
    left = nonces
    while left:
        done, found = scan(kernel, NonceRange(params, left.start, len(left), hits, cancel, 0))
        if not 0 < done <= len(left):
            raise ProofError(f"{kernel.name}: said {done} of {len(left)} nonces were done")
        got += [(int(nonce), int(row)) for nonce, row in hits[:found]]
        left = left[done:]
    wanted = [
        (nonce, row)
        for nonce in nonces
        for row, version in enumerate(versions)
        if _last_word(struct.pack("<I", version) + header[4:76] + struct.pack("<I", nonce)) <= target >> 224
    ]
    if got != wanted:
        raise ProofError(f"{kernel.name}: {len(got)} hits from nonce {nonces.start}, where hashlib has {len(wanted)}")
    return got


def _last_word(header: bytes) -> int:
    return int.from_bytes(hashlib.sha256(hashlib.sha256(header).digest()).digest()[28:], "little")
