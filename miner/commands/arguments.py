"""The command line: `miner [COMMAND] [OPTIONS]`. Flags are only collected here; the configuration judges them."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal, cast

from miner.config import Option, options
from miner.printable import printable

Command = Literal["mine", "devices", "check", "ledger", "off", "unlatch"]
_COMMANDS: Mapping[Command, str] = {
    "mine": "mine; this is the default",
    "devices": "list the devices, and why one cannot mine",
    "check": "check the configuration, pools and meters without mining",
    "ledger": "print the work done for each pool and what it accepted",
    "off": "switch off USB miners that no running miner is using",
    "unlatch": "let a USB miner that is kept off start: unlatch SERIAL",
}
_DESCRIPTION = """\
Mines Bitcoin (SHA-256d). Without a pool it mines a private chain, whose coins
are worth nothing, on the CPU only. Every option is also a key of the
configuration file and an environment variable: --log-format is log_format
and MINER_LOG_FORMAT."""
_EPILOG = """\
exit status: 0 done, 1 the operation failed, 2 wrong usage or configuration
Ctrl-C stops cleanly and submits what was found; press it twice to quit at once.
SIGHUP reads the pools again."""


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line says."""

    command: Command
    config: str | None
    json: bool
    serial: str | None  # what `unlatch` is about
    flags: Mapping[str, str | Sequence[str]]  # option name -> its text, or texts where it may be repeated


def parse(argv: Sequence[str]) -> Arguments:
    """Take the arguments after the program's name apart.

    Wrong usage, --help and --version end in SystemExit, with 2 and a sentence on stderr for the first.
    """
    parser = _parser()
    values, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(_unknown(unknown[0], parser))
    given = vars(values)
    command, serial = given.pop("command"), given.pop("serial")
    if command not in _COMMANDS:  # not argparse's to check: after an unknown flag it would blame that flag's value
        parser.error(f"there is no command {printable(command)}; there are {', '.join(_COMMANDS)}")
    if given["json"] and command not in ("devices", "ledger"):
        parser.error("--json goes with the commands devices and ledger")
    if serial is not None and command != "unlatch":
        parser.error(f"unexpected argument: {printable(serial)}")
    if serial is None and command == "unlatch":
        parser.error("unlatch needs a serial number; `miner devices` shows it after asic:")
    return Arguments(cast("Command", command), given.pop("config"), given.pop("json"), serial, given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="miner",
        usage="miner [COMMAND] [OPTIONS]",
        description=_DESCRIPTION + "\n\ncommands:\n" + _listed(_COMMANDS),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("command", nargs="?", default="mine", help=argparse.SUPPRESS)
    parser.add_argument("serial", nargs="?", default=None, help=argparse.SUPPRESS)
    for title in dict.fromkeys(option.told.group for option in options()):
        group = parser.add_argument_group(title)
        for option in options():
            if option.told.group == title:
                _add(group, option)
    general = parser.add_argument_group("in general")
    general.add_argument(
        "--config",
        metavar="FILE",
        default=None,
        help="read this file (default: $MINER_CONFIG, ./miner.toml, ~/.config/angara/miner.toml, "
        "/etc/angara/miner.toml, whichever is there first)",
    )
    general.add_argument("--json", action="store_true", default=False, help="with devices and ledger: print JSON")
    general.add_argument("--version", action="version", version=f"angara-miner {version('angara-miner')}")
    general.add_argument("-h", "--help", action="help", help="show this and end")
    return parser


def _add(group: argparse._ArgumentGroup, option: Option) -> None:
    if option.told.switch:
        group.add_argument(option.flag, dest=option.name, action="store_const", const="true", help=option.meaning)
        return
    group.add_argument(
        option.flag,
        dest=option.name,
        metavar=option.told.metavar,
        action="append" if option.told.separator else "store",
        help=option.meaning.replace("%", "%%") + _default(option),
    )


def _listed(commands: Mapping[Command, str]) -> str:
    return "\n".join(f"  {name:<21} {meaning}" for name, meaning in commands.items())


def _default(option: Option) -> str:
    return "" if option.default in (None, ()) else f" (default: {option.default})"


def _unknown(word: str, parser: argparse.ArgumentParser) -> str:
    if not word.startswith("-"):
        return f"unexpected argument: {printable(word)}"
    flag = word.partition("=")[0]
    known = [name for action in parser._actions for name in action.option_strings]  # noqa: SLF001  # no public list
    near = difflib.get_close_matches(flag, known, n=1)
    return f"there is no option {printable(flag)}" + (f"; did you mean {near[0]}?" if near else "; see miner --help")
