"""One Prometheus family: how what a view says becomes samples, each series once.

What is unknown has no sample, and a family without samples is left out: "0 W" and "no meter" must not look alike.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, Literal, TypeVar

from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

from miner.printable import printable
from miner.work.latency import Latencies

from .exposition import Labels
from .snapshot import DeviceView, MeterView, Snapshot, SourceView

_LABEL_MAX = 128  # characters
_LABEL_SETS = 65_536  # remembered as they are written

View = TypeVar("View", DeviceView, SourceView, Snapshot, MeterView)
Values = dict[tuple[str, ...], float | None]  # by the family's own labels


@dataclass(frozen=True, slots=True)
class Family(Generic[View]):
    """One metric: how it is called and where in a view it is read."""

    name: str  # as exposed, suffix included
    kind: Literal["counter", "gauge", "histogram", "info"]
    help: str
    read: Callable[[View], Values | Latencies | float | None]
    labels: tuple[str, ...] = ()  # beyond the one that names the view
    unit: str = ""

    def metric(self, views: Mapping[tuple[str, ...], View], owner: tuple[str, ...]) -> Metric:
        """What is known of it, as prometheus_client exposes it; `owner` is the label that names the view, if one does.

        Series that are written alike are one: a series that comes twice spoils the whole scrape.
        """
        names, samples = owner + self.labels, dict[str, Sample]()
        for name, view in views.items():
            values = self.read(view)
            if isinstance(values, Latencies):
                samples |= self._histogram(values, names, name)
                continue
            for own, value in values.items() if isinstance(values, dict) else (((), values),):
                if value is not None and math.isfinite(value):
                    labels = _labels(names, name + own)
                    samples[labels.written] = Sample(self.name, labels, float(value))
        metric = Metric(self.name.removesuffix("_total").removesuffix("_info"), self.help, self.kind, self.unit)
        metric.samples = list(samples.values())
        return metric

    def _histogram(self, values: Latencies, names: tuple[str, ...], name: tuple[str, ...]) -> dict[str, Sample]:
        labels, samples = _labels(names, name), dict[str, Sample]()
        for bound, count in values.cumulative():
            below = _labels((*names, "le"), (*name, "+Inf" if math.isinf(bound) else str(bound)))
            samples[below.written] = Sample(f"{self.name}_bucket", below, count)
        for part, number in (("_count", sum(values.counts)), ("_sum", values.sum_s)):
            samples[part + labels.written] = Sample(self.name + part, labels, number)
        return samples


@lru_cache(_LABEL_SETS)
def _labels(names: tuple[str, ...], values: tuple[str, ...]) -> Labels:
    return Labels({name: printable(value[:_LABEL_MAX]) for name, value in zip(names, values, strict=True)})
