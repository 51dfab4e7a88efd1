"""What an operator decides about one pool: plain values, checked once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from miner.chain.header import ROLLABLE
from miner.printable import has_controls
from miner.sources.base import SourceMisconfigured
from miner.sources.net.tls import Tls
from miner.sources.stratum.lines import encode
from miner.sources.stratum.messages import MAX_EXTRANONCE2, MAX_JOB_ID
from miner.sources.stratum.rolling import Style

AGENT = "angara/0.1"
DEVICE = "{device}"
_MAX_DEVICE = 64  # characters
_MAX_CREDENTIAL = 255  # characters
_MAX_AGENT = 64


@dataclass(frozen=True, slots=True)
class Worker:
    """Whom shares are handed in for."""

    user: str = field(repr=False)
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumOptions:
    """One pool. Raises SourceMisconfigured for what no pool takes; `repr` shows neither user nor password.

    `{device}` in user and password stands for whichever device found a share: each is a worker of its own.
    """

    label: str | None = None  # what the operator calls it
    host: str  # IPv6 without brackets
    port: int
    user: str = field(repr=False)
    password: str = field(default="x", repr=False)
    first_device: str = "miner"  # whose worker the connection begins with
    tls: Tls | None = None  # None: plain TCP
    proxy: str | None = field(default=None, repr=False)  # socks5://user:password@host:port, http://host:port
    agent: str = AGENT
    suggest_difficulty: float | None = None
    minimum_difficulty: float | None = None  # asked for with mining.configure
    version_mask: int = ROLLABLE  # what we would roll; 0: nothing
    version_bits: Style | None = None  # how the pool reads submitted bits; None: found out
    learnt_bits: Style | None = None  # how it did at the last run; may be found to be otherwise
    subscribe_extranonce: bool = True
    follow_redirects: bool = True
    share_rate: float = 100.0  # a second, of what is handed in; blocks are never held up
    share_burst: int = 1000
    payout_script: bytes | None = None  # a solo pool's coinbase should pay this
    require_payout: bool = False  # and jobs that do not are refused
    connect_s: float = 15.0
    answer_s: float = 30.0  # for subscribe and authorize
    configure_s: float = 10.0  # silence means no
    silence_s: float = 180.0  # without a byte the connection is dead

    def __post_init__(self) -> None:
        if not self.host or has_controls(self.host) or not 0 < self.port < 1 << 16:
            raise SourceMisconfigured("a pool has a host and a port")
        if DEVICE in self.password and not self.per_device:
            raise SourceMisconfigured(f"{DEVICE} in the password but not in the user: pools tell workers by the user")
        longest = self.worker("x" * _MAX_DEVICE)
        limits = (("user", longest.user, _MAX_CREDENTIAL), ("password", longest.password, _MAX_CREDENTIAL))
        for what, text, limit in (*limits, ("user agent", self.agent, _MAX_AGENT)):
            if len(text) > limit:
                raise SourceMisconfigured(f"the {what} has more than {limit} characters")
            if has_controls(text):
                raise SourceMisconfigured(f"the {what} contains a control character")
        if not self.user:
            raise SourceMisconfigured("a pool needs a user")
        encode({"id": 1 << 31, "method": "mining.authorize", "params": [longest.user, longest.password]})
        fields = ["0" * MAX_JOB_ID, "00" * MAX_EXTRANONCE2, *["00000000"] * 4]
        encode({"id": 1 << 31, "method": "mining.submit", "params": [longest.user, *fields]})
        if not 0 <= self.version_mask < 1 << 32:
            raise SourceMisconfigured("a version mask has 32 bits")
        for difficulty in (self.suggest_difficulty, self.minimum_difficulty):
            if difficulty is not None and not 0 < difficulty < float("inf"):
                raise SourceMisconfigured("a difficulty is a number above 0")
        if not self.share_rate > 0 or self.share_burst < 1:
            raise SourceMisconfigured("the share rate must let shares through")
        if self.require_payout and self.payout_script is None:
            raise SourceMisconfigured("to require a payout, an address must be given")

    @property
    def per_device(self) -> bool:
        """Whether each device is a worker of its own."""
        return DEVICE in self.user

    def worker(self, device: str | None = None) -> Worker:
        """Who hands in what this device found; None: who the connection begins with."""
        name = worker_name(self.first_device if device is None else device)
        return Worker(self.user.replace(DEVICE, name), self.password.replace(DEVICE, name))

    @property
    def name(self) -> str:
        """For logs, metrics and the ledger."""
        return self.label or self.url

    @property
    def url(self) -> str:
        """Where it is, without user and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"stratum+{'tls' if self.tls else 'tcp'}://{host}:{self.port}"


def worker_name(text: str) -> str:
    """A device's or machine's name as every pool takes it in a worker's: cpu:0 becomes cpu-0."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:_MAX_DEVICE].strip("-") or "miner"
