"""The searches that an ARM processor would run give hashlib's answers there: compiled, linked and emulated."""

from __future__ import annotations

import json
from typing import Any

import pytest

from native.compiled import LOWERINGS
from tests.real import aarch64
from tests.real.cache import REPOSITORY, UnavailableError

NONCES = 1 << 32
SEARCHES = {"arm4": "+neon,+sha2", "vector4": "+neon", "vector4+": "+neon", "scalar": ""}
BLOCKS = json.loads((REPOSITORY / "tests" / "vectors" / "protocol.json").read_text())["block_headers"]
REAL = [block for block in BLOCKS if block["meets_network_target"]]


@pytest.fixture(scope="session")
def machine() -> aarch64.Machine:
    try:
        return aarch64.machine()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session", params=SEARCHES)
def search(
    machine: aarch64.Machine, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> aarch64.Program:
    return aarch64.build(machine, LOWERINGS[request.param], SEARCHES[request.param], tmp_path_factory.mktemp("aarch64"))


@pytest.mark.parametrize("block", REAL, ids=lambda block: str(block["id"]))
def test_published_blocks_are_found(search: aarch64.Program, block: dict[str, Any]) -> None:
    header, nonce, version = bytes.fromhex(block["header_hex"])[:76], block["nonce"], block["version"] & 0xFFFFFFFF
    nonces = range(max(nonce - 999, 0), min(nonce + 1000, NONCES))
    found = search.hits(header, [version], int(block["target"], 16), nonces)
    assert (nonce, 0) in found


@pytest.mark.parametrize("target", [1 << 248, 1 << 253, (1 << 256) - 1], ids=["few", "many", "all"])
@pytest.mark.parametrize("nonces", [range(3), range(77, 1078), range(NONCES - 1001, NONCES)], ids=str)
def test_hits_are_those_of_hashlib(search: aarch64.Program, nonces: range, target: int) -> None:
    header, versions = bytes.fromhex(REAL[0]["header_hex"])[:76], [1, 0x20000000, 0x3FFFE000]
    assert search.hits(header, versions, target, nonces) == aarch64.expected(header, versions, target, nonces)


def test_it_is_the_processors_own_instructions_that_do_it(search: aarch64.Program) -> None:
    ours = {"sha256h\t", "sha256h2\t", "sha256su0\t", "sha256su1\t"}
    used = {x for x in ours if x in search.assembly}
    assert used == (ours if search.lowering is LOWERINGS["arm4"] else set())
    on_vectors = sum(".4s" in line for line in search.assembly.splitlines())
    assert (on_vectors > 1000) == (search.lowering in {LOWERINGS["vector4"], LOWERINGS["vector4+"]})
