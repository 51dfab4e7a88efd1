from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.usb.bridge import Parity
from backends.asic.usb.cdc_acm import COMMUNICATIONS, DATA, Codec, functions
from backends.asic.usb.descriptors import Interface
from backends.asic.usb.device import open_device
from backends.base import DeviceFault, Misuse
from tests.backends.asic.usb.plugged import FakeBus, gamma, union

VECTORS: list[dict[str, Any]] = json.loads(Path("tests/vectors/usb_bridges.json").read_text())["cdc_acm"]


def control(number: int, extra: bytes = b"") -> Interface:
    return Interface(number, *COMMUNICATIONS, extra=extra)


def data(number: int) -> Interface:
    return Interface(number, DATA, 0)


@pytest.mark.parametrize(
    ("vector", "request_"), list(zip(VECTORS, (Codec(0).line_coding(), Codec(0).control_lines()), strict=True))
)
def test_a_request_is_what_the_standard_says(vector: dict[str, str], request_: Any) -> None:
    assert (f"{request_.kind:02x}", f"{request_.number:02x}") == (vector["kind"], vector["number"])
    assert (f"{request_.value:04x}", request_.data.hex()) == (vector["value"], vector["data"])


def test_the_first_function_speaks_to_the_board_and_the_second_to_its_chips() -> None:
    board = gamma()
    device = open_device(FakeBus(board), board.identity, now=board.clock)
    assert device.ports == 2
    control_port, chips = device.bridge(0), device.bridge(1)
    control_port.write(b"c")
    chips.write(b"d")
    assert board.sent == [(0x01, b"c"), (0x02, b"d")]
    assert chips.set_baud(1_000_000) == 1_000_000
    assert board.controls[-1] == (0x21, 0x20, 0, 2, (1_000_000).to_bytes(4, "little") + b"\0\0\x08")


def test_a_reset_keeps_the_rate_that_was_set() -> None:
    board = gamma()
    bridge = open_device(FakeBus(board), board.identity, now=board.clock).bridge(1, Parity.MARK)
    bridge.set_baud(1_000_000)
    bridge.reset()
    assert board.controls[-2:] == [
        (0x21, 0x20, 0, 2, (1_000_000).to_bytes(4, "little") + b"\0\x03\x08"),
        (0x21, 0x22, 3, 2, b""),
    ]


def test_pins_and_impossible_rates_are_misuse() -> None:
    board = gamma()
    bridge = open_device(FakeBus(board), board.identity, now=board.clock).bridge(0)
    with pytest.raises(Misuse, match="pins"):
        bridge.gpio(1, 1)
    for baud in (0, -1, 1 << 32):
        with pytest.raises(Misuse, match="baud"):
            bridge.set_baud(baud)


def test_the_union_descriptor_decides_which_data_interface_belongs_to_a_port() -> None:
    layout = (control(0, bytes(union(0, 3))), data(1), control(2, bytes(union(2, 1))), data(3))
    assert [(port.control.number, port.data.number) for port in functions(layout)] == [(0, 3), (2, 1)]


def test_without_a_union_the_next_interface_is_taken() -> None:
    assert [port.data.number for port in functions((control(0), data(1), control(2), data(3)))] == [1, 3]


@pytest.mark.parametrize(
    "layout",
    [
        (control(0),),
        (control(0, bytes(union(0, 9))), data(1)),
        (control(0, bytes(union(0, 1))), data(1), control(2, bytes(union(2, 1)))),
        (control(0, bytes(union(0, 0))), data(1)),
    ],
    ids=["no data", "data that is not there", "one data for two", "itself"],
)
def test_ports_that_cannot_be_are_the_devices_fault(layout: tuple[Interface, ...]) -> None:
    with pytest.raises(DeviceFault, match="serial port"):
        functions(layout)


@given(st.binary(max_size=300))
def test_any_class_specific_bytes_are_read_without_harm(extra: bytes) -> None:
    try:
        ports = functions((control(0, extra), data(1), data(2)))
    except DeviceFault:
        return
    assert ports[0].data.number in {1, 2}
