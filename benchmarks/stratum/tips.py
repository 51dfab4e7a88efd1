"""From the last byte of a clean notify on a pool's socket to the first hash of every thread.

A process of its own: `python -m benchmarks.stratum.tips STATE THREADS PRIORITY SWITCHES`. Another process is the pool
and writes the whole line at a random moment; the source, the engine and the CPU device are the real ones, and every
thread hashes on the job before.

    stamp, sendall --loopback--> parsed --Manager, Feed--> the last lease --parameters--> scanned by the last thread
"""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from backends.cpu.priority import Priority
from benchmarks.pipeline.tips import Stopwatch, timed_cpu
from benchmarks.stratum import pool as stratum_pool
from miner.engine.engine import Engine
from miner.sources.stratum.source import StratumSource
from miner.work.limits import Limits
from miner.work.manager import Manager

FIGURES = ("wire_to_work_s", "wire_to_scan_s")
HARD = 1e6  # no share is found
_PATIENCE_S = 60.0

# Takes one client, answers it as a pool does, then sends each line that it is given as hex and prints when: only after
# the work has begun, for who waits for that to be told is the event loop that is measured.
_POOL = """
import random, socket, sys, time
from benchmarks.stratum.pool import answers
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
client, _ = server.accept()
client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
heard = b""
while b"mining.extranonce" not in heard and heard.count(b"mining.authorize") < 1:
    data = client.recv(65536)
    heard += data
    client.sendall(answers(data))
for line in sys.stdin:
    data = bytes.fromhex(line)
    time.sleep(random.uniform(0.005, 0.025))
    sent = time.perf_counter_ns()
    client.sendall(data)
    time.sleep(0.02)
    print(sent, flush=True)
"""


def measure(state: Path, threads: int, priority: Priority, switches: int) -> dict[str, list[float]]:
    """Seconds for each switch, by FIGURES; subprocess.CalledProcessError if it fails."""
    command = [sys.executable, "-m", "benchmarks.stratum.tips", str(state), str(threads), priority, str(switches)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    return {str(name): list(values) for name, values in json.loads(answer.stdout).items()}


@asynccontextmanager
async def _pool() -> AsyncIterator[asyncio.subprocess.Process]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", _POOL, stdin=pipe, stdout=pipe)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _run(state: Path, threads: int, priority: Priority, switches: int) -> dict[str, list[float]]:
    loop, settled = asyncio.get_running_loop(), asyncio.Event()

    def all_scan() -> None:
        loop.call_soon_threadsafe(settled.set)

    stopwatch = Stopwatch(threads, all_scan)
    async with _pool() as pool:
        assert pool.stdin is not None and pool.stdout is not None
        source = StratumSource(stratum_pool.options(int(await pool.stdout.readline())))
        engine = Engine(Manager([source.name], Limits()), [source])
        device = timed_cpu(state, threads, priority, stopwatch)
        engine.add_device(device.info, lambda: device)
        mining = asyncio.create_task(engine.run())
        times: dict[str, list[float]] = {name: [] for name in FIGURES}
        for number in range(switches + 1):
            job = stratum_pool.notify(number, wall=time.time())
            settled.clear()
            stopwatch.expect(stratum_pool.prev_hash(number))
            pool.stdin.write(
                (b"" if number else stratum_pool.difficulty(HARD)).hex().encode() + job.hex().encode() + b"\n"
            )
            sent = int(await pool.stdout.readline())
            async with asyncio.timeout(_PATIENCE_S):
                await settled.wait()
            ends = max(stopwatch.taken), max(stopwatch.scanned.values())
            for name, end in zip(FIGURES, ends, strict=True):
                times[name] += [(end - sent) / 1e9] if number else []  # with the first the device starts
        engine.stop()
        finish = await mining
    if not finish.ok:
        raise RuntimeError(finish.reason)
    return times


def _main(state: str, threads: str, priority: str, switches: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    print(json.dumps(asyncio.run(_run(Path(state), int(threads), Priority(priority), int(switches)))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
