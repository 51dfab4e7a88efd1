"""Which backends are installed, ours and other people's, found by entry point and imported only when asked for.

A plug-in is somebody else's code: whatever it does while it is imported ends as one sentence about that plug-in, and
spoils neither the list of names nor the other backends.
"""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, entry_points

from pydantic import BaseModel

from .base import ENTRY_POINT_GROUP, Backend, BackendError

_METHODS = ("probe", "open", "watch")


class UnknownBackend(BackendError):
    """Nothing of this name is installed."""


class BrokenBackend(BackendError):
    """It is installed and cannot be used; the message says whose it is and why."""


def names() -> list[str]:
    """Every installed backend's name, sorted; imports none of them."""
    return sorted(entry_points(group=ENTRY_POINT_GROUP).names)


def load(name: str) -> type[Backend]:
    """Import one backend. Raises UnknownBackend or BrokenBackend, and nothing else whatever the plug-in does."""
    found = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not found:
        raise UnknownBackend(f"no backend is called {name!r}; installed: {', '.join(names()) or 'none'}")
    if len(found) > 1:
        owners = " and ".join(sorted(_owner(point) for point in found))
        raise BrokenBackend(f"{owners} both provide a backend called {name!r}: uninstall one of them")
    point = found[0]
    try:
        backend = point.load()
    except (Exception, SystemExit) as e:
        raise BrokenBackend(
            f"backend {name!r} of {_owner(point)} cannot be imported ({point.value}): {type(e).__name__}: {e}"
        ) from e
    if defect := _defect(backend, name):
        raise BrokenBackend(f"backend {name!r} of {_owner(point)} is not one ({point.value}): {defect}")
    return backend  # type: ignore[no-any-return]  # shown to be one just above


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"


def _defect(backend: object, name: str) -> str | None:
    """What keeps an imported object from being a Backend class of this name."""
    if not inspect.isclass(backend):
        return "it is no class"
    if getattr(backend, "name", None) != name:
        return f"its `name` is {getattr(backend, 'name', None)!r}"
    options = getattr(backend, "Options", None)
    if not (inspect.isclass(options) and issubclass(options, BaseModel)):
        return "its `Options` is no pydantic model"
    if lacking := [method for method in _METHODS if not callable(getattr(backend, method, None))]:
        return f"it lacks {', '.join(lacking)}()"
    return None
