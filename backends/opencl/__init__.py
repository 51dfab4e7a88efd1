"""Graphics cards, and whatever else speaks OpenCL, as devices: each driven by a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backends.opencl.device.device import OpenclDevice

    from .backend import OpenclBackend
    from .options import OpenclOptions

__all__ = ["OpenclBackend", "OpenclDevice", "OpenclOptions"]


def __getattr__(name: str) -> object:
    """The processes that list and drive import this package first, and need nothing of what stands on top."""
    if name == "OpenclBackend":
        from .backend import OpenclBackend  # noqa: PLC0415

        return OpenclBackend
    if name == "OpenclDevice":
        from backends.opencl.device.device import OpenclDevice  # noqa: PLC0415

        return OpenclDevice
    if name == "OpenclOptions":
        from .options import OpenclOptions  # noqa: PLC0415

        return OpenclOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
