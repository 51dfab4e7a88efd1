"""USB miners. Floors of their own: `usb/` (bridges, discovery) under `chips/` (codecs without I/O) under `boards/`.

On top stand the device (driver and supervisor) and the backend. `virtual/` stands apart: emulated boards, made from the
same reference as the drivers and sharing no code with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .backend import AsicBackend
    from .options import AsicOptions

__all__ = ["AsicBackend", "AsicOptions"]


def __getattr__(name: str) -> object:
    """Everything below imports this package first; what stands on top is loaded when it is asked for."""
    if name == "AsicBackend":
        from .backend import AsicBackend  # noqa: PLC0415

        return AsicBackend
    if name == "AsicOptions":
        from .options import AsicOptions  # noqa: PLC0415

        return AsicOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
