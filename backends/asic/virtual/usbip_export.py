"""Virtual boards for other machines, over USB/IP: PyPI's `usbip` speaks the protocol, the models answer.

Transfers towards the host are kept until the model has data, the host unlinks them, or the plug is pulled; one thread
per attached device completes them. Everything about a device happens with its condition held, the answers' sending
too, so that an answer can never follow the answer to its unlinking (the kernel would drop the device).
"""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import usbip.protocol
from usbip.core import OUT, SPEED_FULL, Urb

from .boards.board import VirtualBoard
from .usb.device import Setup, Stall

LOOPBACK, PORT = "127.0.0.1", 3240  # the port is IANA's for USB/IP
_SEND_S = 5.0  # a host that does not take answers for so long is gone
_PENDING = 256  # transfers a host may have under way at an endpoint's end


@dataclass(frozen=True, slots=True)
class _Waiting:
    urb: Urb
    respond: Callable[[Urb], None]


class ExportedBoard:
    """A board in the shape that `usbip.protocol.serve_connection` drives; its names are that library's."""

    def __init__(self, board: VirtualBoard, place: int) -> None:
        of = board.device.descriptors
        self.board = board
        self.vid, self.pid, self.bcdDevice = of.vid, of.pid, of.bcd_device
        self.device_class, self.device_subclass, self.device_protocol = of.device_class
        self.num_interfaces = len(of.interfaces)
        self.speed = SPEED_FULL
        self.busid, self.busnum, self.devnum = f"1-{place}", 1, place + 1
        self._waiting: list[_Waiting] = []
        self._attached: socket.socket | None = None
        self._pump: threading.Thread | None = None

    def interface_triples(self) -> list[tuple[int, int, int]]:
        interfaces = self.board.device.descriptors.interfaces
        return [(one.class_code, one.subclass_code, one.protocol) for one in interfaces]

    def is_iso(self, _number: int, _direction: int) -> bool:
        return False

    def reset_io(self) -> None:
        """A host has attached: a device on a fresh port."""
        with self.board.changed:
            self._waiting.clear()
            self.board.device.reset()

    def handle_urb(self, urb: Urb, respond: Callable[[Urb], None]) -> None:
        """Answers through `respond`, now or later."""
        device = self.board.device
        with device.changed:
            try:
                if not device.plugged:
                    urb.status = -errno.ENODEV
                elif urb.ep == 0:
                    self._control(urb)
                elif urb.direction == OUT:
                    urb.actual = device.bulk_out(urb.ep, urb.buffer)
                elif len(self._waiting) >= _PENDING:
                    urb.status = -errno.ENOMEM
                else:
                    self._waiting.append(_Waiting(urb, respond))
                    self._start()
                    device.changed.notify_all()
                    return
            except Stall:
                urb.status = -errno.EPIPE
            respond(urb)

    def cancel_urb(self, seqnum: int) -> None:
        with self.board.changed:
            self._waiting = [one for one in self._waiting if one.urb.seqnum != seqnum]

    def detached(self) -> None:
        """The connection is over."""
        with self.board.changed:
            self._waiting.clear()
            self.board.changed.notify_all()

    def _control(self, urb: Urb) -> None:
        setup = Setup.parse(bytes(urb.setup))
        answer = self.board.device.control(setup, urb.buffer)
        urb.buffer, urb.actual = (answer, len(answer)) if setup.to_host else (b"", len(urb.buffer))

    def _start(self) -> None:
        if self._pump is None:
            self._pump = threading.Thread(target=self._complete, name=f"usbip-{self.busid}", daemon=True)
            self._pump.start()

    def _complete(self) -> None:
        device = self.board.device
        with device.changed:
            while self._waiting:
                blocked: set[int] = set()  # endpoints that have nothing now: their other transfers wait in line
                for one in list(self._waiting):
                    endpoint = one.urb.ep | 0x80
                    if endpoint in blocked or one not in self._waiting:
                        continue
                    if not self._answered(one, endpoint):
                        blocked.add(endpoint)
                dues = [due for due in map(device.due_s, blocked) if due is not None]
                if self._waiting:
                    device.changed.wait(min(dues) if dues else None)
            self._pump = None

    def _answered(self, one: _Waiting, endpoint: int) -> bool:
        device, urb = self.board.device, one.urb
        data: bytes | None = b""
        try:
            if not device.plugged:
                urb.status = -errno.ENODEV
            elif not (data := device.bulk_in(endpoint, urb.length)):
                return False
        except Stall:
            urb.status = -errno.EPIPE
        urb.buffer, urb.actual = data or b"", len(data or b"")
        self._waiting.remove(one)
        one.respond(urb)
        return True


