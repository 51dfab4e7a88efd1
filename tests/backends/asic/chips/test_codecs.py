from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.chips.chip import BM1370, CHIPS
from backends.asic.chips.crc import crc5, crc16
from backends.asic.chips.decoder import Broken, Decoder, Item, Noise, NonceReply, RegisterReply
from backends.asic.chips.frames import chain_inactive, read_register, set_address, write_register
from backends.asic.chips.pll import BM1397_PLL
from backends.asic.chips.ticket import UNIT, Ticket
from backends.base import Misuse, SettingRefused
from tests.backends.asic.chips.golden import of_kind


def bitwise_crc5(data: bytes) -> int:
    crc = 0x1F
    for byte in data:
        for bit in range(8):
            carry = (crc >> 4) ^ (byte >> (7 - bit)) & 1
            crc = (crc << 1 & 0x1F) ^ (5 if carry & 1 else 0)
    return crc


def rebuilt(frame: bytes) -> bytes:
    """The same command, made by the functions that drivers use."""
    command, value = frame[2], int.from_bytes(frame[6:10], "big")
    address = None if command & 0x10 else frame[4]
    match command & 0x0F:
        case 0:
            return set_address(frame[4])
        case 1:
            return write_register(frame[5], value, address)
        case 2:
            return read_register(frame[5], address)
    return chain_inactive()


@pytest.mark.parametrize("vector", of_kind("command_frame"), ids=lambda vector: vector["id"])
def test_commands_are_those_that_were_captured(vector: dict[str, str]) -> None:
    frame = bytes.fromhex(vector["frame"])
    assert rebuilt(frame) == frame


@given(st.binary(max_size=40))
def test_the_table_of_the_crc_agrees_with_its_definition(data: bytes) -> None:
    assert crc5(data) == bitwise_crc5(data)


def test_the_jobs_checksum_is_the_one_of_the_standard() -> None:
    assert crc16(b"123456789") == bytes.fromhex("29b1")  # CRC-16/CCITT-FALSE's check value


def test_what_does_not_fit_a_frame_is_refused() -> None:
    for call in (lambda: write_register(0, 1 << 32), lambda: set_address(256), lambda: read_register(0, -1)):
        with pytest.raises(Misuse):
            call()


@pytest.mark.parametrize("vector", of_kind("response_frame"), ids=lambda vector: vector["id"])
def test_registers_are_read_as_captured(vector: dict[str, dict[str, object]]) -> None:
    frame = bytes.fromhex(str(vector["frame"]))
    [reply] = Decoder(len(frame)).feed(frame)
    assert isinstance(reply, RegisterReply)
    assert f"{reply.value >> 16:04x}" == vector["decoded"]["chip_id"]
    assert (reply.address, reply.register) == (0, 0)


@pytest.mark.parametrize("vector", of_kind("nonce_frame"), ids=lambda vector: vector["id"])
def test_nonces_are_read_as_captured(vector: dict[str, dict[str, object]]) -> None:
    frame, decoded = bytes.fromhex(str(vector["frame"])), vector["decoded"]
    chip = CHIPS[str(vector["chip"])]
    [reply] = Decoder(len(frame)).feed(frame)
    assert isinstance(reply, NonceReply) and chip.reply_length == len(frame)
    assert f"{reply.nonce:08x}" == decoded["nonce_le"]
    assert chip.core(reply.counter) == decoded["core"]
    assert f"{(reply.tag & chip.tag_job_mask) >> chip.tag_job_shift:02x}" == decoded["job_id"]
    if "version_bits" in decoded:
        assert reply.version_bits is not None and f"{reply.version_bits << 13:08x}" == decoded["version_bits"]
    if "chip_addr" in decoded:
        assert chip.address(reply.counter) == decoded["chip_addr"]


@pytest.mark.parametrize("vector", of_kind("nonce_decode_log"), ids=lambda vector: vector["id"])
def test_cores_are_those_of_the_firmwares_log(vector: dict[str, str]) -> None:
    assert CHIPS[vector["chip"]].core(int(vector["nonce_wire"], 16)) == vector["core"]


def framed(body: bytes, kind: int) -> bytes:
    """A reply of 9 or 11 bytes around `body`."""
    last = next(last for last in range(kind << 5, (kind << 5) + 32) if crc5(body + bytes((last,))) == 0)
    return b"\xaa\x55" + body + bytes((last,))


FRAMES = st.builds(framed, st.binary(min_size=8, max_size=8), st.sampled_from([0, 4]))
FILLING = st.binary(max_size=30).filter(lambda data: b"\xaa" not in data)


def replies(items: list[Item]) -> list[Item]:
    return [item for item in items if isinstance(item, RegisterReply | NonceReply)]


