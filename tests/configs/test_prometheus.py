"""Scrapes, rules and alerts speak of metrics that there are; what Prometheus says of them is in tests/real."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from miner.telemetry.metrics import DEVICE_FAMILIES, METER_FAMILIES, MINER_FAMILIES, POOL_FAMILIES

FOLDER = Path(__file__).parents[2] / "configs/prometheus"
SCRAPES = ("prometheus.yml", "farm.yml")
SEVERITIES = {"info", "warning", "critical"}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in read(f"rules/{name}.yml")["groups"] for rule in group["rules"]]


def exposed() -> Iterator[str]:
    for family in (*DEVICE_FAMILIES, *POOL_FAMILIES, *METER_FAMILIES, *MINER_FAMILIES):
        yield family.name
        if family.kind == "histogram":
            yield from (family.name + suffix for suffix in ("_bucket", "_count", "_sum"))


def named(expression: str) -> set[str]:
    """The metrics of ours that an expression reads, recorded ones (with colons) and scraped ones."""
    return set(re.findall(r"(?:\w+:)?miner_\w+(?::\w+)?", re.sub(r'"[^"]*"', "", expression)))


RECORDED = [rule["record"] for rule in rules("recording")]
KNOWN = {*exposed(), *RECORDED}


@pytest.mark.parametrize("rule", [*rules("recording"), *rules("alerts")], ids=lambda r: r.get("record") or r["alert"])
def test_a_rule_reads_nothing_that_is_not_there(rule: dict[str, Any]) -> None:
    assert named(rule["expr"]) <= KNOWN


def test_recorded_names_say_the_labels_that_are_left() -> None:
    kept = {"instance": {"instance", "rack", "site"}, "rack": {"rack", "site"}, "site": {"site"}, "farm": set()}
    for rule in rules("recording"):
        level = rule["record"].partition(":")[0]
        for labels in re.findall(r"by \(([^)]*)\)", rule["expr"]):
            assert set(labels.split(", ")) - {"job", "state"} == kept[level], rule["record"]
    assert len(set(RECORDED)) == len(RECORDED)


def test_every_alert_says_how_bad_it_is_what_happened_and_what_to_do() -> None:
    for rule in rules("alerts"):
        assert rule["labels"]["severity"] in SEVERITIES, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "action"}, rule["alert"]


def test_every_alert_has_a_unit_test_in_which_it_fires_alone_and_resolves() -> None:
    tests = {test["name"]: test["promql_expr_test"] for test in read("tests/alerts.test.yml")["tests"]}
    assert tests.keys() == {rule["alert"] for rule in rules("alerts")}
    for name, looks in tests.items():  # by turns it fires and is over, once for each way in which it can
        fires = [{"labels": f'{{alertname="{name}"}}', "value": 1}]
        assert looks and [look["exp_samples"] for look in looks] == [fires, []] * (len(looks) // 2)
        assert {look["expr"] for look in looks} == {'count by (alertname) (ALERTS{alertstate="firing"})'}


@pytest.mark.parametrize("name", SCRAPES)
def test_a_scrape_is_of_the_job_that_the_rules_look_at_and_takes_all_of_them(name: str) -> None:
    config = read(name)
    assert [scrape["job_name"] for scrape in config["scrape_configs"]] == ["miner"]
    assert config["rule_files"] == ["rules/*.yml"]


def test_targets_in_files_say_where_they_stand() -> None:
    (job,) = read("farm.yml")["scrape_configs"]
    for pattern in job["file_sd_configs"][0]["files"]:
        groups = [group for path in FOLDER.glob(pattern) for group in yaml.safe_load(path.read_text())]
        assert groups
        assert all(set(group["labels"]) == {"site", "rack"} for group in groups)
