"""The `[[meter]]` tables as they were written, made ready for validation: paths placed, passwords read."""

from __future__ import annotations

from typing import Any

from miner.printable import printable

from . import files
from .hearing import Findings, Said
from .power import METERS
from .problems import ConfigError, Origin, said

_FILES = ("password_file", "ca_file")


def meter_tables(told: Said, findings: Findings) -> list[dict[str, Any]]:
    """Every meter that was named; what is no table at all is a finding."""
    if not isinstance(told.value, list) or not all(isinstance(entry, dict) for entry in told.value):
        findings.problems.append(said(told.origin, told.value, "meters are tables, each written [[meter]]"))
        return []
    tables = [_placed(told, entry, number, findings) for number, entry in enumerate(told.value, 1)]
    names = [table["name"] for table in tables if isinstance(table.get("name"), str)]
    for number, table in enumerate(tables, 1):
        name = table.get("name")
        if isinstance(name, str) and names.count(name) > 1:
            findings.problems.append(said(meter_origin(told.origin, number, "name"), name, "two meters have that name"))
    return tables


def meter_origin(told: Origin, number: int, key: str = "") -> Origin:
    """Where a key of the numbered meter stands."""
    return Origin(told.place, printable(f"{key} of [[meter]] {number}" if key else f"[[meter]] {number}"))


def meter_keys(kind: object) -> list[str]:
    """What a meter of this kind can be told."""
    return list(METERS[kind].model_fields) if isinstance(kind, str) and kind in METERS else []


def _placed(told: Said, entry: dict[str, Any], number: int, findings: Findings) -> dict[str, Any]:
    table = dict(entry)
    for key in _FILES:
        if isinstance(name := table.get(key), str) and name:
            table[key] = str(told.path(name))
    if "password_file" not in table or "password_file" not in meter_keys(table.get("kind")):
        return table
    origin = meter_origin(told.origin, number, "password_file")
    if "password" in table:
        findings.problems.append(f"{origin}: there is a password and a password_file; keep one of them")
    elif isinstance(path := table["password_file"], str) and path:
        try:
            table["password"], open_to_all = files.read_secret(told.path(path))
        except ConfigError as error:
            findings.problems.append(f"{origin}: {error}")
            return table
        if open_to_all:
            findings.warnings.append(f"{origin}: everybody on this machine can read {printable(path)}; chmod it to 600")
    return table
