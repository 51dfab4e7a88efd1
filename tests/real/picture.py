"""Draws docs/pictures/real-run.svg: hashes, watts and J/TH of two real miners, asked of a real Prometheus.

    pip install -e ".[test,pictures]" && python -m tests.real.picture

The second miner starts after a third of the time and ends after two thirds. No meter is needed: the watts are the
operator's figure for each CPU, and come with source="model" all the way.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml
from matplotlib import pyplot as plt

from tests.real.cache import REPOSITORY
from tests.real.prometheus import Prometheus
from tests.running import Miner, home

TARGET = REPOSITORY / "docs/pictures/real-run.svg"
STEP_S = 2
MODEL_W = {"first": 12.0, "second": 15.0}
# At an ordinary priority: at its own, low one, a busy machine would leave the miners nothing to show.
MINER = """
block_interval = 2.0
[power]
model = {{ "cpu:0" = {watts} }}
[backends.cpu]
priority = "normal"
"""
PLOTS = {
    "hashes a second, millions": "sum by (instance) (rate(miner_hashes_total[20s])) / 1e6",
    "watts (source: model)": "sum by (instance) (miner_power_watts)",
    "J/TH, both together": "sum(rate(miner_energy_joules_total[20s])) / (sum(rate(miner_hashes_total[20s])) / 1e12)",
}


def run(seconds: float, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Mine, scrape, ask: each plot's series."""
    (folder / "kernels").mkdir()
    ports = {name: _free_port() for name in MODEL_W}
    with contextlib.ExitStack() as held:

        def start(name: str, kernels: Path) -> Miner:
            config = folder / f"{name}.toml"
            config.write_text(MINER.format(watts=MODEL_W[name]))
            opened = held.enter_context(home(folder, kernels, name))
            return opened.start("--config", str(config), "--metrics", f"127.0.0.1:{ports[name]}", "--threads", "1")

        config = folder / "prometheus.yml"
        config.write_text(yaml.safe_dump(_scrape(ports)))
        start("first", folder / "kernels")
        server = held.enter_context(Prometheus(config, folder / "data"))
        while not server.query("rate(miner_hashes_total[20s]) > 0"):  # its kernels are compiled first
            time.sleep(1)
        begun = time.time()
        time.sleep(seconds / 3)
        second = start("second", folder / "first" / "kernels")
        time.sleep(seconds / 3)
        second.signal(signal.SIGINT)
        second.ended()
        time.sleep(seconds / 3)
        span = {"start": str(begun), "end": str(time.time()), "step": str(STEP_S)}
        return {title: server.query(expression, **span) for title, expression in PLOTS.items()}


def draw(series: dict[str, list[dict[str, Any]]], target: Path) -> None:
    """Three plots over one clock."""
    plt.rcParams.update({"svg.hashsalt": "angara", "font.size": 9})
    begun = min(float(one["values"][0][0]) for found in series.values() for one in found)
    figure, axes = plt.subplots(len(series), 1, sharex=True, figsize=(8, 6))
    for axis, (title, found) in zip(axes, series.items(), strict=True):
        for one in sorted(found, key=lambda x: str(x["metric"])):
            times, values = zip(*((float(at) - begun, float(value)) for at, value in one["values"]), strict=True)
            axis.plot(times, values, label=one["metric"].get("instance"), linewidth=1.5)
        axis.set_title(title, loc="left")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
        if len(found) > 1:
            axis.legend(loc="upper right", frameon=False)
    axes[-1].set_xlabel("seconds")
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})


def _scrape(ports: dict[str, int]) -> dict[str, Any]:
    groups = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {"site": "home", "rack": "shelf", "instance": name}}
        for name, port in ports.items()
    ]
    return {
        "global": {"scrape_interval": f"{STEP_S}s", "evaluation_interval": f"{STEP_S}s"},
        "rule_files": [str(REPOSITORY / "configs/prometheus/rules/*.yml")],
        "scrape_configs": [{"job_name": "miner", "static_configs": groups}],
    }


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.real.picture")
    parser.add_argument("--seconds", type=float, default=180.0, help="how long (%(default)s)")
    with tempfile.TemporaryDirectory(prefix="angara-picture-") as where:
        draw(run(parser.parse_args().seconds, Path(where)), TARGET)
