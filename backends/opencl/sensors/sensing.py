"""A card's sensors by its PCI address: NVIDIA's through NVML, AMD's and Intel's through the kernel's hwmon.

Read in the worker's process: these libraries are part of the drivers that may hang.
"""

from __future__ import annotations

import re
from pathlib import Path

from backends.opencl.sensors import hwmon, nvml
from backends.opencl.sensors.reading import Sensors

PCI_DEVICES = Path("/sys/bus/pci/devices")
NVIDIA = "0x10de"  # PCI vendor
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")


def find_sensors(pci: str | None, root: Path = PCI_DEVICES) -> Sensors | None:
    """None: the card has none that we can read, or is not on PCI."""
    if pci is None or not _PCI.fullmatch(pci):
        return None
    card = root / pci
    if hwmon.text(card / "vendor") == NVIDIA and (sensors := nvml.find(pci)):
        return sensors
    return hwmon.find(card)


def has_screen(pci: str | None, root: Path = PCI_DEVICES) -> bool:
    """Whether a screen is plugged into this card: long launches make it stutter."""
    if pci is None or not _PCI.fullmatch(pci):
        return False
    return any(hwmon.text(status) == "connected" for status in (root / pci).glob("drm/card*/card*-*/status"))
