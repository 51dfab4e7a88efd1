"""A USB device as its host sees it: control transfers, bulk transfers, stalls. Every front end drives this one class.

Transfers never wait: `bulk_in` answers None (a NAK) when there is nothing, `due_s` says when to ask again without an
event, and `changed` is notified on every event. All of it is called with `changed` held.

Source: USB 2.0, chapter 9 (standard requests).
"""

from __future__ import annotations

import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from backends.asic.virtual.faults import Fault, Faults

from .descriptors import CONFIGURATION, DEVICE, STRING, Descriptors, Endpoint

_TO_ENDPOINT = 2


class _Standard(IntEnum):
    GET_STATUS = 0
    CLEAR_FEATURE = 1
    SET_FEATURE = 3
    GET_DESCRIPTOR = 6
    GET_CONFIGURATION = 8
    SET_CONFIGURATION = 9
    GET_INTERFACE = 10
    SET_INTERFACE = 11


class Stall(Exception):
    """The device refuses this transfer."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The eight bytes that begin a control transfer."""

    request_type: int
    request: int
    value: int
    index: int
    length: int

    @classmethod
    def parse(cls, raw: bytes) -> Setup:
        return cls(*struct.unpack("<BBHHH", raw))

    @property
    def to_host(self) -> bool:
        return bool(self.request_type & 0x80)

    @property
    def standard(self) -> bool:
        return not self.request_type & 0x60


class UsbDevice(ABC):
    """Base of the bridges. `plugged` is False from unplug() to replug()."""

    def __init__(
        self, descriptors: Descriptors, faults: Faults, changed: threading.Condition, clock: Callable[[], float]
    ) -> None:
        self.descriptors = descriptors
        self.faults = faults
        self.changed = changed
        self.plugged = True
        self.clock = clock
        self._configured = 1
        self._halted: set[int] = set()
        self._endpoints = {e.address: e for interface in descriptors.interfaces for e in interface.endpoints}

    def control(self, setup: Setup, data: bytes = b"") -> bytes:
        """A whole control transfer; the answer to a request for one, else empty. Raises Stall."""
        answer = self._standard(setup) if setup.standard else self.request(setup, data)
        self.changed.notify_all()
        return answer[: setup.length] if setup.to_host else b""

    def bulk_out(self, endpoint: int, data: bytes) -> int:
        """How much of it was taken. Raises Stall."""
        self._check(endpoint)
        if len(data) > 1 and self.faults.strikes(Fault.SHORT):
            data = data[: self.faults.random.randint(0, len(data) - 1)]
        self.sent(endpoint, data)
        self.changed.notify_all()
        return len(data)

    def bulk_in(self, endpoint: int, length: int) -> bytes | None:
        """Up to `length` bytes; None: not now. Raises Stall."""
        self._check(endpoint)
        return self.wanted(endpoint, length)

    def due_s(self, endpoint: int) -> float | None:
        """Seconds until this endpoint has something to say whatever happens; None: only an event brings that."""
        del endpoint
        return None

    def reset(self) -> None:
        """A port reset: halts, buffers and modes go."""
        self._halted.clear()
        self._configured = 1
        self.power_on()
        self.changed.notify_all()

    @abstractmethod
    def request(self, setup: Setup, data: bytes) -> bytes:
        """A class or vendor request. Raises Stall."""

    @abstractmethod
    def sent(self, endpoint: int, data: bytes) -> None:
        """Data on an OUT endpoint."""

    @abstractmethod
    def wanted(self, endpoint: int, length: int) -> bytes | None:
        """Data for an IN endpoint; None for none."""

    @abstractmethod
    def power_on(self) -> None:
        """Forget all that only lives as long as the power."""

    def endpoint(self, address: int) -> Endpoint | None:
        return self._endpoints.get(address)

    def _check(self, address: int) -> None:
        if address not in self._endpoints:
            raise Stall
        if self.faults.strikes(Fault.STALL):
            self._halted.add(address)
        if address in self._halted:
            raise Stall

    def _standard(self, setup: Setup) -> bytes:
        to_endpoint = setup.request_type & 0x1F == _TO_ENDPOINT
        match setup.request:
            case _Standard.GET_DESCRIPTOR:
                return self._descriptor(setup.value >> 8, setup.value & 0xFF)
            case _Standard.GET_STATUS:
                return struct.pack("<H", to_endpoint and setup.index & 0xFF in self._halted)
            case _Standard.CLEAR_FEATURE if to_endpoint:
                self._halted.discard(setup.index & 0xFF)
                return b""
            case _Standard.SET_FEATURE if to_endpoint:
                self._halted.add(setup.index & 0xFF)
                return b""
            case _Standard.GET_CONFIGURATION:
                return bytes((self._configured,))
            case _Standard.SET_CONFIGURATION if setup.value <= 1:
                self._configured = setup.value
                return b""
            case _Standard.GET_INTERFACE:
                return b"\0"
            case _Standard.SET_INTERFACE if not setup.value:
                return b""
        raise Stall

    def _descriptor(self, kind: int, index: int) -> bytes:
        known = {
            DEVICE: self.descriptors.device() if not index else None,
            CONFIGURATION: self.descriptors.configuration() if not index else None,
            STRING: self.descriptors.string(index),
        }
        if (found := known.get(kind)) is None:
            raise Stall
        return found
