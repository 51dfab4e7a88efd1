"""From a node's template to the job that devices search, and what ten thousand templates leave behind in memory.

Templates are made up here, with transactions that spend nothing but parse: a tenth of them is new in each, and every
tenth template is a new tip with nothing known before, the case that costs money. Time runs from the answer as it
stands in memory: to JSON, then to the posted job.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import random
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine, report
from benchmarks.measure import Spread
from miner.chain.commitment import witness_commitment
from miner.chain.network import Network
from miner.sources.node.assembly import assemble, process_tag
from miner.sources.node.protocol import Ask, Audited, Effect, Fetched, Learned, NodeProtocol, Start
from miner.sources.node.template import TemplateReader
from miner.work.events import NewJob
from miner.work.manager import LIVE_JOBS

GOAL_S = 0.020
GROWTH_LIMIT = 32 << 20  # bytes: what an allocator may do by itself over a long run
STRIPPED, WITNESS = 260, 240  # bytes of a transaction: 1.5 MB and 3.8 million weight units in three thousand
NEW = 0.1  # of the transactions, from one template of a tip to the next
TIP_EVERY = 10
SETTLED = 0.3  # of the run, after which memory must not grow


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--templates", type=int, default=200, help="how many (%(default)s)")
    parser.add_argument("--transactions", type=int, default=3000, help="in each (%(default)s)")


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure; "wrong" is true where even the fastest new tip misses the goal, or memory grows."""
    report.warn(console, machine.load_before())
    times: dict[str, list[float]] = {"parse": [], "new tip": [], "same tip": [], "audit": []}
    sizes: list[int] = []
    chain, miner = Chain(options.transactions), Miner()
    with report.progress(console) as progress:
        task = progress.add_task("templates", total=options.templates)
        for number in range(options.templates):
            new_tip = number % TIP_EVERY == 0
            body = chain.answer(new_tip=new_tip)
            miner.take(body, times["new tip" if new_tip else "same tip"], times["parse"], times["audit"])
            if number % max(options.templates // 50, 1) == 0:
                gc.collect()
                sizes.append(_resident())
            progress.advance(task)
    spreads = {name: Spread.of(samples) for name, samples in times.items()}
    settled = sizes[int(SETTLED * len(sizes)) :]
    growth = max(settled[len(settled) // 2 :]) - max(settled[: len(settled) // 2 + 1])
    rows = [
        (name, *(f"{1e3 * figure:.1f}" for figure in (spread.min, spread.median, spread.p95)))
        for name, spread in spreads.items()
    ]
    report.table(console, "milliseconds a template", ("step", "best", "median", "95 %"), rows)
    console.print(f"memory: {sizes[-1] >> 20} MiB at the end, {growth / (1 << 20):+.1f} MiB over the second half")
    late = spreads["new tip"].min > GOAL_S  # a busy machine is no fault of the code
    return {
        "templates": options.templates,
        "transactions": options.transactions,
        "seconds": {name: spread.as_json() for name, spread in spreads.items()},
        "resident_bytes": sizes,
        "growth_bytes": growth,
        "wrong": late or growth > GROWTH_LIMIT,
    }


class Miner:
    """What the node source does with an answer, and the manager with a job, in one thread."""

    def __init__(self) -> None:
        self._reader = TemplateReader(Network.REGTEST)
        self._protocol = NodeProtocol("node", Network.REGTEST, lambda: 1.0)
        self._jobs: deque[NewJob] = deque(maxlen=LIVE_JOBS)
        self._tag = process_tag()
        self._protocol.handle(Start(), 0.0)
        self._protocol.handle(Learned(Network.REGTEST.value), 0.0)

    def take(self, body: bytes, to_job: list[float], to_json: list[float], to_audit: list[float]) -> None:
        """One answer, and how long each step took."""
        begun = time.perf_counter()
        answer = json.loads(body.decode())["result"]
        parsed = time.perf_counter()
        assembly = assemble(self._reader.read(answer), b"\x00\x14" + bytes(20), self._tag)
        effects = self._protocol.handle(Fetched(Ask.TEMPLATE, assembly, time.time()), begun)
        posted = time.perf_counter()
        self._reader.audit(assembly.template)
        audited = time.perf_counter()
        self._protocol.handle(Audited(assembly, None), begun)
        (job,) = _jobs(effects)
        if job.replace:
            self._jobs.clear()
        self._jobs.append(job)
        to_json.append(parsed - begun)
        to_job.append(posted - parsed)
        to_audit.append(audited - posted)


class Chain:
    """Invents templates."""

    def __init__(self, transactions: int) -> None:
        self._count = transactions
        self._random = random.Random(1)  # noqa: S311  reproducible, no secret
        self._height = 0
        self._tip = b""
        self._pool: deque[dict[str, Any]] = deque()

    def answer(self, *, new_tip: bool) -> bytes:
        """The body of the node's next answer."""
        if new_tip:
            self._height += 1
            self._tip = self._random.randbytes(32)
            self._pool.clear()
        for _ in range(min(len(self._pool), int(NEW * self._count))):
            self._pool.popleft()
        while len(self._pool) < self._count:
            self._pool.append(self._transaction())
        commitment = witness_commitment([bytes.fromhex(each["hash"])[::-1] for each in self._pool])
        result = {
            "capabilities": [],
            "version": 0x20000000,
            "rules": ["csv", "!segwit", "taproot"],
            "vbavailable": {},
            "vbrequired": 0,
            "previousblockhash": self._tip.hex(),
            "transactions": list(self._pool),
            "coinbaseaux": {},
            "coinbasevalue": 5_000_000_000,
            "longpollid": self._tip.hex() + "1",
            "target": f"{Network.REGTEST.pow_limit}",
            "mintime": 1,
            "curtime": int(time.time()),
            "weightlimit": 4_000_000,
            "bits": f"{Network.REGTEST.pow_limit_nbits:08x}",
            "height": self._height,
            "default_witness_commitment": commitment.hex(),
        }
        return json.dumps({"result": result, "error": None, "id": 1}, separators=(",", ":")).encode()

    def _transaction(self) -> dict[str, Any]:
        script = b"\x6a" + self._random.randbytes(STRIPPED - 65)
        body = b"\x01" + self._random.randbytes(36) + b"\x00" + b"\xff" * 4
        body += b"\x01" + bytes(8) + bytes([len(script)]) + script
        item = self._random.randbytes(WITNESS - 5)
        head, tail = struct.pack("<i", 2), bytes(4)
        stripped = head + body + tail
        raw = head + b"\x00\x01" + body + b"\x01" + bytes([len(item)]) + item + tail
        return {
            "data": raw.hex(),
            "txid": _sha256d(stripped)[::-1].hex(),
            "hash": _sha256d(raw)[::-1].hex(),
            "depends": [],
            "fee": 1000,
            "sigops": 1,
            "weight": 3 * len(stripped) + len(raw),
        }


def _jobs(effects: list[Effect]) -> list[NewJob]:
    return [effect for effect in effects if isinstance(effect, NewJob)]


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
