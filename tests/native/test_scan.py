"""The contract of scan, for every kernel that this machine can run, with hashlib as judge."""

from __future__ import annotations

import hashlib
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import native

NONCES = 1 << 32
ALL = (1 << 256) - 1
HEADER = bytes(range(76))

Words = NDArray[np.uint32]
Reference = Callable[..., list[tuple[int, int]]]


def room(capacity: int) -> Words:
    return np.zeros((capacity, 2), np.uint32)


def pairs(hits: Words, found: int) -> list[tuple[int, int]]:
    return [(int(nonce), int(row)) for nonce, row in hits[:found]]


def epoch(value: int = 0) -> Words:
    return np.array([value], np.uint32)


def test_published_blocks_are_found(kernel: native.Kernel, vectors: dict[str, Any]) -> None:
    for block in vectors["block_headers"]:
        if not block["meets_network_target"]:
            continue
        header, nonce = bytes.fromhex(block["header_hex"]), block["nonce"]
        params = native.prepare(kernel, header[:76], [block["version"] & 0xFFFFFFFF], int(block["target"], 16))
        hits = room(4096)
        start = max(nonce - 999, 0)
        count = min(2000, NONCES - start)
        done, found = native.scan(kernel, native.NonceRange(params, start, count, hits, epoch(), 0))
        assert done == count
        assert (nonce, 0) in pairs(hits, found)


@given(
    start=st.one_of(st.integers(0, 70), st.integers(0, NONCES), st.integers(NONCES - 70, NONCES)),
    count=st.integers(0, 70),
    capacity=st.integers(3, 40),
    versions=st.lists(st.integers(0, NONCES - 1), min_size=1, max_size=3),
    target=st.one_of(st.integers(1, ALL), st.integers(248, 255).map(lambda bit: 1 << bit)),
    header=st.binary(min_size=76, max_size=76),
)
@settings(max_examples=60)
@example(start=NONCES - 1, count=1, capacity=3, versions=[1], target=ALL, header=HEADER)
@example(start=NONCES, count=0, capacity=3, versions=[1], target=ALL, header=HEADER)
@example(start=0, count=1, capacity=3, versions=[NONCES - 1], target=ALL, header=HEADER)
@example(start=15, count=18, capacity=7, versions=[1, 1, 1], target=ALL, header=HEADER)
def test_any_range_is_scanned_exactly(  # noqa: PLR0917 # one drawn value each
    kernel: native.Kernel,
    hashlib_hits: Reference,
    start: int,
    count: int,
    capacity: int,
    versions: list[int],
    target: int,
    header: bytes,
) -> None:
    count = min(count, NONCES - start)
    hits = room(capacity)
    params = native.prepare(kernel, header, versions, target)
    assert params.shape == (len(versions), kernel.slots)
    done, found = native.scan(kernel, native.NonceRange(params, start, count, hits, epoch(7), 7))
    assert pairs(hits, found) == hashlib_hits(header, versions, target, range(start, start + done))
    if done < count:
        next_one = hashlib_hits(header, versions, target, range(start + done, start + done + 1))
        assert found + len(next_one) > capacity
    assert not hits[found:].any()


def test_as_many_versions_as_a_kernel_likes_are_searched_exactly(
    kernel: native.Kernel, hashlib_hits: Reference
) -> None:
    versions = [0x20000000 | rolled << 13 for rolled in range(kernel.midstates)]
    params = native.prepare(kernel, HEADER, versions, 1 << 252)
    hits, start, count = room(400), 0x7FFFFFF3, 150
    done, found = native.scan(kernel, native.NonceRange(params, start, count, hits, epoch(), 0))
    assert done == count
    assert pairs(hits, found) == hashlib_hits(HEADER, versions, 1 << 252, range(start, start + count))
    assert {row for _, row in pairs(hits, found)} == set(range(kernel.midstates))


def test_a_flood_of_hits_loses_none(kernel: native.Kernel) -> None:
    versions, start, end = [1, 2, 3], NONCES - 5001, NONCES
    params = native.prepare(kernel, HEADER, versions, ALL)
    hits, seen, nonce = room(100), [], start
    while nonce < end:
        done, found = native.scan(kernel, native.NonceRange(params, nonce, end - nonce, hits, epoch(), 0))
        seen += pairs(hits, found)
        nonce += done
    assert seen == [(nonce, row) for nonce in range(start, end) for row in range(3)]


