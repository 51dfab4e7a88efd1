"""Every option there is, once: key, type, default, meaning. Flags, variables and the tests of the docs derive from it.

An option `log_format` is the TOML key `log_format`, the variable `MINER_LOG_FORMAT` and the flag `--log-format`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, InstanceOf, ValidationError

from backends.base import Backend, BackendError
from miner.chain.network import Network

from .endpoint import Endpoint
from .facts import Only, secrets_in
from .pool_url import EMBEDDED, PoolUrl
from .power import Alarms, AnyMeter, Power, Tariff
from .safety import Safety
from .text import File, Secret, Text, from_text

PREFIX = "MINER_"
HOST, DEVICE = "{host}", "{device}"  # what stands for the machine's and a device's name in a user and password
_LONGEST_NAME = 64  # characters


@dataclass(frozen=True, slots=True)
class Told:
    """How an option is given on the command line and in the environment, and whether a reload takes it over."""

    group: str
    metavar: str = "TEXT"
    live: bool = False  # a reload takes over its new value
    numeric: bool = False
    switch: bool = False  # the flag alone says true
    separator: str | None = None  # what separates a list's items in a variable; the flag is repeated instead


def _network(text: str) -> Network:
    for network in Network:
        if text == network.label:
            return network
    raise ValueError("it is one of " + ", ".join(network.label for network in Network))


def _node_url(text: str) -> PoolUrl:
    url = PoolUrl.parse(text)
    if not url.kind.node:
        raise ValueError(f"it is no node: {url.scheme}: takes no blocks; write rpc+http://USER:PASSWORD@HOST:PORT")
    return url


def _short(text: str) -> str:
    if len(text) > _LONGEST_NAME:
        raise ValueError(f"it is longer than {_LONGEST_NAME} characters")
    return text


Name = Annotated[Text, AfterValidator(_short)]
NodeUrl = Annotated[InstanceOf[PoolUrl], from_text(_node_url)]
Difficulty = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(strict=True, ge=1, lt=1 << 63)]

_WHAT_FOR = "what to mine for"
_WITH = "what to mine with"
_CHAIN = "the embedded chain"
_STOP = "stop by itself, when the first of these is reached"
_SEEN = "what it tells"
_KEPT = "what it keeps"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Pool(_Section):
    """One source of work, in order of preference: a `[[pool]]` table, or one `--pool URL`.

    After loading, `user`, `password` and `address` hold what is in force for it, whoever said so.
    """

    url: Annotated[InstanceOf[PoolUrl], from_text(PoolUrl.parse)] = Field(
        description="where: embedded:, synthetic:, or SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH]"
    )
    name: Annotated[Name | None, Only.REMOTE] = Field(
        None, description="what it is called in logs, metrics and the ledger, instead of its URL"
    )
    user: Text | None = Field(None, description="the account or worker there")
    password: Secret | None = Field(None, description="its password")
    password_file: File | None = Field(None, description="a file whose first line is the password")
    address: Text | None = Field(None, description="the payout address, for sources that let the miner build blocks")
    cookie_file: Annotated[File | None, Only.NODE] = Field(
        None, description="a node's cookie file, instead of user and password"
    )
    also_submit: Annotated[tuple[NodeUrl, ...], Only.NODE] = Field(
        (), description="further nodes that found blocks are handed to"
    )
    ca_file: Annotated[File | None, Only.TLS] = Field(
        None, description="a certificate to trust instead of the system's, for TLS"
    )
    insecure: Annotated[bool, Only.TLS] = Field(
        False, strict=True, description="do not verify who is at the other end of TLS"
    )
    proxy: Annotated[Secret | None, Only.STRATUM] = Field(
        None, description="reach a Stratum pool through socks5:// or http://HOST:PORT"
    )
    suggest_difficulty: Annotated[Difficulty | None, Only.STRATUM] = Field(
        None, description="what to ask a Stratum pool for"
    )
    require_payout: Annotated[bool, Only.STRATUM] = Field(
        False, strict=True, description="refuse jobs of a Stratum pool that do not pay the address"
    )
    version_bits: Annotated[Literal["auto", "or", "xor", "replace", "off"], Only.STRATUM] = Field(
        "auto", description="what a Stratum pool does with submitted version bits, or off: roll none"
    )
    minimum_difficulty: Annotated[Difficulty | None, Only.STRATUM] = Field(
        None, description="ask a Stratum pool for no less than this"
    )
    follow_redirects: Annotated[bool, Only.STRATUM] = Field(
        True, strict=True, description="go where a Stratum pool sends us, on its own host or below"
    )
    share_rate: Annotated[float, Only.STRATUM] = Field(
        100.0, strict=True, gt=0, allow_inf_nan=False, description="shares a second that a Stratum pool is sent at most"
    )
    share_burst: Annotated[Count, Only.STRATUM] = Field(1000, description="how many it may be sent at once")
    quota: float | None = Field(
        None, strict=True, ge=0, allow_inf_nan=False, description="its part of the work, beside the other pools' parts"
    )


class Configuration(_Section):
    """What is in force, validated. Values here never print a password."""

    backend: Annotated[Text, Told(_WITH, "NAME")] = Field(
        "auto", description="auto (every kind that is installed), cpu, opencl, asic, or a plug-in's name"
    )
    device: Annotated[tuple[Text, ...], Told(_WITH, "WHICH", separator=",")] = Field(
        (), description="mine with this device only: index, id, kind or part of the model's name; repeatable"
    )
    pool: Annotated[tuple[Pool, ...], Told(_WHAT_FOR, "URL", separator=" ", live=True)] = Field(
        (), description="where work comes from: embedded:, synthetic:, ...; repeatable, the first is preferred"
    )
    user: Annotated[Text | None, Told(_WHAT_FOR, live=True)] = Field(
        None, description="the account or worker at the pools"
    )
    password: Annotated[Secret | None, Told(_WHAT_FOR, live=True)] = Field(
        None,
        description="its password; everybody on this machine can see it in ps, "
        "so rather use MINER_PASSWORD or a password file",
    )
    password_file: Annotated[File | None, Told(_WHAT_FOR, "FILE", live=True)] = Field(
        None, description="a file whose first line is the password"
    )
    address: Annotated[Text | None, Told(_WHAT_FOR, live=True)] = Field(
        None, description="the payout address, for sources that let the miner build blocks"
    )
    cookie_file: Annotated[File | None, Told(_WHAT_FOR, "FILE", live=True)] = Field(
        None,
        description="a node's cookie file, instead of user and password (default: the one in ~/.bitcoin)",
    )
    also_submit: Annotated[tuple[NodeUrl, ...], Told(_WHAT_FOR, "URL", separator=" ", live=True)] = Field(
        (), description="hand found blocks to this node as well: rpc+http://USER:PASSWORD@HOST:PORT; repeatable"
    )
    ca_file: Annotated[File | None, Told(_WHAT_FOR, "FILE", live=True)] = Field(
        None, description="trust this certificate instead of the system's, for pools and nodes over TLS"
    )
    insecure: Annotated[bool, Told(_WHAT_FOR, switch=True, numeric=True, live=True)] = Field(
        False, strict=True, description="do not verify who is at the other end of TLS"
    )
    proxy: Annotated[Secret | None, Told(_WHAT_FOR, "URL", live=True)] = Field(
        None, description="reach Stratum pools through socks5://HOST:PORT or http://HOST:PORT"
    )
    suggest_difficulty: Annotated[Difficulty | None, Told(_WHAT_FOR, "N", numeric=True, live=True)] = Field(
        None, description="ask Stratum pools for this difficulty"
    )
    require_payout: Annotated[bool, Told(_WHAT_FOR, switch=True, numeric=True, live=True)] = Field(
        False, strict=True, description="refuse jobs of Stratum pools that do not pay --address"
    )
    strategy: Annotated[Literal["failover", "quota", "rotate"], Told(_WHAT_FOR, "NAME")] = Field(
        "failover",
        description="how several pools are mined: failover (the first that is up), quota (all at once, each its part) "
        "or rotate (one after the other)",
    )
    rotate_every: Annotated[float, Told(_WHAT_FOR, "SECONDS", numeric=True)] = Field(
        3600.0, strict=True, gt=0, allow_inf_nan=False, description="how long each pool is mined with --strategy rotate"
    )
    return_after: Annotated[float, Told(_WHAT_FOR, "SECONDS", numeric=True)] = Field(
        60.0,
        strict=True,
        ge=0,
        allow_inf_nan=False,
        description="how long a preferred pool must be up again before work returns to it",
    )
    network: Annotated[
        Annotated[InstanceOf[Network], from_text(_network)] | None, Told(_WHAT_FOR, "NAME", live=True)
    ] = Field(
        None,
        description="insist on this network: mainnet, testnet3, testnet4, signet or regtest (default: the source's)",
    )
    block_interval: Annotated[float, Told(_CHAIN, "SECONDS", numeric=True)] = Field(
        5.0,
        strict=True,
        gt=0,
        le=86_400,
        allow_inf_nan=False,
        description="how long a block of the embedded chain takes at the present hash rate",
    )
    blocks: Annotated[Count | None, Told(_STOP, "N", numeric=True)] = Field(None, description="accepted blocks")
    shares: Annotated[Count | None, Told(_STOP, "N", numeric=True)] = Field(None, description="accepted shares")
    seconds: Annotated[float | None, Told(_STOP, "N", numeric=True)] = Field(
        None, strict=True, gt=0, allow_inf_nan=False, description="seconds of mining"
    )
    summary: Annotated[File | None, Told(_SEEN, "FILE")] = Field(
        None, description="write what was done to this file at the end, as JSON"
    )
    share_log: Annotated[File | None, Told(_SEEN, "FILE")] = Field(
        None, description="append a line of JSON to this file for each share; SIGHUP opens it anew"
    )
    metrics: Annotated[Annotated[InstanceOf[Endpoint], from_text(Endpoint.parse)] | None, Told(_SEEN, "HOST:PORT")] = (
        Field(None, description="let Prometheus scrape http://HOST:PORT/metrics")
    )
    metrics_user: Annotated[Text | None, Told(_SEEN)] = Field(None, description="who may scrape the metrics")
    metrics_password_file: Annotated[File | None, Told(_SEEN, "FILE")] = Field(
        None, description="a file whose first line is the password for that"
    )
    metrics_cert: Annotated[File | None, Told(_SEEN, "FILE")] = Field(
        None, description="serve the metrics over TLS, with this certificate (PEM, the whole chain)"
    )
    metrics_key: Annotated[File | None, Told(_SEEN, "FILE")] = Field(
        None, description="the key of that certificate (PEM, not encrypted)"
    )
    log_format: Annotated[Literal["text", "json"], Told(_SEEN, "FORMAT")] = Field(
        "text", description="log lines for people (text) or machines (json)"
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Told(_SEEN, "LEVEL")] = Field(
        "info", description="log nothing below debug, info, warning or error"
    )
    state_dir: Annotated[File | None, Told(_KEPT, "FOLDER")] = Field(
        None,
        description="where blocks, the ledger, caches and locks are kept; one miner per folder "
        "(default: $STATE_DIRECTORY, $XDG_STATE_HOME/angara or ~/.local/state/angara)",
    )
    power: Power = Field(
        default_factory=lambda: Power.model_validate({}), description="what is known of the machine's consumption"
    )
    meter: tuple[AnyMeter, ...] = Field((), description="wall meters")
    tariff: Tariff | None = Field(None, description="what electricity costs and hashing earns")
    alarms: Alarms = Field(default_factory=lambda: Alarms.model_validate({}), description="when something is wrong")
    safety: Safety = Field(default_factory=lambda: Safety.model_validate({}), description="what keeps devices off")
    backends: Mapping[str, Any] = Field(
        default_factory=dict, description="each backend's own options, as its own model validated them"
    )

    @property
    def pools(self) -> tuple[Pool, ...]:
        """What to mine for: as configured, or else the embedded chain."""
        return self.pool or (Pool.model_validate({"url": EMBEDDED, "address": self.address}),)

    @property
    def consented(self) -> bool:
        """Whether the operator named what to mine for; without it no real GPU or ASIC may start."""
        return bool(self.pool)

    @property
    def worthless(self) -> bool:
        """Whether nothing that can be won has a value: losing it would not matter."""
        return all(pool.url.kind.worthless for pool in self.pools)

    def options_of(self, backend: type[Backend]) -> Any:
        """The backend's own validated options, or its defaults. Raises BackendError where a key has no default."""
        if backend.name in self.backends:
            return self.backends[backend.name]
        try:
            return backend.Options()
        except ValidationError as error:
            lacking = ", ".join(".".join(map(str, each["loc"])) for each in error.errors(include_url=False))
            raise BackendError(f"[backends.{backend.name}] must set {lacking}") from error

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret in force, for the log's redaction."""
        return tuple(dict.fromkeys(secret.get_secret_value() for secret in secrets_in(self)))


