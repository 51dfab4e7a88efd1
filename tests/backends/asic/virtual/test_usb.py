"""Virtual devices through pyusb: what their bridges do, and what the kernel and libusb do around them."""

from __future__ import annotations

import errno
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
import usb.core
import usb.util
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.virtual import Fault, VirtualBoard, VirtualBus, catalogue, parse_order
from backends.asic.virtual.usb.device import Setup, Stall
from backends.asic.virtual.usb.ftdi import baud_of
from backends.base import DeviceGone
from tests.backends.asic.virtual.bench import framed

READ_ID = framed("52050000")
KINDS = [kind.name for kind in catalogue()]


class Never:
    """A search that finds nothing."""

    def search(self, job: Any, rows: list[int], start: int, count: int, target: int) -> list[tuple[int, int]]:
        return []


@pytest.fixture
def bus() -> Iterator[VirtualBus]:
    made = VirtualBus(KINDS, scale=2.0**-20, search=Never())
    yield made
    made.close()


@pytest.fixture
def opened(bus: VirtualBus) -> Callable[[str], tuple[VirtualBoard, usb.core.Device]]:
    """A board of this kind with all its interfaces claimed."""

    def take(kind: str) -> tuple[VirtualBoard, usb.core.Device]:
        identity = bus.scan()[KINDS.index(kind)]
        device = bus.open(identity)
        for interface in identity.interfaces:
            if interface.driver:
                device.detach_kernel_driver(interface.number)
            usb.util.claim_interface(device, interface.number)
        return bus.board(identity.path), device

    return take


Opened = Callable[[str], tuple[VirtualBoard, usb.core.Device]]


def payload(device: usb.core.Device, length: int) -> bytes:
    """From an FTDI chip: so many bytes, its status bytes taken out."""
    data = b""
    while len(data) < length:
        got = bytes(device.read(0x81, 512, 1000))
        assert all(got[at : at + 2] == b"\x01\x60" for at in range(0, len(got), 64))
        data += b"".join(got[at + 2 : at + 64] for at in range(0, len(got), 64))
    return data


def ask(device: usb.core.Device, page: int, command: int, data: bytes = b"") -> bytes:
    """A request on the control channel of a Bitaxe, its id 0x2A."""
    frame = bytes((0x2A, 0, page, command)) + data
    device.write(0x02, (len(frame) + 2).to_bytes(2, "little") + frame)
    return bytes(device.read(0x82, 512, 1000))


def wake(device: usb.core.Device) -> None:
    """Bring a Bitaxe's chip up: 1.15 V, on, out of reset."""
    ask(device, 5, 0x20, b"\x24\x21\x4d\x02")
    ask(device, 5, 0x20, b"\x24\x01\x80")
    ask(device, 6, 0, b"\x01")


