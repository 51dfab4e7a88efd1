"""A node in a thread of the test: JSON-RPC on 127.0.0.1, Bitcoin Core's consensus engine behind it, and a script of
faults in front. It shares no code with the miner's own node source.

    with VirtualNode() as node:
        node.on("submitblock", reset_after_request)     the next submitblock meets this fault
        node.mine(3)                                    blocks of somebody else: longpolls are answered
        node.lose(2)                                    SIGKILL: the last two blocks were not on its disk
        node.invalidate(5)                              `invalidateblock`: back to the block below the last five
        node.reconsider()                               `reconsiderblock`: forward again, if that is more work
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import struct
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

from miner.chain.network import Network
from miner.chain.subsidy import subsidy
from miner.sources.consensus import Judge, JudgeMisused
from tests.sources.forge import block_on

T = TypeVar("T")
WARMING_UP, NO_PEERS, SYNCING = -28, -9, -10
_LIMIT = 1 << 26


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction of the mempool."""

    raw: bytes
    txid: str
    fee: int

    def in_template(self) -> dict[str, Any]:
        return {
            "data": self.raw.hex(),
            "txid": self.txid,
            "hash": _sha256d(self.raw)[::-1].hex(),
            "depends": [],
            "fee": self.fee,
            "sigops": 0,
            "weight": 4 * len(self.raw),
        }


class RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Hangup(Exception):
    """Nothing more is said on this connection."""


