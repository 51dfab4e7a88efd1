"""Renders the dashboards beside this file: miner.json for one machine, farm.json for thousands.

    python configs/grafana/render.py

Import them into Grafana (Dashboards, New, Import) and choose the Prometheus that scrapes the miners. The farm's reads
recorded series only, so that it opens as fast over thirteen thousand miners as over one.
"""  # noqa: INP001  a script beside what it writes, no package

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode, StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HERE = Path(__file__).resolve().parent
WIDTH = 24  # of Grafana's grid
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

RATE, WATTS, J_TH, RATIO, HEAT, COUNT = "Hs", "watt", "suffix: J/TH", "percentunit", "celsius", "short"
_WITH_MODELLED = "With what is modelled: given by the operator, measured by nobody."
SECONDS, RPM, VOLTS, HERTZ = "s", "rotrpm", "volt", "hertz"


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over time: legend -> expression."""

    title: str
    unit: str
    lines: Mapping[str, str]
    about: str = ""
    stacked: bool = False
    width: int = 12


@dataclass(frozen=True, slots=True)
class Figure:
    """One number; green until `warn`, where there is one, and red from there on (or below it)."""

    title: str
    unit: str
    query: str
    about: str = ""
    warn: float | None = None
    good_above: bool = False
    width: int = 4


@dataclass(frozen=True, slots=True)
class Rows:
    """A table of what an expression gives now."""

    title: str
    query: str
    about: str = ""
    width: int = 24


Panel = Chart | Figure | Rows


def one_miner() -> dashboard.Dashboard:
    """One machine, down to its devices and sensors; reads what is scraped."""
    of = 'job="miner",instance="$instance"'
    real = f'{of},source!="emulated"'
    device, pool = "{{device}}", "{{pool}}"
    board = _dashboard("Angara: one miner", "angara-miner", "15s", "now-3h")
    board.with_variable(_variable("instance", 'label_values(up{job="miner"}, instance)'))
    return _filled(
        board,
        {
            "Now": [
                Figure("Hash rate", RATE, f"sum(rate(miner_hashes_total{{{of}}}[$__rate_interval]))"),
                Figure(
                    "Power",
                    WATTS,
                    f"sum(rate(miner_energy_joules_total{{{real}}}[5m]))",
                    "Where it is known, with what is modelled.",
                ),
                Figure(
                    "Efficiency",
                    J_TH,
                    f"instance:miner_joules_per_terahash:rate5m{{{of}}}",
                    "Of the devices whose energy is known, be it measured or modelled.",
                ),
                Figure("Refused shares", RATIO, f"instance:miner_reject:ratio1h{{{of}}}", "In the last hour.", 0.05),
                Figure("Hottest", HEAT, f"instance:miner_temperature_celsius:max{{{of}}}", warn=90),
                Figure("Mining", RATIO, f"instance:miner_mining:ratio1h{{{of}}}", "Of the last hour.", 0.95, True),
            ],
            "Devices": [
                Chart("Hash rate", RATE, {device: f"rate(miner_hashes_total{{{of}}}[$__rate_interval])"}, stacked=True),
                Chart(
                    "Of what is expected",
                    RATIO,
                    {
                        device: f"rate(miner_hashes_total{{{of}}}[5m])"
                        f" / miner_hashrate_expected_hashes_per_second{{{of}}}"
                    },
                ),
                Chart("Power", WATTS, {"{{device}} ({{source}})": f"miner_power_watts{{{of}}}"}, "By how it is known."),
                Chart(
                    "Efficiency",
                    J_TH,
                    {
                        device: f"sum by (device) (rate(miner_energy_joules_total{{{real}}}[5m]))"
                        f" / sum by (device) (rate(miner_hashes_total{{{of}}}[5m]) > 0) * 1e12"
                    },
                ),
                Chart("Temperatures", HEAT, {"{{device}} {{sensor}}": f"miner_temperature_celsius{{{of}}}"}),
                Chart("Fans", RPM, {"{{device}} {{fan}}": f"miner_fan_rpm{{{of}}}"}),
                Chart("Clock", HERTZ, {device: f"miner_frequency_hertz{{{of}}}"}),
                Chart("Supply", VOLTS, {device: f"miner_voltage_volts{{{of}}}"}),
                Chart(
                    "Wrong results",
                    RATIO,
                    {
                        device: f"rate(miner_hardware_errors_total{{{of}}}[15m])"
                        f" / (rate(miner_hits_total{{{of}}}[15m]) + rate(miner_hardware_errors_total{{{of}}}[15m]) > 0)"
                    },
                    "Hardware errors, of all results.",
                ),
                Chart("State", COUNT, {"{{device}} {{state}}": f"miner_device_state{{{of}}} == 1"}),
            ],
            "Electricity": [
                Chart(
                    "What all of it draws",
                    WATTS,
                    {"{{basis}}": f"miner_consumption_watts{{{of}}}"},
                    "At the wall, by the devices, or with figures among it that nobody measured (model).",
                ),
                Chart(
                    "Efficiency since the start",
                    J_TH,
                    {"{{basis}}": f"miner_consumption_joules_per_hash{{{of}}} * 1e12"},
                ),
                Chart(
                    "Price of a kilowatt-hour",
                    COUNT,
                    {
                        "{{currency}}": f"miner_electricity_price_per_kilowatt_hour{{{of}}}",
                        "{{currency}}, break-even ({{basis}})": "miner_electricity_break_even_per_kilowatt_hour"
                        f"{{{of}}}",
                    },
                ),
                Chart("Spent since the start", COUNT, {"{{currency}} ({{basis}})": f"miner_electricity_cost{{{of}}}"}),
                Chart("Wall meters", WATTS, {"{{meter}}": f"miner_meter_power_watts{{{of}}}"}),
                Chart("Alarms", COUNT, {"{{alarm}} {{subject}}": f"miner_alarm_active{{{of}}}"}),
            ],
            "Pools": [
                Chart("Shares accepted", "cpm", {pool: f"rate(miner_shares_accepted_total{{{of}}}[5m]) * 60"}),
                Chart(
                    "Shares refused",
                    "cpm",
                    {
                        "{{pool}} {{reason}}": f"rate(miner_shares_rejected_total{{{of}}}[5m]) * 60 > 0",
                        "{{pool}} stale": f"rate(miner_shares_stale_total{{{of}}}[5m]) * 60 > 0",
                    },
                ),
                Chart(
                    "Time to an answer",
                    SECONDS,
                    {
                        f"{quantile:.0%}": f"histogram_quantile({quantile}, "
                        f"sum by (le) (rate(miner_submit_latency_seconds_bucket{{{of}}}[5m])))"
                        for quantile in (0.5, 0.95)
                    },
                    "From finding a share to the pool's answer.",
                ),
                Chart("Age of the newest job", SECONDS, {pool: f"miner_job_age_seconds{{{of}}}"}),
                Chart("Connected", COUNT, {pool: f"miner_pool_connected{{{of}}}"}),
                Chart("Share difficulty", COUNT, {pool: f"miner_pool_difficulty{{{of}}}"}),
            ],
        },
    )


def farm() -> dashboard.Dashboard:
    """Thousands of machines; reads what the recording rules have added up, and nothing else."""
    of = 'job="miner",site=~"$site"'
    racks = 'job="miner",site=~"$site",rack=~"$rack"'
    board = _dashboard("Angara: farm", "angara-farm", "30s", "now-24h")
    board.with_variable(_variable("site", "label_values(site:miner_instances:count, site)", many=True))
    board.with_variable(_variable("rack", 'label_values(rack:miner_instances:count{site=~"$site"}, rack)', many=True))
    rack = "{{site}}/{{rack}}"
    return _filled(
        board,
        {
            "Now": [
                Figure("Hash rate", RATE, f"sum(site:miner_hashes:rate5m{{{of}}})"),
                Figure("Power", WATTS, f"sum(site:miner_power_watts:rate5m{{{of}}})", _WITH_MODELLED),
                Figure(
                    "Efficiency",
                    J_TH,
                    f"sum(site:miner_power_watts:rate5m{{{of}}})"
                    f" / sum(site:miner_metered_hashes:rate5m{{{of}}} > 0) * 1e12",
                    _WITH_MODELLED,
                ),
                Figure(
                    "Answering",
                    RATIO,
                    f"sum(site:miner_instances_up:sum{{{of}}}) / sum(site:miner_instances:count{{{of}}})",
                    warn=0.98,
                    good_above=True,
                ),
                Figure("Miners", COUNT, f"sum(site:miner_instances:count{{{of}}})"),
                Figure(
                    "Sick and dead devices",
                    COUNT,
                    f'sum(site:miner_devices:count{{{of},state=~"sick|dead"}})',
                    warn=1,
                ),
            ],
            "Sites": [
                Chart("Hash rate", RATE, {"{{site}}": f"site:miner_hashes:rate5m{{{of}}}"}, stacked=True),
                Chart(
                    "Power",
                    WATTS,
                    {"{{site}}": f"site:miner_power_watts:rate5m{{{of}}}"},
                    _WITH_MODELLED,
                    stacked=True,
                ),
                Chart(
                    "Power that is modelled",
                    WATTS,
                    {"{{site}} (model)": f"site:miner_power_modelled_watts:rate5m{{{of}}}"},
                    "Of the power, what operators gave and nobody measured.",
                    stacked=True,
                ),
                Chart(
                    "Efficiency", J_TH, {"{{site}}": f"site:miner_joules_per_terahash:rate5m{{{of}}}"}, _WITH_MODELLED
                ),
                Chart(
                    "Uptime", RATIO, {"{{site}}": f"site:miner_uptime:ratio1h{{{of}}}"}, "Time with work to hash on."
                ),
                Chart("Refused shares", RATIO, {"{{site}}": f"site:miner_reject:ratio1h{{{of}}}"}),
                Chart(
                    "Devices", COUNT, {"{{state}}": f"sum by (state) (site:miner_devices:count{{{of}}})"}, stacked=True
                ),
            ],
            "Racks": [
                Chart("Least efficient", J_TH, {rack: f"topk(10, rack:miner_joules_per_terahash:rate5m{{{racks}}})"}),
                Chart("Hottest", HEAT, {rack: f"topk(10, rack:miner_temperature_celsius:max{{{racks}}})"}),
                Chart(
                    "Fewest answering",
                    RATIO,
                    {
                        rack: f"bottomk(10, rack:miner_instances_up:sum{{{racks}}}"
                        f" / rack:miner_instances:count{{{racks}}})"
                    },
                ),
                Chart("Most refused", RATIO, {rack: f"topk(10, rack:miner_reject:ratio1h{{{racks}}})"}),
            ],
            "Miners": [
                Rows(
                    "What is wrong",
                    f'sort_desc(count by (alertname, severity, site, rack) (ALERTS{{alertstate="firing",{racks}}}))',
                    "Alerts that fire, counted by rack.",
                ),
                Rows(
                    "Least efficient, in J/TH",
                    f"topk(20, instance:miner_joules_per_terahash:rate5m{{{racks}}})",
                    width=12,
                ),
                Rows("Hottest, in degrees", f"topk(20, instance:miner_temperature_celsius:max{{{racks}}})", width=12),
            ],
        },
    )


def rendered() -> dict[str, str]:
    """File name -> content."""
    boards = {"miner.json": one_miner(), "farm.json": farm()}
    return {name: JSONEncoder(sort_keys=True, indent=1).encode(board.build()) + "\n" for name, board in boards.items()}


def _dashboard(title: str, uid: str, refresh: str, since: str) -> dashboard.Dashboard:
    board = dashboard.Dashboard(title).uid(uid).tags(["angara", "bitcoin"]).refresh(refresh).time(since, "now")
    board.editable().timezone("browser")
    return board.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))


def _variable(name: str, query: str, *, many: bool = False) -> dashboard.QueryVariable:
    variable = dashboard.QueryVariable(name).label(name.capitalize()).query(query).datasource(SOURCE)
    variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
    return variable.multi(True).include_all(True).all_value(".*") if many else variable


def _filled(board: dashboard.Dashboard, rows: Mapping[str, Iterable[Panel]]) -> dashboard.Dashboard:
    number = 0
    for title, panels in rows.items():
        board.with_row(dashboard.Row(title))
        for panel in panels:
            number += 1
            board.with_panel(_panel(panel).id(number).datasource(SOURCE))
    return board


def _panel(panel: Panel) -> Any:
    match panel:
        case Chart():
            built = timeseries.Panel().unit(panel.unit).height(8).fill_opacity(20 if panel.stacked else 5)
            if panel.stacked:
                built.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
            for letter, (legend, expression) in zip("ABCD", panel.lines.items(), strict=False):
                built.with_target(_query(expression).ref_id(letter).legend_format(legend))
        case Figure():
            built = stat.Panel().unit(panel.unit).height(4).graph_mode(BigValueGraphMode.AREA)
            built.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            built.no_value("unknown").with_target(_query(panel.query).ref_id("A"))
            colours = ("red", "green") if panel.good_above else ("green", "red")
            steps = [Threshold(value=None, color=colours[0] if panel.warn is not None else "green")]
            steps += [Threshold(value=panel.warn, color=colours[1])] if panel.warn is not None else []
            built.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        case Rows():
            built = table.Panel().height(9)
            built.with_target(_query(panel.query).ref_id("A").instant().format(PromQueryFormat.TABLE))
    return built.title(panel.title).description(panel.about).span(panel.width)


def _query(expression: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression)


if __name__ == "__main__":
    for file_name, content in rendered().items():
        (HERE / file_name).write_text(content)
