"""The smallest Stratum client: a socket, json and hashlib, for tests that prove what a pool does.

It shares no code with the miner or with the virtual pool, and says exactly what it is told to say.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import ssl
import struct
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

DIFFICULTY_ONE = 0xFFFF << 208
PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Work:
    """A job, with what held when it came."""

    params: list[Any]
    extranonce1: str
    difficulty: float

    def header(self, extranonce2: str, ntime: str, nonce: str, version: int) -> bytes:
        root = _twice(bytes.fromhex(self.params[2] + self.extranonce1 + extranonce2 + self.params[3]))
        for branch in self.params[4]:
            root = _twice(root + bytes.fromhex(branch))
        parent = struct.pack("<8I", *struct.unpack(">8I", bytes.fromhex(self.params[1])))
        words = (bytes.fromhex(word)[::-1] for word in (ntime, self.params[6], nonce))
        return struct.pack("<I", version) + parent + root + b"".join(words)

    def search(
        self, extranonce2: str, *, version: int | None = None, ntime: str | None = None, meets: bool = True
    ) -> Iterator[tuple[str, str]]:
        """(ntime, nonce) of headers whose hash meets the difficulty, or does not."""
        ntime = self.params[7] if ntime is None else ntime
        start = self.header(extranonce2, ntime, "00000000", int(self.params[5], 16) if version is None else version)
        target = DIFFICULTY_ONE / self.difficulty
        for nonce in itertools.count():
            value = int.from_bytes(_twice(start[:76] + struct.pack("<I", nonce)), "little")
            if (value < target) == meets:
                yield ntime, f"{nonce:08x}"


class RawMiner:
    """Answers come back from `ask`; notifications that arrive meanwhile are taken in as they come."""

    def __init__(
        self, port: int, *, user: str = "user", tls: ssl.SSLContext | None = None, patience_s: float = PATIENCE_S
    ) -> None:
        plain = socket.create_connection(("127.0.0.1", port), patience_s)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = plain if tls is None else tls.wrap_socket(plain, server_hostname="127.0.0.1")
        self.user = user
        self.session = ""
        self.extranonce1, self.extranonce2_size = "", 0
        self.difficulty = 1.0
        self.work: deque[Work] = deque()
        self.notices: list[dict[str, Any]] = []  # all of them, in order
        self._next_extranonce: tuple[str, int] | None = None
        self._rest = b""
        self._ids = itertools.count(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, method: str, *params: Any) -> int:
        """The id it went out with."""
        identity = next(self._ids)
        self.write(json.dumps({"id": identity, "method": method, "params": params}).encode() + b"\n")
        return identity

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def line(self) -> bytes:
        """The next line as it is; empty at the end of the connection."""
        while b"\n" not in self._rest:
            data = self.socket.recv(1 << 16)
            if not data:
                return b""
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line + b"\n"

    def message(self) -> dict[str, Any]:
        line = self.line()
        if not line:
            raise EOFError
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self._take(message)
        return message

    def answer(self) -> dict[str, Any]:
        """The next message that answers something."""
        while "method" in (message := self.message()):
            pass
        return message

    def ask(self, method: str, *params: Any) -> dict[str, Any]:
        self.send(method, *params)
        return self.answer()

    def configure(self, mask: str = "ffffffff") -> dict[str, Any]:
        wishes = {"version-rolling.mask": mask, "version-rolling.min-bit-count": 0}
        return self.ask("mining.configure", ["version-rolling"], wishes)

    def begin(self, *, resume: str | None = None, password: str = "x") -> Work:
        """Subscribe, authorize, and the first job."""
        pairs, self.extranonce1, self.extranonce2_size = self.ask(
            "mining.subscribe", "raw/1", *([resume] if resume else [])
        )["result"]
        self.session = dict(pairs)["mining.notify"] if isinstance(pairs[0], list) else pairs[1]
        assert self.ask("mining.authorize", self.user, password)["result"] is not False
        return self.job()

    def job(self) -> Work:
        """The next job, waited for."""
        while not self.work:
            self.message()
        return self.work.popleft()

    def submit(self, work: Work, extranonce2: str, found: tuple[str, str], bits: str | None = None) -> dict[str, Any]:
        return self.ask("mining.submit", *self.share(work, extranonce2, found, bits))

    def share(self, work: Work, extranonce2: str, found: tuple[str, str], bits: str | None = None) -> list[str]:
        return [self.user, work.params[0], extranonce2, *found, *([bits] if bits is not None else [])]

    def _take(self, message: dict[str, Any]) -> None:
        self.notices.append(message)
        params = message["params"]
        match message["method"]:
            case "mining.set_difficulty":
                self.difficulty = params[0]
            case "mining.set_extranonce":
                self._next_extranonce = params[0], params[1]
            case "mining.notify":
                if self._next_extranonce is not None:
                    (self.extranonce1, self.extranonce2_size), self._next_extranonce = self._next_extranonce, None
                self.work.append(Work(params, self.extranonce1, self.difficulty))


def _twice(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