@dataclass(slots=True)
class Call:
    """One request, and every way to answer it."""

    node: VirtualNode
    connection: socket.socket
    method: str
    params: list[Any]
    id: Any

    def honestly(self) -> None:
        """What a node says."""
        try:
            self.result(self.node.answer(self.method, self.params))
        except RpcError as error:
            self.error(error.code, error.message)

    def result(self, result: Any) -> None:
        self.json(200, {"result": result, "error": None, "id": self.id})

    def error(self, code: Any, message: Any, status: int = 500) -> None:
        self.json(status, {"result": None, "error": {"code": code, "message": message}, "id": self.id})

    def json(self, status: int, value: Any) -> None:
        self.respond(status, json.dumps(value).encode())

    def respond(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        self.node._open[self.connection] = False  # whoever has the answer finds the connection idle
        self.connection.sendall(self.head(status, len(body), content_type) + body)

    def head(self, status: int, size: int, content_type: str = "application/json") -> bytes:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}", f"Content-Length: {size}", "", ""]
        return "\r\n".join(lines).encode()

    def reset(self) -> None:
        """RST, as from a firewall or a killed process."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        raise Hangup

    def until_hung_up(self) -> None:
        """Be silent until the client or the node goes away."""
        with suppress(OSError):
            self.connection.recv(1)
        raise Hangup


Fault = Callable[[Call], None]

# ---- faults of the transport


def reset_after_request(call: Call) -> None:
    call.reset()


def reset_after_doing_it(call: Call) -> None:
    """The node acted on the request, and the answer was lost."""
    with suppress(RpcError):
        call.node.answer(call.method, call.params)
    call.reset()


def reset_after_head(call: Call) -> None:
    call.connection.sendall(call.head(200, 1000))
    call.reset()


def reset_in_body(call: Call) -> None:
    call.connection.sendall(call.head(200, 1000) + b'{"result": {"chain": "reg')
    call.reset()


def end_in_body(call: Call) -> None:
    call.connection.sendall(call.head(200, 1000) + b'{"result": {"chain": "reg')
    raise Hangup


def silence(call: Call) -> None:
    call.until_hung_up()


def silence_after_head(call: Call) -> None:
    call.connection.sendall(call.head(200, 1000))
    call.until_hung_up()


def drip(call: Call) -> None:
    """A byte now and then, each well within any time-out on a single read."""
    with suppress(OSError):
        for byte in call.head(200, 1 << 20) + b" " * (1 << 20):
            call.connection.sendall(bytes([byte]))
            time.sleep(0.02)
    raise Hangup


def flood(call: Call) -> None:
    """A body without end."""
    call.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    with suppress(OSError):
        while True:
            call.connection.sendall(b" " * (1 << 20))
    raise Hangup


def announce(size: str) -> Fault:
    """A body of an announced size that never comes."""

    def fault(call: Call) -> None:
        call.connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        call.until_hung_up()

    return fault


def chunks(size: bytes) -> Fault:
    def fault(call: Call) -> None:
        call.connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + b"\r\nxx\r\n")
        raise Hangup

    return fault


def raw(data: bytes) -> Fault:
    """Bytes instead of HTTP."""

    def fault(call: Call) -> None:
        call.connection.sendall(data)
        raise Hangup

    return fault


def dies_of_a_full_disk(call: Call) -> None:
    """Bitcoin Core stops when a block does not fit on its disk; no answer comes, and the block is not kept."""
    call.node.stop()
    call.reset()


# ---- faults of time


def overtaken(call: Call) -> None:
    """The answer is made now and sent only when the tip has moved."""
    answer, tip = call.node.answer(call.method, call.params), call.node.tip
    while call.node._running and call.node.tip == tip:
        time.sleep(0.002)
    call.result(answer)


# ---- faults of HTTP and JSON-RPC


def status(code: int, body: bytes = b"", content_type: str = "text/html") -> Fault:
    return lambda call: call.respond(code, body, content_type)


def body(data: bytes, content_type: str = "application/json") -> Fault:
    return lambda call: call.respond(200, data, content_type)


def error(code: Any, message: Any = "so it is", http: int = 500) -> Fault:
    return lambda call: call.error(code, message, http)


def result(value: Any) -> Fault:
    return lambda call: call.result(value)


def changed(change: Callable[[dict[str, Any]], object]) -> Fault:
    """The honest result after something was done to it."""

    def fault(call: Call) -> None:
        honest = call.node.answer(call.method, call.params)
        change(honest)
        call.result(honest)

    return fault


class VirtualNode:
    """Listens on a port of its own from construction on; `start` and `with` make it answer."""

    def __init__(
        self,
        *,
        network: Network = Network.REGTEST,
        login: tuple[str, str] = ("user", "password"),
        cookie: Path | None = None,
    ) -> None:
        self.network = network
        self.chain_name = network.value
        self.login = login
        self.cookie = cookie
        self.mempool: list[Entry] = []
        self.refuses: tuple[int, str] | None = None  # everything, as while it starts or downloads the chain
        self.blocks: list[bytes] = []  # the chain above genesis
        self._invalid: list[bytes] = []  # what `invalidate` took off, lowest first
        self.received: list[tuple[bytes, str | None]] = []  # blocks handed in, with the verdict
        self.calls: list[tuple[float, str, list[Any]]] = []
        self.logins: list[str] = []
        self.connections = 0
        self.port = 0
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._changed = threading.Condition()
        self._version = 0  # of the template, for longpolls
        self._running = False
        self._open: dict[socket.socket, bool] = {}  # whether a call is under way
        self._before_reading: deque[Fault] = deque()
        # The engine belongs to one thread.
        self._engine = ThreadPoolExecutor(1, thread_name_prefix="virtual-node-engine")
        self._judge = self._in_engine(lambda: Judge(network))

    # ---- life

    def start(self) -> Self:
        if self.cookie is not None:
            self.login = ("__cookie__", hashlib.sha256(str(time.monotonic_ns()).encode()).hexdigest())
            self.cookie.write_text(":".join(self.login))
        self._running = True
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    def stop(self) -> None:
        """Like a killed process: connections end, the port refuses."""
        self._running = False
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        with self._changed:
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._in_engine(self._judge.close)
        self._engine.shutdown()

    # ---- what a test does to it

    def on(self, method: str, *faults: Fault) -> None:
        """The next calls of this method ("longpoll" and "proposal" count apart from getblocktemplate)."""
        self._faults[method].extend(faults)

    def always(self, method: str, fault: Fault) -> None:
        """Every call of this method, until `heal`."""

        def again(call: Call) -> None:
            self._faults[method].appendleft(again)
            fault(call)

        self._faults[method].append(again)

    def reset_before_reading(self, times: int) -> None:
        """The next connections end before their request was read."""
        self._before_reading.extend([Call.reset] * times)

    def heal(self) -> None:
        self._faults.clear()
        self._before_reading.clear()

    def drop_idle(self) -> None:
        """Close kept-alive connections between two requests, as a node does 30 s after an answer."""
        for connection in [connection for connection, busy in list(self._open.items()) if not busy]:
            connection.shutdown(socket.SHUT_RDWR)

    def mine(self, count: int = 1) -> None:
        """Blocks of somebody else."""
        for _ in range(count):
            block = self._in_engine(lambda: block_on(self._judge.tip, tag=b"else"))
            assert self._add(block) is None

    def fill(self, count: int) -> None:
        """Put transactions into the mempool; the chain grows by a hundred blocks that make their coins mature."""
        first = self.height
        self.mine(count + 100)
        for number, block in enumerate(self.blocks[first : first + count]):
            coinbase = block[81:]
            spent = _sha256d(coinbase[:4] + coinbase[6:-38] + coinbase[-4:])
            value, fee = subsidy(first + number + 1, self.network), 1000 + number
            spend = b"\x02\0\0\0\x01" + spent + bytes(5) + b"\xff\xff\xff\xff"  # anyone may
            spend += b"\x01" + struct.pack("<q", value - fee) + b"\x02\x51\x51" + bytes(4)
            self.mempool.append(Entry(spend, _sha256d(spend)[::-1].hex(), fee))

    def lose(self, count: int) -> None:
        """The chain as it was so many blocks ago."""
        self._replay(self.blocks[: len(self.blocks) - count])

    def invalidate(self, count: int) -> None:
        """Declare the last so many blocks invalid; `reconsider` takes that back."""
        self._invalid = self.blocks[-count:]
        self.lose(count)

    def reconsider(self) -> None:
        """What was declared invalid is valid again, and the best chain if it is the longer one."""
        invalid, self._invalid = self._invalid, []
        height = next(at for at, block in enumerate(self.blocks, 1) if _sha256d(block[:80]) == invalid[0][4:36])
        if height + len(invalid) > self.height:
            self._replay([*self.blocks[:height], *invalid])

    def _replay(self, kept: list[bytes]) -> None:
        def replay() -> Judge:
            self._judge.close()
            judge = Judge(self.network)
            assert all(judge.submit(block).accepted for block in kept)
            return judge

        self._judge = self._in_engine(replay)
        self.blocks = kept
        self._notify()

    def touch(self) -> None:
        """The mempool changed: longpolls are answered."""
        self._notify()

    @property
    def height(self) -> int:
        return len(self.blocks)

    @property
    def tip(self) -> str:
        return self._in_engine(lambda: self._judge.tip).hash[::-1].hex()

    def count(self, method: str) -> int:
        return sum(name == method for _, name, _ in self.calls)

    # ---- what a node does

    def answer(self, method: str, params: list[Any]) -> Any:
        if self.refuses is not None and method != "submitblock":
            raise RpcError(*self.refuses)
        match method, params:
            case "getblockchaininfo", []:
                return {"chain": self.chain_name, "blocks": self.height, "initialblockdownload": False}
            case "getblocktemplate" | "longpoll" | "proposal", [dict(request)]:
                if "segwit" not in request.get("rules", []):
                    raise RpcError(-8, "getblocktemplate must be called with the segwit rule set")
                if request.get("mode") == "proposal":
                    return self._opinion(bytes.fromhex(request["data"]))
                if "longpollid" in request:
                    self._wait_for_news(request["longpollid"])
                return self.template()
            case "submitblock", [str(block)]:
                return self._take(bytes.fromhex(block))
        raise RpcError(-32601, "Method not found")

    def template(self) -> dict[str, Any]:
        tip, mempool = self._in_engine(lambda: (self._judge.tip, self.mempool))
        height = tip.height + 1
        transactions = [entry.in_template() for entry in mempool]
        witness_ids = [bytes(32), *(bytes.fromhex(each["hash"])[::-1] for each in transactions)]
        nbits = self.network.pow_limit_nbits
        return {
            "capabilities": ["proposal"],
            "version": 0x20000000,
            "rules": ["csv", "!segwit", "taproot"],
            "vbavailable": {},
            "vbrequired": 0,
            "previousblockhash": tip.hash[::-1].hex(),
            "transactions": transactions,
            "coinbaseaux": {},
            "coinbasevalue": subsidy(height, self.network) + sum(entry.fee for entry in mempool),
            "longpollid": f"{tip.hash[::-1].hex()}{self._version}",
            "target": f"{(nbits & 0xFFFFFF) << 8 * ((nbits >> 24) - 3):064x}",
            "mintime": tip.median_time_past + 1,
            "mutable": ["time", "transactions", "prevblock"],
            "noncerange": "00000000ffffffff",
            "sigoplimit": 80000,
            "sizelimit": 4000000,
            "weightlimit": 4000000,
            "curtime": max(int(time.time()), tip.median_time_past + 1),
            "bits": f"{nbits:08x}",
            "height": height,
            "default_witness_commitment": "6a24aa21a9ed" + _sha256d(_root(witness_ids) + bytes(32)).hex(),
        }

    def _opinion(self, block: bytes) -> str | None:
        if block[4:36][::-1].hex() != self.tip:
            return "inconclusive-not-best-prevblk"
        others = b"".join(entry.raw for entry in self.mempool)
        if not block.endswith(others):
            return "bad-txnmrklroot"
        coinbase = block[81 : len(block) - len(others)]
        stripped = coinbase[:4] + coinbase[6:-38] + coinbase[-4:]
        root = _root([_sha256d(stripped), *(bytes.fromhex(entry.txid)[::-1] for entry in self.mempool)])
        return None if block[36:68] == root else "bad-txnmrklroot"

    def _take(self, block: bytes) -> str | None:
        verdict = "duplicate-invalid" if block in self._invalid else self._add(block)
        self.received.append((block, verdict))
        return verdict

    def _add(self, block: bytes) -> str | None:
        def connect() -> str | None:
            """With the mempool in one step: a template between the two would hold what is in the chain."""
            verdict: str | None = self._judge.submit(block).reason
            if verdict is None:
                self.blocks.append(block)
                self.mempool = [entry for entry in self.mempool if entry.raw not in block]
            return verdict

        verdict = self._in_engine(connect)
        if verdict is None:
            self._notify()
        return verdict

    def _wait_for_news(self, longpoll_id: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._running or longpoll_id != f"{longpoll_id[:64]}{self._version}")
        if not self._running:
            raise Hangup

    def _notify(self) -> None:
        with self._changed:
            self._version += 1
            self._changed.notify_all()

    def _in_engine(self, work: Callable[[], T]) -> T:
        try:
            return self._engine.submit(work).result()
        except (RuntimeError, JudgeMisused):  # the test is over
            raise Hangup from None

    # ---- the wire

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        self._open[connection] = True  # nobody connects but for a call
        with suppress(OSError, Hangup), connection:
            while self._running:
                if self._before_reading:
                    self._before_reading.popleft()(Call(self, connection, "", [], 0))
                head, body = _read_request(connection)
                self._open[connection] = True
                self._handle(connection, head, body)
                self._open[connection] = False
        del self._open[connection]

    def _handle(self, connection: socket.socket, head: str, body: bytes) -> None:
        request = json.loads(body)
        method, params = request["method"], request["params"]
        name = method
        if method == "getblocktemplate" and params and "longpollid" in params[0]:
            name = "longpoll"
        if method == "getblocktemplate" and params and params[0].get("mode") == "proposal":
            name = "proposal"
        self.calls.append((time.monotonic(), name, params))
        call = Call(self, connection, name, params, request["id"])
        login = next((line[21:] for line in head.split("\r\n") if line.startswith("Authorization: Basic ")), "")
        self.logins.append(base64.b64decode(login).decode())
        if self.logins[-1] != ":".join(self.login):
            call.respond(401, b"", "text/html")
        elif self._faults[name]:
            self._faults[name].popleft()(call)
        else:
            call.honestly()
        if not self._running:
            raise Hangup


def _read_request(connection: socket.socket) -> tuple[str, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    size = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    pieces, got = [body], len(body)
    while got < size <= _LIMIT:
        pieces.append(_received(connection))
        got += len(pieces[-1])
    return head.decode("latin-1"), b"".join(pieces)


def _received(connection: socket.socket) -> bytes:
    data = connection.recv(1 << 16)
    if not data:
        raise Hangup
    return data


def _root(leaves: list[bytes]) -> bytes:
    level = leaves
    while len(level) > 1:
        if len(level) % 2:
            level = [*level, level[-1]]
        level = [_sha256d(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
