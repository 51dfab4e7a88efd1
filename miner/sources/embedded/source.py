"""The embedded source: the asyncio shell that stands between the private chain, its judge and the engine.

From a share to the next job it takes 2 ms (confirmed, judged, drafted), so all of it happens on the event loop, in
the thread that made the judge.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

import structlog

from miner.chain.hashes import display
from miner.chain.network import Network
from miner.sources.base import Post, SourceMisconfigured
from miner.sources.consensus import EngineFailed, Judge, Ruling, engine
from miner.work.events import Answered, SourceFailed, SourceUp
from miner.work.share import Answer, Reason, Share

from .chain import Event, Extended, Handed, PrivateChain, Put, Rated, Ruled

log = structlog.get_logger()

NOTICE = "a private chain inside this process: the proof of work is real, its coins are worthless"
ANYONE = b"\x51"  # OP_TRUE: the payout nobody needs a key for
ASSUMED_HPS = 20e6  # a small laptop, until something is measured
_LONGEST_INTERVAL_S = 86400.0
_LOOK_S = 1.0  # how often the rate is looked at


class EmbeddedSource:
    """Implements sources.base.Source.

    `rate`: what all devices do together now, hashes a second, None while not known; `assumed_hps` until then.
    `payout_script`: who gets the coins, though worthless; anyone by default.
    Raises SourceMisconfigured for an interval that makes no sense.
    """

    worthless = True  # the coins of this chain are

    def __init__(
        self,
        *,
        rate: Callable[[], float | None] = lambda: None,
        assumed_hps: float = ASSUMED_HPS,
        block_interval_s: float = 5.0,
        payout_script: bytes = ANYONE,
        name: str = "embedded",
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        judge: Callable[[], Judge] = Judge,
        look_s: float = _LOOK_S,
    ) -> None:
        if not 0 < block_interval_s <= _LONGEST_INTERVAL_S:
            raise SourceMisconfigured(
                f"embedded: a block interval of {block_interval_s} s; give more than 0 s, 86400 s at most"
            )
        if not (assumed_hps > 0 and math.isfinite(assumed_hps)):
            raise SourceMisconfigured(f"embedded: {assumed_hps} hashes a second cannot be")
        self._name = name
        self._rate = rate
        self._assumed_hps = assumed_hps
        self._interval_s = block_interval_s
        self._payout_script = payout_script
        self._clock = clock
        self._wall = wall
        self._new_judge = judge
        self._look_s = look_s
        self._session = 0
        self._running = False
        self._post: Post | None = None
        self._shares: asyncio.Queue[Share] = asyncio.Queue()

    @property
    def name(self) -> str:
        return self._name

    async def run(self, post: Post) -> None:
        self._post = post
        self._session += 1
        self._running = True
        try:
            with self._new_judge() as judge:
                log.warning("coins_are_worthless", source=self._name, notice=NOTICE, engine=engine())
                post(SourceUp(self._name))
                await self._serve(judge)
        except EngineFailed as error:
            log.error("embedded_chain_failed", source=self._name, text=str(error))  # noqa: TRY400, no defect of ours
            post(SourceFailed(self._name, f"the embedded chain has ended: {error}"))
        finally:
            self._running = False
            self._turn_away()

    def submit(self, share: Share) -> None:
        self._shares.put_nowait(share)
        if not self._running:
            asyncio.get_running_loop().call_soon(self._turn_away)

    async def drain(self, timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                await self._shares.join()
        except TimeoutError:
            log.warning("shares_unanswered", source=self._name)

    async def check(self) -> list[str]:
        with self._new_judge() as judge:
            genesis = display(judge.tip.hash)
        return [
            f"{self._name}: {NOTICE}",
            f"{Network.REGTEST.label}, genesis {genesis}, every block judged by Bitcoin Core's own rules ({engine()})",
            f"one block in about {self._interval_s:g} s, paid to script {self._payout_script.hex()}",
        ]

    async def _serve(self, judge: Judge) -> None:
        chain = PrivateChain(
            source=self._name,
            session=self._session,
            payout_script=self._payout_script,
            interval_s=self._interval_s,
            assumed_hps=self._rate() or self._assumed_hps,
        )
        self._tell(chain, judge, Extended(judge.tip, self._wall()))
        while True:
            share = await self._next_share()
            if share is not None:
                try:
                    self._tell(chain, judge, Handed(share))
                finally:
                    self._shares.task_done()
            self._tell(chain, judge, Rated(self._rate(), self._wall()))

    async def _next_share(self) -> Share | None:
        try:
            async with asyncio.timeout(self._look_s):
                return await self._shares.get()
        except TimeoutError:
            return None

    def _tell(self, chain: PrivateChain, judge: Judge, event: Event) -> None:
        assert self._post is not None
        for effect in chain.handle(event, self._clock()):
            if not isinstance(effect, Put):
                self._post(effect)
                continue
            ruling = self._judged(judge, effect)
            self._tell(chain, judge, Ruled(effect.share, ruling))
            if ruling.accepted:
                self._tell(chain, judge, Extended(judge.tip, self._wall()))

    def _judged(self, judge: Judge, put: Put) -> Ruling:
        try:
            return judge.submit(put.block)
        except EngineFailed as error:
            self._answer(put.share, Reason.OTHER, str(error), block=True)
            raise

    def _turn_away(self) -> None:
        """Answer what nobody will look at any more."""
        while not self._shares.empty():
            self._answer(self._shares.get_nowait(), Reason.UNANSWERED, "the embedded chain has ended", block=False)
            self._shares.task_done()

    def _answer(self, share: Share, reason: Reason, text: str, *, block: bool) -> None:
        if self._post is not None:
            self._post(Answered(self._name, Answer(share.id, accepted=False, block=block, reason=reason, text=text)))
