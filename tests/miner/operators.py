"""An operator at a machine of their own: folders, an environment, a file, flags, and backends to configure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from backends.registry import BrokenBackend, UnknownBackend
from miner.commands.arguments import parse
from miner.config import SCHEMES, Loaded, load, pool_url, reload


class Fan(BaseModel):
    model_config = ConfigDict(extra="forbid")
    speed: float = 0.5


class CpuOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    threads: Annotated[int, Field(strict=True, ge=1)] | None = None
    affinity: Annotated[bool, Field(strict=True)] = True
    priority: str = "low"


class PlugInOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    api_token: Annotated[str, Field(max_length=8)] = ""
    fan: Fan = Fan()


class Backends:
    """A registry with a cpu, a plug-in with a hyphen in its name, and one that cannot be imported."""

    def names(self) -> list[str]:
        return ["broken", "cpu", "my-asic"]

    def load(self, name: str) -> Any:
        if name == "broken":
            raise BrokenBackend("backend 'broken' cannot be imported")
        options = {"cpu": CpuOptions, "my-asic": PlugInOptions}.get(name)
        if options is None:
            raise UnknownBackend(name)
        return type("Found", (), {"name": name, "Options": options})


@dataclass
class Operator:
    home: Path
    cwd: Path
    environ: dict[str, str] = field(default_factory=dict)

    backends: Backends = field(default_factory=Backends)

    def writes(self, text: str | bytes, name: str = "miner.toml", mode: int = 0o600) -> Path:
        path = self.cwd / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    def starts(self, *argv: str) -> Loaded:
        arguments = parse(argv)
        return load(arguments.flags, self.environ, self.cwd, file=arguments.config, registry=self.backends)

    def reloads(self, previous: Loaded, argv: Sequence[str] = ()) -> Loaded:
        arguments = parse(argv)
        return reload(previous, arguments.flags, self.environ, self.cwd, file=arguments.config, registry=self.backends)


def make_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every scheme work, so that what is to come is tested before it comes."""
    built = MappingProxyType({name: replace(scheme, built=True) for name, scheme in SCHEMES.items()})
    monkeypatch.setattr(pool_url, "SCHEMES", built)
