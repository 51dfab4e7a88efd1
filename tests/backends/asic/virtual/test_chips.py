"""Chips answer, number themselves, change their rate, take jobs and find nonces as the captured ones do."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.virtual.chips.chip import BM1362, BM1370, BM1397, Chip, ChipKind
from backends.asic.virtual.chips.frames import crc5, nonce_reply, reply, take_frame
from backends.asic.virtual.chips.jobs import header_job, midstate_job, spread
from backends.asic.virtual.faults import Fault, Faults
from tests.backends.asic.virtual.bench import Clock, Line, framed

Vectors = dict[str, dict[str, Any]]
MakeLine = Callable[..., Line]
READ_ID = "52050000"
ROLL_ALL = "510900a49000ffff"
GENESIS_NONCE = 0x7C2BAC1D


def enable(line: Line, pll: str = "50d20240", sweep: int = 0x1EB5) -> None:
    """Clock, sweep and cores of a BM1362 or later."""
    for body in (ROLL_ALL, f"51090008{pll}", f"51090010{sweep:08x}", "5109003c800082aa"):
        line.command(body)


def test_every_captured_frame_to_a_chip_is_understood(vectors: Vectors) -> None:
    frames = [bytes.fromhex(one["frame"]) for one in vectors.values() if one["kind"] == "command_frame"]
    with_preamble = [frame for frame in frames if frame.startswith(b"\x55\xaa")]
    assert len(with_preamble) > 30
    for frame in with_preamble:
        assert take_frame(buffer := bytearray(frame), 86) is not None
        assert not buffer


def test_every_captured_frame_from_a_chip_is_closed_the_same_way(vectors: Vectors) -> None:
    kinds = {"response_frame": reply, "nonce_frame": nonce_reply}
    frames = [(kinds[v["kind"]], bytes.fromhex(v["frame"])) for v in vectors.values() if v["kind"] in kinds]
    with_preamble = [(close, frame) for close, frame in frames if frame.startswith(b"\xaa\x55")]
    assert len(with_preamble) > 10
    for close, frame in with_preamble:
        assert close(frame[2:-1]) == frame


@pytest.mark.parametrize(
    ("kind", "vector"),
    [(BM1397, "resp-bm1397-aa5513971800000006"), (BM1362, "resp-bm1362-aa551362030000000d")],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_chip_says_what_it_is(chips: MakeLine, vectors: Vectors, kind: ChipKind, vector: str) -> None:
    assert chips(kind).command(READ_ID).hex() == vectors[vector]["frame"]


def test_replies_grow_by_two_bytes_once_versions_roll(chips: MakeLine, vectors: Vectors) -> None:
    line = chips(BM1370)
    assert len(line.command(READ_ID)) == 9
    line.command(ROLL_ALL)
    assert line.command(READ_ID).hex() == vectors["resp-bm1370-aa55137000000000000010"]["frame"]


def test_a_chain_answers_in_order_and_takes_one_address_after_the_other(chips: MakeLine) -> None:
    line = chips(BM1362, 3)
    assert len(line.command(READ_ID)) == 3 * 9
    line.command("53050000")
    for address in (0, 85, 170):
        line.command(f"4005{address:02x}00")
    answers = line.command(READ_ID)
    assert [answers[at + 6] for at in range(0, 27, 9)] == [0, 85, 170]
    assert line.command("42055500")[6] == 85  # one of them alone
    assert len(line.command("42055500")) == 9


def test_a_wrong_checksum_and_unknown_registers_are_met_with_silence(chips: MakeLine) -> None:
    line = chips(BM1397)
    broken = bytearray(framed(READ_ID))
    broken[-1] ^= 1
    assert line.send(bytes(broken)) == b""
    assert line.command("520500fe") == b""


def test_a_frame_is_found_in_noise_and_across_pieces(chips: MakeLine) -> None:
    line = chips(BM1397)
    whole = b"\x00\x55\x55\xaa\xff\xaa" + framed(READ_ID)
    assert b"".join(line.send(whole[at : at + 1]) for at in range(len(whole))).startswith(b"\xaa\x55\x13\x97")


@given(st.binary(max_size=300))
def test_no_bytes_break_a_chip(data: bytes) -> None:
    for job_length in (None, 86):
        buffer = bytearray(data)
        while take_frame(buffer, job_length) is not None:
            assert len(buffer) < len(data)


def test_registers_keep_what_is_written_and_lose_it_in_reset(chips: MakeLine) -> None:
    line = chips(BM1370)
    assert line.command("52050028")[2:6].hex() == "01301a00"
    line.command("5109005400000002")
    assert line.command("52050054")[2:6].hex() == "00000002"
    with line.changed:
        line.chain.power(on=False)
    assert line.command(READ_ID) == b""
    with line.changed:
        line.chain.power(on=True)
    assert line.command("52050054")[2:6].hex() == "00000000"


@pytest.mark.parametrize(
    ("kind", "command", "baud"),
    [(BM1397, "5109001800006131", 1_562_500.0), (BM1370, "5109002811300000", 3_125_000.0)],
    ids=lambda one: getattr(one, "name", ""),
)
def test_the_rate_changes_with_the_register_and_a_host_at_another_is_not_heard(
    chips: MakeLine, kind: ChipKind, command: str, baud: float
) -> None:
    line = chips(kind)
    assert line.send(framed(command) + framed(READ_ID)) == b""  # what follows the change comes at the old rate
    assert line.command(READ_ID) == b""
    line.baud = baud * 0.96  # as 1.5 to 1.5625 megabaud
    assert line.command(READ_ID).startswith(b"\xaa\x55")
    assert line.heard_baud == baud


def test_clocks_are_those_of_the_known_settings(vectors: Vectors) -> None:
    kinds = {"BM1397": BM1397, "BM1362": BM1362, "BM1370": BM1370}
    settings = [one for one in vectors.values() if one["kind"] == "pll" and one["chip"] in kinds]
    assert len(settings) >= 5
    for setting in settings:
        chip = Chip(kinds[setting["chip"]])
        chip.reset()
        chip.write(0x08, int(setting["wire"], 16))
        assert chip.frequency_hz == pytest.approx(setting["mhz"] * 1e6)


def test_ticket_masks_mean_their_difficulty(vectors: Vectors) -> None:
    for ticket in (one for one in vectors.values() if one["kind"] == "ticket_mask"):
        chip = Chip(BM1370)
        chip.reset()
        chip.write(0x14, int(ticket["wire"], 16))
        assert 1 << chip.ticket_bits == ticket["difficulty"]


def test_a_whole_header_is_read_out_of_a_captured_job(vectors: Vectors) -> None:
    vector = vectors["job-bm1370-68-4c035275"]
    frame = take_frame(bytearray.fromhex(vector["job_frame"]), 86)
    assert frame is not None
    job = header_job(frame.body)
    rolled, nonce = 0x05A2, int(vector["decoded"]["nonce_submit"], 16)
    header = bytes.fromhex(vector["header"])
    assert job.version(rolled).to_bytes(4, "little") + job.header76[4:] == header[:76]
    assert job.hash(rolled, nonce) == int(vector["hash_display"], 16)


def test_a_captured_job_gives_its_captured_nonce_bit_for_bit(chips: MakeLine, vectors: Vectors) -> None:
    vector = vectors["job-bm1370-68-4c035275"]
    line = chips(BM1370)
    enable(line)
    line.command("51090014000000ff")
    line.chain.plant(0x05A2, int(vector["decoded"]["nonce_submit"], 16))
    assert line.send(bytes.fromhex(vector["job_frame"])).hex() == vector["nonce_frame"]


def test_a_job_of_midstates_gives_the_nonce_of_the_right_one(chips: MakeLine, vectors: Vectors) -> None:
    vector = vectors["job-bm1397-test"]
    tail = "".join(vector[f"{part}_wire"] for part in ("nbits", "ntime", "merkle_tail"))
    body = bytes.fromhex("2196" + vector["job_id"] + "0400000000" + tail)
    body += bytes(64) + bytes.fromhex(vector["midstate_wire"]) + bytes(32)
    job = midstate_job(body)
    assert job is not None
    nonce = int.from_bytes(bytes.fromhex(vector["nonce_wire"]), "little")
    assert job.hash(2, nonce) == int(vector["hash_display"], 16)
    line = chips(BM1397)
    line.command("5109000840a00225")
    line.chain.plant(2, nonce)
    from_chip = line.send(b"\x55\xaa" + body + _crc16(body))
    assert from_chip[2:6].hex() == vector["nonce_wire"]
    assert from_chip[7:8].hex() == vector["response_id_byte"]


@pytest.mark.parametrize(
    ("kind", "frame"), [(BM1397, "bm1397_job_1mid"), (BM1370, "full_job_len36"), (BM1362, "full_job_len36")]
)
def test_the_first_block_is_found_from_every_form_of_job(
    chips: MakeLine, vectors: Vectors, kind: ChipKind, frame: str
) -> None:
    vector = vectors["derived-genesis"]
    line = chips(kind)
    enable(line, pll="40a00225" if kind is BM1397 else "50d20240")
    line.chain.plant(0, GENESIS_NONCE)
    assert line.send(bytes.fromhex(vector[frame]))[2:6].hex() == vector["nonce_wire"]


def test_a_core_that_a_chip_lacks_finds_nothing(chips: MakeLine, vectors: Vectors) -> None:
    line = chips(BM1362)
    enable(line)
    line.chain.plant(0, 65 << 1)  # the lowest byte holds the core
    assert line.send(bytes.fromhex(vectors["derived-genesis"]["full_job_len36"])) == b""


def test_without_clock_or_enabled_cores_a_job_goes_nowhere(chips: MakeLine, vectors: Vectors) -> None:
    job = bytes.fromhex(vectors["derived-genesis"]["full_job_len36"])
    line = chips(BM1370)
    line.send(job)
    assert not line.chain.busy
    enable(line)
    line.send(job)
    assert line.chain.busy


@pytest.mark.parametrize(
    ("kind", "frame", "pll", "sweep_s"),
    [
        (BM1397, "bm1397_job_1mid", "40a00225", 2**32 / (672 * 200e6)),
        (BM1370, "full_job_len36", "50d20240", 65_536 / 16 * 0x1EB5 / 25e6),
        (BM1362, "full_job_len36", "40a20255", 65_536 / 8 * 0x1EB5 / 25e6),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_a_job_lasts_as_long_as_on_the_real_chip(  # noqa: PLR0917 # a table's columns
    chips: MakeLine, vectors: Vectors, clock: Clock, kind: ChipKind, frame: str, pll: str, sweep_s: float
) -> None:
    line = chips(kind)
    enable(line, pll)
    line.send(bytes.fromhex(vectors["derived-genesis"][frame]))
    clock.now += sweep_s * 0.99
    assert line.chain.busy
    clock.now += sweep_s * 0.02
    assert not line.chain.busy


@given(st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_rolled_versions_stay_under_the_mask_and_differ(counter: int, mask: int) -> None:
    assert spread(counter, mask) & ~mask == 0
    versions = 1 << mask.bit_count()
    assert (spread(counter, mask) == spread(counter + 1, mask)) == (versions == 1)


def test_faults_do_what_they_are_called(chips: MakeLine, vectors: Vectors, faults: Faults, clock: Clock) -> None:
    line = chips(BM1370)
    enable(line)
    line.chain.plant(0, GENESIS_NONCE)
    job = bytes.fromhex(vectors["derived-genesis"]["full_job_len36"])
    healthy = line.send(job)

    def under(fault: Fault, value: float | None = None) -> bytes:
        faults.clear()
        faults.set(fault, value)
        return line.send(job)

    assert under(Fault.DUPLICATE) == healthy * 2
    crc = under(Fault.CRC)
    assert sum((a ^ b).bit_count() for a, b in zip(crc, healthy, strict=True)) == 1
    assert under(Fault.GARBAGE).endswith(healthy) and len(line.heard) > len(healthy)
    lie = under(Fault.LYING)
    assert lie[4:6] != healthy[4:6] and crc5(lie[2:-1] + b"\x80", 8 * 8 + 3) == lie[-1] & 0x1F
    assert under(Fault.LATE) == b""
    faults.clear()
    other = job[:4] + b"\x20" + job[5:-2]
    assert line.send(other + _crc16(other[2:])).startswith(healthy)  # the held one first, with its old id
    assert under(Fault.STUCK_CORE, 0x1D >> 1) == healthy
    assert line.send(other + _crc16(other[2:])) == healthy  # the old id, whatever the job
    assert under(Fault.DEAD_CHIP, 0) == b"" and line.command(READ_ID) == b""
    assert under(Fault.SILENCE, 5.0) == healthy
    clock.now += 5.0
    assert line.send(job) == b""


class Recorded:
    """A search that finds every tenth nonce, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, list[int], int]] = []

    def search(self, job: Any, rows: list[int], start: int, count: int, target: int) -> list[tuple[int, int]]:
        self.asked.append((job.id, rows, target))
        return [(start, rows[0])]


