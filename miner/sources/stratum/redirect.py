"""Where a pool may send us with client.reconnect: to itself, or below itself, and nowhere else.

Whoever sits between us and a pool can send it too; in 2014 that is how hash rate was stolen by the day. So:

    no host, or an empty one        the host that was configured
    the configured host             itself, whatever its port
    a host below the configured     eu.pool.example.com for pool.example.com; compared label by label
    anything else                   refused: siblings (evil.co.uk is one of pool.co.uk), other domains, other IPs

It is the configured host that counts, not the one that an earlier redirection led to.
"""

from __future__ import annotations

import ipaddress
import re
from collections import deque
from dataclasses import dataclass
from typing import Any

from miner.printable import printable

MAX_WAIT_S = 60.0
MAX_REDIRECTS = 3
WINDOW_S = 600.0

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go there after `wait_s` seconds; TLS stays what it was."""

    host: str
    port: int
    wait_s: float


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a redirection is not followed."""

    text: str


class Redirector:
    """Judges the redirections of one pool, over all of its connections."""

    def __init__(self, host: str, port: int, *, enabled: bool = True) -> None:
        self._host = _normal(host)
        self._port = port
        self._enabled = enabled
        self._followed: deque[float] = deque(maxlen=MAX_REDIRECTS)

    def judge(self, params: object, port: int, now: float) -> Redirect | Refusal:
        """What to do about the parameters of a client.reconnect that came over a connection to `port`."""
        if not self._enabled:
            return Refusal("redirections are switched off")
        params = [] if params is None else params
        if not isinstance(params, list):
            return Refusal("its parameters are no list")
        host, wanted, wait = [*params, None, None, None][:3]
        target = self._target(host)
        if isinstance(target, Refusal):
            return target
        to = _port(wanted, port if not host else self._port)
        if to is None:
            return Refusal(f"{_shown(wanted)} is no port")
        if len(self._followed) == MAX_REDIRECTS and now - self._followed[0] < WINDOW_S:
            return Refusal(f"more than {MAX_REDIRECTS} in {WINDOW_S / 60:.0f} minutes")
        self._followed.append(now)
        return Redirect(target, to, _wait(wait))

    def _target(self, host: object) -> str | Refusal:
        if host is None or host == "":
            return self._host
        if not isinstance(host, str) or len(host) > 255:
            return Refusal("its host is no text")
        name = _normal(host)
        if name == self._host:
            return name
        if _is_ip(name) or _is_ip(self._host):
            return Refusal(f"{_shown(host)} is another address than the configured {self._host}")
        if not all(_LABEL.fullmatch(label) for label in name.split(".")):
            return Refusal(f"{_shown(host)} is no host name")
        if "." in self._host and name.endswith("." + self._host):
            return name
        return Refusal(f"{_shown(host)} is not below the configured {self._host}")


def _normal(host: str) -> str:
    name = host.strip().lower().removesuffix(".")
    inside = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    try:
        return str(ipaddress.ip_address(inside))
    except ValueError:
        return name


def _is_ip(host: str) -> bool:
    """Whether any resolver takes it for an address: 127.1, 0x7f000001 and 2130706433 too."""
    last = host.rpartition(".")[2]
    return ":" in host or last.isdigit() or re.fullmatch(r"0x[0-9a-f]*", last) is not None


def _port(wanted: object, default: int) -> int | None:
    """A number or its digits; None for what is neither."""
    if wanted is None or wanted == "":
        return default
    if isinstance(wanted, str) and wanted.isascii() and wanted.isdigit() and len(wanted) <= 5:
        wanted = int(wanted)
    if type(wanted) is not int or not 0 < wanted < 1 << 16:
        return None
    return wanted


def _wait(seconds: object) -> float:
    if isinstance(seconds, str) and seconds.isascii() and seconds.isdigit() and len(seconds) <= 5:
        seconds = int(seconds)
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0:
        return 0.0
    return float(min(seconds, MAX_WAIT_S))


def _shown(value: Any) -> str:
    return printable(str(value)[:80])
