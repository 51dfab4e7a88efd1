"""Simulated rigs: what a miner with so many devices exposes, made by the miner's own exporter.

One process answers for all of them, each at an address of its own and, like the miner, once for a connection. What a
rig says depends on its age in seconds alone: counters rise with it, gauges tremble by two percent, as they do on real
machines. Rigs of one age share an answer, which is filled in and compressed once, so that a scrape costs this process
next to nothing: it is the scraper that is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import json
import random
import socket
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from prometheus_client import generate_latest

from backends.base import DeviceInfo, Kind, Reading, State, Telemetry
from miner.telemetry.metrics import registry
from miner.telemetry.snapshot import WINDOWS_S, DeviceView, Snapshot, SourceView
from miner.work.latency import Latencies

RACK, SITE = 100, 1_300  # miners in each
RIG_W = 3_000_000 / 1_300  # a published farm plan: 1,300 rigs at 3 MW
J_PER_TH = 20.0
TREMBLE = 0.02
_MOVING = ("_watts", "_celsius", "_rpm", "_hashes_per_second", "_job_age_seconds", "_last_latency_seconds")
_STARTS = 60  # rigs were started within a minute, each at one of so many seconds
_COMPRESSION = 1  # as the miner's
_REQUEST_MAX = 8192  # bytes


def snapshot(devices: int) -> Snapshot:
    """A rig in full work after an hour; all its sensors known."""
    each_hps = RIG_W / J_PER_TH * 1e12 / devices
    views = tuple(_device(number, each_hps, RIG_W / devices) for number in range(devices))
    return Snapshot(
        now=3600.0,
        mining_s=3600.0,
        started_at=1_700_000_000.0,
        devices=views,
        sources=(_source("stratum+tcp://pool.example:3333", each_hps * devices),),
        hashes=sum(view.hashes for view in views),
        rate_hps=dict.fromkeys(WINDOWS_S, each_hps * devices),
        best_difficulty=1e6,
        height=900_000,
        network_difficulty=1e14,
        worthless=False,
    )


def _device(number: int, rate_hps: float, power_w: float) -> DeviceView:
    return DeviceView(
        info=DeviceInfo(f"asic:{number:04d}", "asic", Kind.ASIC, "Simulated board", serial=f"{number:04d}"),
        telemetry=Telemetry(
            State.MINING,
            power_w=power_w,
            power_source="usb",
            power_limit_w=1.1 * power_w,
            temperatures_c=(Reading("chip", 65.0), Reading("board", 50.0)),
            fans_rpm=(Reading("front", 4000.0), Reading("back", 4000.0)),
            fan=0.6,
            frequency_hz=500e6,
            voltage_v=1.2,
            expected_hps=rate_hps,
        ),
        hashes=int(rate_hps * 3600),
        rate_hps=dict.fromkeys(WINDOWS_S, rate_hps),
        measured_hps=rate_hps,
        hits=3600,
        hardware_errors=3,
        faults={},
        shares=720,
        restarts=0,
        energy_by={"usb": power_w * 3600},
    )


def _source(name: str, rate_hps: float) -> SourceView:
    latencies = Latencies()
    for _ in range(720):
        latencies = latencies.taken(0.04)
    return SourceView(
        name=name,
        connected=True,
        active=True,
        priority=0,
        failed=None,
        submitted=720,
        accepted=717,
        rejected={"other": 1},
        stale=2,
        blocks_accepted=0,
        blocks_rejected=0,
        accepted_difficulty=720 * 65536.0,
        difficulty=65536.0,
        hashes=int(rate_hps * 3600),
        latency_s=0.04,
        sending_s=0.01,
        answering_s=0.03,
        latencies=latencies,
        reconnects=0,
        job_age_s=15.0,
    )


class Exposition:
    """One rig's text, to be filled in for any moment."""

    def __init__(self, devices: int) -> None:
        view = snapshot(devices)
        self._rates: list[Callable[[float, float], float]] = []
        lines = [self._line(line) for line in generate_latest(registry(lambda: view)).decode().splitlines()]
        self._text = "\n".join(lines) + "\n"

    def _line(self, line: str) -> str:
        if line.startswith("#"):
            return line
        series, _, text = line.rpartition(" ")
        name, value = series.partition("{")[0], float(text)
        if name.startswith("miner_") and name.endswith(("_total", "_bucket", "_sum", "_count")) and value:
            self._rates.append(lambda elapsed, _: value * elapsed / 3600)
        elif name.startswith("miner_") and name.endswith(_MOVING):
            self._rates.append(lambda _, trembling: value * trembling)
        else:
            return line.replace("%", "%%")
        return f"{series.replace('%', '%%')} %.3f"

    def at(self, elapsed_s: float) -> bytes:
        """What it exposes so long after its start."""
        trembling = 1 + random.uniform(-TREMBLE, TREMBLE)  # noqa: S311  no secret
        return (self._text % tuple(rate(elapsed_s, trembling) for rate in self._rates)).encode()


