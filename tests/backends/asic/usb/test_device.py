from __future__ import annotations

import pytest

from backends.asic.usb.bridge import Bridge
from backends.asic.usb.device import find_again, open_device, reopen
from backends.base import DeviceGone, Misuse
from tests.backends.asic.usb.plugged import (
    COMPAC_A1,
    COMPAC_F,
    CP2105,
    FTDI,
    FakeBus,
    Plugged,
    compac_a1,
    compac_f,
    endpoint,
    gamma,
    interface,
    moved,
)


@pytest.mark.parametrize("plug", [compac_f, compac_a1, gamma])
def test_every_kind_of_device_hands_out_bridges(plug: type[Plugged]) -> None:
    device = plug()
    assert isinstance(open_device(FakeBus(device), device.identity, now=device.clock).bridge(0), Bridge)


def test_opening_claims_and_writes_nothing_before_a_bridge_is_asked_for() -> None:
    stick = compac_f()
    with open_device(FakeBus(stick), stick.identity) as device:
        assert device.ports == 1
        assert stick.kernel == {0: "ftdi_sio"}
        assert stick.controls == []
    assert stick.opened == 0


def test_the_device_goes_back_to_the_kernel_with_its_last_bridge() -> None:
    stick = compac_a1()
    device = open_device(FakeBus(stick), stick.identity, now=stick.clock)
    chips, telemetry = device.bridge(0), device.bridge(1)
    chips.close()
    chips.close()
    assert stick.opened == 1
    telemetry.close()
    assert stick.opened == 0
    assert stick.kernel == {0: "back", 1: "back"}


def test_an_exception_on_the_way_gives_the_device_back() -> None:
    stick = compac_f()

    def fail() -> None:
        with open_device(FakeBus(stick), stick.identity, now=stick.clock) as device:
            device.bridge(0)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert stick.kernel == {0: "back"}
    assert stick.opened == 0


def test_descriptors_that_make_no_sense_leave_nothing_open() -> None:
    stick = Plugged(COMPAC_F, (interface(0, endpoint(0x80)),))
    with pytest.raises(Exception, match="endpoint"):
        open_device(FakeBus(stick), stick.identity)
    assert stick.opened == 0


@pytest.mark.parametrize("port", [-1, 1, 99])
def test_a_port_that_it_lacks_is_misuse(port: int) -> None:
    stick = compac_f()
    with open_device(FakeBus(stick), stick.identity, now=stick.clock) as device, pytest.raises(Misuse, match="port"):
        device.bridge(port)


def test_a_port_is_handed_out_once() -> None:
    stick = compac_a1()
    device = open_device(FakeBus(stick), stick.identity, now=stick.clock)
    device.bridge(1)
    first = device.bridge(0)
    with pytest.raises(Misuse, match="open"):
        device.bridge(0)
    first.close()
    device.bridge(0).write(b"again")
    assert stick.sent == [(0x01, b"again")]


def test_a_board_without_telemetry_firmware_shows_one_port() -> None:
    stick = Plugged(COMPAC_A1, CP2105[:1])
    assert open_device(FakeBus(stick), stick.identity).ports == 1


def test_an_unknown_bridge_is_never_opened() -> None:
    printer = Plugged(moved(COMPAC_F, pid=0x1234), FTDI)
    with pytest.raises(Misuse, match="0403:1234"):
        open_device(FakeBus(printer), printer.identity)
    assert printer.calls == []


def test_after_a_port_reset_the_bridges_go_on() -> None:
    stick = compac_a1()
    device = open_device(FakeBus(stick), stick.identity, now=stick.clock)
    bridge = device.bridge(0)
    device.port_reset()
    bridge.reset()
    bridge.write(b"again")
    assert stick.sent == [(0x01, b"again")]


def test_a_replugged_device_is_found_by_its_serial_number_on_any_port() -> None:
    elsewhere = moved(COMPAC_F, path="3-1.4", obstacle="not yet")
    assert find_again(FakeBus(Plugged(elsewhere, FTDI)), COMPAC_F) == elsewhere


def test_of_several_with_one_serial_number_the_one_on_the_known_port_is_meant() -> None:
    twin = moved(COMPAC_F, path="1-9")
    assert find_again(FakeBus(Plugged(twin, FTDI), compac_f()), COMPAC_F) == COMPAC_F
    with pytest.raises(DeviceGone):
        find_again(FakeBus(Plugged(twin, FTDI), Plugged(moved(twin, path="1-8"), FTDI)), COMPAC_F)


def test_without_a_serial_number_only_its_port_tells_a_device() -> None:
    nameless = moved(COMPAC_F, serial=None)
    assert find_again(FakeBus(Plugged(nameless, FTDI)), nameless) == nameless
    with pytest.raises(DeviceGone, match="not plugged in"):
        find_again(FakeBus(Plugged(moved(nameless, path="1-5"), FTDI)), nameless)


def test_another_product_with_the_same_serial_number_is_another_device() -> None:
    with pytest.raises(DeviceGone):
        find_again(FakeBus(Plugged(moved(COMPAC_F, product="Laser Cutter"), FTDI)), COMPAC_F)


def test_a_replugged_device_can_be_opened_again() -> None:
    stick = compac_f()
    bus = FakeBus(stick)
    stick.is_plugged = False
    with pytest.raises(DeviceGone):
        reopen(bus, COMPAC_F)
    stick.is_plugged = True
    with reopen(bus, COMPAC_F) as device:
        assert device.identity == COMPAC_F
