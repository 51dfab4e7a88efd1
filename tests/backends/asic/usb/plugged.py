"""A USB device in memory behind pyusb's backend interface: what stands in it is sent, refused or unplugged at will."""

from __future__ import annotations

import errno
import threading
from array import array
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

from backends.asic.usb.bus import UsbIdentity, UsbInterface
from backends.asic.usb.claim import Claim

BULK = 2


class Clock:
    """Time that passes only while something waits."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def endpoint(address: int, packet: int = 64, attributes: int = BULK) -> SimpleNamespace:
    return SimpleNamespace(
        bLength=7,
        bDescriptorType=5,
        bEndpointAddress=address,
        bmAttributes=attributes,
        wMaxPacketSize=packet,
        bInterval=0,
        bRefresh=0,
        bSynchAddress=0,
        extra_descriptors=[],
    )


def interface(
    number: int, *endpoints: SimpleNamespace, kind: tuple[int, int] = (0xFF, 0xFF), extra: Iterable[int] = ()
) -> SimpleNamespace:
    return SimpleNamespace(
        bLength=9,
        bDescriptorType=4,
        bInterfaceNumber=number,
        bAlternateSetting=0,
        bNumEndpoints=len(endpoints),
        bInterfaceClass=kind[0],
        bInterfaceSubClass=kind[1],
        bInterfaceProtocol=0,
        iInterface=0,
        extra_descriptors=list(extra),
        endpoints=endpoints,
    )


def union(control: int, data: int) -> list[int]:
    return [5, 0x24, 0x06, control, data]


FTDI = (interface(0, endpoint(0x81), endpoint(0x02)),)
CP2105 = (
    interface(0, endpoint(0x81), endpoint(0x01)),
    interface(1, endpoint(0x82, 32), endpoint(0x02, 32)),
)
BITAXE = (
    interface(0, endpoint(0x81, 8, 3), kind=(2, 2), extra=[5, 0x24, 0, 16, 1, *union(0, 1)]),
    interface(1, endpoint(0x82), endpoint(0x01), kind=(10, 0)),
    interface(2, endpoint(0x83, 8, 3), kind=(2, 2), extra=[5, 0x24, 0, 16, 1, *union(2, 3)]),
    interface(3, endpoint(0x84), endpoint(0x02), kind=(10, 0)),
)

COMPAC_F = UsbIdentity(
    "1-1", 0x0403, 0x6015, 0x1000, "GekkoScience", "CompacF Bitcoin Miner", "FT000001", (UsbInterface(0, 0xFF),)
)
COMPAC_A1 = UsbIdentity("1-2", 0x10C4, 0xEA70, 0x0100, "Silicon Labs", "GekkoScience Compac A1", "00A1")
GAMMA = UsbIdentity("1-3", 0xC0DE, 0xCAFE, 0x0001, "OSMU", "Bitaxe", "C0FFEE00")


@dataclass
class Plugged:
    """One device. `incoming`: per endpoint what each transfer gives, bytes or an error; nothing is a time-out."""

    identity: UsbIdentity
    interfaces: tuple[SimpleNamespace, ...]
    clock: Clock = field(default_factory=Clock)
    kernel: dict[int, str] = field(default_factory=dict)  # interface: the kernel driver bound to it
    incoming: defaultdict[int, deque[bytes | OSError]] = field(default_factory=lambda: defaultdict(deque))
    failing: dict[str, OSError] = field(default_factory=dict)  # call: what it answers from now on
    answer: Callable[[tuple[int, int, int, int]], bytes] = lambda _: b""
    takes: int | None = None  # bytes of each write; None: all
    is_plugged: bool = True
    opened: int = 0
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    controls: list[tuple[int, int, int, int, bytes]] = field(default_factory=list)
    sent: list[tuple[int, bytes]] = field(default_factory=list)
    claimed: set[int] = field(default_factory=set)
    idle: bytes | None = None  # what an idle chip sends each latency period; None: nothing
    hold: threading.Event | None = None  # a read waits for it in real time
    reading: threading.Event = field(default_factory=threading.Event)

    def device(self) -> usb.core.Device:
        return usb.core.Device(self, Backend())

    def claim(self, **changes: Any) -> Claim:
        return Claim(self.device(), self.identity, now=self.clock, **changes)

    def call(self, name: str, *what: Any) -> None:
        self.calls.append((name, *what))
        if not self.is_plugged:
            raise usb_error(errno.ENODEV)
        if name in self.failing:
            raise self.failing[name]

    def names(self) -> list[tuple[Any, ...]]:
        return [call for call in self.calls if call[0] in {"detach", "claim", "release", "attach", "close"}]


def usb_error(code: int | None) -> OSError:
    kind = usb.core.USBTimeoutError if code == errno.ETIMEDOUT else usb.core.USBError
    error: OSError = kind("said libusb", -1, code)
    return error


class Backend(usb.backend.IBackend):  # type: ignore[misc]
    """pyusb's view of a `Plugged`, with the kernel's manners in claiming and drivers."""

    def get_device_descriptor(self, dev: Plugged) -> SimpleNamespace:
        return SimpleNamespace(
            bLength=18,
            bDescriptorType=1,
            bcdUSB=0x0200,
            bDeviceClass=0,
            bDeviceSubClass=0,
            bDeviceProtocol=0,
            bMaxPacketSize0=64,
            idVendor=dev.identity.vid,
            idProduct=dev.identity.pid,
            bcdDevice=dev.identity.bcd_device,
            iManufacturer=0,
            iProduct=0,
            iSerialNumber=0,
            bNumConfigurations=1,
            address=2,
            bus=1,
            port_number=1,
            port_numbers=(1,),
            speed=2,
        )

    def enumerate_devices(self) -> list[Plugged]:
        return []

    def get_configuration_descriptor(self, dev: Plugged, config: int) -> SimpleNamespace:
        if config:
            raise IndexError(config)
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=2,
            wTotalLength=0,
            bNumInterfaces=len(dev.interfaces),
            bConfigurationValue=1,
            iConfiguration=0,
            bmAttributes=0x80,
            bMaxPower=50,
            extra_descriptors=[],
        )

    def get_interface_descriptor(self, dev: Plugged, intf: int, alt: int, config: int) -> SimpleNamespace:
        if alt:
            raise IndexError(alt)
        return dev.interfaces[intf]

    def get_endpoint_descriptor(self, dev: Plugged, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        found: SimpleNamespace = dev.interfaces[intf].endpoints[ep]
        return found

    def open_device(self, dev: Plugged) -> Plugged:
        dev.call("open")
        dev.opened += 1
        return dev

    def close_device(self, dev_handle: Plugged) -> None:
        dev_handle.calls.append(("close",))
        dev_handle.opened -= 1
        dev_handle.claimed.clear()

    def get_configuration(self, dev_handle: Plugged) -> int:
        dev_handle.call("get_configuration")
        return 1

    def claim_interface(self, dev_handle: Plugged, intf: int) -> None:
        dev_handle.call("claim", intf)
        if intf in dev_handle.kernel:
            raise usb_error(errno.EBUSY)
        dev_handle.claimed.add(intf)

    def release_interface(self, dev_handle: Plugged, intf: int) -> None:
        dev_handle.call("release", intf)
        dev_handle.claimed.discard(intf)

    def is_kernel_driver_active(self, dev_handle: Plugged, intf: int) -> bool:
        dev_handle.call("active", intf)
        return intf in dev_handle.kernel

    def detach_kernel_driver(self, dev_handle: Plugged, intf: int) -> None:
        dev_handle.call("detach", intf)
        for number in self._together(dev_handle, intf):
            dev_handle.kernel.pop(number)

    def attach_kernel_driver(self, dev_handle: Plugged, intf: int) -> None:
        dev_handle.call("attach", intf)
        together = self._together(dev_handle, intf)
        if intf in dev_handle.kernel or dev_handle.claimed & set(together):
            raise usb_error(errno.EBUSY)
        dev_handle.kernel.update(dict.fromkeys(together, "back"))

    def clear_halt(self, dev_handle: Plugged, ep: int) -> None:
        dev_handle.call("clear_halt", ep)

    def reset_device(self, dev_handle: Plugged) -> None:
        dev_handle.call("reset")

    def bulk_write(self, dev_handle: Plugged, ep: int, intf: int, data: Any, timeout: int) -> int:
        assert 0 < timeout <= 1000
        assert intf in dev_handle.claimed
        dev_handle.call("write", ep)
        taken = bytes(data)[: dev_handle.takes]
        dev_handle.sent.append((ep, taken))
        return len(taken)

    def bulk_read(self, dev_handle: Plugged, ep: int, intf: int, buff: Any, timeout: int) -> int:
        assert 0 < timeout <= 1000
        assert intf in dev_handle.claimed
        assert len(buff) % 8 == 0, "a device may fill its last packet"
        dev_handle.call("read", ep)
        if dev_handle.hold is not None:
            dev_handle.reading.set()
            dev_handle.hold.wait(10.0)
        if dev_handle.incoming[ep]:
            what = dev_handle.incoming[ep].popleft()
            if isinstance(what, OSError):
                raise what
            dev_handle.clock.now_s += 0.0001
        elif dev_handle.idle is not None:
            what = dev_handle.idle
            dev_handle.clock.now_s += 0.002
        else:
            dev_handle.clock.now_s += timeout / 1000
            raise usb_error(errno.ETIMEDOUT)
        given = what[: len(buff)]
        buff[: len(given)] = array("B", given)
        return len(given)

    def ctrl_transfer(  # noqa: PLR0917  pyusb calls it so
        self, dev_handle: Plugged, request_type: int, request: int, value: int, index: int, data: Any, timeout: int
    ) -> int:
        assert 0 < timeout <= 1000
        dev_handle.call("control", request)
        if not request_type & 0x80:
            dev_handle.controls.append((request_type, request, value, index, bytes(data)))
            return len(data)
        answer = dev_handle.answer((request_type, request, value, index))[: len(data)]
        data[: len(answer)] = array("B", answer)
        return len(answer)

    def _together(self, dev: Plugged, number: int) -> list[int]:
        """The interfaces that one driver holds: a CDC function's two, any other's one."""
        first = number - number % 2
        return [first, first + 1] if dev.identity.pid == GAMMA.pid else [number]


class FakeBus:
    """A `Bus` of devices in memory."""

    def __init__(self, *devices: Plugged) -> None:
        self.devices = list(devices)

    def scan(self) -> list[UsbIdentity]:
        return [device.identity for device in self.devices if device.is_plugged]

    def open(self, identity: UsbIdentity) -> usb.core.Device:
        return next(device for device in self.devices if device.identity == identity).device()

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


def compac_f() -> Plugged:
    return Plugged(COMPAC_F, FTDI, kernel={0: "ftdi_sio"}, idle=b"\x01\x60")


def compac_a1() -> Plugged:
    return Plugged(COMPAC_A1, CP2105, kernel={0: "cp210x", 1: "cp210x"})


def gamma() -> Plugged:
    return Plugged(GAMMA, BITAXE, kernel=dict.fromkeys(range(4), "cdc_acm"))


def moved(identity: UsbIdentity, **changes: Any) -> UsbIdentity:
    return replace(identity, **changes)
