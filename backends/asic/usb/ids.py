"""USB ids: which bridge chip stands behind a vendor's and a product's number. Which miner it is, strings decide.

Most of these numbers are the chip maker's own and stand in any serial adapter, development board or machine tool:
they tell how to talk to a device that is known to be a miner, never that it is one.
Source: cgminer usbutils.c (find_dev table), bitaxe-raw, Mujina.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from backends.asic.usb.bus import UsbIdentity

FTDI = 0x0403
SILICON_LABS = 0x10C4
OSMU = 0xC0DE
PID_CODES = 0x1209  # shared by open hardware; products apply for a number each

FT232R = 0x6001
FT232H = 0x6014
FT230X = 0x6015
CP2102 = 0xEA60
CP2105 = 0xEA70
BITAXE_RAW = 0xCAFE
EMBER_ONE = 0x256F


class BridgeKind(Enum):
    """How a device is talked to."""

    FTDI = "ftdi"
    CP210X = "cp210x"
    CDC_ACM = "cdc-acm"


_KINDS = {
    (FTDI, FT232R): BridgeKind.FTDI,
    (FTDI, FT232H): BridgeKind.FTDI,
    (FTDI, FT230X): BridgeKind.FTDI,
    (SILICON_LABS, CP2102): BridgeKind.CP210X,
    (SILICON_LABS, CP2105): BridgeKind.CP210X,
    (OSMU, BITAXE_RAW): BridgeKind.CDC_ACM,
    (PID_CODES, EMBER_ONE): BridgeKind.CDC_ACM,
}
_COMMUNICATIONS = (0x02, 0x02)  # class CDC, subclass abstract control model


def bridge_kind(identity: UsbIdentity) -> BridgeKind | None:
    """The bridge of this device, by its ids, else by its interfaces; None: none that is known here."""
    by_ids = _KINDS.get((identity.vid, identity.pid))
    if by_ids is None and any((i.class_code, i.subclass_code) == _COMMUNICATIONS for i in identity.interfaces):
        return BridgeKind.CDC_ACM
    return by_ids


def named(identity: UsbIdentity, claim: Iterable[str]) -> bool:
    """Whether the operator named this device: "usb:SERIAL", or "usb:PORT" (such as "usb:1-1.2")."""
    names = {f"usb:{name}" for name in (identity.serial, identity.path) if name is not None}
    return not names.isdisjoint(claim)
