"""The files a configuration is read from: which one, what is in it, and who else could read or change it."""

from __future__ import annotations

import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miner.printable import has_controls, printable

from .problems import ConfigError, shown

_CONFIG_LIMIT = 1 << 20  # bytes
_SECRET_LIMIT = 1 << 12  # bytes
_TOML_PLACE = re.compile(r"(?s)(.*) \(at (?:line (\d+), column (\d+)|end of document)\)")


@dataclass(frozen=True, slots=True)
class TomlFile:
    """A configuration file as read."""

    path: Path
    table: dict[str, Any]
    readable_by_all: bool
    writable_by_all: bool


def candidates(environ: Mapping[str, str], cwd: Path) -> list[Path]:
    """Where a configuration is looked for when none was named, first match wins."""
    found = [cwd / "miner.toml"]
    xdg = environ.get("XDG_CONFIG_HOME", "")
    if xdg.startswith("/"):
        found.append(Path(xdg, "angara", "miner.toml"))
    elif user := environ.get("HOME"):
        found.append(Path(user, ".config", "angara", "miner.toml"))
    return [*found, Path("/etc/angara/miner.toml")]


def find(environ: Mapping[str, str], cwd: Path) -> Path | None:
    """The first candidate that is there, readable or not: a file that cannot be read must not be passed over."""
    for path in candidates(environ, cwd):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise ConfigError(
                f"{_named(path)}: cannot be looked at: {error.strerror}; name a file with --config"
            ) from error
        return path
    return None


def read_toml(path: Path) -> TomlFile:
    """Raises ConfigError, with the line for wrong TOML."""
    content, mode = _read(path, _CONFIG_LIMIT)
    try:
        table = tomllib.loads(content.decode())
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{_named(path)}: line {line}: not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{_named(path)}: {_toml_sentence(str(error), len(content.splitlines()))}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets thousands deep
        raise ConfigError(f"{_named(path)}: not usable as TOML: {printable(str(error))[:200]}") from error
    return TomlFile(path, table, bool(mode & stat.S_IROTH), bool(mode & stat.S_IWOTH))


def read_secret(path: Path) -> tuple[str, bool]:
    """The file's first line, and whether everybody may read the file. Raises ConfigError, never with the content."""
    content, mode = _read(path, _SECRET_LIMIT)
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{_named(path)}: not UTF-8 text") from error
    if not lines or not lines[0]:
        raise ConfigError(f"{_named(path)}: its first line, which should be the password, is empty")
    if any(line.strip() for line in lines[1:]):
        raise ConfigError(f"{_named(path)}: more than one line; a password file holds the password and nothing else")
    if has_controls(lines[0]):
        raise ConfigError(f"{_named(path)}: the password contains a control character")
    return lines[0], bool(mode & stat.S_IROTH)


def _read(path: Path, limit: int) -> tuple[bytes, int]:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            mode = stat.S_IMODE(status.st_mode) if stat.S_ISREG(status.st_mode) else 0  # a pipe is nobody else's
            content = file.read(limit + 1)
    except FileNotFoundError as error:
        raise ConfigError(f"{_named(path)}: there is no such file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise ConfigError(f"{_named(path)}: cannot be read: {reason}") from error
    if len(content) > limit:
        raise ConfigError(f"{_named(path)}: larger than {limit} bytes; is this the right file?")
    return content, mode


def _toml_sentence(message: str, lines: int) -> str:
    place = _TOML_PLACE.fullmatch(message)
    if place is None:
        return f"not TOML: {printable(message)[:200]}"
    where = f"line {place[2]}, column {place[3]}" if place[2] else f"line {lines}, at its end"
    return f"{where}: not TOML: {printable(place[1])[:200]}"


def _named(path: Path) -> str:
    text = str(path)
    return printable(text) if text.strip() else shown(text)