def test_a_scan_tells_who_is_there_and_which_driver_holds_it(bus: VirtualBus) -> None:
    seen = {one.path: (one.product, {i.driver for i in one.interfaces}, one.virtual) for one in bus.scan()}
    assert seen == {
        "virtual-1": ("CompacF Bitcoin Miner", {"ftdi_sio"}, True),
        "virtual-2": ("Bitaxe", {"cdc_acm"}, True),
        "virtual-3": ("GekkoScience Compac A1", {"cp210x"}, True),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_pyusb_reads_the_same_descriptors_as_the_wire_carries(bus: VirtualBus, kind: str) -> None:
    device = bus.open(bus.scan()[KINDS.index(kind)])
    raw = bytes(device.ctrl_transfer(0x80, 6, 0x0200, 0, 4096))
    assert struct.unpack("<H", raw[2:4])[0] == len(raw) == device[0].wTotalLength
    endpoints, at = [], 0
    while at < len(raw):
        if raw[at + 1] == 5:
            endpoints.append((raw[at + 2], struct.unpack("<H", raw[at + 4 : at + 6])[0]))
        at += raw[at]
    assert endpoints == [(e.bEndpointAddress, e.wMaxPacketSize) for i in device[0] for e in i]


def test_an_interface_belongs_to_one_at_a_time(bus: VirtualBus) -> None:
    first, second = (bus.open(bus.scan()[0]) for _ in range(2))
    with pytest.raises(usb.core.USBError) as busy:
        usb.util.claim_interface(first, 0)
    assert busy.value.errno == errno.EBUSY  # the kernel's driver has it
    first.detach_kernel_driver(0)
    usb.util.claim_interface(first, 0)
    with pytest.raises(usb.core.USBError):
        usb.util.claim_interface(second, 0)
    usb.util.dispose_resources(first)
    usb.util.claim_interface(second, 0)
    usb.util.release_interface(second, 0)
    second.attach_kernel_driver(0)
    assert bus.scan()[0].interfaces[0].driver == "ftdi_sio"


def test_nothing_is_read_without_a_claim(bus: VirtualBus) -> None:
    device = bus.open(bus.scan()[2])
    with pytest.raises(usb.core.USBError):
        bus.backend.bulk_read(device._ctx.backend.open_device(device._ctx.dev), 0x81, 0, bytearray(64), 10)


@pytest.mark.parametrize(
    ("value", "index", "baud"),
    [(0x001A, 0, 115_384.6), (2, 0, 1_500_000.0), (0, 0, 3_000_000.0), (1, 0, 2_000_000.0), (0x4138, 0, 9_600.0)],
)
def test_divisors_of_the_ft230x(value: int, index: int, baud: float) -> None:
    assert baud_of(value, index) == pytest.approx(baud, rel=1e-3)


def test_an_ftdi_chip_puts_its_status_before_every_packet(opened: Opened) -> None:
    _, device = opened("compac-f")
    device.ctrl_transfer(0x40, 3, 0x1A, 0, None)
    device.write(2, READ_ID * 20)
    assert payload(device, 180) == bytes.fromhex("aa5513971800000006") * 20
    assert bytes(device.read(0x81, 512, 1000)) == b"\x01\x60"  # and when there is nothing else


def test_an_ftdi_chips_latency_is_kept_and_told(opened: Opened) -> None:
    _, device = opened("compac-f")
    assert device.ctrl_transfer(0xC0, 10, 0, 0, 1)[0] == 16
    device.ctrl_transfer(0x40, 9, 3, 0, None)
    assert device.ctrl_transfer(0xC0, 10, 0, 0, 1)[0] == 3
    assert device.ctrl_transfer(0xC0, 0x90, 0, 1, 2).tobytes() == b"\x03\x04"  # the EEPROM's second word


def test_the_reset_pin_of_a_compac_f_silences_and_forgets(opened: Opened) -> None:
    _, device = opened("compac-f")
    device.ctrl_transfer(0x40, 3, 0x1A, 0, None)
    device.ctrl_transfer(0x40, 11, 0x20F0, 0, None)
    device.write(2, READ_ID)
    assert bytes(device.read(0x81, 64, 100)) == b"\x01\x60"
    device.ctrl_transfer(0x40, 11, 0x20F2, 0, None)
    device.write(2, READ_ID)
    assert payload(device, 9).startswith(b"\xaa\x55\x13\x97")


def test_a_bridge_at_the_wrong_rate_hears_nothing_right(opened: Opened) -> None:
    _, device = opened("compac-f")
    device.ctrl_transfer(0x40, 3, 2, 0, None)
    device.write(2, READ_ID)
    assert bytes(device.read(0x81, 64, 100)) == b"\x01\x60"


def test_the_latch_of_a_compac_a1_turns_its_chip_on(opened: Opened) -> None:
    _, device = opened("compac-a1")
    device.ctrl_transfer(0x41, 0x00, 1, 0, None)
    device.write(1, READ_ID)
    with pytest.raises(usb.core.USBTimeoutError):
        device.read(0x81, 64, 20)
    device.ctrl_transfer(0x41, 0xFF, 0x37E1, 0, b"\x07\x00")
    assert device.ctrl_transfer(0xC0, 0xFF, 0x00C2, 0, 1)[0] & 7 == 0
    device.write(1, READ_ID)
    assert bytes(device.read(0x81, 64, 100)).hex() == "aa551362030000000d"
    device.reset()
    assert device.ctrl_transfer(0xC0, 0xFF, 0x00C2, 0, 1)[0] & 7 == 7


def test_the_controller_of_a_compac_a1_measures_and_regulates(opened: Opened) -> None:
    board, device = opened("compac-a1")
    for interface in (0, 1):
        device.ctrl_transfer(0x41, 0x00, 1, interface, None)
    device.ctrl_transfer(0x41, 0xFF, 0x37E1, 0, b"\x07\x00")

    def say(command: bytes) -> bytes:
        device.write(2, command)
        return bytes(device.read(0x82, 64, 100))

    assert say(b"?v")[0] >> 4 == 3
    say(b"V" + bytes((280 // 5,)))
    values = say(b"G.")
    assert values[0] * 12 * 2.048 / 255 == pytest.approx(5.0, abs=0.1)
    assert values[2] * 2.048 / 255 / 2 == pytest.approx(0.28, abs=0.01)
    assert values[4] * 175 / 218 - 50 == pytest.approx(25, abs=2)
    board.faults.set(Fault.HOT, 112)
    assert say(b"G.")[4] * 175 / 218 - 50 == pytest.approx(112, abs=1)
    board.faults.set(Fault.SENSOR)
    assert say(b"G.")[4] == 0
    say(b"B-")
    assert say(b"G.")[2] == 0
    device.write(1, READ_ID)
    with pytest.raises(usb.core.USBTimeoutError):
        device.read(0x81, 64, 20)


def test_a_bitaxe_needs_its_regulator_and_its_reset_line(opened: Opened) -> None:
    _, device = opened("bitaxe-gamma")
    device.write(4, READ_ID)
    with pytest.raises(usb.core.USBTimeoutError):
        device.read(0x84, 64, 20)
    wake(device)
    device.write(4, READ_ID)
    assert bytes(device.read(0x84, 64, 100)).startswith(b"\xaa\x55\x13\x70")
    ask(device, 6, 0, b"\x00")
    device.write(4, READ_ID)
    with pytest.raises(usb.core.USBTimeoutError):
        device.read(0x84, 64, 20)


def test_requests_on_the_control_channel_are_answered_with_their_id(opened: Opened) -> None:
    _, device = opened("bitaxe-gamma")
    assert ask(device, 6, 0) == b"\x01\x00\x2a\x00"  # reset is low at boot
    assert ask(device, 5, 0x10, (400_000).to_bytes(4, "little")) == b"\x00\x00\x2a"
    assert ask(device, 5, 0x30, b"\x77\x01") == b"\x04\x00\x2a\x10"  # nobody at that address: a time-out
    assert ask(device, 0x55, 0) == b"\x04\x00\x2a\x11"
    device.write(0x02, b"\x99\x00\x01")  # not whole
    assert bytes(device.read(0x82, 64, 100)) == b"\x04\x00\xff\x11"


def test_the_sensors_of_a_bitaxe(opened: Opened) -> None:
    board, device = opened("bitaxe-gamma")
    wake(device)

    def i2c(address: int, register: int, length: int) -> bytes:
        return ask(device, 5, 0x40, bytes((address, register, length)))[3:]

    assert i2c(0x4C, 0xFD, 1)[0] in {0x16, 0x28}
    assert struct.unpack("<H", i2c(0x24, 0x8B, 2))[0] / 512 == pytest.approx(1.15, abs=0.01)
    assert struct.unpack(">H", i2c(0x40, 0x02, 2))[0] * 1.25e-3 == pytest.approx(5.1, abs=0.01)
    ask(device, 5, 0x20, b"\x4c\x4c\x3f")
    low, high = i2c(0x4C, 0x46, 2)
    assert 5_400_000 / (high << 8 | low) == pytest.approx(5000, rel=0.01)
    board.faults.set(Fault.HOT, 90)
    assert i2c(0x4C, 0x01, 1)[0] == 90
    raw = struct.unpack("<H", i2c(0x24, 0x8D, 2))[0]
    mantissa, exponent = raw & 0x7FF, raw >> 11
    assert mantissa * 2.0 ** (exponent - 32 if exponent > 15 else exponent) == pytest.approx(90, abs=1)
    board.faults.set(Fault.SENSOR)
    diode = i2c(0x4C, 0x01, 1)[0] << 3 | i2c(0x4C, 0x10, 1)[0] >> 5
    assert diode in {0x3F8, 0x3FF}


def test_transfers_fail_as_ordered(opened: Opened) -> None:
    board, device = opened("compac-f")
    device.ctrl_transfer(0x40, 3, 0x1A, 0, None)
    board.faults.set(Fault.SHORT)
    assert device.write(2, READ_ID) < len(READ_ID)
    board.faults.clear()
    board.faults.set(Fault.SPLIT)
    device.write(2, READ_ID * 3)
    assert payload(device, 27).endswith(b"\xaa\x55\x13\x97\x18\0\0\0\x06")
    board.faults.clear()
    board.faults.set(Fault.STALL)
    with pytest.raises(usb.core.USBError) as stalled:
        device.write(2, READ_ID)
    assert stalled.value.errno == errno.EPIPE
    board.faults.clear()
    with pytest.raises(usb.core.USBError):
        device.write(2, READ_ID)  # halted until it is cleared
    device.clear_halt(2)
    assert device.write(2, READ_ID) == len(READ_ID)


def test_a_pulled_plug_ends_a_waiting_read_and_is_seen_by_watchers(bus: VirtualBus, opened: Opened) -> None:
    _, device = opened("compac-a1")
    device.ctrl_transfer(0x41, 0x00, 1, 0, None)
    identity, changes = bus.scan()[2], threading.Semaphore(0)
    end = bus.watch(changes.release)
    pull = threading.Timer(0.05, bus.unplug, (identity.path,))
    pull.start()
    with pytest.raises(usb.core.USBError) as gone:
        device.read(0x81, 64, 10_000)
    assert gone.value.errno == errno.ENODEV
    pull.join()
    assert changes.acquire(timeout=5)
    assert identity.path not in [one.path for one in bus.scan()]
    with pytest.raises(DeviceGone):
        bus.open(identity)
    bus.replug(identity.path)
    assert changes.acquire(timeout=5)
    end()
    again = next(one for one in bus.scan() if one.path == identity.path)
    assert again == identity or again.interfaces[0].driver == "cp210x"
    with pytest.raises(usb.core.USBError):
        device.ctrl_transfer(0x80, 0, 0, 0, 2)  # the old handle stays dead
    assert bus.open(again).serial_number == identity.serial


setups = st.builds(
    Setup,
    st.sampled_from([0x00, 0x01, 0x02, 0x21, 0x40, 0x41, 0x80, 0x81, 0x82, 0xA1, 0xC0, 0xC1]),
    st.integers(0, 0xFF),
    st.integers(0, 0xFFFF),
    st.integers(0, 4) | st.integers(0, 0xFFFF),
    st.integers(0, 64),
)


@pytest.mark.parametrize("kind", KINDS)
@given(
    st.lists(
        st.tuples(setups, st.binary(max_size=16)) | st.tuples(st.sampled_from([1, 2, 4]), st.binary(max_size=100)),
        max_size=20,
    )
)
def test_no_host_breaks_a_device(kind: str, transfers: list[tuple[Setup | int, bytes]]) -> None:
    bus = VirtualBus([kind], scale=2.0**-20, search=Never())
    board = bus.board("virtual-1")
    with board.changed:
        for what, data in transfers:
            with suppress(Stall):
                if isinstance(what, Setup):
                    assert len(board.device.control(what, data)) <= what.length
                else:
                    board.device.bulk_out(what, data)
                    board.device.bulk_in(what | 0x80, 512)
    bus.close()


@given(st.lists(st.tuples(st.integers(5, 8), st.integers(0, 0x50), st.binary(max_size=8)), max_size=20))
def test_no_request_breaks_the_control_channel(requests: list[tuple[int, int, bytes]]) -> None:
    bus = VirtualBus(["bitaxe-gamma"], scale=2.0**-20, search=Never())
    device = bus.open(bus.scan()[0])
    for interface in (0, 1):
        device.detach_kernel_driver(interface)
        usb.util.claim_interface(device, interface)
    for page, command, data in requests:
        for address in (b"", b"\x24", b"\x40", b"\x4c"):
            assert ask(device, page, command, address + data)[2] == 0x2A
    bus.close()


def test_orders_name_kind_serial_and_faults() -> None:
    order = parse_order("compac-f,fault=hot:95,serial=10020001,fault=duplicate")
    assert order.serial == "10020001"
    assert dict(order.faults) == {Fault.HOT: 95.0, Fault.DUPLICATE: 1.0}


@pytest.mark.parametrize("text", ["", "antminer", "compac-f,fault=rust", "compac-f,hot", "compac-f,serial=a b"])
def test_orders_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_order(text)
