from __future__ import annotations

import pytest

from miner.commands.arguments import Arguments, parse
from miner.commands.exit_codes import ExitCode
from miner.config import options


@pytest.mark.parametrize(
    ("argv", "command", "flags"),
    [
        ([], "mine", {}),
        (["--blocks", "3"], "mine", {"blocks": "3"}),
        (["mine", "--log-format=json"], "mine", {"log_format": "json"}),
        (["check", "--blocks", "3", "--shares", "2"], "check", {"blocks": "3", "shares": "2"}),
        (["--blocks", "3", "check", "--shares", "2"], "check", {"blocks": "3", "shares": "2"}),
        (["--blocks", "3", "--shares", "2", "devices"], "devices", {"blocks": "3", "shares": "2"}),
        (["--pool", "a:", "--pool", "b:", "--device", "0"], "mine", {"pool": ["a:", "b:"], "device": ["0"]}),
    ],
)
def test_a_command_and_flags_may_come_in_any_order(argv: list[str], command: str, flags: dict[str, object]) -> None:
    arguments = parse(argv)
    assert (arguments.command, arguments.flags) == (command, flags)


def test_unlatch_takes_the_serial_number_of_one_board() -> None:
    assert parse(["unlatch", "F0000001"]).serial == "F0000001"


def test_help_fits_80_columns(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        parse(["--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_config_and_json_are_not_options_of_the_configuration() -> None:
    assert parse(["devices", "--json", "--config", "f"]) == Arguments("devices", "f", json=True, serial=None, flags={})


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        (["--blok", "3"], "there is no option --blok; did you mean --blocks?"),
        (["--block=3"], "there is no option --block; did you mean --blocks?"),
        (["--zzz"], "there is no option --zzz; see miner --help"),
        (["check", "devices"], "unexpected argument: devices"),
        (["bench"], "there is no command bench; there are mine, devices, check"),
        (["--blocks"], "argument --blocks: expected one argument"),
        (["unlatch"], "unlatch needs a serial number"),
        (["off", "F0000001"], "unexpected argument: F0000001"),
        (["--json"], "--json goes with the commands devices and ledger"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(
    argv: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(argv)
    assert caught.value.code == ExitCode.USAGE == 2
    assert sentence in capsys.readouterr().err


def test_help_names_every_flag_and_version_the_program(capsys: pytest.CaptureFixture[str]) -> None:
    for flag in ("--help", "--version"):
        with pytest.raises(SystemExit) as caught:
            parse([flag])
        assert caught.value.code == ExitCode.DONE
    text = capsys.readouterr().out
    assert all(option.flag in text for option in options())
    assert "angara-miner 0." in text
