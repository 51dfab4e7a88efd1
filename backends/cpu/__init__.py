"""The processor as a device: one thread per core, searching with the best kernel that passed its examination."""

from .backend import CpuBackend
from .cache import NO_CACHE, KernelCache, open_cache
from .device import CpuDevice
from .dispatch import Candidate, candidates, load
from .options import CpuOptions
from .proof import ProofError, prove

__all__ = [
    "NO_CACHE",
    "Candidate",
    "CpuBackend",
    "CpuDevice",
    "CpuOptions",
    "KernelCache",
    "ProofError",
    "candidates",
    "load",
    "open_cache",
    "prove",
]
