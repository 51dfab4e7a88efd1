"""From what the operator said to one configuration, or to every sentence about what is wrong with it.

FILE ----+
MINER_* -+--> Hearing --> Credentials --> validated by the models --> judged as a whole --> Loaded
flags ---+
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from pydantic import BaseModel, ValidationError

from backends import registry as installed
from backends.base import Backend, BackendError
from miner.printable import printable

from . import files
from .credentials import Credentials, PoolTable
from .facts import keys
from .hearing import CONFIG_VARIABLE, Findings, Hearing, KeyPath, Said
from .meter_tables import meter_keys, meter_origin, meter_tables
from .model import DEVICE, HOST, PREFIX, Configuration, Pool, live_keys, options
from .payout import address_problem, networks_of
from .pool_url import EMBEDDED
from .power import METERS, SECTIONS, Alarms, Power, Tariff, Window
from .problems import ConfigError, Origin, displayed, is_secret, nearest, rightly, said
from .safety import Safety

_TABLES: Mapping[str, type[BaseModel]] = {
    "power": Power,
    "tariff": Tariff,
    "alarms": Alarms,
    "safety": Safety,
}


class Registry(Protocol):
    """Where backends are looked up."""

    def names(self) -> list[str]: ...

    def load(self, name: str) -> type[Backend]: ...


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration, where it came from, and what the operator should know about it."""

    configuration: Configuration
    file: Path | None
    warnings: tuple[str, ...]  # sentences
    origins: Mapping[KeyPath, Origin] = field(repr=False)

    def origin(self, *path: str) -> str:
        """Where a value was said, for messages: `origin("blocks")`; of `backends`, where anything of theirs was."""
        below = (origin for at, origin in self.origins.items() if at[: len(path)] == path)
        return str(self.origins.get(path) or next(below, "default"))


def load(
    flags: Mapping[str, str | Sequence[str]],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    file: str | None = None,
    registry: Registry = installed,
) -> Loaded:
    """The configuration in force.

    `flags`: option name -> its text, or texts where it may be repeated. `file`: what --config says. Raises ConfigError
    and nothing else, whatever is in the file, the environment or the flags.
    """
    toml = _file(file, environ, cwd)
    findings = Findings()
    hearing = Hearing(registry.names(), environ, cwd, findings)
    if toml is not None:
        hearing.file(toml)
    hearing.environment()
    hearing.flags(flags)
    configuration = _Judge(hearing.heard, registry, findings).configuration()
    origins = MappingProxyType({path: told.origin for path, told in hearing.heard.items()})
    return Loaded(configuration, toml.path if toml else None, tuple(dict.fromkeys(findings.warnings)), origins)


def reload(
    previous: Loaded,
    flags: Mapping[str, str | Sequence[str]],
    environ: Mapping[str, str],
    cwd: Path,
    *,
    file: str | None = None,
    registry: Registry = installed,
) -> Loaded:
    """Load again and take over the pools; a warning names whatever else changed and waits for a restart.

    Raises ConfigError, also when no pool is left that was named before; the previous configuration then simply stays.
    """
    fresh = load(flags, environ, cwd, file=file, registry=registry)
    was, now = previous.configuration, fresh.configuration
    if was.consented and not now.consented:
        raise ConfigError("no pool is named any more; the pools stay as they were")
    live = live_keys()
    waiting = [key for key in Configuration.model_fields if key not in live and getattr(was, key) != getattr(now, key)]
    warnings = [f"{key} ({fresh.origin(key)}) has changed; that takes effect at the next start" for key in waiting]
    merged = was.model_copy(update={key: getattr(now, key) for key in live})
    return replace(fresh, configuration=merged, warnings=(*fresh.warnings, *warnings))


def _file(named: str | None, environ: Mapping[str, str], cwd: Path) -> files.TomlFile | None:
    if named == "":
        raise ConfigError("--config: no file is named")
    text = named or environ.get(CONFIG_VARIABLE)
    if not text:
        path = files.find(environ, cwd)
        return files.read_toml(path) if path else None
    origin = Origin("", "--config" if named else CONFIG_VARIABLE)
    try:
        return files.read_toml(cwd / text)
    except ConfigError as error:
        raise ConfigError(f"{origin}: {error}") from error


