"""What the operator said, and where: one value for each option, the highest place heard.

Command line over environment over file. Nothing is judged here but what cannot be an option at all.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from miner.printable import printable

from .files import TomlFile
from .model import PREFIX, Option, options
from .pool_url import parsed
from .problems import Origin, is_secret, nearest, said

CONFIG_VARIABLE = PREFIX + "CONFIG"
_SECTIONS_VARIABLE = PREFIX + "BACKENDS_"
_PUBLIC_PASSWORDS = ("", "x")  # what pools tell people to write where there is no password

KeyPath = tuple[str, ...]  # ("blocks",) or ("backends", "cpu", "threads"); ("backends", "cpu", "") for an empty table


class Rank(IntEnum):
    """Who is heard over whom."""

    FILE = 0
    ENVIRONMENT = 1
    COMMAND_LINE = 2


@dataclass(frozen=True, slots=True)
class Said:
    """One value, and where it was said."""

    value: object
    origin: Origin
    rank: Rank
    folder: Path  # a relative path is relative to its file, or to where the command was given
    home: str | None

    def path(self, text: str) -> Path:
        """The path that `text` means where this was said."""
        if self.home and (text == "~" or text.startswith("~/")):
            return Path(self.home, text[2:])
        return self.folder / text


@dataclass(slots=True)
class Findings:
    """Sentences for the operator."""

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Hearing:
    """Listens to the places from the lowest to the highest."""

    def __init__(self, backends: Iterable[str], environ: Mapping[str, str], cwd: Path, findings: Findings) -> None:
        self.heard: dict[KeyPath, Said] = {}
        self._backends = sorted(backends, key=len, reverse=True)
        self._environ = environ
        self._cwd = cwd
        self._findings = findings

    def file(self, toml: TomlFile) -> None:
        place = printable(str(toml.path))
        layer: dict[KeyPath, Said] = {}

        def hear(path: KeyPath, value: object) -> None:
            origin = Origin(place, printable(".".join(path).rstrip(".")))
            layer[path] = Said(value, origin, Rank.FILE, toml.path.parent, self._environ.get("HOME"))

        for key, value in toml.table.items():
            if key != "backends":
                hear((key,), value)
            elif not isinstance(value, dict):
                self._wrong(Origin(place, key), value, "it must be tables, written [backends.NAME]")
            else:
                for name, section in value.items():
                    if not isinstance(section, dict):
                        self._wrong(Origin(place, printable(f"{key}.{name}")), section, "it must be a table")
                        continue
                    for option, given in section.items() or [("", None)]:
                        hear((key, name, option), given)
        self._hear(layer)
        if toml.writable_by_all:
            self._findings.warnings.append(f"{place}: everybody on this machine can change it; run chmod o-w on it")
        if toml.readable_by_all and any(_holds_secret(path[-1], told.value) for path, told in layer.items()):
            self._findings.warnings.append(
                f"{place}: holds a password that everybody on this machine can read; run chmod 600 on it"
            )

    def environment(self) -> None:
        known = {option.variable: option for option in options()}
        general: dict[KeyPath, Said] = {}
        own: dict[KeyPath, Said] = {}
        for variable, text in sorted(self._environ.items()):
            if not variable.startswith(PREFIX) or variable == CONFIG_VARIABLE or not text:
                continue  # set to nothing is what compose files write for unset
            if option := known.get(variable):
                value = _items(option, text) if option.told.separator else _value(option, text)
                own[option.path] = self._outside(value, printable(variable), Rank.ENVIRONMENT)
            elif path := self._section_path(variable):
                general[path] = self._outside(_literal(text), printable(variable), Rank.ENVIRONMENT)
            else:  # no error: mining distributions export variables of this prefix for purposes of their own
                names = [name.removeprefix(PREFIX) for name in (*known, CONFIG_VARIABLE)]
                near = nearest(variable.removeprefix(PREFIX), names, PREFIX)
                self._findings.warnings.append(
                    f"{printable(variable)}: not an option of this miner, ignored" + (f"; {near}" if near else "")
                )
        self._hear({**general, **own})

    def flags(self, flags: Mapping[str, str | Sequence[str]]) -> None:
        known = {option.name: option for option in options()}
        layer: dict[KeyPath, Said] = {}
        for name, given in flags.items():
            option = known[name]
            value = _value(option, given) if isinstance(given, str) else list(given)
            layer[option.path] = self._outside(value, option.flag, Rank.COMMAND_LINE)
            if _holds_secret(name, value):
                self._findings.warnings.append(
                    f"{option.flag}: everybody on this machine can see a password on the command line (ps); "
                    f"rather set {PREFIX}PASSWORD or use --password-file"
                )
        self._hear(layer)

    def _outside(self, value: object, spelled: str, rank: Rank) -> Said:
        return Said(value, Origin("", spelled), rank, self._cwd, self._environ.get("HOME"))

    def _hear(self, layer: Mapping[KeyPath, Said]) -> None:
        """Let a layer speak over those before it; a password of either kind silences both kinds below."""
        kinds: list[KeyPath] = [("password",), ("password_file",)]
        given = [layer[path].origin for path in kinds if path in layer]
        if given:
            for path in kinds:
                self.heard.pop(path, None)
        if len(given) > 1:
            self._findings.problems.append(f"{' and '.join(map(str, given))}: two passwords; keep one of them")
        self.heard.update(layer)

    def _section_path(self, variable: str) -> KeyPath | None:
        """Where MINER_BACKENDS_CPU_THREADS stands in a file; the longest backend name that fits."""
        if not variable.startswith(_SECTIONS_VARIABLE):
            return None
        rest = variable.removeprefix(_SECTIONS_VARIABLE)
        for name in self._backends:
            key = rest.removeprefix(name.upper().replace("-", "_") + "_")
            if key not in (rest, ""):
                return ("backends", name, key.lower())
        return None

    def _wrong(self, origin: Origin, value: object, sentence: str) -> None:
        self._findings.problems.append(said(origin, value, sentence))


def _holds_secret(key: str, value: object) -> bool:
    match value:
        case list():
            return any(_holds_secret("url", item) for item in value)
        case dict():
            return any(_holds_secret(name, item) for name, item in value.items())
        case str() if key in ("url", "pool"):
            url = parsed(value)
            password = url.password if url else None
            return password is not None and password.get_secret_value() not in _PUBLIC_PASSWORDS
        case _:
            return is_secret(key) and value not in _PUBLIC_PASSWORDS


def _items(option: Option, text: str) -> list[str]:
    separated = text.split(None if option.told.separator == " " else option.told.separator)
    return [item.strip() for item in separated if item.strip()]


def _value(option: Option, text: str) -> object:
    return _literal(text) if option.told.numeric else text


def _literal(text: str) -> object:
    """A value as TOML writes it, or else plain text."""
    try:
        table = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return table["value"] if len(table) == 1 else text
