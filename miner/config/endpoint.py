"""Where the miner listens: HOST:PORT."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Self

_WRITTEN = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[A-Za-z0-9._-]+)):(?P<port>[0-9]{1,5})")
_HELP = "HOST:PORT, as 127.0.0.1:9332 (this machine only) or 0.0.0.0:9332 (everybody)"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address to listen on; port 0 lets the system choose."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError with what would be right."""
        written = _WRITTEN.fullmatch(text)
        if written is None or int(written["port"]) >= 1 << 16:
            raise ValueError(f"it is written {_HELP}")
        if written["v6"] is None:
            return cls(written["host"], int(written["port"]))
        try:
            return cls(str(ipaddress.IPv6Address(written["v6"])), int(written["port"]))
        except ValueError as error:
            raise ValueError("what stands in the brackets is no IPv6 address") from error

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
