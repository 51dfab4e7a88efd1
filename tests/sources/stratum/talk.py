"""A pool's side of a conversation, spoken by the test; and shares that somebody else found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from miner.chain.hashes import sha256d
from miner.chain.header import Header
from miner.sources.stratum.effects import Effect, Ending, Leave, Say
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.pool import Pool
from miner.work.events import Answered, NewJob
from miner.work.job import CoinbaseParts, Job
from miner.work.share import Answer, Share

_ids = itertools.count(1)
WALL = 1_700_000_000

COINBASE1 = (
    "02000000010000000000000000000000000000000000000000000000000000000000000000ffffffff1903c943255c7075626c69632d706f"
    "6f6c5c"
)
COINBASE2 = "ffffffff0100f2052a01000000160014e6f22ca44dc800e9d049621a3b9a42c509f1c4bc00000000"
PAID = bytes.fromhex("0014e6f22ca44dc800e9d049621a3b9a42c509f1c4bc")
PREV_HASH = "171592f223740e92d223f6e68bff25279af7ac4f2246451e0000000200000000"
OTHER_HASH = "271592f223740e92d223f6e68bff25279af7ac4f2246451e0000000200000000"


def line(**message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def notice(method: str, *params: Any) -> bytes:
    return line(id=None, method=method, params=list(params))


def notify(job_id: str | int = "1", *, version: int = 0x20000000, clean: bool = False, **changes: Any) -> bytes:
    fields = {
        "prev_hash": PREV_HASH,
        "coinbase1": COINBASE1,
        "coinbase2": COINBASE2,
        "branch": ["11" * 32],
        "nbits": "192495f8",
        "ntime": f"{WALL:08x}",
    } | changes
    return notice(
        "mining.notify",
        job_id,
        fields["prev_hash"],
        fields["coinbase1"],
        fields["coinbase2"],
        fields["branch"],
        f"{version:08x}",
        fields["nbits"],
        fields["ntime"],
        clean,
    )


def options(**changes: Any) -> StratumOptions:
    return StratumOptions(
        **({"host": "pool.example.com", "port": 3333, "user": "me.rig", "password": "secret"} | changes)
    )


def share_of(
    job: Job, extranonce2: bytes = b"\x01\x00\x00\x00", *, version: int | None = None, **changes: Any
) -> Share:
    """A share as a device finds it: the first nonce whose hash meets the job's share target."""
    assert isinstance(job.body, CoinbaseParts)
    version = job.version if version is None else version
    ntime = changes.pop("ntime", job.ntime)
    root = job.body.merkle_root(extranonce2)
    for nonce in itertools.count():
        header = Header(version, job.prev_hash, root, ntime, job.nbits, nonce).pack()
        number = int.from_bytes(sha256d(header), "little")
        if number <= job.share_target:
            break
    fields: dict[str, Any] = {"device": "cpu", "block": False, "stale": False, "found_at": job.arrived} | changes
    return Share(
        next(_ids), job, extranonce2=extranonce2, nonce=nonce, version=version, ntime=ntime, hash=number, **fields
    )


@dataclass
class Table:
    """A pool under test and a server's side of the wire; `now` is moved by hand."""

    options: StratumOptions = field(default_factory=options)
    now: float = 0.0
    effects: list[Effect] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    mask: str | None = "1fffe000"  # what is granted; None: configure is answered with an error
    obeys: bool = True  # a second configure

    def __post_init__(self) -> None:
        self.pool = Pool(self.options)

    def connect(self) -> None:
        self.pool.connected(self.options.port, self.now)
        self.hear()

    def hear(self) -> list[dict[str, Any]]:
        """What was sent since."""
        heard = [json.loads(text) for text in self.pool.data_to_send().splitlines()]
        self.requests += heard
        return heard

    def say(self, *data: bytes) -> list[Effect]:
        new: list[Effect] = []
        for piece in data:
            new += self.pool.receive(piece, self.now, WALL + self.now)
        self.effects += new
        return new

    def tick(self, seconds: float = 0.0) -> list[Effect]:
        self.now += seconds
        new = self.pool.tick(self.now, WALL + self.now)
        self.effects += new
        return new

    def submit(self, share: Share) -> list[dict[str, Any]]:
        self.effects += self.pool.submit(share, self.now)
        return self.hear()

    def hang_up(self, ending: Ending = Ending.CLOSED) -> bool:
        effects, learnt = self.pool.disconnected(ending, "", self.now)
        self.effects += effects
        return learnt

    def answer(self, request: dict[str, Any], result: Any, error: Any = None) -> list[Effect]:
        return self.say(line(id=request["id"], result=result, error=error))

    def last(self, method: str) -> dict[str, Any]:
        return next(request for request in reversed(self.requests) if request["method"] == method)

    def join(self, *, extranonce1: str = "08000002", size: int = 4, session: str | None = "s1") -> None:
        """Connect and get as far as Ready."""
        self.connect()
        if self.requests[-1]["method"] == "mining.configure":
            granted = {"version-rolling": True, "version-rolling.mask": self.mask}
            self.answer(self.requests[-1], granted if self.mask else None, None if self.mask else [20, "no", None])
            self.hear()
        pairs = [["mining.notify", session]] if session else []
        self.answer(self.last("mining.subscribe"), [pairs, extranonce1, size])
        self.hear()
        self.answer(self.last("mining.authorize"), True)
        self.hear()

    @property
    def jobs(self) -> list[Job]:
        return [effect.job for effect in self.effects if isinstance(effect, NewJob)]

    @property
    def answers(self) -> list[Answer]:
        return [effect.answer for effect in self.effects if isinstance(effect, Answered)]

    @property
    def said(self) -> list[str]:
        return [effect.event for effect in self.effects if isinstance(effect, Say)]

    @property
    def left(self) -> Leave | None:
        return next((effect for effect in self.effects if isinstance(effect, Leave)), None)


def easy(table: Table, *more: bytes, difficulty: float = 2.0**-26) -> Job:
    """A job that a test can solve in a hundred hashes."""
    table.say(notice("mining.set_difficulty", difficulty), *(more or (notify(),)))
    table.hear()
    return table.jobs[-1]


def methods(requests: Iterable[dict[str, Any]]) -> list[str]:
    return [request["method"] for request in requests]
