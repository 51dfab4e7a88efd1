"""The double-SHA-256 nonce search: one description, lowered to each kind of metal."""

from native.cache import NO_CACHE, KernelCache, open_cache
from native.dispatch import Candidate, candidates, load, startup_order
from native.errors import (
    CompilationError,
    FeatureError,
    KernelError,
    NativeError,
    ProofError,
    UnusableKernelError,
)
from native.features import Features, host_features
from native.kernel import Kernel, midstates, prepare, scan
from native.symbolic import Layout, Operations

__all__ = [
    "NO_CACHE",
    "Candidate",
    "CompilationError",
    "FeatureError",
    "Features",
    "Kernel",
    "KernelCache",
    "KernelError",
    "Layout",
    "NativeError",
    "Operations",
    "ProofError",
    "UnusableKernelError",
    "candidates",
    "host_features",
    "load",
    "midstates",
    "open_cache",
    "prepare",
    "scan",
    "startup_order",
]
