from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from backends.base import State
from miner.telemetry.alarm import Alarm, Severity, Stage
from miner.telemetry.snapshot import Basis, Consumption, Costs
from miner.ui.frame import BAD, LOG_ROWS, QUIET, WARNING, Row, compose
from tests.telemetry.snapshots import HOSTILE, device, metered, snapshot, source


def text(rows: list[Row]) -> str:
    return "\n".join(row.text for row in rows)


def words(rows: list[Row]) -> str:
    """The picture without its line breaks."""
    return " ".join(text(rows).split())


@pytest.mark.parametrize("width", [60, 100, 200])
def test_the_facts_of_the_run_are_there_at_every_width(width: int) -> None:
    shown = words(compose(snapshot(mining_s=7620.0), width, 40))
    for fact in (
        "58.1 MH/s in 10 s",
        "58.3 MH/s in 1 min",
        "- in 15 min",
        "for 2 h 07 min",
        "583 M hashes",
        "stratum+tcp://pool.example:3333",
        "height 840000",
        "network difficulty 86.4 T",
        "3 s old",
        "3 accepted, 0 rejected",
        "11 accepted, 1 rejected, 2 stale",
        "best difficulty 1.23 k",
        "cpu:0",
        "mining",
    ):
        assert fact in shown


def test_a_wide_table_shows_all_that_is_known_of_a_device() -> None:
    view = metered()
    rows = compose(snapshot(replace(view, info=replace(view.info, virtual=False))), 200, 40)
    heading = next(row.text.split() for row in rows if row.text.startswith("device"))
    assert " ".join(heading) == "device state 10 s 1 min 15 min expected hits errors temp power activity model"
    line = next(" ".join(row.text.split()) for row in rows if row.text.startswith("asic:A1"))
    assert line == ("asic:A1 mining 58.1 MH/s 58.3 MH/s - 500 GH/s 42 3 61 °C 9.50 W ramp 3 of 5 Stick")


def test_a_narrow_table_keeps_what_matters_most() -> None:
    heading = next(row.text for row in compose(snapshot(metered()), 60, 40) if row.text.startswith("device"))
    assert {"device", "state", "errors", "hits"} <= set(heading.split())
    assert "1 min" in heading and "model" not in heading


def test_columns_of_which_nothing_is_known_are_not_shown() -> None:
    heading = next(row.text for row in compose(snapshot(), 200, 40) if row.text.startswith("device"))
    assert not {"temp", "power", "expected", "activity"} & set(heading.split())


def test_what_keeps_all_devices_off_is_said_with_its_reason() -> None:
    held = snapshot(held={"interlock": f"the interlock {HOSTILE} is open: it says '0'"})
    shown = words(compose(held, 60, 24))
    assert "held all devices are off: the interlock" in shown
    assert "is open: it says '0'" in shown
    assert "held" not in words(compose(snapshot(), 60, 24))


def test_worthless_coins_are_called_so() -> None:
    assert "these coins are worthless" in text(compose(snapshot(worthless=True), 60, 24))
    assert "worthless" not in text(compose(snapshot(), 60, 24))


def test_a_sick_device_stands_out_with_its_reason() -> None:
    rows = compose(snapshot(device(state=State.SICK, fault="no hit for 10 minutes")), 80, 24)
    assert Row("  no hit for 10 minutes", WARNING) in rows
    assert next(row.style for row in rows if row.text.startswith("cpu:0")) == WARNING


def test_a_failed_source_says_all_that_a_person_must_know() -> None:
    sentence = "the pool refuses the user name; check --user and the pool's own page for how workers are named there"
    rows = compose(snapshot(sources=(source(), source("other", active=False, failed=sentence))), 60, 24)
    assert f"other failed: {sentence}" in words([row for row in rows if row.style == BAD])


def test_sources_that_are_not_mined_on_are_up_or_down() -> None:
    sources = (
        source(),
        source("b", active=False),
        source("c", active=False, connected=False),
        *(source(f"more {number}", active=False) for number in range(9)),
    )
    shown = text(compose(snapshot(sources=sources), 80, 40))
    assert "source  b up\nsource  c down" in shown
    assert "and 6 more" in shown


def test_a_source_that_was_taken_out_is_not_called_down() -> None:
    gone = source("gone", present=False, connected=False, active=False)
    rows = compose(snapshot(sources=(source("here"), gone)), 100, 40)
    assert not any("gone" in row.text for row in rows)


def test_a_height_that_is_unknown_is_left_out() -> None:
    shown = words(compose(snapshot(height=None), 100, 40))
    assert "network difficulty" in shown
    assert "height" not in shown


def test_without_a_job_it_says_that_it_has_none() -> None:
    rows = compose(snapshot(sources=(source("p", active=False, connected=False),)), 80, 24)
    assert Row("job     none: no source has work", WARNING) in rows


def test_rejected_blocks_stand_out() -> None:
    rows = compose(snapshot(sources=(source(blocks_rejected=1),)), 80, 24)
    assert Row("blocks  3 accepted, 1 rejected", BAD) in rows


def test_the_last_log_lines_stand_below() -> None:
    rows = compose(snapshot(), 80, 40, [f"event {number}" for number in range(50)])
    assert [row.text for row in rows[-LOG_ROWS - 1 :]] == ["", *(f"event {number}" for number in range(42, 50))]


