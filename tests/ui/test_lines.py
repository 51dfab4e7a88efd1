from __future__ import annotations

from dataclasses import replace

from structlog import get_logger
from structlog.testing import capture_logs

from backends.base import State
from miner.telemetry.snapshot import Basis, Consumption
from miner.ui.lines import Line, Reporter, changes, status
from tests.telemetry.snapshots import device, snapshot, source


def test_at_the_start_everything_is_news() -> None:
    assert changes(None, snapshot(sources=(source("p", blocks_accepted=0),))) == [
        Line("info", "device_state", {"device": "cpu:0", "state": "mining"}),
    ]


def test_no_change_no_line() -> None:
    assert changes(snapshot(), snapshot(device(hashes=9), now=1001.0)) == []


def test_sources_and_blocks_are_left_to_the_engine_which_knows_the_reasons() -> None:
    before = snapshot(sources=(source("p"),))
    after = snapshot(sources=(source("p", connected=False, failed="wrong password", blocks_accepted=4),))
    assert changes(before, after) == []


def test_a_device_that_changes_state_is_told_as_loudly_as_it_matters() -> None:
    mining = snapshot(device())
    for state, level in (
        (State.PAUSED, "warning"),
        (State.MINING, "warning"),
        (State.SICK, "warning"),
        (State.DEAD, "error"),
    ):
        values = {"device": "cpu:0", "state": str(state), "reason": "why"}
        before = mining if state is not State.MINING else snapshot(device(state=State.STARTING))
        assert changes(before, snapshot(device(state=state, fault="why"))) == [Line(level, "device_state", values)]
    off = {"device": "cpu:0", "state": "off", "reason": "a kernel was refused"}
    assert changes(mining, snapshot(device(state=State.OFF, fault=off["reason"]))) == [
        Line("info", "device_state", off)
    ]
    paused = {"device": "cpu:0", "state": "paused"}
    assert changes(mining, snapshot(device(state=State.PAUSED))) == [Line("info", "device_state", paused)]


def test_a_device_that_is_gone_is_told() -> None:
    before = snapshot(device("a"), device("b"))
    assert changes(before, snapshot(device("a"))) == [Line("warning", "device_gone", {"device": "b"})]


def test_the_status_says_where_the_run_stands() -> None:
    view = snapshot(device(hardware_errors=2), device("cpu:1", state=State.IDLE, hashes=0), worthless=True)
    assert status(view) == Line(
        "info",
        "status",
        {
            "rate": "58.3 MH/s",
            "hashes": 583_000_000,
            "mining_s": 10.0,
            "devices": "1/2",
            "source": "stratum+tcp://pool.example:3333",
            "height": 840_000,
            "blocks": 3,
            "accepted": 11,
            "rejected": 1,
            "stale": 2,
            "hardware_errors": 2,
            "worthless": True,
        },
    )


def test_the_status_marks_what_nobody_measured() -> None:
    values = status(snapshot(consumption=(Consumption(Basis.MODEL, 65.0, 1e5, 21.4e-12),))).values
    assert (values["power"], values["efficiency"]) == ("65 W (model)", "21.4 J/TH (model)")
    values = status(snapshot(consumption=(Consumption(Basis.DEVICES, 65.0, 1e5, 21.4e-12),))).values
    assert (values["power"], values["efficiency"]) == ("65 W", "21.4 J/TH")


def test_the_status_leaves_out_what_is_unknown() -> None:
    view = snapshot(sources=(), rate_hps={}, height=None)
    assert {"rate", "source", "height", "worthless"}.isdisjoint(status(view).values)


def test_the_status_comes_every_ten_seconds_of_the_miners_clock() -> None:
    reporter = Reporter()
    view = snapshot()
    said = [now for now in range(61) for line in reporter.handle(replace(view, now=now)) if line.event == "status"]
    assert said == [10, 20, 30, 40, 50, 60]


def test_changes_do_not_wait_for_the_status() -> None:
    reporter = Reporter()
    reporter.handle(snapshot())
    assert [line.event for line in reporter.handle(snapshot(device(state=State.SICK), now=1000.1))] == ["device_state"]


def test_a_line_becomes_a_log_event() -> None:
    with capture_logs() as logs:
        Line("warning", "source_down", {"source": "p"}).emit(get_logger())
    assert logs == [{"event": "source_down", "log_level": "warning", "source": "p"}]
