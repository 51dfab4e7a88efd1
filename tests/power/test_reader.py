"""A meter in its thread: it fails, hangs and comes back, and costs nothing but its value."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from miner.power import rapl
from miner.power.errors import Unreadable
from miner.power.reader import Reader
from miner.power.reading import Sample


class Fickle:
    """Says what it is told to; an exception is raised."""

    name = "desk"

    def __init__(self, *says: float | Exception) -> None:
        self.says = list(says)
        self.now = 0.0
        self.closed = False

    def clock(self) -> float:
        return self.now

    def read(self, timeout_s: float) -> Sample:
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return Sample(self.now, said)

    def close(self) -> None:
        self.closed = True


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_failure_is_told_once_and_so_is_its_end() -> None:
    meter = Fickle(5.0, Unreadable("gone"), Unreadable("still gone"), ZeroDivisionError("by design"), 5.0, 5.0)
    reader = Reader(meter, 1.0, clock=meter.clock)
    with capture_logs() as logs:
        for meter.now in map(float, range(6)):
            reader.look()
    events = [(entry["event"], entry["log_level"]) for entry in logs]
    assert events == [("meter_unreadable", "warning"), ("meter_defect", "error"), ("meter_readable", "info")]
    known = reader.known(5.0)
    assert (known.watts, known.joules, known.fault) == (5.0, 5.0, None)
    assert known.gap_s == 4.0


def test_while_it_fails_its_power_is_not_known_and_the_reason_is() -> None:
    meter = Fickle(5.0, Unreadable("gone"))
    reader = Reader(meter, 1.0, clock=meter.clock)
    reader.look()
    meter.now = 1.0
    reader.look()
    assert (reader.known(1.0).watts, reader.known(1.0).fault) == (None, "gone")


def test_it_reads_in_a_thread_of_its_own_until_it_is_closed() -> None:
    meter = Fickle(*[5.0] * 1000)
    reader = Reader(meter, 0.001)
    reader.start()
    until(lambda: reader.known(time.monotonic()).watts == 5.0)
    reader.close(20.0)
    reader.close()
    assert meter.closed


def test_a_sensor_file_that_blocks_costs_only_its_value(tmp_path: Path) -> None:
    """A pipe nobody writes to: opening it to read never returns."""
    os.mkfifo(tmp_path / "energy_uj")
    zone = rapl.Zone("package-0", tmp_path / "energy_uj", 262_143.0)
    reader = Reader(rapl.Rapl((zone,)), 1.0)
    began = time.monotonic()
    reader.start()
    known = reader.known(began + 3600.0)
    reader.close(0.05)
    assert time.monotonic() - began < 10
    assert (known.watts, known.fault) == (None, "it does not answer")
    with (tmp_path / "energy_uj").open("w") as writer:  # let the thread go
        writer.write("1")


def test_the_counters_of_a_processor_are_read_together(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"{number}").write_text(f"{number + 1}000000\n")
    zones = tuple(rapl.Zone(f"package-{number}", tmp_path / f"{number}", 10.0) for number in range(2))
    sample = rapl.Rapl(zones, clock=lambda: 7.0).read(1.0)
    assert sample.at == 7.0
    assert [(one.joules, one.range_j) for one in sample.counters] == [(1.0, 10.0), (2.0, 10.0)]


@pytest.mark.parametrize("level", ["info", "warning"])
def test_how_loud_a_failure_is_depends_on_whether_anybody_asked(level: str) -> None:
    meter = Fickle(Unreadable("gone"))
    with capture_logs() as logs:
        Reader(meter, 1.0, clock=meter.clock, level=level).look()  # type: ignore[arg-type]
    assert [entry["log_level"] for entry in logs] == [level]
