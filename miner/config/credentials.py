"""Who mines at each pool: its table together with the user, password and address that were said for all.

What is said once for all pools is a default where it stands no higher than the pools themselves, and an order where it
stands higher: `--user` overrides every [[pool]] in a file. Credentials do not travel: a password in a file goes to the
pools which that file names and to no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from miner.printable import printable

from . import files
from .facts import keys
from .hearing import Findings, KeyPath, Rank, Said
from .model import Configuration, Pool
from .payout import is_foreign
from .pool_url import PoolUrl, parsed
from .problems import ConfigError, Origin, said

_READ_HERE = "password_file"  # its first line is handed on as the password
_KEYS = keys(Pool)
_SHARED = tuple(name for name in Configuration.model_fields if name in _KEYS and name != _READ_HERE)
_FILES = tuple(key.name for key in _KEYS.values() if key.is_path and key.name != _READ_HERE)


@dataclass(slots=True)
class PoolTable:
    """One pool as it goes to validation; `origins` holds where each key was said, the pool itself under ''."""

    values: dict[str, Any]
    origins: dict[str, Origin]

    @property
    def url(self) -> PoolUrl | None:
        """Its URL if it is one; if not, validation will say so."""
        text = self.values.get("url")
        return parsed(text) if isinstance(text, str) else None


class Credentials:
    """Completes pool tables from what was heard."""

    def __init__(self, heard: Mapping[KeyPath, Said], findings: Findings) -> None:
        self._findings = findings
        self._mixed = False  # nodes and Stratum pools together
        self._shared = {key: heard[key,] for key in _SHARED if (key,) in heard}
        if told := heard.get(("password_file",)):
            secret = self._read(told, told.origin)
            self._shared |= {"password": Said(secret, told.origin, told.rank, told.folder, told.home)} if secret else {}

    @property
    def password(self) -> object:
        """What was said for all, be it in a file of its own."""
        return self._shared["password"].value if "password" in self._shared else None

    def tables(self, told: Said) -> list[PoolTable]:
        """Every pool that was named."""
        if not isinstance(told.value, list):
            hint = "two brackets: [[pool]]" if isinstance(told.value, dict) else "tables, each written [[pool]]"
            self._findings.problems.append(said(told.origin, told.value, f"pools are written with {hint}"))
            return []
        kinds = [url.kind for entry in told.value if (url := _url_in(entry)) is not None]
        self._mixed = any(kind.node for kind in kinds) and any(kind.stratum for kind in kinds)
        return [table for number, entry in enumerate(told.value, 1) if (table := self._table(told, entry, number))]

    def address_for(self, url: PoolUrl | None) -> Said | None:
        """The address that was said for all, but for a chain that cannot pay it: that is no reason not to start."""
        told = self._shared.get("address")
        if told is None or url is None or not is_foreign(told.value, url):
            return told
        self._findings.warnings.append(
            f"{told.origin}: not an address of {url}, which pays to a key of its own instead"
        )
        return None

    def _table(self, told: Said, entry: object, number: int) -> PoolTable | None:
        if not isinstance(entry, str | dict):
            self._findings.problems.append(said(told.origin, entry, "each pool is a table, written [[pool]]"))
            return None
        values = {"url": entry} if isinstance(entry, str) else dict(entry)
        table = PoolTable(values, {key: _origin(told, key, number) for key in ("", *values)})
        self._own(table, told)
        self._add_shared(table, told)
        return table

    def _own(self, table: PoolTable, told: Said) -> None:
        """The credentials in its URL and in its password file."""
        values, origins = table.values, table.origins
        url = table.url
        inside = {"user": url.user, "password": url.password and url.password.get_secret_value()} if url else {}
        for key, value in inside.items():
            if value is None:
                continue
            if key in values or (key == "password" and "password_file" in values):
                self._twice(origins[""], f"a {key} in its url and another beside it")
            values[key], origins[key] = value, origins["url"]
        for key in _FILES:
            if isinstance(name := values.get(key), str) and name:
                values[key] = str(told.path(name))
        path = values.get("password_file")
        if not isinstance(path, str) or not path:
            return
        values["password_file"] = str(told.path(path))
        if "password" in values:
            self._twice(origins[""], "a password and a password_file")
            return
        origins["password"] = origins["password_file"]
        if secret := self._read(Said(path, told.origin, told.rank, told.folder, told.home), origins["password_file"]):
            values["password"] = secret

    def _add_shared(self, table: PoolTable, pools: Said) -> None:
        url = table.url
        local = url is not None and url.kind.local
        for key in _SHARED:
            told = self.address_for(url) if key == "address" and local else self._shared.get(key)
            if told is None or (key in table.origins and told.rank <= pools.rank) or (local and key != "address"):
                continue
            if not _concerns(key, url) or self._is_for_others(key, table, pools):
                continue
            if key == "password" and told.rank is Rank.FILE and pools.rank is not Rank.FILE:
                self._findings.warnings.append(f"{told.origin}: not sent to {url or 'a pool'} of {pools.origin}")
                continue
            value = told.value
            if key in _FILES and isinstance(value, str) and value:
                value = str(told.path(value))
            table.values[key], table.origins[key] = value, told.origin

    def _is_for_others(self, key: str, table: PoolTable, pools: Said) -> bool:
        """Whether what was said for all is not meant for this pool: a secret goes only where it must.

        Among pools of both kinds the user and password are those of the Stratum pools, and the address is what nodes
        pay to; a node with a cookie needs neither; a password without its user never replaces another user's own.
        """
        kind = table.url.kind if table.url else None
        if kind is None:
            return False
        if key in ("user", "password") and kind.node:
            return self._mixed or ("cookie_file" in table.origins and key not in table.origins)
        if key == "address" and kind.stratum:
            required = table.values.get("require_payout") or "require_payout" in self._shared
            return self._mixed and not required
        if key == "password" and "password" in table.origins:
            user = self._shared.get("user")
            return user is None or user.rank <= pools.rank
        return False

    def _read(self, told: Said, origin: Origin) -> str | None:
        """The password in the file that was named, None with a finding if there is none."""
        if not isinstance(told.value, str) or not told.value:
            return None  # validation says what is wrong with it
        path = told.path(told.value)
        try:
            secret, open_to_all = files.read_secret(path)
        except ConfigError as error:
            self._findings.problems.append(f"{origin}: {error}")
            return None
        if open_to_all:
            shown = printable(str(path))
            self._findings.warnings.append(f"{origin}: everybody on this machine can read {shown}; chmod it to 600")
        return secret

    def _twice(self, origin: Origin, what: str) -> None:
        self._findings.problems.append(f"{origin}: there is {what}; keep one of them")


def _url_in(entry: object) -> PoolUrl | None:
    text = entry.get("url") if isinstance(entry, dict) else entry
    return parsed(text) if isinstance(text, str) else None


def _concerns(key: str, url: PoolUrl | None) -> bool:
    """Whether a key that was set for all pools is one that this pool has."""
    only = _KEYS[key].only
    return only is None or (url is not None and only.includes(url.kind))


def _origin(told: Said, key: str, number: int) -> Origin:
    if told.rank is not Rank.FILE:
        return told.origin
    return Origin(told.origin.place, printable(f"{key} of [[pool]] {number}" if key else f"[[pool]] {number}"))