def test_the_edge_is_the_most_significant_word_of_the_target(kernel: native.Kernel) -> None:
    digest = hashlib.sha256(hashlib.sha256(HEADER + struct.pack("<I", 77)).digest()).digest()
    value = int.from_bytes(digest, "little")
    version = int.from_bytes(HEADER[:4], "little")

    def found(target: int) -> int:
        params = native.prepare(kernel, HEADER, [version], target)
        return native.scan(kernel, native.NonceRange(params, 77, 1, room(1), epoch(), 0))[1]

    assert found(value) == 1
    assert found(value - 1) == 1  # a superset: the caller confirms
    assert found(((value >> 224) << 224) - 1) == 0


def test_a_cancel_from_another_thread_stops_a_scan_that_holds_no_lock(kernel: native.Kernel) -> None:
    params = native.prepare(kernel, HEADER, [1, 2], 1 << 240)
    hits, cancel = room(1 << 16), epoch(41)
    answers: list[tuple[int, int]] = []
    thread = threading.Thread(
        target=lambda: answers.append(native.scan(kernel, native.NonceRange(params, 3, NONCES - 3, hits, cancel, 41)))
    )
    thread.start()
    time.sleep(0.1)  # a scan that kept the interpreter's lock would let nobody go on from here for minutes
    cancel[0] = 42
    thread.join(timeout=20)
    ((done, found),) = answers
    assert 0 < done < NONCES - 3

    again = room(1 << 16)
    assert native.scan(kernel, native.NonceRange(params, 3, done, again, epoch(41), 41)) == (done, found)
    assert pairs(again, found) == pairs(hits, found)


def test_a_scan_of_a_past_epoch_does_nothing(kernel: native.Kernel) -> None:
    params = native.prepare(kernel, HEADER, [1], ALL)
    hits = room(8)
    assert native.scan(kernel, native.NonceRange(params, 5, 100, hits, epoch(2), 1)) == (0, 0)
    assert native.scan(kernel, native.NonceRange(params, 5, 100, hits, epoch(NONCES - 1), NONCES - 1)) == (8, 8)


@pytest.mark.parametrize(("start", "count"), [(-1, 5), (0, -1), (5, -3), (NONCES, 1), (NONCES - 5, 6), (0, NONCES + 1)])
def test_a_range_outside_the_nonces_is_refused(quick: native.Kernel, start: int, count: int) -> None:
    params = native.prepare(quick, HEADER, [1], 1)
    with pytest.raises(ValueError, match="range of nonces"):
        native.scan(quick, native.NonceRange(params, start, count, room(1), epoch(), 0))


def test_arrays_that_would_be_misread_are_refused(quick: native.Kernel) -> None:
    params = native.prepare(quick, HEADER, [1, 2], 1)
    frozen = room(8)
    frozen.flags.writeable = False

    def refuse(text: str, *, params: Any = params, hits: Any = None, cancel: Any = None, number: int = 0) -> None:
        hits = room(8) if hits is None else hits
        cancel = epoch() if cancel is None else cancel
        with pytest.raises(ValueError, match=text):
            native.scan(quick, native.NonceRange(params, 0, 16, hits, cancel, number))

    refuse("params", params=params[:, :-1].copy())
    refuse("params", params=params.astype(np.int64))
    refuse("params", params=np.asfortranarray(params))
    refuse("hits", hits=np.zeros((8, 3), np.uint32))
    refuse("hits", hits=np.zeros(8, np.uint32))
    refuse("hits", hits=frozen)
    refuse("room", hits=room(1))
    refuse("row", params=params[:0])
    refuse("cancel", cancel=np.zeros(2, np.uint32))
    refuse("cancel", cancel=np.zeros(1, np.int64))
    refuse("epoch", number=-1)
    refuse("epoch", number=NONCES)


@pytest.mark.parametrize(
    ("size", "versions", "target"),
    [(75, [1], 1), (80, [1], 1), (76, [], 1), (76, [-1], 1), (76, [NONCES], 1), (76, [1], 0), (76, [1], 1 << 256)],
)
def test_parameters_of_no_job_are_refused(quick: native.Kernel, size: int, versions: list[int], target: int) -> None:
    with pytest.raises(ValueError, match=r"needed|versions|target"):
        native.prepare(quick, bytes(size), versions, target)
