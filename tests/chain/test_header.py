from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import Header, HeaderError, Target, difficulty_of, display, from_display

UINT32 = st.integers(0, 0xFFFFFFFF)
HASH = st.binary(min_size=32, max_size=32)
HEADER = Header(version=0x20000000, prev_hash=bytes(32), merkle_root=bytes(32), ntime=1, nbits=0x207FFFFF, nonce=2)


@pytest.mark.golden("block_headers")
def test_real_headers_unpack_field_by_field_and_pack_back(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["header_hex"])
    header = Header.unpack(raw)
    assert header == Header(
        version=vector["version"],
        prev_hash=from_display(vector["prev_hash"]),
        merkle_root=from_display(vector["merkle_root"]),
        ntime=vector["ntime"],
        nbits=int(vector["nbits"], 16),
        nonce=vector["nonce"],
    )
    assert header.pack() == raw


@pytest.mark.golden("block_headers")
def test_real_headers_have_the_hash_and_difficulties_on_record(vector: dict[str, Any]) -> None:
    header = Header.unpack(bytes.fromhex(vector["header_hex"]))
    target = Target.from_nbits(header.nbits)
    assert header.hash.hex() == vector["hash_le"]
    assert display(header.hash) == vector["hash"]
    assert str(target) == vector["target"]
    assert target.met_by(header.hash) is vector["meets_network_target"]
    assert target.difficulty == pytest.approx(vector["network_difficulty"], rel=1e-12)
    assert difficulty_of(header.hash) == pytest.approx(vector["hash_difficulty"], rel=1e-12)


@given(version=UINT32, prev_hash=HASH, merkle_root=HASH, ntime=UINT32, nbits=UINT32, nonce=UINT32)
def test_every_header_survives_80_bytes(**fields: Any) -> None:
    header = Header(**fields)
    assert Header.unpack(header.pack()) == header


def test_the_nonce_is_the_last_four_bytes_least_significant_first() -> None:
    assert replace(HEADER, nonce=0x01020304).pack()[-4:] == bytes([4, 3, 2, 1])


@pytest.mark.parametrize("size", [0, 79, 81, 112])
def test_other_lengths_are_no_header(size: int) -> None:
    with pytest.raises(HeaderError, match=f"not {size}"):
        Header.unpack(bytes(size))


@pytest.mark.parametrize("field", ["version", "ntime", "nbits", "nonce"])
@pytest.mark.parametrize("number", [-1, 1 << 32])
def test_a_number_beyond_32_bits_is_refused_by_name(field: str, number: int) -> None:
    with pytest.raises(HeaderError, match=field):
        replace(HEADER, **{field: number})


@pytest.mark.parametrize("field", ["prev_hash", "merkle_root"])
@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_hash_of_another_length_is_refused_by_name(field: str, size: int) -> None:
    with pytest.raises(HeaderError, match=field):
        replace(HEADER, **{field: bytes(size)})
