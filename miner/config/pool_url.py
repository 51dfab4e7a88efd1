"""Where work comes from, as an operator writes it: `scheme://user:password@host:port/path`.

    embedded:                          nothing but the scheme
    rpc+http://127.0.0.1:8332          a host; the port where the scheme asks for it
    rpc+https://me:pa%2Fss@[::1]:8332  IPv6 in brackets; credentials percent-encoded

`SCHEMES` says which exist, which of them work already, and what each needs. No message made here repeats credentials.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Self
from urllib.parse import unquote_to_bytes

from pydantic import SecretStr

from miner.printable import has_controls

_LENGTH_LIMIT = 2048  # characters; nothing sensible is longer
_PORTS = range(1, 1 << 16)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_DOTTED_NUMBERS = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """What one kind of pool URL is made of."""

    meaning: str
    built: bool  # False: known, and refused with a sentence that it is not built yet
    local: bool = False  # nothing follows the colon
    port_required: bool = False
    path_allowed: bool = False
    node: bool = False  # a Bitcoin node, asked by JSON-RPC
    stratum: bool = False  # a pool that speaks Stratum V1
    tls: bool = False
    needs_address: bool = False  # a payout: the source builds the coinbase itself
    needs_user: bool = False
    worthless: bool = False  # its coins are


SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "embedded": Scheme(meaning="a private regtest chain in this process", built=True, local=True, worthless=True),
        "synthetic": Scheme(meaning="endless made-up work, offline", built=True, local=True, worthless=True),
        "rpc+http": Scheme(meaning="a node's JSON-RPC", built=True, path_allowed=True, node=True, needs_address=True),
        "rpc+https": Scheme(
            meaning="a node's JSON-RPC behind TLS",
            built=True,
            path_allowed=True,
            node=True,
            tls=True,
            needs_address=True,
        ),
        "stratum+tcp": Scheme(meaning="a Stratum pool", built=True, port_required=True, stratum=True, needs_user=True),
        "stratum+tls": Scheme(
            meaning="a Stratum pool over TLS", built=True, port_required=True, stratum=True, tls=True, needs_user=True
        ),
        "stratum+ssl": Scheme(
            meaning="the same as stratum+tls", built=True, port_required=True, stratum=True, tls=True, needs_user=True
        ),
        "stratum2+tcp": Scheme(meaning="a Stratum V2 pool", built=False, port_required=True, path_allowed=True),
    }
)


class PoolUrlError(ValueError):
    """Text that is no usable pool URL; the message says what would be, and never repeats credentials."""


@dataclass(frozen=True, slots=True)
class PoolUrl:
    """A pool URL taken apart. `str()`, `repr()` and `safe` leave out user, password and path."""

    scheme: str
    host: str | None = None  # None for local schemes; IPv6 without brackets
    port: int | None = None  # None: the source knows its default
    user: str | None = field(default=None, repr=False)
    password: SecretStr | None = field(default=None, repr=False)
    path: str = field(default="", repr=False)  # as written, with its slash

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises PoolUrlError."""
        if len(text) > _LENGTH_LIMIT:
            raise PoolUrlError(f"it is longer than {_LENGTH_LIMIT} characters")
        if has_controls(text) or " " in text:
            raise PoolUrlError("it contains a space or a control character")
        split = _SCHEME.fullmatch(text)
        if split is None:
            raise PoolUrlError(f"a pool is written SCHEME://HOST:PORT, or embedded:; {_existing()}")
        scheme, rest = split[1].lower(), split[2]
        _require_built(scheme)
        if SCHEMES[scheme].local:
            if rest:
                raise PoolUrlError(f"nothing follows {scheme}:")
            return cls(scheme)
        return cls._of_host(scheme, rest)

    @classmethod
    def _of_host(cls, scheme: str, rest: str) -> Self:
        if not rest.startswith("//"):
            raise PoolUrlError(f"two slashes follow {scheme}:, as in {_example(scheme)}")
        if "?" in rest or "#" in rest:
            raise PoolUrlError("it has no ? and no #; in a password they are written %3F and %23")
        authority, slash, path = rest[2:].partition("/")
        if "@" in path:
            raise PoolUrlError("a / in a user or password is written %2F")
        if path and not SCHEMES[scheme].path_allowed:
            raise PoolUrlError(f"no path follows the port of {scheme}, as in {_example(scheme)}")
        credentials, at, host_port = authority.rpartition("@")
        host, port = _host_and_port(host_port, scheme)
        user, password = _credentials(credentials) if at else (None, None)
        return cls(scheme, host, port, user, password, slash + path if path else "")

    @property
    def kind(self) -> Scheme:
        """What its scheme is and needs."""
        return SCHEMES[self.scheme]

    @property
    def safe(self) -> str:
        """For logs, metrics and the screen: without user, password and path."""
        if self.host is None:
            return f"{self.scheme}:"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port is not None else "")

    def __str__(self) -> str:
        return self.safe


