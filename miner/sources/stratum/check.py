"""`miner check` for a pool: a conversation up to the first job, told in sentences."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import Callable

from miner.chain.target import Target
from miner.sources.base import SourceError, SourceMisbehaved, SourceUnreachable
from miner.sources.net.connection import Connection, Dial
from miner.sources.stratum.effects import Effect, Ending, Leave, Say
from miner.sources.stratum.job import coinbase_of
from miner.sources.stratum.options import StratumOptions
from miner.sources.stratum.pool import Pool
from miner.work.events import NewJob, SourceUp
from miner.work.job import Job

TICK_S = 0.1
JOB_S = 60.0  # how long the first job may take


async def check(
    options: StratumOptions,
    *,
    tls: ssl.SSLContext | None,
    dial: Dial | None,
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> list[str]:
    """Findings; raises SourceUnreachable, SourceMisbehaved.

    Where the pool hangs up on an optional question, that is a finding, and the next connection does without it.
    """
    pool = Pool(dataclasses.replace(options, follow_redirects=False))
    findings: list[str] = []
    try:
        async with asyncio.timeout(JOB_S):
            while True:
                connection = await Connection.open(options.host, options.port, options.connect_s, tls=tls, dial=dial)
                secured = f" with {connection.secured}" if connection.secured else ""
                findings.append(f"connected to {options.url}{secured}")
                try:
                    job = await _first_job(pool, connection, options.port, findings, clock=clock, wall=wall)
                except _Lost as lost:
                    effects, learnt = pool.disconnected(lost.ending, lost.text, clock())
                    if not learnt:
                        raise lost.error from None
                    findings += [_told(effect) for effect in effects if isinstance(effect, Say)]
                else:
                    return [*findings, *_of_job(job)]
                finally:
                    await connection.close()
    except TimeoutError:
        raise SourceMisbehaved(f"the pool sends no job within {JOB_S:.0f} s") from None


class _Lost(Exception):
    """The connection ended before the first job."""

    def __init__(self, ending: Ending, text: str, error: SourceError) -> None:
        super().__init__(text)
        self.ending, self.text, self.error = ending, text, error


async def _first_job(
    pool: Pool,
    connection: Connection,
    port: int,
    findings: list[str],
    *,
    clock: Callable[[], float],
    wall: Callable[[], float],
) -> Job:
    """Converse until there is a job; raises _Lost. What is found on the way is added to `findings`."""
    effects: list[Effect] = []

    def receive(data: bytes) -> None:
        effects.extend(pool.receive(data, clock(), wall()))
        connection.write(pool.data_to_send())

    listening = asyncio.create_task(connection.listen(receive))
    try:
        pool.connected(port, clock())
        while True:
            connection.write(pool.data_to_send())
            await asyncio.wait([listening], timeout=TICK_S)
            effects += pool.tick(clock(), wall())
            for effect in effects:
                match effect:
                    case Leave(ending, text):
                        raise _Lost(ending, text, SourceMisbehaved(f"{ending}: {text}"))
                    case Say():
                        findings.append(_told(effect))
                    case SourceUp():
                        findings.append("the pool knows the user")
                    case NewJob(job):
                        return job
            effects.clear()
            if listening.done():
                try:
                    listening.result()
                except SourceUnreachable as error:
                    raise _Lost(Ending.CLOSED, str(error), error) from error
                text = "the pool closed the connection"
                raise _Lost(Ending.CLOSED, text, SourceUnreachable(text))
    finally:
        listening.cancel()


def _told(said: Say) -> str:
    return f"{said.event}: {', '.join(str(value) for value in said.fields.values())}"


def _of_job(job: Job) -> list[str]:
    announced = job.payload
    coinbase = coinbase_of(announced.notify, announced.under)
    paid = len([value for value, _ in coinbase.outputs if value])
    height = "an unknown height" if job.height is None else f"height {job.height}"
    rolling = f"version bits {announced.under.mask:08x}" if announced.under.mask else "no version rolling"
    return [
        f"job {job.key} at {height}, difficulty {Target(job.share_target).difficulty:g}, {rolling}",
        f"its coinbase cannot be read: {coinbase.oddity}"
        if coinbase.oddity
        else f"its coinbase pays {paid} script{'s' if paid != 1 else ''}",
    ]
