"""A Stratum pool as a source of work: the shell around `pool`, which decides. Here are the sockets and the timers."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable, Sequence

import structlog

from miner.sources.base import Post, SourceError, SourceUnreachable
from miner.sources.net.connection import Connection, Dial
from miner.sources.net.proxy import dialler
from miner.sources.stratum.backoff import Backoff
from miner.sources.stratum.effects import Effect, Ending, Learnt, Leave, Say
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.pool import Pool
from miner.sources.stratum.redirect import Redirect
from miner.sources.stratum.rolling import Style
from miner.work.events import SourceDown, SourceEvent, SourceUp
from miner.work.share import Share

log = structlog.get_logger(__name__)

TICK_S = 0.25


class StratumSource:
    """Implements `miner.sources.base.Source` for one pool.

    Raises SourceMisconfigured for a certificate file that is none, and for a proxy without the library it needs.
    `run` never gives up: pools come back, and users that were refused today are known tomorrow. `learn` is told how
    this pool reads version bits, when that turns out to be otherwise than thought.
    """

    def __init__(
        self,
        options: StratumOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),  # noqa: S311  spreads retries, hides nothing
        tick: float = TICK_S,
        learn: Callable[[Style], None] = lambda _: None,
    ) -> None:
        self._options = options
        self._clock = clock
        self._wall = wall
        self._tick_s = tick
        self._learn = learn
        self._tls: ssl.SSLContext | None = options.tls.context() if options.tls else None
        self._dial: Dial | None = dialler(options.proxy) if options.proxy else None
        self._pool = Pool(options)
        self._backoff = Backoff(jitter)
        self._connection: Connection | None = None
        self._leave: Leave | None = None
        self._said: str | None = None  # why the pool is away; None: it is not
        self._post: Post = lambda _event: None
        self._quiet = asyncio.Event()
        self._quiet.set()

    @property
    def name(self) -> str:
        return self._options.name

    async def run(self, post: Post) -> None:
        self._post = post
        if self._options.tls is not None and self._options.tls.insecure:
            log.warning("pool_unproven", source=self.name, text="TLS without verification: anybody may be this pool")
        effects, _ = self._pool.disconnected(Ending.LEFT, "for a defect of this miner", self._clock())
        self._do(effects)  # none, but for a connection that a run before this one left behind
        redirect: Redirect | None = None
        async with asyncio.TaskGroup() as tasks:  # without its ticks a source would wait for ever: either ends both
            tasks.create_task(self._tick_forever())
            while True:
                redirect = await self._connect_once(redirect)

    def submit(self, share: Share) -> None:
        effects = self._pool.submit(share, self._clock())
        self._flush()
        if effects:  # whoever submits is not answered before it is told that the share was taken
            asyncio.get_running_loop().call_soon(self._do, effects)

    async def drain(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._quiet.wait()

    async def check(self) -> list[str]:
        from miner.sources.stratum.check import check  # noqa: PLC0415  rarely asked for

        return await check(self._options, tls=self._tls, dial=self._dial, clock=self._clock, wall=self._wall)

    # ---- one connection after another

    async def _connect_once(self, redirect: Redirect | None) -> Redirect | None:
        """Live through one connection, or the failure to get one; where a redirection leads next."""
        host, port = (redirect.host, redirect.port) if redirect else (self._options.host, self._options.port)
        try:
            connection = await Connection.open(host, port, self._options.connect_s, tls=self._tls, dial=self._dial)
        except SourceUnreachable as error:
            self._down(SourceDown(self.name, str(error)))
            await asyncio.sleep(self._backoff.wait_s(Ending.CLOSED, stable_s=0))
            return None
        self._leave, self._connection = None, connection
        try:
            left = await self._converse(connection, port)
        finally:
            stable_s = self._pool.stable_s(self._clock())
            self._connection = None
            await connection.close()
        effects, learnt = self._pool.disconnected(left.ending, left.text, self._clock())
        self._do(effects)
        if left.to is not None:
            log.info("pool_moved", source=self.name, to=f"{left.to.host}:{left.to.port}", after_s=left.to.wait_s)
            await asyncio.sleep(left.to.wait_s)
            return left.to
        await asyncio.sleep(self._backoff.wait_s(left.ending, stable_s=stable_s, learnt=learnt))
        return None

    async def _converse(self, connection: Connection, port: int) -> Leave:
        """Pass on bytes until one side has enough; why it ended."""
        self._pool.connected(port, self._clock())
        self._flush()
        text = "the pool closed the connection"
        try:
            await connection.listen(self._receive)
        except SourceUnreachable as error:
            text = str(error)
        return self._leave or Leave(Ending.CLOSED, text)

    def _receive(self, data: bytes) -> None:
        if self._leave is None:
            self._do(self._pool.receive(data, self._clock(), self._wall()))

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            self._do(self._pool.tick(self._clock(), self._wall()))

    # ---- effects

    def _do(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Leave():
                    self._go(effect)
                case Say(level, event, fields):
                    getattr(log, level)(event, source=self.name, **fields)
                case Learnt(style):
                    self._learn(style)
                case SourceDown():
                    self._down(effect)
                case _:
                    self._tell(effect)
        self._flush()

    def _tell(self, event: SourceEvent) -> None:
        if isinstance(event, SourceUp):
            self._said = None
        self._post(event)

    def _down(self, event: SourceDown) -> None:
        """Said once for each reason: attempts go on quietly."""
        if event.reason != self._said:
            self._said = event.reason
            self._post(event)

    def _go(self, leave: Leave) -> None:
        if self._leave is None:
            self._leave = leave
        if self._connection is not None:
            self._connection.abort()

    def _flush(self) -> None:
        data = self._pool.data_to_send()
        if data and self._connection is not None:
            try:
                self._connection.write(data)
            except SourceError as error:
                self._go(Leave(Ending.SILENT, str(error)))
        if self._pool.quiet:
            self._quiet.set()
        else:
            self._quiet.clear()