def test_the_search_is_paced_by_the_clock_and_the_scale(chips: MakeLine, vectors: Vectors, clock: Clock) -> None:
    search = Recorded()
    line = chips(BM1370, search=search, scale=2.0**-20)
    enable(line, sweep=0xFFFF_FFFF)
    line.command("51090014000000ff")
    job = bytes.fromhex(vectors["derived-genesis"]["full_job_len36"])
    line.send(job)
    began, pace = clock.now, 2040 * 525e6 * 2.0**-20
    with line.changed:
        for _ in range(20):
            clock.now += 0.05
            line.changed.notify_all()
            line.changed.wait_for(lambda: line.chain.hashes > (clock.now - began - 0.1) * pace, timeout=2)
        assert (clock.now - began) * pace * 0.8 < line.chain.hashes <= (clock.now - began) * pace
    assert {target for _, _, target in search.asked} == {(1 << 224 - 8 + 20) - 1}  # the ticket, easier by the scale
    assert all(len(set(rows)) == 4 for _, rows, _ in search.asked)


def test_hashes_found_are_real(vectors: Vectors) -> None:
    header = bytes.fromhex(vectors["derived-genesis"]["header"])
    digest = hashlib.sha256(hashlib.sha256(header).digest()).digest()
    frame = take_frame(bytearray.fromhex(vectors["derived-genesis"]["bm1397_job_1mid"]), None)
    assert frame is not None
    job = midstate_job(frame.body)
    assert job is not None and job.hash(0, struct.unpack("<I", header[76:])[0]) == int.from_bytes(digest, "little")


def _crc16(body: bytes) -> bytes:
    crc = 0xFFFF
    for byte in body:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ (0x1021 if crc & 0x8000 else 0)) & 0xFFFF
    return crc.to_bytes(2, "big")