class _Judge:
    """Validates what was heard, and says where anything wrong was said."""

    def __init__(self, heard: Mapping[KeyPath, Said], registry: Registry, findings: Findings) -> None:
        self._heard = heard
        self._registry = registry
        self._findings = findings
        self._pools: list[PoolTable] = []
        self._meters: list[dict[str, Any]] = []

    def configuration(self) -> Configuration:
        """Raises ConfigError with every problem found."""
        raw = {path[0]: _placed(path[0], told) for path, told in self._heard.items() if len(path) == 1}
        credentials = Credentials(self._heard, self._findings)
        raw["password"] = credentials.password
        if told := self._heard.get(("pool",)):
            self._pools = credentials.tables(told)
            raw["pool"] = [table.values for table in self._pools]
        elif "address" in raw and not credentials.address_for(EMBEDDED):
            del raw["address"]
        if told := self._heard.get(("meter",)):
            raw["meter"] = self._meters = meter_tables(told, self._findings)
        if told := self._heard.get(("safety",)):
            raw["safety"] = _safety(told)
        raw["backends"] = self._sections()
        try:
            configuration = Configuration.model_validate(raw)
        except ValidationError as invalid:
            errors = invalid.errors(include_url=False)
            self._findings.problems += [self._sentence(error) for error in errors]
            configuration = self._rest(raw, [error["loc"] for error in errors])
        self._judge(configuration)
        if not self._findings.problems:
            return configuration
        raise ConfigError(*dict.fromkeys(self._findings.problems))

    def _rest(self, raw: Mapping[str, Any], wrong: Sequence[tuple[str | int, ...]]) -> Configuration:
        """The configuration without the keys, pools and meters that are wrong, so that the rest is judged as well."""
        pools = {place[1] for place in wrong if place[0] == "pool" and len(place) > 1}
        dropped = {place[0] for place in wrong if place[0] != "pool" or len(place) == 1}
        rest = {key: value for key, value in raw.items() if key not in dropped}
        self._pools = [] if "pool" in dropped else [each for n, each in enumerate(self._pools) if n not in pools]
        if "pool" in rest:
            rest["pool"] = [table.values for table in self._pools]
        return Configuration.model_validate(rest)

    def _sections(self) -> dict[str, Any]:
        """Each backend's options, validated by the backend's own model."""
        tables: dict[str, dict[str, object]] = {}
        for path, told in self._heard.items():
            if len(path) == 3:
                tables.setdefault(path[1], {}).update({path[2]: told.value} if path[2] else {})
        validated = {}
        for name, table in tables.items():
            origin = self._origin(("backends", name))
            if wrong := self._no_backend(name):
                self._findings.problems.append(f"{origin}: {wrong}")
                continue
            try:
                validated[name] = self._options(name, table)
            except BackendError as error:
                self._findings.problems.append(f"{origin}: {printable(str(error))}")
        return validated

    def _options(self, name: str, table: dict[str, object]) -> Any:
        model = self._registry.load(name).Options
        try:
            return model.model_validate(table)
        except ValidationError as errors:
            known = [info.alias or key for key, info in model.model_fields.items()]
            self._findings.problems += [
                self._sentence({**error, "loc": ("backends", name, *error["loc"])}, known)
                for error in errors.errors(include_url=False)
            ]
        except Exception as error:  # a plug-in's validator may raise anything
            raise BackendError(f"its options cannot be validated: {type(error).__name__}: {error}") from error
        return None

    def _no_backend(self, name: str) -> str | None:
        built = self._registry.names()
        if name in built:
            return None
        exists = f"what exists: {', '.join(built) or 'none'}"
        return f"no such backend is installed; {nearest(name, [*built, 'auto']) or exists}"

    def _judge(self, configuration: Configuration) -> None:
        """What is wrong with values that are right by themselves."""
        problems = self._findings.problems
        if configuration.backend != "auto" and (wrong := self._no_backend(configuration.backend)):
            problems.append(said(self._heard["backend",].origin, configuration.backend, wrong))
        for table, pool in zip(self._pools, configuration.pool, strict=True):
            if pool.url.kind.needs_address and pool.address is None:
                problems.append(f"{table.origins['']}: {pool.url} needs an address to pay to; {_told_by('address')}")
            if pool.url.kind.needs_user and pool.user is None:
                problems.append(f"{table.origins['']}: {pool.url} needs a user; {_told_by('user')}")
            problems += [
                f"{table.origins[key.name]}: {pool.url} is no {key.only.value} and has no {key.name}"
                for key in keys(Pool).values()
                if key.only and not key.only.includes(pool.url.kind) and getattr(pool, key.name) != key.default
            ]
            problems += _misplaced(table, pool)
            if pool.require_payout and pool.address is None:
                problems.append(f"{table.origins['require_payout']}: no address to require; {_told_by('address')}")
            if pool.cookie_file and pool.user:
                problems.append(f"{table.origins['cookie_file']}: a cookie_file and a user; keep one of them")
            for url in pool.also_submit:
                if url.user is None or url.password is None:
                    needed = "needs its user and password in the URL"
                    problems.append(f"{table.origins['also_submit']}: {url} {needed}")
            if pool.address is None:
                continue
            if wrong := address_problem(pool.address, networks_of(pool.url, configuration.network)):
                problems.append(f"{table.origins['address']}: {wrong}")
        self._judge_quotas(configuration)
        self._judge_metrics(configuration)
        if configuration.address is None or ("pool",) in self._heard:
            return
        if wrong := address_problem(configuration.address, networks_of(EMBEDDED, None)):
            problems.append(f"{self._heard['address',].origin}: {wrong}")

    def _judge_metrics(self, configuration: Configuration) -> None:
        """User and password, certificate and key: both or neither, and for something that is served."""
        for pair in (("metrics_user", "metrics_password_file"), ("metrics_cert", "metrics_key")):
            for key, other in (pair, pair[::-1]):
                if getattr(configuration, key) is None:
                    continue
                if (other,) not in self._heard:
                    self._findings.problems.append(f"{self._heard[key,].origin}: {other} is missing beside it")
                if ("metrics",) not in self._heard:
                    self._findings.warnings.append(f"{self._heard[key,].origin}: counts only with metrics")
        if ":" in (configuration.metrics_user or ""):
            origin = self._heard["metrics_user",].origin
            self._findings.problems.append(said(origin, configuration.metrics_user, "it must not contain a colon"))

    def _judge_quotas(self, configuration: Configuration) -> None:
        """Parts of a whole: said for every pool or for none; where nothing is divided they are said in vain."""
        said_for = [pool.quota is not None for pool in configuration.pool]
        for table, pool in zip(self._pools, configuration.pool, strict=True):
            if configuration.strategy == "quota" and pool.quota is None and any(said_for):
                self._findings.problems.append(f"{table.origins['']}: {pool.url} has no quota, and others have")
            if configuration.strategy != "quota" and pool.quota is not None:
                self._findings.warnings.append(f"{table.origins['quota']}: counts only with strategy quota")

    def _sentence(self, error: Mapping[str, Any], known: Sequence[str] = ()) -> str:
        location: tuple[str | int, ...] = error["loc"]
        origin = self._origin(location)
        keys = [part for part in location if isinstance(part, str)]
        if error["type"] == "extra_forbidden":
            return f"{origin}: {_unknown(keys, known or self._known(location))}"
        if error["type"] == "missing":
            return f"{self._origin(location[:-1])}: {printable(keys[-1])} is missing"
        if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
            return f"{origin}: its kind is one of {', '.join(METERS)}"
        if error["type"] == "value_error" and isinstance(error["input"], dict):
            return f"{origin}: {rightly(error)}"
        return said(origin, displayed(keys, error["input"]), rightly(error), secret=any(map(is_secret, keys)))

    def _known(self, location: tuple[str | int, ...]) -> list[str]:
        """The keys there are where a key that there is not was found."""
        match location:
            case ("meter", int(number), *_):
                return meter_keys(self._meters[number].get("kind"))
            case ("tariff", "window", *_):
                return list(Window.model_fields)
            case (str(section), *_) if section in SECTIONS:
                return list(_TABLES[section].model_fields)
            case _:
                return []

    def _origin(self, location: tuple[str | int, ...]) -> Origin:
        match location:
            case ("pool", int(number), str(key), *_):
                return self._pools[number].origins.get(key, self._pools[number].origins[""])
            case ("pool", int(number)):
                return self._pools[number].origins[""]
            case ("meter", int(number), *keys):
                # Behind the number stands the kind, which nobody wrote.
                return meter_origin(self._heard["meter",].origin, number + 1, ".".join(map(str, keys[1:])))
            case (str(section), *keys) if section in SECTIONS and keys:
                place = self._heard[section,].origin
                return Origin(place.place, printable(".".join(map(str, location))))
            case ("backends", str(name), str(key), *_) if told := self._heard.get(("backends", name, key)):
                return told.origin
            case ("backends", str(name), *_):
                origin = next(told.origin for path, told in self._heard.items() if path[:2] == ("backends", name))
                return Origin(origin.place, f"backends.{printable(name)}") if origin.place else origin
            case (str(key), *_):
                return self._heard[key,].origin
            case _:
                return Origin("", "configuration")