EMBEDDED = PoolUrl("embedded")  # what is mined when nothing is named


def parsed(text: str) -> PoolUrl | None:
    """The URL, None for text that is none."""
    try:
        return PoolUrl.parse(text)
    except PoolUrlError:
        return None


def without_credentials(text: str) -> str:
    """A pool URL as somebody wrote it, right or wrong, fit to be shown: what may be a secret is replaced by ***."""
    head, at, tail = text.rpartition("@")
    if not at:
        return re.split(r"[?#]", text, maxsplit=1)[0]
    scheme = _SCHEME.match(head)
    return (f"{scheme[1]}://" if scheme and scheme[2].startswith("//") else "") + "***@" + re.split(r"[?#]", tail)[0]


def _require_built(scheme: str) -> None:
    if scheme not in SCHEMES:
        near = difflib.get_close_matches(scheme, SCHEMES, n=1)
        hint = f"did you mean {near[0]}:?" if near else f"{_existing()}, as in {_example('stratum+tcp')}"
        raise PoolUrlError(f'there is no scheme "{scheme}"; {hint}')
    if not SCHEMES[scheme].built:
        raise PoolUrlError(f"{SCHEMES[scheme].meaning} ({scheme}:) is not built yet; {_existing()}")


def _existing() -> str:
    return "there are " + ", ".join(f"{name}:" for name, scheme in SCHEMES.items() if scheme.built)


def _example(scheme: str) -> str:
    return f"{scheme}://host.example:3333" if SCHEMES[scheme].port_required else f"{scheme}://127.0.0.1:8332"


def _host_and_port(text: str, scheme: str) -> tuple[str, int | None]:
    if text.startswith("["):
        inside, bracket, after = text[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise PoolUrlError(f"an IPv6 host is written in brackets, as in {scheme}://[2001:db8::1]:3333")
        return _ipv6(inside), _port(after[1:] if after else None, scheme)
    if text.count(":") > 1:
        raise PoolUrlError(f"an IPv6 host is written in brackets, as in {scheme}://[2001:db8::1]:3333")
    host, colon, port = text.partition(":")
    return _host_name(host, scheme), _port(port if colon else None, scheme)


def _ipv6(text: str) -> str:
    address = text.replace("%25", "%")  # RFC 6874: the zone's percent sign is itself encoded
    try:
        return str(ipaddress.IPv6Address(address))
    except ValueError as error:
        raise PoolUrlError("what stands in the brackets is no IPv6 address") from error


def _host_name(text: str, scheme: str) -> str:
    if not text:
        raise PoolUrlError(f"it names no host, as in {_example(scheme)}")
    if not text.isascii():
        raise PoolUrlError("a host with letters beyond ASCII is written in its xn-- form")
    if _DOTTED_NUMBERS.fullmatch(text):
        try:
            return str(ipaddress.IPv4Address(text))
        except ValueError as error:
            raise PoolUrlError(f"{text} is no IPv4 address") from error
    name = text.removesuffix(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise PoolUrlError("its host is no host name")
    return name.lower()


def _port(text: str | None, scheme: str) -> int | None:
    if text is None:
        if SCHEMES[scheme].port_required:
            raise PoolUrlError(f"it names no port, as in {_example(scheme)}")
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) in _PORTS):
        raise PoolUrlError(f"a port is a number from {_PORTS[0]} to {_PORTS[-1]}, as in {_example(scheme)}")
    return int(text)


def _credentials(text: str) -> tuple[str | None, SecretStr | None]:
    user, colon, password = text.partition(":")
    return _decoded(user) or None, SecretStr(_decoded(password)) if colon and password else None


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text):
        raise PoolUrlError("a % in a user or password is written %25")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError as error:
        raise PoolUrlError("its user or password is not UTF-8") from error
    if has_controls(decoded):
        raise PoolUrlError("its user or password contains a control character")
    return decoded
