"""Graphics cards, and whatever else speaks OpenCL, as devices: each driven by a process of its own."""

from .backend import OpenclBackend
from .device import OpenclDevice
from .options import OpenclOptions

__all__ = ["OpenclBackend", "OpenclDevice", "OpenclOptions"]
