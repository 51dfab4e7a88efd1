from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backends.asic.usb import cp210x
from backends.asic.usb.bridge import Parity
from backends.asic.usb.cp210x import Codec, real_baud
from backends.asic.usb.device import open_device
from backends.base import Misuse
from tests.backends.asic.usb.plugged import FakeBus, compac_a1

VECTORS: list[dict[str, Any]] = json.loads(Path("tests/vectors/usb_bridges.json").read_text())["cp210x"]
CHIPS = Codec(cp210x.CP2105_ENHANCED, 0)
REQUESTS = {
    "baud 115200": CHIPS.baud(115_200),
    "line none": CHIPS.line(Parity.NONE),
    "line mark": CHIPS.line(Parity.MARK),
    "modem": CHIPS.modem(),
    "chips off": CHIPS.latch(7, 7),
    "chips on": CHIPS.latch(7, 0),
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["what"])
def test_a_request_is_what_the_field_sends(vector: dict[str, str]) -> None:
    request = REQUESTS[vector["what"]]
    assert f"{request.kind:02x} {request.number:02x} {request.value:04x}" == (
        f"{vector['kind']} {vector['number']} {vector['value']}"
    )
    assert request.data.hex() == vector["data"]


def test_the_two_ports_are_set_up_and_addressed_each_by_its_own_interface() -> None:
    stick = compac_a1()
    device = open_device(FakeBus(stick), stick.identity, now=stick.clock)
    chips, telemetry = device.bridge(0, Parity.MARK), device.bridge(1)
    assert stick.controls == [
        (0x41, 0x00, 1, 0, b""),
        (0x41, 0x07, 0x0101, 0, b""),
        (0x41, 0x03, 0x0830, 0, b""),
        (0x41, 0x12, 0x0F, 0, b""),
        (0x41, 0x00, 1, 1, b""),
        (0x41, 0x07, 0x0101, 1, b""),
        (0x41, 0x03, 0x0800, 1, b""),
        (0x41, 0x12, 0x0F, 1, b""),
    ]
    stick.incoming[0x81].append(b"nonce")
    stick.incoming[0x82].append(b"sensors")
    chips.write(b"job")
    telemetry.write(b"?v")
    assert (chips.read(1.0), telemetry.read(1.0)) == (b"nonce", b"sensors")
    assert stick.sent == [(0x01, b"job"), (0x02, b"?v")]


def test_the_latch_moves_only_the_pins_under_the_mask() -> None:
    stick = compac_a1()
    open_device(FakeBus(stick), stick.identity, now=stick.clock).bridge(0).gpio(0x07, 0xFF)
    assert stick.controls[-1] == (0x41, 0xFF, 0x37E1, 0, b"\x07\x07")


@pytest.mark.parametrize("mask", [0, 0x20, 0x107])
def test_a_pin_it_lacks_is_misuse(mask: int) -> None:
    stick = compac_a1()
    with pytest.raises(Misuse, match="pins"):
        open_device(FakeBus(stick), stick.identity, now=stick.clock).bridge(0).gpio(mask, 0)


def test_the_enhanced_port_tells_the_rate_that_its_divider_gives() -> None:
    assert real_baud(115_200, cp210x.CP2105_ENHANCED) == pytest.approx(24e6 / 208)
    assert real_baud(300, cp210x.CP2105_ENHANCED) == pytest.approx(300)
    assert real_baud(115_200, cp210x.CP2105_STANDARD) == 115_200


@pytest.mark.parametrize(("model", "baud"), [(cp210x.CP2105_STANDARD, 2_000_000), (cp210x.CP2102, 0)])
def test_a_rate_beyond_the_port_is_misuse_and_never_sent(model: cp210x.Model, baud: int) -> None:
    with pytest.raises(Misuse, match="baud"):
        real_baud(baud, model)