def test_with_too_many_devices_those_in_trouble_come_first_and_the_rest_is_counted() -> None:
    devices = [*(device(f"gpu:{number}") for number in range(100)), device("gpu:last", state=State.DEAD, fault="gone")]
    shown = text(compose(snapshot(*devices), 80, 24, ["the newest event"]))
    lines = [line for line in shown.split("\n") if line.startswith("gpu:")]
    assert lines[0].startswith("gpu:last")
    assert f"and {101 - len(lines)} more" in shown
    assert "the newest event" in shown
    assert len(shown.split("\n")) <= 24


names = st.text(max_size=60)


@given(st.tuples(names, names, names, names), st.tuples(st.integers(20, 200), st.integers(1, 60)))
def test_nothing_is_wider_or_higher_than_the_terminal_nor_anything_but_text(
    texts: tuple[str, str, str, str], size: tuple[int, int]
) -> None:
    name, fault, reason, line = texts
    width, height = size
    view = snapshot(
        device(name, fault=fault, activity=fault, state=State.SICK),
        device(HOSTILE),
        sources=(source(name), source(HOSTILE, failed=reason)),
    )
    rows = compose(view, width, height, [line, HOSTILE])
    assert len(rows) <= height
    for row in rows:
        assert cell_len(row.text) <= width
        row.text.encode()
        assert not {"\x1b", "\n", "\r", "\x07", "\x9b", "\u202e", "\u2028"} & set(row.text)


def test_power_is_one_quiet_line_by_the_best_word_there_is() -> None:
    view = snapshot(
        consumption=(Consumption(Basis.WALL, 108.0, 1e5, 21.4e-12), Consumption(Basis.DEVICES, 90.0, 1e5, 18e-12)),
        costs=Costs("EUR", Basis.WALL, 0.24, spent=0.31118, per_difficulty=None, break_even_per_kwh=0.08761),
    )
    (row,) = [row for row in compose(view, 120, 40) if row.text.startswith("power")]
    assert row == Row("power   108 W at the wall, 21.4 J/TH, 0.3112 EUR spent, breaks even at 0.08761 EUR/kWh", QUIET)


def test_where_nothing_is_known_of_power_no_line_says_so() -> None:
    assert not any(row.text.startswith("power") for row in compose(snapshot(), 120, 40))


def test_a_figure_of_the_operators_is_marked_as_such() -> None:
    view = snapshot(consumption=(Consumption(Basis.MODEL, 65.0, None, None),))
    assert "65 W (model) by the devices and the operator's figures" in words(compose(view, 120, 40))


def test_whatever_follows_from_a_modelled_figure_is_marked_too() -> None:
    view = snapshot(
        consumption=(Consumption(Basis.MODEL, 65.0, 1e5, 21.4e-12),),
        costs=Costs("EUR", Basis.MODEL, 0.24, spent=0.3112, per_difficulty=None, break_even_per_kwh=0.0876),
    )
    (row,) = [row for row in compose(view, 160, 40) if row.text.startswith("power")]
    assert row.text == (
        "power   65 W (model) by the devices and the operator's figures, 21.4 J/TH (model), 0.3112 EUR (model) spent, "
        "breaks even at 0.0876 EUR/kWh (model)"
    )
    assert all(cell_len(row.text) <= 80 for row in compose(view, 80, 40))


def test_the_watts_of_a_device_are_marked_where_nobody_measured_them_and_left_out_where_nobody_draws_them() -> None:
    modelled = device("cpu:0", power_w=65.0, power_source="model")
    measured = device("opencl:0", power_w=120.0, power_source="nvml")
    text = [row.text for row in compose(snapshot(modelled, measured, metered()), 120, 40)]
    assert any(row.startswith("cpu:0") and "65 W (model)" in row for row in text)
    assert any(row.startswith("opencl:0") and "120 W" in row and "model" not in row for row in text)
    assert any(row.startswith("asic:A1 (virtual)") and "W" not in row.replace("A1", "") for row in text)


def test_a_device_that_rests_after_a_cut_off_is_shown_as_a_warning_and_one_that_was_told_to_pause_is_not() -> None:
    rests, told = device("asic:A", state=State.PAUSED, fault="turned off for safety"), device("b", state=State.PAUSED)
    styles = {row.text.split()[0]: row.style for row in compose(snapshot(rests, told), 120, 40) if row.text}
    assert (styles["asic:A"], styles["b"]) == (WARNING, QUIET)
    many = [device(f"d{number}") for number in range(40)]
    assert any(row.text.startswith("asic:A") for row in compose(snapshot(*many, rests), 120, 24)), "it stands first"


def test_raised_alarms_are_shown_in_the_colour_of_their_gravity_and_others_are_not() -> None:
    hot = Alarm("device-hot", Severity.CRITICAL, "cpu:0", Stage.ACTIVE, 1.0, "die is at 99 degrees, over 90")
    alarms = (hot, replace(hot, rule="rate-low", stage=Stage.RESOLVED), replace(hot, subject=HOSTILE))
    rows = [row for row in compose(snapshot(alarms=alarms), 120, 40) if row.text.startswith("alarm")]
    assert rows[0] == Row("alarm   device-hot: cpu:0: die is at 99 degrees, over 90", BAD)
    assert len(rows) == 2 and rows[1].text.isprintable()
