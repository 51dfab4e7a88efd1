"""A Stratum V1 server on 127.0.0.1, in a thread of the test: a model pool, or any bad one.

    with VirtualPool(Terms(rolling=Rolling.XOR, difficulty=2.0**-20)) as pool:
        pool.on("mining.submit", Cut())                     the next share meets this fault
        pool.do(lambda model: model.new_job(clean=True))    anything that `pool_model.Pool` can do
        pool.until(lambda model: model.books.verdicts)      wait for what clients bring about
        pool.account("user").rejected[Reason.STALE]

It serves tests of both kinds: its event loop is its own, so that a call from a coroutine takes microseconds.
`until` waits; a coroutine gives it to `asyncio.to_thread`.
"""

from __future__ import annotations

import asyncio
import copy
import random
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self, TypeVar, cast

from tests.virtual.pool_faults import MISCHIEF, Mischief
from tests.virtual.pool_judge import Account, Verdict
from tests.virtual.pool_model import Pool
from tests.virtual.pool_session import Fault, Session
from tests.virtual.pool_terms import Delivery, Terms

T = TypeVar("T")
PATIENCE_S = 20.0
_RST = struct.pack("ii", 1, 0)


class VirtualPool:
    """Runs between `start` and `stop`, on the same port each time."""

    def __init__(
        self,
        terms: Terms | None = None,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.model = Pool(terms or Terms(), clock)  # of the pool's thread while it runs: touch it through `do`
        self.host = host
        self.port = 0
        self.tls = tls
        self._wires: set[_Wire] = set()
        self._turns = 0
        self._turned = threading.Condition()
        self._thread: threading.Thread | None = None
        self._errors: list[BaseException] = []
        self._loop: asyncio.AbstractEventLoop
        self._ending: asyncio.Event

    # ---- life

    def start(self) -> Self:
        ready: Future[None] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="virtual-pool")
        self._thread.start()
        try:
            ready.result()
        except BaseException:
            self._thread.join()
            self._thread = None
            raise
        return self

    def stop(self) -> None:
        """Like a killed process: connections are reset, the port refuses. Raises what went wrong in the pool itself."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._ending.set)
            self._thread.join()
            self._thread = None
        if self._errors:
            raise self._errors.pop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"stratum+{'tls' if self.tls else 'tcp'}://{host}:{self.port}"

    # ---- what a test does with it

    def do(self, act: Callable[[Pool], T]) -> T:
        """Run this in the pool's thread and give back what it answers."""
        if self._thread is None:
            return act(self.model)
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(act(self.model))
            except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(PATIENCE_S)

    def until(self, holds: Callable[[Pool], object], timeout_s: float = PATIENCE_S) -> None:
        """Wait until it holds; asked again after whatever clients do. Raises TimeoutError."""
        deadline = time.monotonic() + timeout_s
        while True:
            turns = self._turns
            if self.do(holds):
                return
            with self._turned:
                left = deadline - time.monotonic()
                if not self._turned.wait_for(lambda: self._turns != turns, left):  # noqa: B023 - called at once
                    raise TimeoutError("what the test waits for did not come about")

    def on(self, step: str, *faults: Fault) -> None:
        self.do(lambda model: model.on(step, *faults))

    def always(self, step: str, fault: Fault) -> None:
        self.do(lambda model: model.always(step, fault))

    def heal(self) -> None:
        self.do(Pool.heal)

    def new_job(self, *, clean: bool = False, **changes: Any) -> str:
        """Its id."""
        return self.do(lambda model: model.new_job(clean=clean, **changes).id)

    def account(self, user: str) -> Account:
        """A copy of what the user has by now."""
        return self.do(lambda model: copy.deepcopy(model.books.accounts.get(user) or Account()))

    def verdicts(self) -> list[Verdict]:
        return self.do(lambda model: list(model.books.verdicts))

    def violations(self) -> dict[str, int]:
        """The rules that clients broke; a good client leaves this empty."""
        return self.do(lambda model: dict(model.violations))

    def misbehave(self, rng: random.Random, among: tuple[Mischief, ...] = MISCHIEF) -> Mischief:
        """Do one thing that no pool should; the same seed does the same things."""
        mischief = rng.choice(among)
        self.do(lambda model: mischief.act(model, rng))
        return mischief

    # ---- the thread

    async def _serve(self, ready: Future[None]) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(self._broke)
        try:
            server = await self._loop.create_server(lambda: _Wire(self), self.host, self.port, ssl=self.tls)
        except BaseException as error:  # noqa: BLE001 - start() raises it
            ready.set_exception(error)
            return
        self.port = server.sockets[0].getsockname()[1]
        pace = asyncio.create_task(self._pace())
        ready.set_result(None)
        await self._ending.wait()
        pace.cancel()
        server.close()
        while self._wires:
            for wire in self._wires:
                wire.reset()
            await asyncio.sleep(0)

    async def _pace(self) -> None:
        count = 0
        while True:
            terms = self.model.terms
            await asyncio.sleep(terms.every_s or 0.05)
            if terms.every_s is not None:
                count += 1
                self.model.new_job(clean=count % terms.clean_every == 0)

    def _broke(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None and not isinstance(error, OSError):  # clients may break connections
            self._errors.append(error)

    def _turn(self) -> None:
        with self._turned:
            self._turns += 1
            self._turned.notify_all()


class _Wire(asyncio.Protocol):
    """One connection: lines go out as the pool's delivery says."""

    def __init__(self, pool: VirtualPool) -> None:
        self._pool = pool
        self._session: Session | None = None
        self._transport: asyncio.Transport
        self._pieces: deque[bytes] = deque()
        self._gathered: list[bytes] = []

    @property
    def _delivery(self) -> Delivery:
        return self._pool.model.terms.delivery

    # ---- what the event loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._pool._wires.add(self)
        self._session = self._pool.model.connect(self)
        self._pool._turn()

    def data_received(self, data: bytes) -> None:
        if self._session is not None and not self._transport.is_closing():
            self._session.receive(data)
            self._pool._turn()

    def connection_lost(self, error: Exception | None) -> None:
        self._pool._wires.discard(self)
        if self._session is not None:
            self._pool.model.lost(self._session)
        self._pool._turn()

    # ---- what the session asks for

    def write(self, data: bytes) -> None:
        delivery = self._delivery
        if delivery.gather > 1:
            self._gathered.append(data)
            if len(self._gathered) >= delivery.gather:
                self._release()
            elif len(self._gathered) == 1:
                self.later(delivery.gather_s, self._release)
        else:
            self._put(data)

    def close(self) -> None:
        self._release()
        self._transport.write(b"".join(self._pieces))
        self._pieces.clear()
        self._transport.close()

    def reset(self) -> None:
        connection = self._transport.get_extra_info("socket")
        if connection is not None and connection.fileno() >= 0:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RST)
        self._transport.abort()

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        def if_open() -> None:
            if not self._transport.is_closing():
                call()

        self._pool._loop.call_later(delay_s, if_open)

    def _release(self) -> None:
        data, self._gathered = b"".join(self._gathered), []
        if data:
            self._put(data)

    def _put(self, data: bytes) -> None:
        size = self._delivery.piece
        if size is None and not self._pieces:
            self._transport.write(data)
            return
        waiting = bool(self._pieces)
        size = size or len(data)
        self._pieces.extend(data[start : start + size] for start in range(0, len(data), size))
        if not waiting:
            self._pump()

    def _pump(self) -> None:
        if self._pieces and not self._transport.is_closing():
            self._transport.write(self._pieces.popleft())
            self._pool._loop.call_soon(self._pump)
