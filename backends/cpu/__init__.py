"""The processor as a device: one thread per core, searching with the best kernel that passed its examination."""

from backends.kernels.cache import NO_CACHE, KernelCache, open_cache
from backends.kernels.candidates import Candidate, candidates, load
from backends.kernels.proof import ProofError, prove

from .backend import CpuBackend
from .device import CpuDevice
from .options import CpuOptions

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