class Exports:
    """A listener on one address for several boards, by bus id 1-1, 1-2... Threads end with close()."""

    def __init__(self, boards: Sequence[VirtualBoard], host: str = LOOPBACK, port: int = PORT) -> None:
        """Port 0: any free one. Raises OSError when the address cannot be had."""
        self.exported = [ExportedBoard(board, place) for place, board in enumerate(boards, 1)]
        self._listener = socket.create_server((host, port))
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, ExportedBoard | None] = {}
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, name="usbip-accept", daemon=True)
        self._accepting.start()

    @property
    def address(self) -> tuple[str, int]:
        host, port = self._listener.getsockname()[:2]
        return host, port

    def unplug(self, place: int) -> None:
        """Pull the plug of board `place` (from 1): the attached host sees it go."""
        self.exported[place - 1].board.unplug()
        self.hang_up_on_unplugged()

    def hang_up_on_unplugged(self) -> None:
        """Let the hosts of boards that were unplugged see it."""
        with self._lock:
            attached = [(connection, one) for connection, one in self._connections.items() if one is not None]
            gone = [connection for connection, one in attached if not one.board.device.plugged]
            self._connections.update(dict.fromkeys(gone))  # free to be attached anew, as soon as it is replugged
        for connection in gone:
            _hang_up(connection)

    def replug(self, place: int) -> None:
        self.exported[place - 1].board.replug()

    def close(self) -> None:
        _hang_up(self._listener)
        self._listener.close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _hang_up(connection)
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        for exported in self.exported:
            exported.board.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:  # closed
                return
            thread = threading.Thread(target=self._serve, args=(connection,), name="usbip-connection", daemon=True)
            with self._lock:
                self._connections[connection] = None
                self._threads = [*(one for one in self._threads if one.is_alive()), thread]
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        timeval = int(_SEND_S).to_bytes(8, "little") + bytes(8)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, timeval)
        try:
            usbip.protocol.serve_connection(connection, self._offered(connection))
        finally:
            with self._lock:
                exported = self._connections.pop(connection, None)
            if exported is not None:
                exported.detached()
            connection.close()

    def _offered(self, connection: socket.socket) -> list[Any]:
        """What this connection may choose from: plugged, and in nobody else's hands."""
        with self._lock:
            taken = list(self._connections.values())
        free = [one for one in self.exported if one.board.device.plugged and one not in taken]
        return [_Offer(one, partial(self._chosen, connection, one)) for one in free]

    def _chosen(self, connection: socket.socket, exported: ExportedBoard) -> None:
        with self._lock:
            if exported in self._connections.values():
                raise BlockingIOError(errno.EBUSY, "another host was faster")
            self._connections[connection] = exported
        if not exported.board.device.plugged:  # pulled while it was being attached, too early to be hung up on
            raise OSError(errno.ENODEV, "the board was unplugged meanwhile")


class _Offer:
    """A board that tells when it is chosen: the library's first act then is `reset_io`."""

    def __init__(self, exported: ExportedBoard, chosen: Callable[[], None]) -> None:
        self._exported = exported
        self._chosen = chosen

    def reset_io(self) -> None:
        self._chosen()
        self._exported.reset_io()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exported, name)


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        if error.errno not in {errno.ENOTCONN, errno.EBADF}:
            raise
