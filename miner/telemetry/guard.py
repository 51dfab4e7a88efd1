"""Who may read the metrics: a user with a password (RFC 7617, Basic), over TLS where there is a certificate."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from miner.printable import printable

_HEADER_MAX = 8192  # characters


class TelemetryError(Exception):
    """Telemetry cannot be offered as configured; the message is for the operator."""


@dataclass(frozen=True, slots=True)
class Login:
    """The one user."""

    user: str
    password: str = field(repr=False)

    def opens(self, authorization: str) -> bool:
        """Whether an Authorization header carries it. How long that takes says nothing about how much was right."""
        scheme, _, token = authorization[:_HEADER_MAX].partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            given = base64.b64decode(token.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        return hmac.compare_digest(_digest(given), _digest(f"{self.user}:{self.password}".encode()))


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read the metrics, and how they are served: anybody, over plain HTTP, by default."""

    login: Login | None = None
    tls: ssl.SSLContext | None = field(default=None, repr=False)


def tls_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Serve with this certificate chain and its unencrypted key, both PEM; TLS 1.2 and later.

    Raises TelemetryError when they cannot be read or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # Without a password callback an encrypted key would ask on the terminal, and a service would hang.
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or "no certificate and key in PEM"
        files = f"{printable(str(cert))} and {printable(str(key))}"
        raise TelemetryError(f"metrics cannot be served over TLS with {files}: {reason}") from error
    return context


def _no_password() -> str:
    return ""


def _digest(text: bytes) -> bytes:
    return hashlib.sha256(text).digest()