@dataclass(frozen=True, slots=True)
class Option:
    """One option as the command line and the environment know it."""

    name: str
    path: tuple[str, ...]  # where it stands in the TOML file
    annotation: Any
    told: Told
    meaning: str
    default: object = None

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


_SHORTCUTS = (
    Option(
        "threads",
        ("backends", "cpu", "threads"),
        int,
        Told(_WITH, "N", numeric=True),
        "how many threads the CPU hashes with (default: one per core)",
    ),
    Option(
        "virtual",
        ("backends", "asic", "virtual"),
        tuple[str, ...],
        Told(_WITH, "KIND", separator=" "),
        "plug in an emulated USB miner, for backend asic; list: name them; repeatable",
    ),
    Option(
        "intensity",
        ("backends", "opencl", "intensity"),
        float,
        Told(_WITH, "MS", numeric=True),
        "milliseconds that each launch on a GPU takes (default: 50, and 10 on a card with a screen)",
    ),
    Option(
        "retune",
        ("backends", "opencl", "retune"),
        bool,
        Told(_WITH, switch=True, numeric=True),
        "measure anew which form of the search is the fastest on each GPU",
    ),
)


def live_keys() -> tuple[str, ...]:
    """The top-level keys whose new values a reload takes over."""
    return tuple(option.name for option in options() if option.told.live)


def options() -> tuple[Option, ...]:
    """Every option that has a flag and a variable of its own, in the order of help."""
    fields = Configuration.model_fields.items()
    own = [
        Option(name, (name,), field.annotation, told, field.description or "", field.default)
        for name, field in fields
        for told in field.metadata
        if isinstance(told, Told)
    ]
    return (*own, *_SHORTCUTS)
