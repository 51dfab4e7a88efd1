"""A kernel's examination: known answers, before it is trusted with a range of nonces.

A compiler or a processor can be wrong where the source is right, and a miner that misses every block looks exactly
like one that has no luck.
"""

from __future__ import annotations

import hashlib
import struct

import numpy as np

from native.errors import ProofError
from native.kernel import NONCES, Kernel, prepare, scan

# Headers of mainnet blocks, as any node hands them out.
HEADERS = {
    0: bytes.fromhex(
        "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e"
        "67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
    ),
    100000: bytes.fromhex(
        "0100000050120119172a610421a6c3011dd330d9df07b63616c2cc1f1cd00200000000006657a9252aacd5c0b2940996"
        "ecff952228c3067cc38d4885efb5a4ac4247e9f337221b4d4c86041b0f2b5710"
    ),
    125552: bytes.fromhex(
        "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2fffc8d750423db8b"
        "1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695"
    ),
}

_EASY = 1 << 252  # one hash in sixteen
_HARD = 1 << 224  # the most significant word is 0, or 1


def prove(kernel: Kernel) -> None:
    """Compare the kernel with hashlib where miners have gone wrong before; raise ProofError if it differs."""
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
    answer = scan(kernel, params, 0, NONCES, np.empty((1, 2), np.uint32), np.ones(1, np.uint32), 0)
    if answer != (0, 0):
        raise ProofError(f"{kernel.name}: went on after it was cancelled: {answer}")


def _examine(kernel: Kernel, header: bytes, versions: list[int], target: int, nonces: range) -> list[tuple[int, int]]:
    """Scan with little room for hits, so that the scan is taken up again, and compare with hashlib."""
    params = prepare(kernel, header[:76], versions, target)
    hits, cancel = np.zeros((5, 2), np.uint32), np.zeros(1, np.uint32)
    got: list[tuple[int, int]] = []
    left = nonces
    while left:
        done, found = scan(kernel, params, left.start, len(left), hits, cancel, 0)
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
