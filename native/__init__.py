"""The double-SHA-256 nonce search: one description, lowered to each kind of metal."""

from native.errors import CompilationError, FeatureError, KernelError, NativeError, UnusableKernelError
from native.features import Features, host_features
from native.kernel import Kernel, midstates, prepare, scan
from native.relay import Mailbox, relay
from native.symbolic import Layout, Operations

__all__ = [
    "CompilationError",
    "FeatureError",
    "Features",
    "Kernel",
    "KernelError",
    "Layout",
    "Mailbox",
    "NativeError",
    "Operations",
    "UnusableKernelError",
    "host_features",
    "midstates",
    "prepare",
    "relay",
    "scan",
]
