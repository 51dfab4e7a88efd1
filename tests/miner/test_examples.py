"""What an operator copies and reads is true: the example file, the systemd unit, the reference."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from backends.registry import load as load_backend
from miner.commands.arguments import parse
from miner.commands.exit_codes import ExitCode
from miner.config import SCHEMES, Configuration, Pool, load, options
from miner.config.hearing import CONFIG_VARIABLE
from miner.config.power import METERS, Alarms, Power, Tariff, Window
from miner.config.safety import Safety
from miner.telemetry.alarm_rules import RULES

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "configs" / "miner.toml").read_text()
CONFIGURATION = (ROOT / "docs" / "reference" / "configuration.md").read_text()
COMMAND_LINE = (ROOT / "docs" / "reference" / "cli.md").read_text()
UNCOMMENTED = re.sub(r"(?m)^#(?=[a-z_]+ = |\[)", "", EXAMPLE)


def keys(model: Any) -> set[str]:
    return set(model.model_fields)


BACKENDS = ("cpu", "asic", "opencl")


def options_of(backend: str) -> Any:
    return load_backend(backend).Options


def test_the_example_as_it_stands_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "miner.toml").write_text(EXAMPLE)
    loaded = load({}, {}, tmp_path)
    assert loaded.configuration == Configuration()
    assert loaded.warnings == ()


def test_the_example_names_every_key_and_no_other() -> None:
    table = tomllib.loads(UNCOMMENTED)
    assert set(table) == keys(Configuration)
    assert set(table["pool"][0]) == keys(Pool)
    assert set(table["backends"]) == set(BACKENDS)
    for backend in BACKENDS:
        assert set(table["backends"][backend]) == keys(options_of(backend))


def test_the_example_names_every_key_about_electricity_and_no_other() -> None:
    table = tomllib.loads(UNCOMMENTED)
    assert set(table["power"]) == keys(Power)
    assert set(table["tariff"]) == keys(Tariff)
    assert set(table["tariff"]["window"][0]) == keys(Window)
    assert set(table["alarms"]) == keys(Alarms)
    shown = {meter["kind"]: set(meter) for meter in table["meter"]}
    assert shown == {kind: keys(METERS[kind]) for kind in METERS if kind != "tasmota"}
    assert keys(METERS["tasmota"]) == keys(METERS["shelly"])


def test_example_and_reference_name_every_key_about_safety_and_no_other() -> None:
    assert set(tomllib.loads(UNCOMMENTED)["safety"]) == keys(Safety)
    assert rows(CONFIGURATION, "## Safety") == list(Safety.model_fields)


def test_the_reference_lists_every_key_about_electricity_and_no_other() -> None:
    for heading, model in (("[power]", Power), ("[tariff]", Tariff), ("[[tariff.window]]", Window)):
        assert rows(CONFIGURATION, f"### `{heading}`") == list(model.model_fields)
    assert rows(CONFIGURATION, "## Alarms") == list(Alarms.model_fields)
    shared = rows(CONFIGURATION, "### Every `[[meter]]`")
    for heading, kind in (("`shelly` and `tasmota`", "shelly"), ("`mqtt`", "mqtt"), ("`modbus`", "modbus")):
        assert {*shared, *rows(CONFIGURATION, f"### {heading}")} == keys(METERS[kind])
    assert all(name in CONFIGURATION for name in RULES)


def test_the_example_shows_valid_values_and_the_real_defaults() -> None:
    table = tomllib.loads(UNCOMMENTED)
    shown = Configuration.model_validate(table)
    sections = [(options_of(name).model_validate(table["backends"][name]), options_of(name)) for name in BACKENDS]
    sections += [(shown.power, Power), (shown.alarms, Alarms)]
    for said, model in ((shown, Configuration), *sections):
        for key, field in model.model_fields.items():
            if field.default not in (None, ()) and not field.is_required() and field.default_factory is None:
                assert getattr(said, key) == field.default, key


LINES = [line for line in UNCOMMENTED.partition("\n[[")[0].splitlines() if re.match(r"[a-z_]+ = ", line)]
TOGETHER = [line for line in LINES if line.startswith("metrics")]  # a user without a password protects nothing


@pytest.mark.parametrize("line", [line for line in LINES if line not in TOGETHER[1:]] + ["\n".join(TOGETHER)])
def test_each_line_of_the_example_can_be_taken_alone(line: str, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter22")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "miner.toml").write_text(line.replace("/etc/angara/password", "password"))
    (tmp_path / "miner.toml").chmod(0o600)
    assert load({}, {}, tmp_path).warnings == ()


def rows(text: str, heading: str) -> list[str]:
    """The first cells of the table under a heading, without their backquotes."""
    section = text.partition(f"\n{heading}\n")[2]
    section = re.split(r"\n#+ ", section)[0]
    return re.findall(r"(?m)^\| `([^`]+)` \|", section)


def test_the_reference_lists_every_key_and_no_other() -> None:
    assert rows(CONFIGURATION, "## The file") == list(Configuration.model_fields)
    assert rows(CONFIGURATION, "## Pools")[: len(keys(Pool))] == list(Pool.model_fields)
    for backend in BACKENDS:
        assert rows(CONFIGURATION, f"### `[backends.{backend}]`") == list(options_of(backend).model_fields)


def test_the_reference_lists_every_scheme_and_what_it_needs() -> None:
    listed = dict(re.findall(r"(?m)^\| `([a-z0-9+]+):` \| .* \|(.*)\|$", CONFIGURATION))
    assert listed.keys() == SCHEMES.keys()
    for name, scheme in SCHEMES.items():
        needs = {"port": scheme.port_required, "`user`": scheme.needs_user, "`address`": scheme.needs_address}
        assert listed[name].strip() == ", ".join(word for word, needed in needs.items() if needed), name


def test_the_reference_names_every_variable_and_no_other() -> None:
    named = set(re.findall(r"MINER_[A-Z_]+[A-Z]", CONFIGURATION + COMMAND_LINE + EXAMPLE))
    assert named - {"MINER_BACKENDS"} == {option.variable for option in options()} | {CONFIG_VARIABLE}


def test_the_reference_lists_every_flag_as_help_does(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--help"])
    helped = re.findall(r"(?m)^  (?:-h, )?(--[a-z-]+(?: [A-Z:]+)?)", capsys.readouterr().out)
    listed = re.findall(r"(?m)^\| `([^`]+)` \|", COMMAND_LINE)
    assert sorted(listed) == sorted([*helped, "mine", "devices", "check", "ledger", "off", "unlatch"])
    mentioned = set(re.findall(r"`(--[a-z-]+)", COMMAND_LINE + CONFIGURATION))
    assert mentioned == {flag.split(maxsplit=1)[0] for flag in helped}


def test_the_reference_gives_the_exit_status_as_it_is() -> None:
    listed = re.findall(r"(?m)^\| (\d) \|", COMMAND_LINE)
    assert listed == [str(code.value) for code in ExitCode]


def test_the_systemd_unit_starts_the_miner_as_it_is() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string((ROOT / "configs" / "angara-miner.service").read_text())
    service = unit["Service"]
    program, *argv = service["ExecStart"].split()
    arguments = parse(argv)
    assert program.endswith("/bin/miner")
    assert (arguments.command, arguments.config) == ("mine", "/etc/angara/miner.toml")
    assert service["Type"] == "notify"
    assert service["ExecReload"].endswith("-HUP $MAINPID")
    assert str(ExitCode.USAGE.value) in service["RestartPreventExitStatus"].split()
    program, *argv = service["ExecStopPost"].split()
    assert program == service["ExecStart"].split()[0]
    assert (parse(argv).command, parse(argv).config) == ("off", arguments.config)
    assert "MemoryDenyWriteExecute" not in service, "kernels are compiled while it runs"
