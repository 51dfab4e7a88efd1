"""Real nodes as child processes: every listener on 127.0.0.1, every file in the test's own folder.

The JSON-RPC client is a few lines over http.client, so that the product's own client judges nothing here.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

ANSWER_S = 30.0  # from start to the first answer; a loaded machine takes seconds
END_S = 30.0
WARMING_UP = -28

Network = Literal["regtest", "signet"]


class RpcError(Exception):
    """The node's own answer that a call failed."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class HttpStatusError(Exception):
    """An HTTP answer that holds no JSON-RPC answer: 401, 403, 503."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"HTTP {status} {reason}")
        self.status = status


class NodeError(Exception):
    """A node that did not do as told, with the end of its log."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], timeout_s: float) -> bool:
    """Whether it held before the time was up."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Node(ABC):
    """What is common to the nodes; `start` and `with` wait until RPC answers."""

    name: ClassVar[str]
    _probe: ClassVar[str]  # a method that answers as soon as the node is of use

    def __init__(self, folder: Path, args: Sequence[str] = ()) -> None:
        self.folder = folder
        self.args = tuple(args)
        self.port = free_port()
        self.log = folder / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    @abstractmethod
    def auth(self) -> tuple[str, str]:
        """User and password as they are now."""

    @property
    @abstractmethod
    def segwit(self) -> bool:
        """Whether the next block may hold witnesses."""

    @property
    def pid(self) -> int:
        if self._process is None:
            raise NodeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def rpc(self, method: str, *params: object, timeout_s: float = 60.0) -> Any:
        """The result of one call on a connection of its own; amounts are Decimals."""
        body = json.dumps({"jsonrpc": "1.0", "id": 1, "method": method, "params": params})
        token = base64.b64encode(":".join(self.auth).encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(
                "POST", "/", body, {"Authorization": f"Basic {token}", "Content-Type": "application/json"}
            )
            response = connection.getresponse()
            payload = response.read()
        finally:
            connection.close()
        try:
            answer = json.loads(payload, parse_float=Decimal)
        except ValueError:
            raise HttpStatusError(response.status, response.reason) from None
        if error := answer.get("error"):
            raise RpcError(error["code"], error["message"])
        return answer["result"]

    @abstractmethod
    def submit(self, transaction: bytes) -> None:
        """Hand in a transaction; it may take a moment until the mempool shows it."""

    def start(self) -> Self:
        """Start it on the port and data it had before, if any, and wait until it answers."""
        if self.running:
            raise NodeError(f"{self.name} is already running")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            answered = wait_until(lambda: not self.running or self._answers(), ANSWER_S)
        except BaseException:
            self.kill()
            raise
        if not self.running:
            status = self._process.returncode
            raise NodeError(f"{self.name} ended with status {status} while starting{self.log_tail()}")
        if not answered:
            self.kill()
            raise NodeError(f"{self.name} does not answer after {ANSWER_S:.0f} s{self.log_tail()}")
        return self

    def stop(self) -> None:
        """Ask it to end, as an operator does, and wait until it has."""
        process = self._process
        if process is None or not self.running:
            return
        self.rpc("stop")
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise NodeError(f"{self.name} does not stop after {END_S:.0f} s{self.log_tail()}") from None

    def kill(self) -> None:
        """SIGKILL: what a power cut looks like to its peers."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def log_tail(self, size: int = 4000) -> str:
        """The end of its log, ready to be put behind a message."""
        text = self.log.read_bytes()[-size:].decode(errors="replace") if self.log.exists() else ""
        return f"\n--- end of {self.log} ---\n{text}"

    def __enter__(self) -> Self:
        return self if self.running else self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _answers(self) -> bool:
        try:
            self.rpc(self._probe, timeout_s=5.0)
        except RpcError as error:
            if error.code != WARMING_UP:
                raise
            return False
        except (OSError, http.client.HTTPException, HttpStatusError):
            return False  # no cookie, no listener, or the server is up before its calls are
        return True

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its arguments."""

    def _environment(self) -> dict[str, str]:
        return dict(os.environ)


class Bitcoind(Node):
    """Bitcoin Knots without peers; on signet it has the challenge OP_TRUE, so work is real and no signature is."""

    name = "bitcoind"
    _probe = "getblockchaininfo"

    def __init__(
        self,
        program: Sequence[str],
        folder: Path,
        args: Sequence[str] = (),
        *,
        network: Network = "regtest",
        auth: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(folder, args)
        self.program = tuple(program)
        self.network = network
        self._auth = auth
        self.datadir = folder / "data"
        self.datadir.mkdir(exist_ok=True)

    @property
    def cookie(self) -> Path:
        return self.datadir / self.network / ".cookie"

    @property
    def auth(self) -> tuple[str, str]:
        if self._auth is not None:
            return self._auth
        user, _, password = self.cookie.read_text().partition(":")
        return user, password

    @property
    def segwit(self) -> bool:
        return True  # on both networks from the first block

    def submit(self, transaction: bytes) -> None:
        # A package of one: each sendrawtransaction of Knots takes time in proportion to the mempool.
        answer = self.rpc("submitpackage", [transaction.hex()])
        if answer["package_msg"] != "success":
            raise NodeError(f"{self.name} refuses a transaction: {answer}")

    def flush(self) -> None:
        """Write the chain to disk: without it, blocks since the last clean end do not survive `kill`."""
        self.rpc("gettxoutsetinfo", "none")

    def _command(self) -> list[str]:
        return [
            *self.program,
            f"-{self.network}",
            *(["-signetchallenge=51"] if self.network == "signet" else []),
            f"-datadir={self.datadir}",
            "-conf=/dev/null",
            "-server",
            "-rpcbind=127.0.0.1",
            "-rpcallowip=127.0.0.1",
            f"-rpcport={self.port}",
            *([f"-rpcuser={self._auth[0]}", f"-rpcpassword={self._auth[1]}"] if self._auth else []),
            "-listen=0",
            "-connect=0",
            "-dnsseed=0",
            "-fixedseeds=0",
            "-discover=0",
            "-natpmp=0",
            "-fallbackfee=0.0001",
            "-maxtipage=999999999",  # an old chain is not "initial download"
            "-printtoconsole",
            "-nodebuglogfile",
            *self.args,
        ]


class Bcoin(Node):
    """bcoin on regtest without wallet and peers; `memory` forgets the chain at every end."""

    name = "bcoin"
    _probe = "getblockcount"
    segwit_height: ClassVar[int] = 432

    def __init__(
        self, package: Path, folder: Path, args: Sequence[str] = (), *, api_key: str = "secret", memory: bool = True
    ) -> None:
        super().__init__(folder, args)
        self.package = package
        self.api_key = api_key
        self.memory = memory

    @property
    def auth(self) -> tuple[str, str]:
        return "x", self.api_key  # any user name will do

    @property
    def segwit(self) -> bool:
        return bool(self.rpc("getblockcount") + 1 >= self.segwit_height)

    def submit(self, transaction: bytes) -> None:
        self.rpc("sendrawtransaction", transaction.hex())  # it answers before it has looked

    def _command(self) -> list[str]:
        return [
            "node",
            str(self.package / "node_modules" / "bcoin" / "bin" / "node"),
            "--network=regtest",
            f"--prefix={self.folder / 'data'}",
            f"--memory={str(self.memory).lower()}",
            "--log-file=false",
            "--http-host=127.0.0.1",
            f"--http-port={self.port}",
            f"--api-key={self.api_key}",
            "--no-wallet",
            "--workers=false",  # no children of its own: one process to end
            "--host=127.0.0.1",
            "--listen=false",
            "--upnp=false",
            "--max-outbound=1",
            "--only=127.0.0.1:9",  # nobody listens on "discard"; without a peer named here it looks for some
            *self.args,
        ]

    def _environment(self) -> dict[str, str]:
        settings = {name: value for name, value in os.environ.items() if not name.startswith("BCOIN_")}
        return settings | {"NODE_BACKEND": "js"}  # its native code was not built
