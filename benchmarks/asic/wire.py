"""Virtual boards in a process of their own, reached through pyusb: so that the miner's process can be measured alone.

Where libusb would go to the kernel, this goes through a socket: a connection for each thread, a message each way for
each transfer. That costs the miner's process no less than usbfs would, and is part of the figures.

Real boards work beside their host; these share its cores. A write therefore ends when it has arrived, as it ends when a
bridge has it, and what the board does about it comes later, where no clean job of the other boards waits for it.
"""

from __future__ import annotations

import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import usb.backend
import usb.core

from backends.asic.usb.bus import UsbIdentity
from backends.asic.virtual import VirtualBus

SCALE = 2.0**-32  # every hash is a result: a planted nonce is right, and nothing has to be searched
_PACKET_MAX = 1 << 17
_EMPTY_FTDI = 2  # bytes of status that come without a result
_LATER_S = 0.005
_TURN_S = 0.0002  # between the boards' threads: taking a write in must not wait for another's work


class Wire:
    """One end of a connection: a message is one packet, and costs one system call."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    @classmethod
    def to(cls, address: str) -> Wire:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end.connect(address)
        return cls(end)

    def send(self, message: object) -> None:
        self._end.send(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))

    def receive(self) -> Any:
        """Raises EOFError when the other end is gone."""
        packet = self._end.recv(_PACKET_MAX)
        if not packet:
            raise EOFError
        return pickle.loads(packet)  # noqa: S301  from the process that this one started, or that started it


class RemoteBackend(usb.backend.IBackend):  # type: ignore[misc] # untyped
    """pyusb's backend interface, each call carried out by the other process.

    arrived: seconds on the clock when the calling thread's last packet with something in it came.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._local = threading.local()
        self._handles: dict[int, object] = {}

    @property
    def arrived(self) -> float:
        return float(self._local.arrived)

    def ask(self, call: str, *arguments: Any) -> Any:
        wire: Wire | None = getattr(self._local, "wire", None)
        if wire is None:
            wire = self._local.wire = Wire.to(self._address)
        wire.send((call, arguments))
        fine, answer = wire.receive()
        if fine:
            return answer
        kind, *details = answer
        raise (usb.core.USBTimeoutError if kind == "USBTimeoutError" else usb.core.USBError)(*details)

    def enumerate_devices(self) -> Iterator[int]:
        yield from self.ask("devices")

    def get_device_descriptor(self, dev: int) -> Any:
        return self.ask("get_device_descriptor", dev)

    def get_configuration_descriptor(self, dev: int, config: int) -> Any:
        return self.ask("get_configuration_descriptor", dev, config)

    def get_interface_descriptor(self, dev: int, intf: int, alt: int, config: int) -> Any:
        return self._index(lambda: self.ask("get_interface_descriptor", dev, intf, alt, config))

    def get_endpoint_descriptor(self, dev: int, ep: int, intf: int, alt: int, config: int) -> Any:
        return self._index(lambda: self.ask("get_endpoint_descriptor", dev, ep, intf, alt, config))

    def open_device(self, dev: int) -> int:
        return int(self.ask("open_device", dev))

    def close_device(self, dev_handle: int) -> None:
        self.ask("close_device", dev_handle)

    def get_configuration(self, dev_handle: int) -> int:
        return int(self.ask("get_configuration", dev_handle))

    def claim_interface(self, dev_handle: int, intf: int) -> None:
        self.ask("claim_interface", dev_handle, intf)

    def release_interface(self, dev_handle: int, intf: int) -> None:
        self.ask("release_interface", dev_handle, intf)

    def is_kernel_driver_active(self, dev_handle: int, intf: int) -> bool:
        return bool(self.ask("is_kernel_driver_active", dev_handle, intf))

    def detach_kernel_driver(self, dev_handle: int, intf: int) -> None:
        self.ask("detach_kernel_driver", dev_handle, intf)

    def attach_kernel_driver(self, dev_handle: int, intf: int) -> None:
        self.ask("attach_kernel_driver", dev_handle, intf)

    def clear_halt(self, dev_handle: int, ep: int) -> None:
        self.ask("clear_halt", dev_handle, ep)

    def bulk_write(self, dev_handle: int, ep: int, intf: int, data: Any, timeout: int) -> int:
        return int(self.ask("bulk_write", dev_handle, ep, intf, bytes(data), timeout))

    def bulk_read(self, dev_handle: int, ep: int, intf: int, buff: Any, timeout: int) -> int:
        data = self.ask("bulk_read", dev_handle, ep, intf, len(buff), timeout)
        buff[: len(data)] = array("B", data)
        if len(data) > _EMPTY_FTDI:
            self._local.arrived = time.perf_counter()
        return len(data)

    def ctrl_transfer(  # noqa: PLR0917 # pyusb's
        self,
        dev_handle: int,
        bmRequestType: int,  # noqa: N803
        bRequest: int,  # noqa: N803
        wValue: int,  # noqa: N803
        wIndex: int,  # noqa: N803
        data: Any,
        timeout: int,
    ) -> int:
        setup = (bmRequestType, bRequest, wValue, wIndex)
        done, answer = self.ask("ctrl_transfer", dev_handle, *setup, bytes(data), timeout)
        if bmRequestType & 0x80:
            data[: len(answer)] = array("B", answer)
        return int(done)

    @staticmethod
    def _index(ask: Callable[[], Any]) -> Any:
        answer = ask()
        if answer is None:
            raise IndexError
        return answer


