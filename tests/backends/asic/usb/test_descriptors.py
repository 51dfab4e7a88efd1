from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from backends.asic.usb import descriptors
from backends.base import DeviceFault
from tests.backends.asic.usb.plugged import BITAXE, CP2105, endpoint, interface


class Setting(SimpleNamespace):
    """An interface as pyusb gives it: iterable over its endpoints."""

    def __iter__(self) -> Iterator[SimpleNamespace]:
        return iter(self.endpoints)


def read(*settings: SimpleNamespace) -> tuple[descriptors.Interface, ...]:
    return descriptors.read(Setting(**vars(setting)) for setting in settings)


def test_bulk_endpoints_are_found_wherever_the_firmware_put_them() -> None:
    pairs = [found.pair() for found in read(*BITAXE) if found.class_code == 10]
    assert [(inward.address, outward.address) for inward, outward in pairs] == [(0x82, 0x01), (0x84, 0x02)]


def test_each_endpoint_has_its_own_packet_size() -> None:
    assert [found.pair()[0].packet for found in read(*CP2105)] == [64, 32]


def test_interfaces_come_by_number_and_alternate_settings_are_left_out() -> None:
    other = interface(0, endpoint(0x81))
    other.bAlternateSetting = 1
    assert [found.number for found in read(CP2105[1], other, CP2105[0])] == [0, 1]


@pytest.mark.parametrize(
    "lie",
    [
        interface(0, endpoint(0x80), endpoint(0x02)),
        interface(0, endpoint(0x91), endpoint(0x02)),
        interface(0, endpoint(0x81, 0), endpoint(0x02)),
        interface(0, endpoint(0x81, 2), endpoint(0x02)),
        interface(0, endpoint(0x81, 0xFFFF), endpoint(0x02)),
        interface(0, endpoint(0x81), endpoint(0x81)),
    ],
    ids=["address 0", "reserved bits", "no packet", "no room beside status", "giant packet", "twice"],
)
def test_an_endpoint_that_cannot_be_is_the_devices_fault(lie: SimpleNamespace) -> None:
    with pytest.raises(DeviceFault, match="endpoint"):
        read(lie)


def test_one_endpoint_in_two_interfaces_is_the_devices_fault() -> None:
    with pytest.raises(DeviceFault, match="more than once"):
        read(interface(0, endpoint(0x81)), interface(1, endpoint(0x81)))


def test_one_number_for_two_interfaces_is_the_devices_fault() -> None:
    with pytest.raises(DeviceFault, match="interfaces"):
        read(interface(0), interface(0))


@pytest.mark.parametrize("lacking", [(), (endpoint(0x81),), (endpoint(0x81), endpoint(0x82), endpoint(0x01))])
def test_an_interface_without_exactly_one_pair_has_no_port(lacking: tuple[SimpleNamespace, ...]) -> None:
    with pytest.raises(DeviceFault, match="bulk endpoints"):
        read(interface(0, *lacking))[0].pair()