@given(st.lists(st.tuples(FILLING, FRAMES), max_size=6), st.lists(st.integers(1, 20), min_size=1))
def test_every_frame_is_found_between_noise_however_the_bytes_are_cut(
    parts: list[tuple[bytes, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(noise + frame for noise, frame in parts)
    decoder, items = Decoder(11), []
    at = turn = 0
    while at < len(stream):
        items += decoder.feed(stream[at : at + cuts[turn % len(cuts)]])
        at, turn = at + cuts[turn % len(cuts)], turn + 1
    assert replies(items) == [item for _, frame in parts for item in Decoder(11).feed(frame)]
    assert sum(item.size for item in items if isinstance(item, Noise)) == sum(len(noise) for noise, _ in parts)


@given(FRAMES, FRAMES, st.integers(2, 10), st.integers(1, 255))
def test_a_damaged_frame_costs_itself_and_nothing_behind_it(first: bytes, second: bytes, at: int, flip: int) -> None:
    damaged = bytearray(first)
    damaged[at] ^= flip
    if crc5(bytes(damaged[2:])) == 0 or 0xAA in damaged[1:]:
        return
    items = Decoder(11).feed(bytes(damaged) + second)
    assert items == [Broken(), *Decoder(11).feed(second)]


@given(FRAMES, FRAMES, st.integers(0, 9))
def test_a_frame_that_lost_its_end_takes_no_other_with_it(first: bytes, second: bytes, left: int) -> None:
    cut = first[: left + 1]
    if 0xAA in cut[1:] or crc5((cut + second)[2:11]) == 0:
        return
    items = Decoder(11).feed(cut + second + bytes(11))
    assert replies(items) == Decoder(11).feed(second)


@given(st.lists(st.binary(max_size=100), max_size=20), st.sampled_from([7, 9, 11]))
def test_any_bytes_leave_less_than_a_frame_behind(chunks: list[bytes], length: int) -> None:
    decoder = Decoder(length)
    for chunk in chunks:
        decoder.feed(chunk)
        assert len(decoder._buffer) < length
    decoder.clear()
    assert decoder.feed(framed(bytes(length - 3), 0)[: 0 if length == 7 else None]) == (
        [] if length == 7 else [RegisterReply(0, 0, 0)]
    )


@pytest.mark.parametrize("vector", of_kind("ticket_mask"), ids=lambda vector: vector["id"])
def test_ticket_masks_are_those_of_the_sources(vector: dict[str, object]) -> None:
    ticket = Ticket(int(str(vector["difficulty"])).bit_length() - 1)
    assert 1 << ticket.bits == vector["difficulty"]
    assert ticket.register == int(str(vector["wire"]), 16)


@given(st.integers(1, (1 << 256) - 1), st.sampled_from([UNIT, (1 << 240) - 1]))
def test_a_ticket_is_the_hardest_that_hides_nothing_that_was_asked_for(target: int, unit: int) -> None:
    ticket = Ticket.for_target(target, unit)
    assert ticket.target >= min(target, unit)
    assert ticket.bits == 32 or Ticket(ticket.bits + 1, unit).target < target


@pytest.mark.parametrize("vector", of_kind("pll"), ids=lambda vector: vector["id"])
def test_dividers_mean_what_the_sources_say(vector: dict[str, object]) -> None:
    pll, register = CHIPS[str(vector["chip"])].pll, int(str(vector["wire"]), 16)
    dividers = pll.dividers(register)
    assert dividers.hertz == vector["mhz"] * 1_000_000  # type: ignore[operator]
    assert dividers.vco_hz == vector["vco_mhz"] * 1_000_000  # type: ignore[operator]
    assert pll.register(dividers) == register
    if vector["chip"] != "BM1362":  # that one is a factory's choice, not the solver's of ESP-Miner or cgminer
        assert pll.register(pll.solve(float(dividers.hertz))) == register


@given(st.sampled_from(sorted(CHIPS)), st.floats(100e6, 800e6))
def test_a_clock_is_near_what_was_asked_for_and_never_above(name: str, hertz: float) -> None:
    pll = CHIPS[name].pll
    dividers = pll.solve(hertz)
    assert 0 <= hertz - dividers.hertz < 6.25e6
    assert dividers.feedback in pll.feedback
    assert pll.vco_hz is None or pll.vco_hz[0] <= dividers.vco_hz <= pll.vco_hz[1]
    assert pll.dividers(pll.register(dividers)) == dividers


@pytest.mark.parametrize("hertz", [0.0, -1.0, 1e6, 1e12])
def test_a_clock_that_no_dividers_make_is_refused(hertz: float) -> None:
    with pytest.raises(SettingRefused, match="MHz"):
        BM1397_PLL.solve(hertz)


def test_a_register_that_divides_by_zero_is_no_clock() -> None:
    with pytest.raises(ValueError, match="PLL"):
        BM1397_PLL.dividers(0x40A00200)


def test_the_sweep_is_the_one_that_was_measured_on_a_chain_of_65() -> None:
    [vector] = of_kind("hash_counting_number")
    assert BM1370.sweep_ticks(vector["mhz"] * 1e6, vector["chips"]) + BM1370.sweep_guard == int(vector["value"], 16)
