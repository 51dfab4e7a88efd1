from __future__ import annotations

import argparse
import gzip
import http.client
import io
import json

import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from benchmarks.farm import benchmark as farm
from benchmarks.farm import rigs, scrape
from tests.configs.test_prometheus import KNOWN


def values(text: bytes) -> dict[tuple[str, str], float]:
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_simulated_rig_exposes_what_a_miner_does_and_its_counters_rise() -> None:
    one = rigs.Exposition(devices=3)
    early, late = values(one.at(100.0)), values(one.at(200.0))
    assert early.keys() == late.keys()
    assert {name for name, _ in early if name.startswith("miner_")} <= KNOWN
    hashes = [key for key in early if key[0] == "miner_hashes_total"]
    assert len(hashes) == 3
    assert all(late[key] == pytest.approx(2 * early[key]) for key in hashes)
    power_w = sum(value for (name, _), value in late.items() if name == "miner_power_watts")
    assert power_w == pytest.approx(rigs.RIG_W, rel=2 * rigs.TREMBLE)


def test_the_inventory_names_each_rig_once_with_its_site_and_rack() -> None:
    listed = [target["labels"] for target in rigs.targets(1_400, 9332)]
    assert len({target["targets"][0] for target in rigs.targets(70_000, 9332)}) == 70_000
    assert len({labels["instance"] for labels in listed}) == 1_400
    assert len({labels["__metrics_path__"] for labels in listed}) == 1_400
    assert {labels["site"] for labels in listed} == {"site-00", "site-01"}
    assert len({labels["rack"] for labels in listed}) == 14


def test_one_process_answers_for_all_rigs_each_at_its_own_address() -> None:
    with farm._rigs(2, 1) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/miners")
        targets = json.loads(connection.getresponse().read())
        connection.close()
        assert len(targets) == 2
        for target in targets:
            connection = http.client.HTTPConnection(target["targets"][0], timeout=30)
            for encoding, read in (("identity", bytes), ("gzip", gzip.decompress)):
                connection.request("GET", target["labels"]["__metrics_path__"], headers={"Accept-Encoding": encoding})
                assert ("miner_mining_seconds_total", "[]") in values(read(connection.getresponse().read()))
            connection.close()


def test_scrapes_are_timed_one_by_one_and_in_a_flood() -> None:
    console = Console(file=io.StringIO())
    result = scrape.run(argparse.Namespace(devices=2, scrapes=3), console)
    assert result["seconds"]["first in a while"]["samples"] == 3
    assert result["seconds"]["of a flood"]["samples"] > 3
    assert result["bytes"] > 1000
    assert not result["wrong"]


def test_without_prometheus_it_says_where_to_get_one(tmp_path: object) -> None:
    with pytest.raises(SystemExit, match="apt install prometheus"):
        farm._command(f"{tmp_path}/none")
