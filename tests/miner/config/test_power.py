"""The tables about electricity: what is right is taken, what is wrong is told with file, key and value."""

from __future__ import annotations

from datetime import time
from pathlib import Path

import pytest

from miner.config import ConfigError
from miner.config.power import ModbusMeter, MqttMeter, ShellyMeter
from tests.miner.operators import Operator

SHELLY = '[[meter]]\nname = "desk"\nkind = "shelly"\nurl = "http://192.0.2.7"\n'


def told(operator: Operator, text: str) -> list[str]:
    """What is wrong, without the file's name, which each sentence begins with."""
    place = operator.writes(text)
    with pytest.raises(ConfigError) as caught:
        operator.starts()
    assert all(problem.startswith(f"{place}: ") for problem in caught.value.problems), caught.value.problems
    return [problem.removeprefix(f"{place}: ") for problem in caught.value.problems]


def test_nothing_said_is_rapl_and_the_usual_alarms(operator: Operator) -> None:
    configuration = operator.starts().configuration
    assert configuration.power.rapl and configuration.meter == () and configuration.tariff is None
    assert configuration.alarms.hot_c == 90.0


def test_meters_of_each_kind_have_keys_of_their_own(operator: Operator) -> None:
    operator.writes(
        SHELLY
        + '[[meter]]\nname = "a"\nkind = "mqtt"\nurl = "mqtts://broker.example"\ntopic = "a/+/b/#"\npower_path = ""\n'
        + '[[meter]]\nname = "b"\nkind = "modbus"\nurl = "modbus://[2001:db8::1]"\nenergy_register = 342\n'
    )
    shelly, mqtt, modbus = operator.starts().configuration.meter
    assert isinstance(shelly, ShellyMeter) and str(shelly.url) == "http://192.0.2.7:80"
    assert isinstance(mqtt, MqttMeter) and (mqtt.url.port, mqtt.power_path) == (8883, "")
    assert isinstance(modbus, ModbusMeter) and str(modbus.url) == "modbus://[2001:db8::1]:502"


def test_a_password_comes_from_its_file_beside_the_configuration_and_stays_secret(operator: Operator) -> None:
    operator.writes("hunter22\n", "secret", 0o600)
    operator.writes(SHELLY + 'password_file = "secret"\n')
    loaded = operator.starts()
    (meter,) = loaded.configuration.meter
    assert isinstance(meter, ShellyMeter) and meter.password is not None
    assert meter.password.get_secret_value() == "hunter22"
    assert "hunter22" in loaded.configuration.secrets
    assert "hunter22" not in repr(loaded.configuration)
    assert loaded.warnings == ()


def test_a_password_that_everybody_can_read_is_warned_of(operator: Operator) -> None:
    operator.writes("hunter22\n", "secret", 0o644)
    operator.writes(SHELLY + 'password_file = "secret"\n')
    assert any("password_file of [[meter]] 1" in warning for warning in operator.starts().warnings)


def test_a_tariff_by_the_hour_and_the_day(operator: Operator) -> None:
    operator.writes(
        '[tariff]\ncurrency = "EUR"\nprice_per_kwh = 0.3\ntime_zone = "Europe/Berlin"\nhash_price = 0.045\n'
        '[[tariff.window]]\nstart = "22:00"\nend = "06:00"\nprice_per_kwh = -0.01\ndays = ["sat", "sun"]\n'
    )
    tariff = operator.starts().configuration.tariff
    assert tariff is not None
    (window,) = tariff.window
    assert (window.start, window.end, window.days) == (time(22), time(6), (5, 6))
    assert str(tariff.time_zone) == "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[power]\nbudget_w = -1\n", "power.budget_w is -1: it must be more than 0"),
        ('[power]\nrapl = "no"\n', 'power.rapl is "no": it must be true or false'),
        ("[power]\nbudget = 1\n", "power.budget: there is no such key; did you mean budget_w?"),
        ("power = 3\n", "power is 3: it must be a table"),
        ('[power.model]\n"cpu:0" = "much"\n', 'power.model.cpu:0 is "much": it must be a number'),
        (SHELLY.replace("shelly", "solar"), "[[meter]] 1: its kind is one of shelly, tasmota, mqtt, modbus"),
        (SHELLY.replace('kind = "shelly"\n', ""), "[[meter]] 1: its kind is one of shelly, tasmota, mqtt, modbus"),
        (SHELLY.replace('name = "desk"\n', ""), "[[meter]] 1: name is missing"),
        (SHELLY + "chanel = 1\n", "chanel of [[meter]] 1: there is no such key; did you mean channel?"),
        (SHELLY + "interval = 0.1\n", "interval of [[meter]] 1 is 0.1: it must be at least 1"),
        (SHELLY.replace("http:", "ftp:"), "it is written http://192.0.2.7"),
        (
            SHELLY.replace("192", "admin:hunter22@192"),
            "user and password do not stand in it: they are keys of their own",
        ),
        (SHELLY.replace("2.7", "2.7/status"), "nothing follows the host and port: http://192.0.2.7"),
        (SHELLY + SHELLY, 'name of [[meter]] 1 is "desk": two meters have that name'),
        (SHELLY + 'password = "a"\npassword_file = "b"\n', "there is a password and a password_file; keep one of them"),
        (SHELLY + 'password_file = "absent"\n', "absent: there is no such file"),
        ('[meter]\nname = "desk"\n', "meter is a table: meters are tables, each written [[meter]]"),
        (
            '[[meter]]\nname = "a"\nkind = "modbus"\nurl = "modbus://h"\n',
            "[[meter]] 1: a meter of kind modbus needs power_register or energy_register",
        ),
        *(
            (
                f'[[meter]]\nname = "a"\nkind = "mqtt"\nurl = "mqtt://h"\ntopic = "{topic}"\npower_path = ""\n',
                f'topic of [[meter]] 1 is "{topic}": in a topic + stands alone between slashes, and # alone at the end',
            )
            for topic in ("tele/#/SENSOR", "tele/shelf#", "tele/+x/SENSOR", "##")
        ),
        ("[tariff]\nprice_per_kwh = 1\n", "tariff: currency is missing"),
        ('[tariff]\ncurrency = "E"\nprice_per_kwh = nan\n', "tariff.price_per_kwh is nan: it must be a number"),
        (
            '[tariff]\ncurrency = "E"\nprice_per_kwh = 1\ntime_zone = "Mars/Base"\n',
            'tariff.time_zone is "Mars/Base": there is no such time zone on this machine; it is written',
        ),
        (
            '[tariff]\ncurrency = "E"\nprice_per_kwh = 1\n[[tariff.window]]\nstart = "22"\nend = "06:00"',
            'tariff.window.0.start is "22": a time of day is written "22:00"',
        ),
        ('[alarms]\noff = ["cold"]\n', 'alarms.off.0 is "cold": an alarm is one of device-sick, '),
        ("[alarms]\nhot = 3\n", "alarms.hot: there is no such key; did you mean hot_c?"),
    ],
)
def test_what_is_wrong_is_said_with_its_key_and_what_would_be_right(
    operator: Operator, text: str, sentence: str
) -> None:
    problems = told(operator, text)
    assert any(sentence in problem for problem in problems), problems
    assert "hunter22" not in "".join(problems)


def test_a_change_waits_for_the_next_start(operator: Operator, tmp_path: Path) -> None:
    operator.writes("[power]\nbudget_w = 100\n")
    before = operator.starts()
    operator.writes("[power]\nbudget_w = 200\n")
    after = operator.reloads(before)
    assert after.configuration.power.budget_w == 100
    assert any(warning.startswith("power (") for warning in after.warnings)
