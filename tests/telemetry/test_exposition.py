"""What is written quickly parses to what prometheus_client writes."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from miner.telemetry.exposition import OPENMETRICS, TEXT, exposition
from miner.telemetry.metrics import SnapshotCollector, registry
from tests.telemetry.snapshots import HOSTILE, device, metered, snapshot, source


class Odd(Collector):
    """Labels that need every escape, numbers at the edges."""

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("odd_ratio", 'a "help"\nwith \\ and a break', labels=["what"], unit="ratio")
        for number, value in enumerate((1e300, -1e-300, 0.1, 12345678901234567890.0, -0.0)):
            family.add_metric([f'{number} "quoted" \\ back\nbreak {{}},=é'], value)
        yield family


def ours() -> CollectorRegistry:
    view = snapshot(device(), device(HOSTILE), metered(), sources=(source(), source('p"\\')))
    held = CollectorRegistry()
    held.register(SnapshotCollector(lambda: view))
    held.register(Odd())
    return held


@pytest.mark.parametrize(
    ("accept", "parse", "reference"),
    [("", parse_text, generate_latest), (OPENMETRICS, parse_openmetrics, generate_openmetrics)],
    ids=["text", "openmetrics"],
)
def test_it_means_the_same_as_what_prometheus_client_writes(
    accept: str, parse: Callable[[str], Any], reference: Callable[[CollectorRegistry], bytes]
) -> None:
    held = ours()
    headers, body = exposition(held, "", accept, "")
    assert dict(headers)["Content-Type"] == (accept or TEXT)
    assert list(parse(body.decode())) == list(parse(reference(held).decode()))


def test_single_names_may_be_asked_for_and_the_answer_compressed() -> None:
    headers, body = exposition(ours(), "name[]=miner_hashes_total", "", "deflate, gzip")
    assert ("Content-Encoding", "gzip") in headers
    (family,) = parse_text(gzip.decompress(body).decode())
    assert family.name == "miner_hashes"


def test_what_was_remembered_of_labels_is_not_mixed_up_between_scrapes() -> None:
    for name in ("cpu:0", "cpu:1", "cpu:0"):
        _, body = exposition(registry(lambda name=name: snapshot(device(name))), "", "", "")
        assert f'miner_hashes_total{{device="{name}"}}' in body.decode()
