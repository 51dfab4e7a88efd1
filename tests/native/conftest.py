"""Kernels are compiled once per test run: all workers share one cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import native

VECTORS = Path(__file__).parents[1] / "vectors" / "protocol.json"

Reference = Callable[[bytes, Sequence[int], int, range], list[tuple[int, int]]]


@pytest.fixture(scope="session")
def vectors() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(VECTORS.read_text())
    return loaded


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "native-state"


@pytest.fixture(scope="session")
def cache(state: Path) -> native.KernelCache:
    opened = native.open_cache(state, native.host_features())
    assert opened.unusable is None
    return opened


@pytest.fixture(scope="session", params=[x.name for x in native.candidates() if x.unusable is None])
def kernel(request: pytest.FixtureRequest, cache: native.KernelCache) -> native.Kernel:
    """Every search that this machine can run."""
    (candidate,) = [x for x in native.candidates() if x.name == request.param]
    return native.load(candidate, cache)


@pytest.fixture(scope="session")
def best(cache: native.KernelCache) -> native.Kernel:
    return native.load(next(x for x in native.candidates() if x.unusable is None), cache)


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
