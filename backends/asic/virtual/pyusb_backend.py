"""pyusb's backend interface over virtual devices: what libusb and the kernel do between a program and a device.

Kernel drivers hold the interfaces until they are detached, claims are exclusive, a stall is EPIPE, a missing answer
ETIMEDOUT, a pulled plug ENODEV. Source: pyusb, usb/backend/__init__.py; libusb's error codes.
"""

from __future__ import annotations

import errno
import time
from array import array
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import usb.backend
import usb.core

from .usb.descriptors import Descriptors, Interface
from .usb.device import Setup, Stall, UsbDevice

_SPEED_FULL = 2
_BUSY, _GONE, _NOT_FOUND, _TIMEOUT, _PIPE = -6, -4, -5, -7, -9  # libusb's codes


class Attachment:
    """A device on this machine's virtual bus, with what the kernel keeps of it."""

    def __init__(self, device: UsbDevice, address: int) -> None:
        self.device = device
        self.address = address
        self.bound: dict[int, str] = {}  # interface: the kernel's driver that holds it
        self.claims: dict[int, _Handle] = {}
        self.bind()

    def bind(self) -> None:
        """What the kernel does with a device that was just plugged in."""
        interfaces = self.device.descriptors.interfaces
        self.bound = {one.number: one.driver for one in interfaces if one.driver}
        self.claims.clear()


class _Handle:
    """An opened device. A replugged one is another: this handle stays dead."""

    def __init__(self, attachment: Attachment) -> None:
        self.attachment = attachment
        self.stale = False