class RemoteBus:
    """A `Bus` of the boards in the other process."""

    def __init__(self, address: str) -> None:
        self.backend = RemoteBackend(address)

    def scan(self) -> list[UsbIdentity]:
        return list(self.backend.ask("scan"))

    def open(self, identity: UsbIdentity) -> Any:
        return usb.core.Device(int(identity.path.rpartition("-")[2]), self.backend)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 # nothing is plugged meanwhile
        return lambda: None

    def scale(self, identity: UsbIdentity) -> float:  # noqa: ARG002 # all alike
        return SCALE


@contextmanager
def boards(kind: str, count: int, *, results: bool) -> Iterator[RemoteBus]:
    """So many boards in another process. `results`: whether each job is answered with one, at once.

    Raises RuntimeError at the end when writes were lost: what was measured is not what mining does.
    """
    with tempfile.TemporaryDirectory() as folder:
        address = str(Path(folder, "usb"))
        words = [sys.executable, "-m", "benchmarks.asic.wire", address, kind, str(count), str(int(results))]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
            assert process.stdin is not None and process.stdout is not None
            try:
                if process.stdout.readline() != b"ready\n":
                    raise RuntimeError("the process of the virtual boards did not start")
                bus = RemoteBus(address)
                yield bus
                if lost := bus.backend.ask("lost"):
                    raise RuntimeError(f"{len(lost)} writes to the virtual boards were lost; the first: {lost[0]}")
            finally:
                process.stdin.close()
                process.wait()


class _Nothing:
    """A search that finds nothing: results are planted."""

    def search(self, *_: Any) -> list[tuple[int, int]]:
        return []


def _serve(address: str, kind: str, count: int, *, results: bool) -> None:
    sys.setswitchinterval(_TURN_S)
    bus = VirtualBus([kind] * count, scale=SCALE, search=_Nothing())
    if results:
        for identity in bus.scan():
            bus.board(identity.path).chain.plant(0, 0)
    desk = _Desk(bus)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen(256)
        print("ready", flush=True)
        threading.Thread(target=_end_with_stdin, daemon=True).start()
        while True:
            threading.Thread(target=desk.serve, args=(Wire(listener.accept()[0]),), daemon=True).start()


def _end_with_stdin() -> None:
    sys.stdin.read()
    os._exit(0)


class _Desk:
    """Answers connections, a thread each. What a write that had ended failed of is told to who asks what was lost."""

    def __init__(self, bus: VirtualBus) -> None:
        self._bus = bus
        self._handles: dict[int, Any] = {}
        self._lost: list[str] = []

    def serve(self, wire: Wire) -> None:
        while True:
            try:
                call, arguments = wire.receive()
            except (EOFError, OSError):
                return
            if call == "bulk_write":
                wire.send((True, len(arguments[3])))
                self._write(*arguments)
                continue
            try:
                answer = True, self._answer(call, arguments)
            except usb.core.USBError as error:
                details = (error.strerror, error.backend_error_code, error.errno)
                answer = False, (type(error).__name__, *details)
            wire.send(answer)

    def _write(self, handle: int, ep: int, intf: int, data: bytes, timeout: int) -> None:
        """What a board does about a write that has ended for its host."""
        time.sleep(_LATER_S)
        try:
            taken = self._bus.backend.bulk_write(self._handles[handle], ep, intf, data, timeout)
        except (usb.core.USBError, KeyError) as error:  # KeyError: it was closed meanwhile
            self._lost.append(repr(error))
        else:
            if taken != len(data):
                self._lost.append(f"{taken} of {len(data)} bytes were taken")

    def _answer(self, call: str, arguments: tuple[Any, ...]) -> Any:
        backend = self._bus.backend
        if call == "lost":
            return self._lost
        if call == "scan":
            return self._bus.scan()
        if call == "devices":
            return range(1, len(backend.attachments) + 1)
        first, *rest = arguments
        if call == "open_device":
            handle = backend.open_device(backend.attachments[first - 1])
            self._handles[id(handle)] = handle
            return id(handle)
        if call.startswith("get_") and call.endswith("_descriptor"):
            try:
                return getattr(backend, call)(backend.attachments[first - 1], *rest)
            except IndexError:
                return None
        handle = self._handles[first]
        if call == "bulk_read":
            buffer = array("B", bytes(rest[2]))
            return bytes(buffer[: backend.bulk_read(handle, rest[0], rest[1], buffer, rest[3])])
        if call == "ctrl_transfer":
            buffer = array("B", rest[4])
            done = backend.ctrl_transfer(handle, rest[0], rest[1], rest[2], rest[3], buffer, rest[5])
            return done, bytes(buffer[:done])
        if call == "close_device":
            del self._handles[first]
        return getattr(backend, call)(handle, *rest)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), results=sys.argv[4] == "1")