def targets(miners: int, port: int) -> list[dict[str, object]]:
    """What an inventory answers to Prometheus (http_sd): an entry for each rig, with its site and rack."""
    return [
        {
            "targets": [f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}:{port}"],
            "labels": {
                "__metrics_path__": f"/{number}/metrics",
                "instance": f"rig-{number:06d}",
                "site": f"site-{number // SITE:02d}",
                "rack": f"rack-{number // RACK:03d}",
            },
        }
        for number in range(miners)
    ]


class _Farm:
    """The answers of all rigs, as bytes for the wire."""

    def __init__(self, exposition: Exposition) -> None:
        self._exposition = exposition
        self._begun = time.monotonic()
        self._aged = lru_cache(4 * _STARTS)(self._rendered)
        self.inventory = b""

    def answer(self, path: bytes, *, compressed: bool) -> bytes:
        """To a request for the inventory or for a rig's metrics."""
        if path == b"/miners":
            return _response(b"application/json", self.inventory)
        age_s = int(time.monotonic() - self._begun) + int(path.split(b"/")[1]) % _STARTS
        return self._aged(age_s, compressed=compressed)

    def _rendered(self, age_s: int, *, compressed: bool) -> bytes:
        body = self._exposition.at(age_s)
        if compressed:
            return _response(b"text/plain; version=0.0.4\r\nContent-Encoding: gzip", gzip.compress(body, _COMPRESSION))
        return _response(b"text/plain; version=0.0.4", body)


def _response(kind: bytes, body: bytes) -> bytes:
    return b"HTTP/1.0 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)


class _Connection(asyncio.Protocol):
    """HTTP/1.0: one request, one answer."""

    def __init__(self, farm: _Farm) -> None:
        self._farm = farm
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if b"\r\n\r\n" in self._heard:
            path = self._heard.split(b" ", 2)[1]
            self._transport.write(self._farm.answer(path, compressed=b"gzip" in self._heard))
            self._transport.close()
        elif len(self._heard) > _REQUEST_MAX:
            self._transport.abort()


async def serve(miners: int, devices: int) -> None:
    """Answer on all of 127.0.0.0/8, and to nobody else, until standard input ends; prints the port."""
    loop = asyncio.get_running_loop()
    farm = _Farm(Exposition(devices))
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo")  # an address cannot stand for a network
    listening.bind(("", 0))
    server = await loop.create_server(lambda: _Connection(farm), sock=listening, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    farm.inventory = json.dumps(targets(miners, port)).encode()
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


def main(arguments: Sequence[str]) -> None:
    """`python -m benchmarks.farm.rigs MINERS DEVICES`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.farm.rigs")
    parser.add_argument("miners", type=int)
    parser.add_argument("devices", type=int)
    options = parser.parse_args(arguments)
    asyncio.run(serve(options.miners, options.devices))


if __name__ == "__main__":
    main(sys.argv[1:])
