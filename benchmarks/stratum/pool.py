"""The pool's side of the Stratum benchmarks: jobs of a made-up chain, and a conversation without sockets."""

from __future__ import annotations

import hashlib
import json
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.base import Capability, DeviceInfo, Hit, Kind, Work
from miner.sources.stratum.effects import Effect, Ending
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.pool import Pool
from miner.work import events
from miner.work.events import Found
from miner.work.feed import DeviceFeed
from miner.work.lease import Leases
from miner.work.manager import Manager

BRANCHES = 13  # a block of up to 8192 transactions
EXTRANONCE1, EXTRANONCE2_SIZE = "51000001", 4
EVERY_HASH = 2.0**-64  # the difficulty at which every hash is a share
WALL = 1_700_000_000
_UNREACHABLE = "1705ae3a"  # mainnet's target of 2023: no share is a block
_SCRIPT = bytes.fromhex("0014") + bytes(20)
_USER = "account.worker"


def notify(number: int, *, tip: int | None = None, clean: bool = True, outputs: int = 2, wall: float = WALL) -> bytes:
    """A whole line: job `number`, on the parent `tip` (its own number without one)."""
    parent = prev_hash(number if tip is None else tip)
    height = struct.pack("<i", 840_000 + number)[:3]
    script = b"\x03" + height + bytes([4 + EXTRANONCE2_SIZE])
    before = struct.pack("<i", 2) + b"\x01" + bytes(32) + b"\xff" * 4 + bytes([len(script) + 4 + EXTRANONCE2_SIZE])
    paid = struct.pack("<q", 1) + bytes([len(_SCRIPT)]) + _SCRIPT
    count = bytes([outputs]) if outputs < 0xFD else b"\xfd" + struct.pack("<H", outputs)
    params = [
        f"{number:x}",
        b"".join(parent[start : start + 4][::-1] for start in range(0, 32, 4)).hex(),
        (before + script).hex(),
        (b"\xff" * 4 + count + paid * outputs + bytes(4)).hex(),
        [hashlib.sha256(b"%d %d" % (number, level)).hexdigest() for level in range(BRANCHES)],
        "20000000",
        _UNREACHABLE,
        f"{int(wall):08x}",
        clean,
    ]
    return line(id=None, method="mining.notify", params=params)


def prev_hash(number: int) -> bytes:
    """The parent of that job, as in the header."""
    return hashlib.sha256(b"parent %d" % number).digest()[:24] + bytes(8)


def difficulty(value: float) -> bytes:
    """A whole line."""
    return line(id=None, method="mining.set_difficulty", params=[value])


def line(**message: Any) -> bytes:
    """A message as it goes over the wire."""
    return json.dumps(message).encode() + b"\n"


def answers(requests: bytes) -> bytes:
    """What a model pool says to these lines."""
    return b"".join(_answer(json.loads(request)) for request in requests.splitlines())


def _answer(request: dict[str, Any]) -> bytes:
    result: object = True
    if request["method"] == "mining.configure":
        result = {"version-rolling": True, "version-rolling.mask": "1fffe000"}
    elif request["method"] == "mining.subscribe":
        result = [[["mining.notify", "session"]], EXTRANONCE1, EXTRANONCE2_SIZE]
    return line(id=request["id"], result=result, error=None)


def options(port: int = 3333, *, capped: bool = True) -> StratumOptions:
    """Our side's."""
    cap = {} if capped else {"share_rate": 1e9, "share_burst": 1 << 30}
    return StratumOptions(host="127.0.0.1", port=port, user=_USER, **cap)  # type: ignore[arg-type]


@dataclass(slots=True)
class Desk:
    """Pool, manager and one device's feed in one thread, with a model pool at the other end and a clock set by hand."""

    capped: bool = True
    now: float = 0.0
    accepted: int = 0
    pool: Pool = field(init=False)
    manager: Manager = field(init=False)
    feed: DeviceFeed = field(init=False)
    _found: deque[Found] = field(default_factory=deque)

    def __post_init__(self) -> None:
        settings = options(capped=self.capped)
        info = DeviceInfo(
            "cpu:0", "cpu", Kind.CPU, "", expected_hps=1.0, capabilities=frozenset({Capability.ROLLS_VERSION})
        )
        self.pool = Pool(settings)
        self.manager = Manager([settings.name])
        self.feed = DeviceFeed(info, Leases(), self._found.append, lambda: self.now)

    def connect(self) -> None:
        """Up to the first job's door."""
        self.pool.connected(3333, self.now)
        self.answer()

    def disconnect(self) -> None:
        effects, _ = self.pool.disconnected(Ending.CLOSED, "", self.now)
        self._do(effects)

    def hear(self, data: bytes) -> None:
        """Bytes from the pool."""
        self._do(self.pool.receive(data, self.now, WALL + self.now))

    def tick(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self._do(self.pool.tick(self.now, WALL + self.now))
        self._handle(events.Tick())

    def hits(self, work: Work, count: int) -> list[Hit]:
        """As a device finds them, at a difficulty at which every hash is a share."""
        return [Hit(work, nonce, work.version, work.ntime) for nonce in range(count)]

    def find(self, hit: Hit) -> None:
        """Verified by the feed, sorted by the manager, verified again and made a line by the pool."""
        self.feed.found(hit)
        while self._found:
            self._handle(self._found.popleft())

    def answer(self) -> None:
        """Read what was sent until there is nothing more, and answer all of it."""
        while requests := self.pool.data_to_send():
            self.hear(answers(requests))

    def _handle(self, event: events.Event) -> None:
        if isinstance(event, events.Answered):
            self.accepted += event.answer.accepted
        for effect in self.manager.handle(event, self.now):
            match effect:
                case events.Serve(job, replace):
                    self.feed.serve(job, replace=replace)
                case events.Retire(jobs):
                    self.feed.retire(jobs)
                case events.Submit(share):
                    self._do(self.pool.submit(share, self.now))

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, events.SourceUp | events.SourceDown | events.NewJob | events.Answered):
                self._handle(effect)