class VirtualBackend(usb.backend.IBackend):  # type: ignore[misc] # untyped
    """Thread-safe: every call holds the device's condition, waits included."""

    def __init__(self) -> None:
        self.attachments: list[Attachment] = []
        self._handles: list[_Handle] = []

    def plug(self, device: UsbDevice, address: int) -> Attachment:
        attachment = Attachment(device, address)
        self.attachments = [*self.attachments, attachment]
        return attachment

    def unplugged(self, attachment: Attachment) -> None:
        """Every handle to it is dead from now on; call with the device's condition held."""
        for handle in self._handles:
            handle.stale |= handle.attachment is attachment
        self._handles = [handle for handle in self._handles if not handle.stale]
        attachment.bound.clear()
        attachment.claims.clear()

    def enumerate_devices(self) -> Iterator[Attachment]:
        return (one for one in self.attachments if one.device.plugged)

    def get_device_descriptor(self, dev: Attachment) -> SimpleNamespace:
        of = dev.device.descriptors
        cls, subclass, protocol = of.device_class
        return SimpleNamespace(
            bLength=18,
            bDescriptorType=1,
            bcdUSB=0x0200,
            bDeviceClass=cls,
            bDeviceSubClass=subclass,
            bDeviceProtocol=protocol,
            bMaxPacketSize0=64,
            idVendor=of.vid,
            idProduct=of.pid,
            bcdDevice=of.bcd_device,
            iManufacturer=1,
            iProduct=2,
            iSerialNumber=3,
            bNumConfigurations=1,
            address=dev.address,
            bus=0,
            port_number=dev.address,
            port_numbers=(dev.address,),
            speed=_SPEED_FULL,
        )

    def get_configuration_descriptor(self, dev: Attachment, config: int) -> SimpleNamespace:
        of = dev.device.descriptors
        _only(config)
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=2,
            wTotalLength=len(of.configuration()),
            bNumInterfaces=len(of.interfaces),
            bConfigurationValue=1,
            iConfiguration=0,
            bmAttributes=of.attributes,
            bMaxPower=of.max_power,
            extra_descriptors=[byte for group in of.associations for byte in group.pack()],
        )

    def get_interface_descriptor(self, dev: Attachment, intf: int, alt: int, config: int) -> SimpleNamespace:
        _only(config)
        _only(alt)
        one = _interface(dev.device.descriptors, intf)
        return SimpleNamespace(
            bLength=9,
            bDescriptorType=4,
            bInterfaceNumber=one.number,
            bAlternateSetting=0,
            bNumEndpoints=len(one.endpoints),
            bInterfaceClass=one.class_code,
            bInterfaceSubClass=one.subclass_code,
            bInterfaceProtocol=one.protocol,
            iInterface=dev.device.descriptors.name_index(one),
            extra_descriptors=list(one.class_specific),
        )

    def get_endpoint_descriptor(self, dev: Attachment, ep: int, intf: int, alt: int, config: int) -> SimpleNamespace:
        _only(config)
        _only(alt)
        end = _interface(dev.device.descriptors, intf).endpoints[ep]
        return SimpleNamespace(
            bLength=7,
            bDescriptorType=5,
            bEndpointAddress=end.address,
            bmAttributes=end.attributes,
            wMaxPacketSize=end.max_packet,
            bInterval=end.interval,
            bRefresh=0,
            bSynchAddress=0,
            extra_descriptors=[],
        )

    def open_device(self, dev: Attachment) -> _Handle:
        with dev.device.changed:
            if not dev.device.plugged:
                raise _gone()
            handle = _Handle(dev)
            self._handles.append(handle)
            return handle

    def close_device(self, dev_handle: _Handle) -> None:
        with dev_handle.attachment.device.changed:
            claims = dev_handle.attachment.claims
            for number in [number for number, holder in claims.items() if holder is dev_handle]:
                del claims[number]
            self._handles = [handle for handle in self._handles if handle is not dev_handle]

    def set_configuration(self, dev_handle: _Handle, config_value: int) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            if attachment.bound or any(holder is not dev_handle for holder in attachment.claims.values()):
                raise usb.core.USBError("Resource busy", _BUSY, errno.EBUSY)
            self._control(attachment, Setup(0, 9, config_value, 0, 0), b"")

    def get_configuration(self, dev_handle: _Handle) -> int:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            return self._control(attachment, Setup(0x80, 8, 0, 0, 1), b"")[0]

    def set_interface_altsetting(self, dev_handle: _Handle, intf: int, altsetting: int) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            self._control(attachment, Setup(0x01, 11, altsetting, intf, 0), b"")

    def claim_interface(self, dev_handle: _Handle, intf: int) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            _interface(attachment.device.descriptors, intf)
            if intf in attachment.bound or attachment.claims.get(intf, dev_handle) is not dev_handle:
                raise usb.core.USBError("Resource busy", _BUSY, errno.EBUSY)
            attachment.claims[intf] = dev_handle

    def release_interface(self, dev_handle: _Handle, intf: int) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            if attachment.claims.get(intf) is dev_handle:
                del attachment.claims[intf]

    def is_kernel_driver_active(self, dev_handle: _Handle, intf: int) -> bool:
        return intf in self._alive(dev_handle).bound

    def detach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            if attachment.bound.pop(intf, None) is None:
                raise usb.core.USBError("Entity not found", _NOT_FOUND, errno.ENOENT)
            attachment.device.changed.notify_all()

    def attach_kernel_driver(self, dev_handle: _Handle, intf: int) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            if intf in attachment.claims or intf in attachment.bound:
                raise usb.core.USBError("Resource busy", _BUSY, errno.EBUSY)
            if driver := _interface(attachment.device.descriptors, intf).driver:
                attachment.bound[intf] = driver
            attachment.device.changed.notify_all()

    def clear_halt(self, dev_handle: _Handle, ep: int) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            self._control(attachment, Setup(0x02, 1, 0, ep, 0), b"")

    def reset_device(self, dev_handle: _Handle) -> None:
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            attachment.device.reset()

    def bulk_write(self, dev_handle: _Handle, ep: int, intf: int, data: Any, timeout: int) -> int:
        del timeout  # virtual devices take what they are given at once
        attachment = self._claimed(dev_handle, intf)
        device = attachment.device
        with device.changed:
            self._alive(dev_handle)
            try:
                return device.bulk_out(ep, bytes(data))
            except Stall:
                raise _stalled() from None

    def bulk_read(self, dev_handle: _Handle, ep: int, intf: int, buff: Any, timeout: int) -> int:
        device = self._claimed(dev_handle, intf).device
        end = time.monotonic() + timeout / 1000 if timeout else None
        with device.changed:
            while True:
                self._alive(dev_handle)
                try:
                    data = device.bulk_in(ep, len(buff))
                except Stall:
                    raise _stalled() from None
                if data:
                    buff[: len(data)] = array("B", data)
                    return len(data)
                left_s = None if end is None else end - time.monotonic()
                if left_s is not None and left_s <= 0:
                    raise usb.core.USBTimeoutError("Operation timed out", _TIMEOUT, errno.ETIMEDOUT)
                waits = [wait for wait in (left_s, device.due_s(ep)) if wait is not None]
                device.changed.wait(min(waits) if waits else None)

    intr_write = bulk_write
    intr_read = bulk_read

    def ctrl_transfer(  # noqa: PLR0917 # pyusb's
        self,
        dev_handle: _Handle,
        bmRequestType: int,  # noqa: N803
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: Any,
        timeout: int,
    ) -> int:
        del timeout
        attachment = self._alive(dev_handle)
        with attachment.device.changed:
            self._alive(dev_handle)
            setup = Setup(bmRequestType, bRequest, wValue, wIndex, len(data))
            answer = self._control(attachment, setup, b"" if setup.to_host else bytes(data))
            if not setup.to_host:
                return len(data)
            data[: len(answer)] = array("B", answer)
            return len(answer)

    def _control(self, attachment: Attachment, setup: Setup, data: bytes) -> bytes:
        try:
            return attachment.device.control(setup, data)
        except Stall:
            raise _stalled() from None

    def _alive(self, handle: _Handle) -> Attachment:
        if handle.stale or not handle.attachment.device.plugged:
            raise _gone()
        return handle.attachment

    def _claimed(self, handle: _Handle, intf: int) -> Attachment:
        attachment = self._alive(handle)
        if attachment.claims.get(intf) is not handle:
            raise usb.core.USBError("Entity not found", _NOT_FOUND, errno.ENOENT)
        return attachment


def _only(index: int) -> None:
    if index:
        raise IndexError(index)


def _interface(of: Descriptors, number: int) -> Interface:
    if not 0 <= number < len(of.interfaces):
        raise IndexError(number)
    return of.interfaces[number]


def _gone() -> usb.core.USBError:
    return usb.core.USBError("No such device (it may have been disconnected)", _GONE, errno.ENODEV)


def _stalled() -> usb.core.USBError:
    return usb.core.USBError("Pipe error", _PIPE, errno.EPIPE)
