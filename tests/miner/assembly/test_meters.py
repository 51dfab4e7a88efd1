"""From the configuration to meters that are read, and `miner check`, which tries them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.assembly.meters import alarms_for, build_meter, metering_for, try_meters
from miner.commands.cli import main
from miner.config import Configuration
from miner.power.modbus import Modbus
from miner.power.mqtt import Mqtt
from miner.power.shelly import Shelly
from miner.power.tasmota import Tasmota
from tests.power.conftest import MeterServer
from tests.telemetry.snapshots import snapshot

PLUG: dict[str, Any] = {"/shelly": {"gen": 2}, "/rpc/Shelly.GetStatus": {"switch:0": {"apower": 62.5}}}


def configured(**tables: Any) -> Configuration:
    return Configuration.model_validate(tables)


def shelly(port: int, **more: Any) -> dict[str, Any]:
    return {"name": "desk", "kind": "shelly", "url": f"http://127.0.0.1:{port}", **more}


def plant(root: Path, joules: str = "5000000") -> Path:
    zone = root / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, text in (("name", "package-0"), ("max_energy_range_uj", "262143328850"), ("energy_uj", joules)):
        (zone / name).write_text(text)
    return root


def test_each_kind_becomes_its_meter() -> None:
    mqtt = {"name": "m", "kind": "mqtt", "url": "mqtt://h", "topic": "t", "power_path": "", "user": "u"}
    modbus = {"name": "b", "kind": "modbus", "url": "modbus://h", "power_register": 0}
    tables = (shelly(80), {**shelly(80), "name": "t", "kind": "tasmota"}, mqtt, modbus)
    built = [build_meter(told) for told in configured(meter=tables).meter]
    assert [type(meter) for meter in built] == [Shelly, Tasmota, Mqtt, Modbus]
    assert [meter.name for meter in built] == ["desk", "t", "m", "b"]


def test_a_meter_that_answers_is_shown_with_what_it_says(tmp_path: Path) -> None:
    server = MeterServer(PLUG)
    try:
        told = list(try_meters(configured(meter=[shelly(server.port)]), root=plant(tmp_path)))
    finally:
        server.close()
    assert told == [("processor: its energy counters can be read (1)", True), ("meter desk: 62.5 W", True)]


def test_a_meter_that_does_not_answer_is_a_failure_and_a_processor_that_may_not_be_read_is_none(tmp_path: Path) -> None:
    root = plant(tmp_path, joules="soon")
    told = list(try_meters(configured(meter=[shelly(1)]), root=root))
    assert [good for _, good in told] == [True, False]
    assert told[1][0] == "meter desk: desk cannot be reached: Connection refused"


def test_the_command_check_tries_the_meters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    server = MeterServer(PLUG)
    (tmp_path / "miner.toml").write_text(
        f'[[meter]]\nname = "desk"\nkind = "shelly"\nurl = "http://127.0.0.1:{server.port}"\n'
    )
    monkeypatch.chdir(tmp_path)
    try:
        assert main(["check", "--backend", "cpu", "--state-dir", str(tmp_path / "state")]) == 0
    finally:
        server.close()
    assert "meter desk: 62.5 W" in capsys.readouterr().out
    assert main(["check", "--backend", "cpu", "--state-dir", str(tmp_path / "state")]) == 1
    assert "meter desk: desk cannot be reached" in capsys.readouterr().err


def test_the_processor_is_read_unless_that_is_not_wanted(tmp_path: Path) -> None:
    root = plant(tmp_path)
    assert len(metering_for(configured(), root=root)._readers()) == 1
    assert metering_for(configured(power={"rapl": False}), root=root)._readers() == ()
    assert metering_for(configured(), root=tmp_path / "absent")._readers() == ()


def test_alarms_are_as_configured() -> None:
    alarms = alarms_for(configured(alarms={"off": ["pool-down"]}, power={"budget_w": 100.0}))
    names = {rule.name for rule in alarms.rules}
    assert "pool-down" not in names and {"power-over-budget", "device-hot"} <= names
    assert "power-over-budget" not in {rule.name for rule in alarms_for(configured()).rules}


def test_prices_are_those_of_the_configuration() -> None:
    tariff = {"currency": "EUR", "price_per_kwh": 0.3, "time_zone": "Europe/Berlin", "hash_price": 0.05, "fee": 0.02}
    window = {"start": "00:00", "end": "00:00", "price_per_kwh": 0.1, "days": ["sun"]}
    market = metering_for(configured(tariff={**tariff, "window": [window]}))._market
    assert market is not None
    sunday = 1_795_323_000.0  # 22 November 2026, 05:50 in Berlin
    assert market.price_per_kwh(sunday) == 0.1
    assert market.price_per_kwh(sunday - 6 * 3600) == 0.3
    assert (market.hash_price, market.fee) == (0.05, 0.02)


def test_a_metering_that_was_never_started_can_be_closed_and_shows_a_snapshot(tmp_path: Path) -> None:
    metering = metering_for(configured(meter=[shelly(1)]), root=tmp_path)
    assert [meter.name for meter in metering.handle(snapshot(), {}).meters] == ["desk"]
    metering.close()
