from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.usb import ftdi
from backends.asic.usb.bridge import Bridge, Parity
from backends.asic.usb.device import open_device
from backends.asic.usb.ftdi import Codec, divisor, payload
from backends.base import Misuse
from tests.backends.asic.usb.plugged import FakeBus, Plugged, compac_f

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(Path("tests/vectors/usb_bridges.json").read_text())
MODELS = {"FT230X": ftdi.FT230X, "FT232H": ftdi.FT232H}


def opened(stick: Plugged, parity: Parity = Parity.NONE) -> Bridge:
    return open_device(FakeBus(stick), stick.identity, now=stick.clock).bridge(0, parity)


@pytest.mark.parametrize("vector", VECTORS["ftdi_bauds"], ids=lambda v: f"{v['chip']}-{v['asked']}")
def test_a_rate_is_coded_as_miners_in_the_field_code_it(vector: dict[str, Any]) -> None:
    model = MODELS[vector["chip"]]
    rate = divisor(vector["asked"], model)
    request = Codec(model).baud(rate)
    assert (f"{request.value:04x}", f"{request.index:04x}") == (vector["value"], vector["index"])
    assert rate.baud == pytest.approx((96e6 if model.fast else 24e6) / vector["eighths"])


@given(st.integers(184, 3_000_000), st.sampled_from(list(MODELS.values())))
def test_the_rate_that_is_answered_is_the_one_the_code_stands_for(baud: int, model: ftdi.Model) -> None:
    rate = divisor(baud, model)
    eighths = {0: 8, 1: 12}.get(rate.code & 0x1FFFF)
    if eighths is None:
        fraction = {0: 0, 3: 1, 2: 2, 4: 3, 1: 4, 5: 5, 6: 6, 7: 7}[rate.code >> 14 & 7]
        eighths = (rate.code & 0x3FFF) * 8 + fraction
    assert rate.baud == (96e6 if rate.code >> 17 else 24e6) / eighths
    assert rate.baud == pytest.approx(baud, rel=0.21)  # between divisors 1, 1.5 and 2 nothing can be set


@pytest.mark.parametrize("baud", [-1, 0, 1, 100, 3_000_001])
def test_a_rate_beyond_the_chip_is_misuse(baud: int) -> None:
    with pytest.raises(Misuse, match="baud"):
        divisor(baud, ftdi.FT230X)


def test_only_chips_with_a_fast_clock_exceed_three_megabaud() -> None:
    assert divisor(12_000_000, ftdi.FT232H).baud == 12e6


@pytest.mark.parametrize("vector", VECTORS["ftdi_reads"], ids=lambda v: v["raw"])
def test_status_bytes_are_taken_off_a_captured_read(vector: dict[str, str]) -> None:
    assert payload(bytes.fromhex(vector["raw"]), 64).hex() == vector["payload"]


@given(st.lists(st.binary(max_size=62), max_size=20), st.sampled_from([64, 512]))
def test_every_packet_of_a_coalesced_read_loses_its_own_status(chunks: list[bytes], packet: int) -> None:
    full = [b"".join(chunks)[at : at + packet - 2] for at in range(0, sum(map(len, chunks)), packet - 2)]
    raw = b"".join(b"\x01\x60" + chunk for chunk in full)
    assert payload(raw, packet) == b"".join(chunks)


def test_opening_sets_the_port_up_as_miners_need_it() -> None:
    stick = compac_f()
    opened(stick)
    assert stick.controls == [
        (0x40, 0, 0, 0, b""),  # reset
        (0x40, 4, 8, 0, b""),  # 8N1
        (0x40, 2, 0, 0, b""),  # no flow control
        (0x40, 9, 16, 0, b""),  # latency of 16 ms
        (0x40, 0, 2, 0, b""),  # empty both directions
        (0x40, 0, 1, 0, b""),
    ]


def test_the_rate_goes_out_and_what_it_really_is_comes_back() -> None:
    stick = compac_f()
    bridge = opened(stick)
    assert bridge.set_baud(115_200) == pytest.approx(115_384.6, abs=0.1)
    assert stick.controls[-1] == (0x40, 3, 0x001A, 0, b"")


@pytest.mark.parametrize("vector", VECTORS["ftdi_pins"], ids=lambda v: v["value"])
def test_pins_are_set_as_the_field_sets_them(vector: dict[str, Any]) -> None:
    stick = compac_f()
    opened(stick).gpio(vector["mask"], vector["levels"])
    assert stick.controls[-1] == (0x40, 0x0B, int(vector["value"], 16), 0, b"")


def test_a_pin_keeps_its_level_when_another_is_set() -> None:
    stick = compac_f()
    bridge = opened(stick)
    bridge.gpio(0b0010, 0b0010)
    bridge.gpio(0b0001, 0b0001)
    assert stick.controls[-1][2] == 0x2033
    bridge.gpio(0b0010, 0)
    assert stick.controls[-1][2] == 0x2031


def test_a_pin_it_lacks_is_misuse() -> None:
    with pytest.raises(Misuse, match="pins"):
        opened(compac_f()).gpio(0x10, 0x10)


def test_an_idle_chip_costs_a_reader_its_time_and_no_more() -> None:
    stick = compac_f()
    bridge = opened(stick)
    started = stick.clock.now_s
    assert bridge.read(0.5) == b""
    assert stick.clock.now_s - started == pytest.approx(0.5, abs=0.01)


def test_payload_comes_as_soon_as_there_is_any() -> None:
    stick = compac_f()
    bridge = opened(stick)
    stick.incoming[0x81].extend([b"\x01\x60", b"\x01\x60\xaa\x55\x01", b"\x01\x60\x02"])
    assert bridge.read(1.0) == b"\xaa\x55\x01"
    assert bridge.read(1.0) == b"\x02"


def test_a_reset_forgets_what_had_arrived_however_much_it_is() -> None:
    stick = compac_f()
    bridge = opened(stick)
    stick.incoming[0x81].extend([b"\x01\x60old"] * 30)
    bridge.reset()
    stick.incoming[0x81].append(b"\x01\x60new")
    assert bridge.read(0.1) == b"new"


def test_mark_parity_is_asked_of_the_chip() -> None:
    stick = compac_f()
    opened(stick, Parity.MARK)
    assert (0x40, 4, 0x0308, 0, b"") in stick.controls
