"""`python -m backends.asic.virtual`: hand virtual boards to a Linux machine over USB/IP.

    python -m backends.asic.virtual --serve compac-f bitaxe-gamma        (here)
    modprobe vhci-hcd; usbip attach -r 127.0.0.1 -b 1-1                  (there, as root)

Served boards report hashes of true difficulty one unless told otherwise: another people's miner checks them.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from collections.abc import Sequence

from .bus import VirtualBus
from .catalogue import catalogue, parse_order

_DEFAULT = "127.0.0.1:3240"


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        for kind in catalogue():
            sys.stdout.write(f"{kind.name:14} {kind.title}: {kind.chips} x {kind.chip.name}\n")
        return 0
    kinds = list(options.serve or [])
    address = kinds.pop(0) if kinds and ":" in kinds[0] and "," not in kinds[0] else _DEFAULT
    if not kinds:
        parser.error("say --serve and at least one kind of board; --list names them")
    try:
        orders = [parse_order(kind) for kind in kinds]
        host, port = _address(address)
        scale = None if options.scale == "auto" else _fraction(options.scale)
    except ValueError as error:
        parser.error(str(error))
    try:
        from .usbip_export import Exports  # noqa: PLC0415 # an optional package
    except ModuleNotFoundError as error:
        sys.stderr.write(f"serving needs the package usbip: pip install 'angara-miner[virtual]' ({error})\n")
        return 1
    bus = VirtualBus(orders, scale=scale)
    paths = [identity.path for identity in bus.scan()]
    try:
        exports = Exports([bus.board(path) for path in paths], host, port)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {host}:{port}: {error.strerror}\n")
        return 1
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    bus.watch(exports.hang_up_on_unplugged)  # the fault of that name
    host, port = exports.address
    for exported in exports.exported:
        title, where = exported.board.specification.title, f"usbip --tcp-port {port} attach -r {host}"
        sys.stdout.write(f"{title}, virtual: {where} -b {exported.busid}\n")
    sys.stdout.flush()
    ended.wait()
    exports.close()
    bus.close()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m backends.asic.virtual", description="Virtual miners over USB/IP.")
    parser.add_argument("--list", action="store_true", help="the kinds there are")
    parser.add_argument(
        "--serve",
        nargs="*",
        metavar="HOST:PORT | KIND[,fault=NAME[:NUMBER]][,serial=TEXT]",
        help=f"boards, after the address if not {_DEFAULT}; there is no password: whoever reaches it may attach",
    )
    parser.add_argument(
        "--scale",
        default="1",
        metavar="FRACTION|auto",
        help="how much easier than a real board's difficulty one theirs is (default 1: true); auto: as fast as real",
    )
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) >= 1 << 16:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _fraction(text: str) -> float:
    if not 0 < (scale := float(text)) <= 1:
        raise ValueError(f"a scale lies between 0 and 1, not at {text}")
    return scale
