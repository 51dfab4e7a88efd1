"""How the peer of a TLS connection is verified: by the system's authorities, a pinned certificate, or not at all."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from miner.sources.base import SourceMisconfigured


@dataclass(frozen=True, slots=True)
class Tls:
    """How the pool proves who it is: by the system's authorities, by a pinned file, or (`insecure`) not at all."""

    ca_file: Path | None = None  # PEM; replaces the system's authorities
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """Build the TLS context. Raises SourceMisconfigured for a file without a certificate."""
        try:
            context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        except (OSError, ssl.SSLError) as error:
            raise SourceMisconfigured(f"{self.ca_file} holds no usable certificate: {error}") from error
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context