def _misplaced(table: PoolTable, pool: Pool) -> list[str]:
    """What is wrong with the templates in its user and password."""
    user, password = pool.user or "", pool.password.get_secret_value() if pool.password else ""
    if not pool.url.kind.stratum:
        wrong = next((template for template in (HOST, DEVICE) if template in user), None)
        return [f"{table.origins['user']}: {wrong} is for Stratum pools; {pool.url} is none"] if wrong else []
    if DEVICE in password and DEVICE not in user:
        return [f"{table.origins['password']}: {DEVICE} also belongs in the user; pools tell workers by that"]
    return []


def _placed(key: str, told: Said) -> object:
    is_path = key in Configuration.model_fields and keys(Configuration)[key].is_path
    return str(told.path(told.value)) if is_path and isinstance(told.value, str) and told.value else told.value


def _safety(told: Said) -> object:
    """The table `[safety]` with its path placed."""
    if not isinstance(told.value, dict) or not isinstance(path := told.value.get("interlock"), str) or not path:
        return told.value
    return told.value | {"interlock": str(told.path(path))}


def _told_by(key: str) -> str:
    return f"give --{key}, {PREFIX}{key.upper()}, or {key} in the file"


def _unknown(keys: Sequence[str], known: Sequence[str]) -> str:
    if keys[0] == "pool":
        known = list(Pool.model_fields)
    elif keys[0] not in ("backends", "meter", *SECTIONS) or len(keys) == 1:
        known = list(Configuration.model_fields)
    elif len(keys) > 3:
        return "there is no such key"
    for option in options():
        if [option.name] == keys and len(option.path) > 1:
            return f"it is written {option.path[-1]} in the table [{'.'.join(option.path[:-1])}]"
    return f"there is no such key; {nearest(keys[-1], known) or 'known are ' + ', '.join(known)}"
