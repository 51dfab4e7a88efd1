"""HTTP's two ways to prove a password: Basic and Digest (RFC 7616, SHA-256 and MD5, qop auth). Pure: bytes to bytes."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from miner.power.errors import Nonsense
from miner.printable import has_controls

_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_LONGEST = 2048  # characters of a challenge
_HASHES: dict[str, Callable[[bytes], str]] = {
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),  # what older devices offer
}


@dataclass(frozen=True, slots=True)
class Login:
    """Who asks."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login(user={self.user!r})"


@dataclass(frozen=True, slots=True)
class Challenge:
    """What a server wants to see proven; `algorithm` None: Basic."""

    algorithm: str | None
    realm: str = ""
    nonce: str = ""
    opaque: str | None = None

    @classmethod
    def parse(cls, header: str) -> Challenge:
        """One WWW-Authenticate header. Raises Nonsense for what cannot be answered."""
        if has_controls(header):  # a folded line: repeated in a request, it would be lines of its own
            raise Nonsense("it asks for a password with control characters")
        scheme, _, rest = header[:_LONGEST].strip().partition(" ")
        if scheme.lower() == "basic":
            return cls(None)
        given = {key.lower(): quoted or bare for key, quoted, bare in _PARAMETER.findall(rest)}
        algorithm = given.get("algorithm", "MD5").upper()
        offered = [word.strip() for word in given.get("qop", "").split(",")]
        if scheme.lower() != "digest" or algorithm not in _HASHES or "auth" not in offered or "nonce" not in given:
            raise Nonsense("it asks for a password in a way that is not known here")
        return cls(algorithm, given.get("realm", ""), given["nonce"], given.get("opaque"))

    def answer(self, login: Login, uri: str, *, count: int, cnonce: str) -> str:
        """The Authorization header for a GET of `uri`; `count`: the use count of this challenge, from 1."""
        if self.algorithm is None:
            return "Basic " + base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        digest = _HASHES[self.algorithm]
        secret = digest(f"{login.user}:{self.realm}:{login.password}".encode())
        request = digest(f"GET:{uri}".encode())
        proof = digest(f"{secret}:{self.nonce}:{count:08x}:{cnonce}:auth:{request}".encode())
        quoted = {"username": login.user, "realm": self.realm, "nonce": self.nonce, "uri": uri}
        quoted |= {"cnonce": cnonce, "response": proof} | ({"opaque": self.opaque} if self.opaque else {})
        words = [f'{key}="{value}"' for key, value in quoted.items()]
        return "Digest " + ", ".join([*words, f"algorithm={self.algorithm}", "qop=auth", f"nc={count:08x}"])
