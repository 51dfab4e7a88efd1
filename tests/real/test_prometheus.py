"""What a farm scrapes, judged by Prometheus itself: exposition, shipped configuration, rules, and a real run."""

from __future__ import annotations

import argparse
import contextlib
import io
import re
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from benchmarks.farm import benchmark as farm
from tests.configs import dashboards
from tests.real import prometheus
from tests.real.conftest import fetch
from tests.real.prometheus import Prometheus, promtool
from tests.running import Home, home

CONFIGS = Path(__file__).parents[2] / "configs/prometheus"
PATIENCE_S = 90.0


@pytest.fixture(scope="module", autouse=True)
def _prometheus() -> None:
    fetch(prometheus.commands)


@pytest.fixture
def run(tmp_path: Path, kernels: Path) -> Iterator[Home]:
    with home(tmp_path, kernels) as opened:
        yield opened


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(server: Prometheus, expression: str) -> None:
    """Wait until an expression has a value."""
    deadline = time.monotonic() + PATIENCE_S
    while not server.query(expression):
        assert time.monotonic() < deadline, f"{expression} has no value; {server.log.read_text()}"
        time.sleep(0.5)


@pytest.mark.parametrize("name", ["prometheus.yml", "farm.yml"])
def test_promtool_finds_nothing_wrong_with_the_shipped_configuration(name: str) -> None:
    done = promtool("check", "config", "--lint=all", "--lint-fatal", str(CONFIGS / name))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", ["alerts", "recording"])
def test_promtool_sees_the_rules_do_what_their_unit_tests_say(name: str) -> None:
    done = promtool("test", "rules", str(CONFIGS / f"tests/{name}.test.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_test_of_each_alert_fails_without_it(tmp_path: Path) -> None:
    alerts = yaml.safe_load((CONFIGS / "rules/alerts.yml").read_text())
    names = [rule["alert"] for group in alerts["groups"] for rule in group["rules"]]
    for group in alerts["groups"]:
        for rule in group["rules"]:
            rule["for"] = "10d"
    for folder in ("rules", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "rules/alerts.yml").write_text(yaml.safe_dump(alerts))
    for name in ("rules/recording.yml", "tests/alerts.test.yml"):
        (tmp_path / name).write_text((CONFIGS / name).read_text())
    done = promtool("test", "rules", str(tmp_path / "tests/alerts.test.yml"))
    assert done.returncode != 0
    for name in names:
        assert re.search(rf'alertname="{name}"', done.stdout + done.stderr), name


def test_a_real_server_scrapes_a_real_run_and_the_shipped_rules_add_it_up(run: Home, tmp_path: Path) -> None:
    port = free_port()
    miner = run.start("--metrics", f"127.0.0.1:{port}", "--threads", "1", "--block-interval", "1")
    miner.until("metrics_serving")
    config = yaml.safe_load((CONFIGS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(CONFIGS / "rules/*.yml")]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{port}"]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    with Prometheus(tmp_path / "prometheus.yml", tmp_path / "data") as server:
        until(server, "farm:miner_hashes:rate5m > 0")
        until(server, "histogram_quantile(0.9, sum by (le) (miner_submit_latency_seconds_bucket)) > 0")
        (up,) = server.query("site:miner_instances_up:sum")
        assert (up["metric"]["site"], up["value"][1]) == ("home", "1")
        assert server.query('miner_device_state{state="mining"} == 1')
        assert not server.query('ALERTS{alertstate="firing", severity="critical"}')
        # Every expression of the rules is sound on real series.
        for path in sorted((CONFIGS / "rules").glob("*.yml")):
            for group in yaml.safe_load(path.read_text())["groups"]:
                for rule in group["rules"]:
                    server.query(rule["expr"])
        for name in dashboards.NAMES:
            answers = [server.query(query) for query in dashboards.queries(name, f"127.0.0.1:{port}")]
            assert any(answers), name
        # An unmeasured machine has no joules, and nothing makes some up.
        assert not server.query("farm:miner_joules_per_terahash:rate5m == 0")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE_S) as response:
        exposition = response.read()
    done = promtool("check", "metrics", "--extended", stdin=exposition)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "miner_hashes_total" in done.stdout


def test_the_benchmark_of_a_farm_measures_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    command = prometheus.commands()["prometheus"]
    monkeypatch.setattr(farm, "_command", lambda _named: command)
    options = argparse.Namespace(prometheus=None, miners="20", devices=2, minutes=0.5, interval=3)
    result = farm.run(options, Console(file=io.StringIO()))
    figures = result["runs"]["20"]
    assert (figures["answering"], result["wrong"]) == (20, False)
    assert figures["series a miner"] > 100
    assert figures["of them recorded"] > 20
