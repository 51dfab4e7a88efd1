"""Certificates for the virtual pool: an authority that lives as long as the test."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


class Authority:
    """A certificate authority; a client that is to trust the pool is given `ca_file`."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """What the pool presents: a certificate for these names, by default those of this machine."""
        end = datetime.now(UTC) - timedelta(days=1) if expired else None
        certificate = self._authority.issue_cert(*(names or ("127.0.0.1", "localhost", "::1")), not_after=end)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))
