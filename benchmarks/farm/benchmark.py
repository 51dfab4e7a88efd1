"""What a real Prometheus needs to watch a farm: memory, processor time, time for rules and for the dashboard.

Rigs are simulated (`benchmarks.farm.rigs`), found by HTTP discovery and scraped over 127.0.0.0/8 with the shipped
rules. The server is Debian's or your own; its figures are those it tells of itself, those by the second from the second
half of a run, when all series are there.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from benchmarks import machine, report

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "configs/prometheus/rules/*.yml"
DASHBOARD = ROOT / "configs/grafana/farm.json"
UNPACKED = ROOT / ".cache/real/prometheus"  # by make test-real
START_S = 60.0
END_S = 120.0  # it writes out what it holds
ASK_S = 60.0
STEP_S = 5.0

Figures = dict[str, float]


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of this benchmark."""
    parser.add_argument("--miners", default="1300,13300", help="how many, one run for each number (%(default)s)")
    parser.add_argument("--devices", type=int, default=3, help="boards of each miner (%(default)s)")
    parser.add_argument("--minutes", type=float, default=6.0, help="how long each run is (%(default)s)")
    parser.add_argument("--interval", type=int, default=60, help="seconds from scrape to scrape (%(default)s)")
    parser.add_argument("--prometheus", metavar="FILE", help="the program (default: on the PATH, or make test-real's)")


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Measure; "wrong" is true where miners were not reached or rules took longer than their interval."""
    command = _command(options.prometheus)
    report.warn(console, machine.load_before())
    runs = {}
    for miners in (int(text) for text in options.miners.split(",")):
        with report.progress(console) as progress:
            task = progress.add_task(f"{miners} miners", total=options.minutes * 60)
            one = _Run(command, miners, options.devices, options.interval)
            runs[str(miners)] = one.figures(options.minutes * 60, partial(progress.advance, task))
    names = list(dict.fromkeys(name for figures in runs.values() for name in figures))
    rows = [(name, *(_written(figures.get(name)) for figures in runs.values())) for name in names]
    report.table(
        console,
        f"{platform.processor() or platform.machine()}, scraped every {options.interval} s",
        ("", *(f"{int(miners):,} miners" for miners in runs)),
        rows,
    )
    late = any(figures["rules, s a round"] > options.interval for figures in runs.values())
    missed = any(figures["answering"] < 0.99 * int(miners) for miners, figures in runs.items())
    return {"interval_s": options.interval, "devices": options.devices, "runs": runs, "wrong": late or missed}


def _command(named: str | None) -> tuple[str, ...]:
    if found := shutil.which(named or "prometheus"):
        return (found,)
    loader = next(UNPACKED.glob("usr/lib/*/ld-linux*.so.*"), None)
    if named or loader is None:
        raise SystemExit(
            f"{named or 'prometheus'}: there is no such program; install it (on Debian: apt install prometheus), "
            "name it with --prometheus, or run make test-real, which unpacks one"
        )
    return (str(loader), "--library-path", str(loader.parent), str(UNPACKED / "usr/bin/prometheus"))


class _Run:
    """One size of farm."""

    def __init__(self, command: Sequence[str], miners: int, devices: int, interval_s: int) -> None:
        self._command = command
        self._miners = miners
        self._devices = devices
        self._interval_s = interval_s
        self._url = ""

    def figures(self, seconds: float, advance: Callable[[float], None]) -> Figures:
        """What was seen over so many seconds from the start of the server."""
        with ExitStack() as held:
            folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="angara-farm-")))
            rigs = held.enter_context(_rigs(self._miners, self._devices))
            held.enter_context(self._server(folder, rigs))
            begun = time.monotonic()
            halfway: Figures = {}
            while (elapsed := time.monotonic() - begun) < seconds:
                time.sleep(min(STEP_S, seconds - elapsed))
                advance(STEP_S)
                if not halfway and elapsed > seconds / 2:
                    halfway = self._told() | {"at": time.monotonic()}
            told, asked = self._told() | {"at": time.monotonic()}, self._asked()
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            return self._judged(halfway, told) | asked | {"on disk, MB": size / 1e6}

    def _judged(self, halfway: Figures, told: Figures) -> Figures:
        span_s = told["at"] - halfway["at"]
        cpu_s = told["process_cpu_seconds_total"] - halfway["process_cpu_seconds_total"]
        samples = told["samples"] - halfway["samples"]
        memory, series = told["process_resident_memory_bytes"], told["prometheus_tsdb_head_series"]
        return {
            "answering": self._one('sum(up{job="miner"})'),
            "series a miner": self._one("avg(scrape_samples_post_metric_relabeling > 0)"),
            "series in all": series,
            "of them recorded": self._one('count({__name__=~".+:miner_.+"})'),
            "samples a second": samples / span_s,
            "scrape, ms (median)": 1e3 * self._one("quantile(0.5, scrape_duration_seconds)"),
            "scrape, ms (99 %)": 1e3 * self._one("quantile(0.99, scrape_duration_seconds)"),
            "processor, cores": cpu_s / span_s,
            "processor, ms a scrape": 1e3 * cpu_s / span_s / (self._miners / self._interval_s),
            "rules, s a round": told["rules"],
            "rounds of rules missed": told["missed"] - halfway["missed"],
            "memory, MB": memory / 1e6,
            "memory, MB a thousand miners": memory / 1e6 / self._miners * 1e3,
            "memory, KB a series": memory / 1e3 / series,
        }

    @contextmanager
    def _server(self, folder: Path, rigs_port: int) -> Iterator[None]:
        config = {
            "global": {"scrape_interval": f"{self._interval_s}s", "evaluation_interval": f"{self._interval_s}s"},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": "miner", "http_sd_configs": [{"url": f"http://127.0.0.1:{rigs_port}/miners"}]}
            ],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  the program that was named
                [
                    *self._command,
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    "--web.listen-address=127.0.0.1:0",
                    "--log.format=json",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            self._url = _listening(process, folder / "log")
            yield
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _told(self) -> Figures:
        """What the server says of itself."""
        with urllib.request.urlopen(f"{self._url}/metrics", timeout=ASK_S) as response:  # noqa: S310  our own
            families = list(text_string_to_metric_families(response.read().decode()))
        figures = {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
        for name, metric in (
            ("rules", "prometheus_rule_group_last_duration_seconds"),
            ("missed", "prometheus_rule_group_iterations_missed_total"),
            ("samples", "prometheus_tsdb_head_samples_appended_total"),
        ):
            figures[name] = sum(s.value for family in families for s in family.samples if s.name == metric)
        return figures

    def _asked(self) -> Figures:
        """How long the farm's dashboard waits."""
        panels = json.loads(DASHBOARD.read_text())["panels"]
        times = []
        for expression in (target["expr"] for panel in panels for target in panel.get("targets", ())):
            begun = time.perf_counter()
            self._query(expression.replace("$site", ".*").replace("$rack", ".*"))
            times.append(time.perf_counter() - begun)
        return {"a panel's query, ms (slowest)": 1e3 * max(times), "the whole dashboard, ms": 1e3 * sum(times)}

    def _one(self, expression: str) -> float:
        result = self._query(expression)
        return float(result[0]["value"][1]) if result else 0.0

    def _query(self, expression: str) -> list[dict[str, Any]]:
        text = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{text}", timeout=ASK_S) as response:  # noqa: S310
            result: list[dict[str, Any]] = json.load(response)["data"]["result"]
            return result


@contextmanager
def _rigs(miners: int, devices: int) -> Iterator[int]:
    """The port of a process that answers for all of them."""
    words = [sys.executable, "-m", "benchmarks.farm.rigs", str(miners), str(devices)]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdin and process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()


def _listening(process: subprocess.Popen[bytes], log: Path) -> str:
    """Where it can be asked, once it can be."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in log.read_text().splitlines():
            entry = json.loads(line) if line.startswith("{") and line.endswith("}") else {}
            if entry.get("msg") == "Listening on" and "address" in entry:
                return f"http://{entry['address']}"
        time.sleep(0.1)
    raise SystemExit(f"Prometheus does not start:\n{log.read_text()[-2000:]}")


def _written(figure: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"
