"""What kernels are judged by."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

VECTORS = Path(__file__).parents[1] / "vectors" / "protocol.json"

Reference = Callable[[bytes, Sequence[int], int, range], list[tuple[int, int]]]


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(VECTORS.read_text())
    return loaded


@pytest.fixture(scope="session")
def hashlib_hits() -> Reference:
    """What a scan has to report, by hashlib alone: (header76, versions, target, nonces) -> [(nonce, row)]."""

    def hits(header76: bytes, versions: Sequence[int], target: int, nonces: range) -> list[tuple[int, int]]:
        found = []
        for nonce in nonces:
            for row, version in enumerate(versions):
                header = struct.pack("<I", version) + header76[4:] + struct.pack("<I", nonce)
                digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
                if int.from_bytes(digest, "little") >> 224 <= target >> 224:
                    found.append((nonce, row))
        return found

    return hits
