from __future__ import annotations

import math

import pytest

from backends.asic.usb.bridge import READ_MAX, Bridge
from backends.asic.usb.bulk import SLICE_S
from backends.asic.usb.device import open_device
from backends.base import Misuse
from tests.backends.asic.usb.plugged import CP2105, FakeBus, Plugged, compac_a1, endpoint, interface


def opened(stick: Plugged, port: int = 0) -> Bridge:
    return open_device(FakeBus(stick), stick.identity, now=stick.clock).bridge(port)


def test_a_long_wait_is_cut_into_slices_that_closing_can_come_between() -> None:
    stick = compac_a1()
    bridge = opened(stick)
    stick.calls.clear()
    assert bridge.read(2.0) == b""
    assert stick.calls.count(("read", 0x81)) == pytest.approx(2.0 / SLICE_S, abs=1)


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, -math.inf, math.nan])
def test_no_wait_still_takes_what_is_there(timeout_s: float) -> None:
    stick = compac_a1()
    bridge = opened(stick)
    started = stick.clock.now_s
    assert bridge.read(timeout_s) == b""
    stick.incoming[0x81].append(b"there")
    assert bridge.read(timeout_s) == b"there"
    assert stick.clock.now_s - started < 0.01


def test_a_read_has_room_for_whole_packets_and_no_more_than_the_contract_allows() -> None:
    stick = compac_a1()
    bridge = opened(stick)
    stick.incoming[0x81].append(bytes(2 * READ_MAX))
    assert len(bridge.read(1.0)) == READ_MAX


def test_packets_larger_than_a_read_may_be_are_read_one_by_one() -> None:
    stick = Plugged(compac_a1().identity, (interface(0, endpoint(0x81, 1024), endpoint(0x01, 1024)), CP2105[1]))
    bridge = opened(stick)
    stick.incoming[0x81].append(bytes(1024))
    assert bridge.read(1.0) == bytes(1024)


def test_a_closed_port_is_misuse_while_the_devices_other_port_goes_on() -> None:
    stick = compac_a1()
    device = open_device(FakeBus(stick), stick.identity, now=stick.clock)
    chips, telemetry = device.bridge(0), device.bridge(1)
    chips.close()
    for act in (lambda: chips.read(0.1), lambda: chips.write(b"x")):
        with pytest.raises(Misuse, match="closed"):
            act()
    telemetry.write(b"?v")
    telemetry.close()
    with pytest.raises(Misuse, match="closed"):
        chips.set_baud(115_200)
    assert stick.sent == [(0x02, b"?v")]
