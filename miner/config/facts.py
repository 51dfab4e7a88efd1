"""Facts about a key that ride on its field: which pools have the key, whether it holds a path, what is secret in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from .pool_url import PoolUrl, Scheme


class Only(Enum):
    """Which pools have a key. The value is the noun for messages."""

    REMOTE = "pool or node"
    NODE = "node"
    TLS = "TLS connection"
    STRATUM = "Stratum pool"

    def includes(self, kind: Scheme) -> bool:
        """Whether a pool of this kind has the key."""
        match self:
            case Only.REMOTE:
                return not kind.local
            case Only.NODE:
                return kind.node
            case Only.TLS:
                return kind.tls
            case Only.STRATUM:
                return kind.stratum


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a pydantic model with the facts about it."""

    name: str
    default: object
    only: Only | None  # None: every pool has it
    is_path: bool


def keys(model: type[BaseModel]) -> dict[str, Key]:
    """The keys of a model by name, in order."""
    return {
        name: Key(
            name,
            field.default,
            next((fact for fact in field.metadata if isinstance(fact, Only)), None),
            _mentions(field.annotation, Path),
        )
        for name, field in model.model_fields.items()
    }


def secrets_in(value: object) -> Iterator[SecretStr]:
    """Every secret in a configuration, however deep."""
    match value:
        case SecretStr():
            yield value
        case PoolUrl():
            yield from secrets_in(value.password)
        case BaseModel():
            for name in type(value).model_fields:
                yield from secrets_in(getattr(value, name))
        case dict():
            for item in value.values():
                yield from secrets_in(item)
        case tuple() | list():
            for item in value:
                yield from secrets_in(item)


def _mentions(annotation: Any, wanted: type) -> bool:
    """Whether a type is `wanted`, or one of its alternatives is."""
    return annotation is wanted or any(_mentions(part, wanted) for part in get_args(annotation))
