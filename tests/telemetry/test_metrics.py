from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from backends.base import Reading, State
from miner.telemetry.alarm import Alarm, Severity, Stage
from miner.telemetry.metrics import (
    DEVICE_FAMILIES,
    METER_FAMILIES,
    MINER_FAMILIES,
    POOL_FAMILIES,
    POWER_SOURCES,
    SENSORS_MAX,
    SnapshotCollector,
    registry,
    window,
)
from miner.telemetry.snapshot import WINDOWS_S, Basis, Consumption, Costs, MeterView, Snapshot
from miner.work.latency import Latencies
from miner.work.share import Reason
from tests.telemetry.snapshots import HOSTILE, device, metered, snapshot, source

REFERENCE = Path(__file__).parents[2] / "docs/reference/metrics.md"
FAMILIES = (*DEVICE_FAMILIES, *POOL_FAMILIES, *MINER_FAMILIES, *METER_FAMILIES)

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def exposed(view: Snapshot) -> Series:
    """Every sample of a scrape in the text format, as a scraper parses it; a series that comes twice fails."""
    series: Series = {}
    for family in text_string_to_metric_families(generate_latest(registry(lambda: view)).decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in series
            series[key] = sample.value
    return series


def value(view: Snapshot, name: str, **labels: str) -> float | None:
    return exposed(view).get((name, frozenset(labels.items())))


def names(view: Snapshot) -> set[str]:
    return {name for name, _ in exposed(view)}


def test_work_is_counted_by_device_and_averaged_by_window() -> None:
    view = snapshot(device("cpu:0"), device("cpu:1", hashes=7))
    assert value(view, "miner_hashes_total", device="cpu:0") == 583_000_000
    assert value(view, "miner_hashes_total", device="cpu:1") == 7
    assert value(view, "miner_hashrate_hashes_per_second", device="cpu:0", window="10s") == 58.1e6
    assert value(view, "miner_hashrate_hashes_per_second", device="cpu:0", window="1m") == 58.3e6
    assert [window(seconds) for seconds in WINDOWS_S] == ["10s", "1m", "15m"]


def test_everything_a_device_knows_of_itself_is_there_in_base_units() -> None:
    view = snapshot(metered())
    expected = {
        ("miner_power_watts", "source", "emulated"): 9.5,
        ("miner_energy_joules_total", "source", "emulated"): 95.0,
        ("miner_temperature_celsius", "sensor", "chip"): 61.4,
        ("miner_temperature_celsius", "sensor", "board"): 48.0,
        ("miner_fan_rpm", "fan", "front"): 2400.0,
        ("miner_hits_discarded_total", "reason", "duplicate"): 2,
        ("miner_device_state", "state", "mining"): 1,
    }
    for (name, label, what), number in expected.items():
        assert value(view, name, device="asic:A1", **{label: what}) == number
    for name, number in {
        "miner_frequency_hertz": 485e6,
        "miner_voltage_volts": 1.2,
        "miner_duty_ratio": 0.75,
        "miner_fan_duty_ratio": 0.6,
        "miner_power_limit_watts": 12.0,
        "miner_hashrate_expected_hashes_per_second": 500e9,
        "miner_hashrate_measured_hashes_per_second": 480e9,
        "miner_hits_total": 42,
        "miner_shares_found_total": 12,
        "miner_hardware_errors_total": 3,
        "miner_device_restarts_total": 1,
    }.items():
        assert value(view, name, device="asic:A1") == number
    info = {"backend": "asic", "kind": "asic", "model": "Stick", "serial": "A1", "virtual": "true"}
    assert value(view, "miner_device_info", device="asic:A1", **info) == 1


def test_expected_rate_falls_back_to_what_was_known_before_it_ran() -> None:
    view = device()
    view = replace(view, info=replace(view.info, expected_hps=60e6))
    assert value(snapshot(view), "miner_hashrate_expected_hashes_per_second", device="cpu:0") == 60e6


def test_shares_and_blocks_are_counted_by_pool_with_failures_apart() -> None:
    view = snapshot(
        sources=(source("embedded:", blocks_rejected=1, reconnects=2, failed="wrong password", distrusted="mute"),)
    )
    for name, number in {
        "miner_shares_submitted_total": 14,
        "miner_shares_accepted_total": 11,
        "miner_shares_stale_total": 2,
        "miner_share_difficulty_accepted_total": 11264,
        "miner_blocks_accepted_total": 3,
        "miner_blocks_rejected_total": 1,
        "miner_pool_connected": 1,
        "miner_pool_active": 1,
        "miner_pool_failed": 1,
        "miner_pool_distrusted": 1,
        "miner_pool_difficulty": 1024,
        "miner_pool_reconnects_total": 2,
        "miner_submit_last_latency_seconds": 0.05,
        "miner_job_age_seconds": 3.2,
    }.items():
        assert value(view, name, pool="embedded:") == number
    assert value(view, "miner_shares_rejected_total", pool="embedded:", reason="low-difficulty") == 1


def test_how_long_answers_took_is_a_histogram_whose_buckets_add_up() -> None:
    series = exposed(snapshot(sources=(source("p", latencies=Latencies().taken(0.05).taken(0.3).taken(60.0)),)))
    buckets = {
        dict(labels)["le"]: number
        for (name, labels), number in series.items()
        if name.endswith("latency_seconds_bucket")
    }
    assert (buckets["0.025"], buckets["0.05"], buckets["0.5"], buckets["10.0"], buckets["+Inf"]) == (0, 1, 2, 2, 3)
    assert series["miner_submit_latency_seconds_count", frozenset({("pool", "p")})] == 3
    assert series["miner_submit_latency_seconds_sum", frozenset({("pool", "p")})] == pytest.approx(60.35)


def test_pools_tell_their_place_in_the_order_of_preference() -> None:
    view = snapshot(sources=(source("a"), source("b", priority=1)))
    assert [value(view, "miner_pool_priority", pool=pool) for pool in ("a", "b")] == [0, 1]


def test_a_pool_that_was_taken_out_keeps_its_counts_and_is_neither_up_nor_down() -> None:
    view = snapshot(sources=(source("p"), source("q", present=False, connected=False, active=False)))
    assert value(view, "miner_shares_accepted_total", pool="q") == 11
    for name in ("miner_pool_connected", "miner_pool_active", "miner_pool_priority", "miner_pool_failed"):
        assert value(view, name, pool="p") is not None
        assert value(view, name, pool="q") is None


def test_the_run_as_a_whole() -> None:
    view = snapshot(worthless=True)
    for name, number in {
        "miner_mining_seconds_total": 10,
        "miner_mining_start_time_seconds": 1_700_000_000,
        "miner_best_share_difficulty": 1234.5,
        "miner_block_height": 840_000,
        "miner_network_difficulty": 86.4e12,
        "miner_worthless": 1,
    }.items():
        assert value(view, name) == number


def test_what_keeps_all_devices_off_is_a_series_of_its_own() -> None:
    held = snapshot(held={"interlock": "the interlock is open"})
    assert value(held, "miner_devices_held", reason="interlock") == 1
    assert "miner_devices_held" not in names(snapshot())


def test_meters_have_families_of_their_own_so_that_no_watt_is_counted_twice() -> None:
    meter = MeterView("rack", machine=True, watts=1500.0, joules=9e6, gap_s=12.0, fault=None)
    view = snapshot(device(), meters=(meter, replace(meter, name="dead", watts=None, joules=None, fault="silent")))
    assert value(view, "miner_meter_power_watts", meter="rack") == 1500
    assert value(view, "miner_meter_energy_joules_total", meter="rack") == 9e6
    assert value(view, "miner_meter_gap_seconds_total", meter="rack") == 12
    assert value(view, "miner_meter_readable", meter="rack") == 1
    assert value(view, "miner_meter_readable", meter="dead") == 0
    assert value(view, "miner_meter_power_watts", meter="dead") is None
    assert value(view, "miner_power_watts", device="cpu:0", source="other") is None


def test_energy_is_labelled_with_where_it_is_known_from() -> None:
    view = snapshot(device(energy_by={"rapl": 5.0, "model": 3.0, "odd": 2.0, "strange": 1.0}))
    known = {name: value(view, "miner_energy_joules_total", device="cpu:0", source=name) for name in POWER_SOURCES}
    assert (known["rapl"], known["model"]) == (5, 3)
    assert value(view, "miner_energy_joules_total", device="cpu:0", source="other") == 3


def test_watts_of_an_emulated_board_are_marked_whatever_its_sensor_is_called() -> None:
    emulated = metered()
    real = replace(emulated, info=replace(emulated.info, id="asic:B2", virtual=False))
    view = snapshot(emulated, real)
    for name in ("miner_power_watts", "miner_energy_joules_total"):
        assert {dict(labels)["device"]: dict(labels)["source"] for one, labels in exposed(view) if one == name} == {
            "asic:A1": "emulated",
            "asic:B2": "usb",
        }


def test_efficiency_and_money_say_whose_word_and_which_currency() -> None:
    view = snapshot(
        consumption=(Consumption(Basis.WALL, 110.0, 1.0, 3e-11), Consumption(Basis.MODEL, 100.0, 1.0, 2e-11)),
        costs=Costs("EUR", Basis.WALL, 0.3, spent=-0.5, per_difficulty=1e-6, break_even_per_kwh=0.07),
    )
    assert value(view, "miner_consumption_watts", basis="wall") == 110
    assert value(view, "miner_consumption_joules_per_hash", basis="model") == 2e-11
    assert value(view, "miner_electricity_price_per_kilowatt_hour", currency="EUR") == 0.3
    assert value(view, "miner_electricity_cost", currency="EUR", basis="wall") == -0.5
    assert value(view, "miner_electricity_cost_per_share_difficulty", currency="EUR", basis="wall") == 1e-6
    assert value(view, "miner_electricity_break_even_per_kilowatt_hour", currency="EUR", basis="wall") == 0.07


def test_an_alarm_is_a_series_while_it_is_raised() -> None:
    raised = Alarm("device-hot", Severity.CRITICAL, "cpu:0", Stage.ACTIVE, 1.0, "die is at 99 degrees, over 90")
    view = snapshot(alarms=(raised, replace(raised, subject="b", stage=Stage.PENDING)))
    labels = {"alarm": "device-hot", "severity": "critical"}
    assert value(view, "miner_alarm_active", subject="cpu:0", **labels) == 1
    assert value(view, "miner_alarm_active", subject="b", **labels) is None


def test_a_device_is_in_exactly_one_state() -> None:
    series = exposed(snapshot(device(state=State.SICK)))
    states = {
        dict(labels)["state"]: number for (name, labels), number in series.items() if name == "miner_device_state"
    }
    assert states == {str(state): float(state is State.SICK) for state in State}


def test_what_is_unknown_has_no_sample() -> None:
    bare = snapshot(
        device(rate_hps=dict.fromkeys(WINDOWS_S)),
        sources=(source(difficulty=None, latency_s=None, job_age_s=None),),
        started_at=None,
        best_difficulty=None,
        height=None,
        network_difficulty=None,
    )
    unknown = names(snapshot(metered())) - names(bare)
    assert unknown == {
        "miner_hashrate_hashes_per_second",
        "miner_hashrate_measured_hashes_per_second",
        "miner_hashrate_expected_hashes_per_second",
        "miner_energy_joules_total",
        "miner_power_watts",
        "miner_temperature_celsius",
        "miner_fan_rpm",
        "miner_fan_duty_ratio",
        "miner_power_limit_watts",
        "miner_frequency_hertz",
        "miner_voltage_volts",
        "miner_duty_ratio",
        "miner_pool_difficulty",
        "miner_submit_last_latency_seconds",
        "miner_job_age_seconds",
        "miner_mining_start_time_seconds",
        "miner_best_share_difficulty",
        "miner_block_height",
        "miner_network_difficulty",
    }


def test_a_family_without_samples_is_not_announced() -> None:
    text = generate_latest(registry(snapshot)).decode()
    assert "miner_hits_total" in text
    assert "miner_power_watts" not in text


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_is_none_has_no_sample(number: float) -> None:
    view = snapshot(device(power_w=number, power_source="usb"))
    assert "miner_power_watts" not in names(view)


def test_reasons_stand_at_zero_before_they_happen_and_new_ones_are_counted_as_other() -> None:
    view = snapshot(sources=(source("p", rejected={"duplicate": 4, "of a later version": 2, "or two": 1}),))
    series = exposed(view)
    rejected = {
        dict(labels)["reason"]: number for (name, labels), number in series.items() if "shares_rejected" in name
    }
    assert rejected == {str(r): 0.0 for r in Reason if r is not Reason.STALE} | {"duplicate": 4.0, "other": 3.0}


def test_labels_are_bounded_whatever_a_driver_says() -> None:
    sensors = tuple(Reading(f"sensor {number}", 20.0) for number in range(1000))
    view = snapshot(device("x" * 1000, temperatures_c=sensors, power_w=1.0, power_source="guessed by a driver"))
    series = exposed(view)
    assert sum(name == "miner_temperature_celsius" for name, _ in series) == SENSORS_MAX
    assert all(len(text) <= 128 for _, labels in series for _, text in labels)
    assert ("miner_power_watts", frozenset({("device", "x" * 128), ("source", "other")})) in series


def test_hostile_names_neither_break_the_scrape_nor_reach_it_raw() -> None:
    view = snapshot(device(HOSTILE, temperatures_c=(Reading(HOSTILE, 1.0),)), sources=(source(HOSTILE),))
    text = generate_latest(registry(lambda: view)).decode()
    assert all(line.isprintable() for line in text.split("\n"))
    assert value(view, "miner_hashes_total", device=r"\x1b]0;owned\x07\x1b[2J\x0d\x0a\u202e\u200b\ud800") is not None


def test_two_sources_of_one_name_keep_a_series_each() -> None:
    view = snapshot(sources=(source("pool", accepted=1), source("pool", accepted=2)))
    assert value(view, "miner_shares_accepted_total", pool="pool") == 1
    assert value(view, "miner_shares_accepted_total", pool="pool #2") == 2


def test_a_sensor_named_twice_is_one_series() -> None:
    view = snapshot(device(temperatures_c=(Reading("t", 20.0), Reading("t", 30.0))))
    assert value(view, "miner_temperature_celsius", device="cpu:0", sensor="t") == 30.0


def test_names_follow_the_conventions() -> None:
    for family in FAMILIES:
        assert re.fullmatch(r"miner_[a-z_]+", family.name)
        assert family.name.endswith("_total") == (family.kind == "counter")
        assert family.name.endswith("_info") == (family.kind == "info")
        assert not family.unit or family.name.removesuffix("_total").endswith(f"_{family.unit}")
        assert not {"device", "pool"} & set(family.labels)
    assert len({family.name for family in FAMILIES}) == len(FAMILIES)


def test_openmetrics_accepts_the_same_and_sees_units_and_types() -> None:
    text = generate_openmetrics(registry(lambda: snapshot(metered()))).decode()
    families = {family.name: family for family in openmetrics_parser.text_string_to_metric_families(text)}
    assert (families["miner_energy_joules"].type, families["miner_energy_joules"].unit) == ("counter", "joules")
    assert families["miner_device"].type == "info"
    assert families["miner_hashrate_hashes_per_second"].unit == "hashes_per_second"


def test_no_created_samples() -> None:
    assert not [name for name in names(snapshot(metered())) if name.endswith("_created")]


def test_the_process_is_watched_too() -> None:
    assert {"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"} <= names(snapshot())


def test_a_scrape_reads_the_newest_snapshot_and_may_ask_for_single_names() -> None:
    views = iter([snapshot(device(hashes=1)), snapshot(device(hashes=2))])
    one = registry(lambda: next(views))
    for hashes in (1, 2):
        text = generate_latest(one.restricted_registry(["miner_hashes_total"])).decode()
        assert [family.samples[0].value for family in text_string_to_metric_families(text)] == [hashes]


def test_the_reference_lists_exactly_what_the_collector_offers() -> None:
    owners = {family.name: "device" for family in DEVICE_FAMILIES} | {family.name: "pool" for family in POOL_FAMILIES}
    owners |= {family.name: "meter" for family in METER_FAMILIES}
    offered = {
        (family.name, family.kind, tuple(filter(None, (owners.get(family.name), *family.labels))))
        for family in FAMILIES
    }
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*?)\| .+ \|$", REFERENCE.read_text(), re.MULTILINE)
    assert {(name, kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == offered
    described = {metric.name for metric in SnapshotCollector(snapshot).describe()}
    assert described == {family.name.removesuffix("_total").removesuffix("_info") for family in FAMILIES}
