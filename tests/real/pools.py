"""A foreign pool as a child process: stratum-pool-sha256 over a node, an honest judge of shares.

What it is not: it rolls no versions (mining.configure is answered {}), and no share is a block to it. It credits a
share that has 99 % of the difficulty, and one that meets the difficulty before the last change.
"""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from tests.real.nodes import Bitcoind, NodeError, free_port, wait_until

STARTER = Path(__file__).with_name("foreign_pool.js")
OP_TRUE = "51"
START_S = 60.0
NO_BLOCK_BITS = "1b0404cb"  # difficulty 16307: clients that look for blocks find none either
WRONG_PASSWORD = "wrong"


@dataclass(slots=True)
class ForeignAccount:
    """What the pool itself says of a user."""

    accepted: int = 0
    difficulty: Fraction = Fraction(0)
    rejected: Counter[str] = field(default_factory=Counter)  # by the pool's words, figures left out


class ForeignPool:
    """Runs from `start` or `with` on; every job is for `node`, which stays the caller's."""

    name = "foreign-pool"

    def __init__(
        self,
        package: Path,
        folder: Path,
        node: Bitcoind,
        *,
        difficulty: float = 2.0**-20,
        bits: str = NO_BLOCK_BITS,
        every_s: float = 55.0,
    ) -> None:
        self.package = package
        self.node = node
        self.difficulty = difficulty
        self.bits = bits
        self.every_s = every_s  # a job without a new parent so often
        self.port = free_port()
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"stratum+tcp://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it on the port it had before, if any, and wait until it takes clients."""
        if self.running:
            raise NodeError(f"{self.name} is already running")
        before = self._facts("started")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["node", str(STARTER), str(self.package), json.dumps(self._settings())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(lambda: not self.running or self._facts("started") != before, START_S)
        except BaseException:
            self.kill()
            raise
        if self._facts("started") == before:
            self.kill()
            raise NodeError(f"{self.name} has not started{self.log_tail()}")
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def account(self, user: str) -> ForeignAccount:
        """Shares as the pool has counted them by now; every one since the first start."""
        account = ForeignAccount()
        for fact in self._facts("share"):
            if fact["user"] != user:
                continue
            if fact["share"]:
                account.accepted += 1
                account.difficulty += Fraction(fact["difficulty"])
            else:
                account.rejected[fact["error"].partition(" of ")[0]] += 1
        return account

    def log_tail(self, size: int = 4000) -> str:
        """The end of its log, ready to be put behind a message."""
        text = self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""
        return f"\n--- end of {self.log} ---\n{text}"

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _settings(self) -> dict[str, Any]:
        user, password = self.node.auth
        return {
            "port": self.port,
            "address": self.node.rpc("decodescript", OP_TRUE)["p2sh"],
            "difficulty": self.difficulty,
            "bits": self.bits,
            "everySeconds": self.every_s,
            "wrongPassword": WRONG_PASSWORD,
            "node": {"host": "127.0.0.1", "port": self.node.port, "user": user, "password": password},
        }

    def _facts(self, kind: str) -> list[dict[str, Any]]:
        """Whole lines of the starter that tell of this; others are node's own words."""
        lines = self.log.read_bytes().split(b"\n")[:-1] if self.log.exists() else []
        mark = b'{"%s":' % kind.encode()
        return [json.loads(line) for line in lines if line.startswith(mark)]
