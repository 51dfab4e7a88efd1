"""What a scrape of many devices takes, and what a flood of scrapes takes from the thread that mines.

The miner's own server answers over 127.0.0.1 as Prometheus asks, compressed. A scrape stays in a thread of its
own; what it can take from others is the interpreter, so the last row is how late a thread wakes up meanwhile.
"""

from __future__ import annotations

import argparse
import gzip
import http.client
import threading
import time
from typing import Any

from rich.console import Console

from benchmarks import machine, report
from benchmarks.farm import rigs
from benchmarks.measure import Spread
from miner.telemetry.metrics import registry
from miner.telemetry.server import MetricsServer

GOAL_S = 0.020
ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
TICK_S = 0.005


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--devices", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--scrapes", type=int, default=50, help="how many, each with a rendering (%(default)s)")


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure; "wrong" is true where the processor time of even the fastest misses the goal, asking included."""
    report.warn(console, machine.load_before())
    view = rigs.snapshot(options.devices)
    times: dict[str, list[float]] = {
        "first in a while": [],
        "its processor time": [],
        "of a flood": [],
        "a waiting thread is late": [],
    }
    with MetricsServer("127.0.0.1", 0, registry(lambda: view)) as server:
        size = 0
        for number in range(options.scrapes):
            # Another name to ask by is another rendering: none is handed out twice.
            processor_s = time.process_time()
            times["first in a while"].append(_timed(server, f"?fresh={number}"))
            times["its processor time"].append(time.process_time() - processor_s)
        late = _Lateness()
        begun = time.monotonic()
        while time.monotonic() - begun < 1.0:
            times["of a flood"].append(_timed(server, ""))
        times["a waiting thread is late"] = late.end()
        size = len(_scraped(server, ""))
    spreads = {name: Spread.of(samples) for name, samples in times.items()}
    rows = [
        (name, *(f"{1e3 * figure:.2f}" for figure in (spread.min, spread.median, spread.p95)))
        for name, spread in spreads.items()
    ]
    title = f"milliseconds a scrape of {options.devices} devices, {size / 1024:.0f} KiB"
    report.table(console, title, ("scrape", "best", "median", "95 %"), rows)
    return {
        "devices": options.devices,
        "bytes": size,
        "seconds": {name: spread.as_json() for name, spread in spreads.items()},
        "wrong": options.devices <= 100 and spreads["its processor time"].min > GOAL_S,
    }


def _timed(server: MetricsServer, query: str) -> float:
    begun = time.perf_counter()
    _scraped(server, query)
    return time.perf_counter() - begun


def _scraped(server: MetricsServer, query: str) -> bytes:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=10)
    try:
        connection.request("GET", f"/metrics{query}", headers={"Accept": ACCEPT, "Accept-Encoding": "gzip"})
        return gzip.decompress(connection.getresponse().read())
    finally:
        connection.close()


class _Lateness:
    """A thread that wants to wake up every few milliseconds, as the event loop does for a pool's message."""

    def __init__(self) -> None:
        self._late: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lateness")
        self._thread.start()

    def _run(self) -> None:
        due = time.perf_counter() + TICK_S
        while not self._ended.is_set():
            time.sleep(max(due - time.perf_counter(), 0))
            now = time.perf_counter()
            self._late.append(now - due)
            due = now + TICK_S

    def end(self) -> list[float]:
        """Seconds after each due time."""
        self._ended.set()
        self._thread.join()
        return self._late
