"""The processor as a device: one thread per core, searching with the fastest kernel that passed its examination."""

from .backend import CpuBackend
from .device import CpuDevice
from .options import CpuOptions

__all__ = ["CpuBackend", "CpuDevice", "CpuOptions"]
