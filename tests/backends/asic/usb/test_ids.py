from __future__ import annotations

import pytest

from backends.asic.usb.bus import UsbIdentity, UsbInterface
from backends.asic.usb.ids import BridgeKind, bridge_kind, named
from tests.backends.asic.usb.plugged import COMPAC_A1, COMPAC_F, GAMMA, moved


@pytest.mark.parametrize(
    ("identity", "kind"),
    [
        (COMPAC_F, BridgeKind.FTDI),
        (COMPAC_A1, BridgeKind.CP210X),
        (GAMMA, BridgeKind.CDC_ACM),
        (UsbIdentity("1-1", 0x1234, 0x5678, interfaces=(UsbInterface(0, 2, 2),)), BridgeKind.CDC_ACM),
        (UsbIdentity("1-1", 0x1234, 0x5678, interfaces=(UsbInterface(0, 3),)), None),
    ],
)
def test_ids_tell_how_a_device_is_talked_to(identity: UsbIdentity, kind: BridgeKind | None) -> None:
    assert bridge_kind(identity) is kind


def test_an_operator_names_a_device_by_its_serial_number_or_its_port() -> None:
    assert named(COMPAC_F, ["usb:FT000001"])
    assert named(COMPAC_F, ["usb:other", "usb:1-1"])
    assert not named(COMPAC_F, ["FT000001", "usb:", "usb:FT00000", "usb:1"])
    assert not named(moved(COMPAC_F, serial=None), ["usb:None"])
