"""The udev rules that let an ordinary user open a miner, and the sentence that says so: one home for both.

    python -m backends.asic.usb.udev > 70-angara-miner.rules

The file's number matters: systemd hands out TAG "uaccess" in 73-seat-late.rules, and only to devices that carry it by
then. Generic bridge chips are matched by their strings as well as their ids, so that no machine tool, board or modem
behind the same chip is opened to anybody. Source of the strings: cgminer driver-gekko.c, bitaxe-raw, Mujina.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from backends.asic.usb import ids
from backends.asic.usb.bus import UsbIdentity

FILE = "configs/70-angara-miner.rules"
GROUP = "plugdev"

# ModemManager talks to every new serial port, and a miner would hear modem commands.
_GRANT = f'MODE="0660", GROUP="{GROUP}", TAG+="uaccess", ENV{{ID_MM_DEVICE_IGNORE}}="1"'
_PLAIN = re.compile(r"[A-Za-z0-9 ._+-]{1,126}")  # what cannot mean anything else inside a rule


_FTDI_STICKS = ("CompacF", "NewPac", "R606", "R909")
_CP2105_STICKS = ("Compac A1", "Compac A2", "Terminus A1", "Terminus A2")


@dataclass(frozen=True, slots=True)
class Grant:
    """A device that the shipped rules open. Both texts must match, letter by letter."""

    vid: int
    pid: int
    manufacturer: str
    product: str


GRANTS = (
    *(Grant(ids.FTDI, ids.FT230X, "GekkoScience", f"{name} Bitcoin Miner") for name in _FTDI_STICKS),
    *(Grant(ids.SILICON_LABS, ids.CP2105, "Silicon Labs", f"GekkoScience {name}") for name in _CP2105_STICKS),
    Grant(ids.OSMU, ids.BITAXE_RAW, "OSMU", "Bitaxe"),
    Grant(ids.PID_CODES, ids.EMBER_ONE, "256F", "EmberOne00"),
)

_HEADER = f"""\
# Lets the members of group {GROUP}, and whoever sits at the machine, open USB miners without root. As root:
#     cp {Path(FILE).name} /etc/udev/rules.d/ && udevadm control --reload && udevadm trigger --subsystem-match=usb
# Made by `python -m backends.asic.usb.udev`. Keep the number below 73: later, TAG "uaccess" has no effect.
"""


def rules() -> str:
    """The file as it is shipped."""
    return _HEADER + "".join(_rule(g.vid, g.pid, g.manufacturer, g.product) + "\n" for g in GRANTS)


def granted(identity: UsbIdentity) -> bool:
    """Whether the shipped rules open this device."""
    texts = (identity.manufacturer or "", identity.product or "")
    return Grant(identity.vid, identity.pid, *texts) in GRANTS


def rule(identity: UsbIdentity) -> str:
    """The line that opens this device; by its port, where its own strings cannot stand in a rule."""
    texts = (identity.manufacturer or "", identity.product or "")
    if all(_PLAIN.fullmatch(text) for text in texts):
        return _rule(identity.vid, identity.pid, *texts)
    return _line(identity.vid, identity.pid, f'KERNEL=="{identity.path}"')


def remedy(identity: UsbIdentity, node: Path | None) -> str:
    """What to do about a device that may not be opened."""
    what = f"no permission to open the USB device at {identity.path}" + (f" ({node})" if node else "")
    if granted(identity):
        return f"{what}: install {FILE}, join group {GROUP}, then unplug and replug it; its rule: {rule(identity)}"
    return (
        f"{what}: put this line into /etc/udev/rules.d/{Path(FILE).name}, join group {GROUP}, "
        f"then unplug and replug it: {rule(identity)}"
    )


def _rule(vid: int, pid: int, manufacturer: str, product: str) -> str:
    return _line(vid, pid, f'ATTR{{manufacturer}}=="{manufacturer}", ATTR{{product}}=="{product}"')


def _line(vid: int, pid: int, match: str) -> str:
    device = f'ATTR{{idVendor}}=="{vid:04x}", ATTR{{idProduct}}=="{pid:04x}"'
    return f'ACTION!="remove", SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", {device}, {match}, {_GRANT}'


if __name__ == "__main__":
    sys.stdout.write(rules())
