"""Kernels that have passed their examination: for the processor's search, for midstates and for emulated chips."""

from backends.kernels.cache import NO_CACHE, KernelCache, open_cache
from backends.kernels.candidates import Candidate, candidates, load
from backends.kernels.proof import ProofError, prove

__all__ = [
    "NO_CACHE",
    "Candidate",
    "KernelCache",
    "ProofError",
    "candidates",
    "load",
    "open_cache",
    "prove",
]
