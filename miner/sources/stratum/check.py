"""`miner check` for a pool: one conversation up to the first job, told in sentences."""

from __future__ import annotations

import asyncio
import dataclasses
import ssl
from collections.abc import Callable

from miner.chain.target import Target
from miner.sources.base import SourceMisbehaved, SourceUnreachable
from miner.sources.stratum.connection import Connection, Dial
from miner.sources.stratum.delivery import Effect, Leave, Say
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
    """Findings; raises SourceUnreachable, SourceMisbehaved."""
    pool = Pool(dataclasses.replace(options, follow_redirects=False))
    connection = await Connection.open(options.host, options.port, options.connect_s, tls=tls, dial=dial)
    findings = [f"connected to {options.url}" + (f" with {connection.secured}" if connection.secured else "")]
    effects: list[Effect] = []

    def receive(data: bytes) -> None:
        effects.extend(pool.receive(data, clock(), wall()))
        connection.write(pool.data_to_send())

    listening = asyncio.create_task(connection.listen(receive))
    try:
        pool.connected(options.port, clock())
        async with asyncio.timeout(JOB_S):
            while True:
                connection.write(pool.data_to_send())
                await asyncio.wait([listening], timeout=TICK_S)
                effects += pool.tick(clock(), wall())
                for effect in effects:
                    match effect:
                        case Leave(ending, text):
                            raise SourceMisbehaved(f"{ending}: {text}")
                        case Say(_, event, fields):
                            findings.append(f"{event}: {', '.join(str(value) for value in fields.values())}")
                        case SourceUp():
                            findings.append("the pool knows the user")
                        case NewJob(job):
                            return [*findings, *_of_job(job)]
                effects.clear()
                if listening.done():
                    listening.result()
                    raise SourceUnreachable("the pool closed the connection")
    except TimeoutError:
        raise SourceMisbehaved(f"the pool sends no job within {JOB_S:.0f} s") from None
    finally:
        listening.cancel()
        await connection.close()


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
