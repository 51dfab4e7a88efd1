"""What can go wrong with a USB miner, on top of `backends.base`: DeviceGone, DeviceFault, Misuse, SettingRefused."""

from __future__ import annotations

from backends.base import BackendError, DeviceFault


class BridgeStalled(DeviceFault):
    """The bridge refused a transfer (a USB stall), or moved nothing in its time: reset it or give the device up."""


class NotPermitted(BackendError):
    """The system does not let this user open the device; the message holds the udev rule that does."""


class Taken(BackendError):
    """Another program, or another miner, holds the device; the message says which where that is known."""
