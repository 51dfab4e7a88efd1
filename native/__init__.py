"""The double-SHA-256 nonce search: one description, lowered to each kind of metal.

This module is the whole face of the package: nobody above imports what lies behind it. Importing it loads no compiler.
"""

from pathlib import Path

from native import sha256, symbolic, word
from native.building import build, load_compiler
from native.errors import CompilationError, FeatureError, KernelError, NativeError, UnusableKernelError
from native.features import Features, host_features
from native.kernel import Kernel, NonceRange, fill, midstates, prepare, scan
from native.relay import Mailbox, relay
from native.sha256 import IV, MASK, Integers, compress, digest_block, header_block, midstate, words
from native.symbolic import Layout, Operations, Search, layout
from native.word import Word

# The sources that every form of the search is written from: what somebody keeps of one is stale when these change.
DESCRIPTION = tuple(Path(module.__file__ or "") for module in (sha256, word, symbolic))

__all__ = [
    "DESCRIPTION",
    "IV",
    "MASK",
    "CompilationError",
    "FeatureError",
    "Features",
    "Integers",
    "Kernel",
    "KernelError",
    "Layout",
    "Mailbox",
    "NativeError",
    "NonceRange",
    "Operations",
    "Search",
    "UnusableKernelError",
    "Word",
    "build",
    "compress",
    "digest_block",
    "fill",
    "header_block",
    "host_features",
    "layout",
    "load_compiler",
    "midstate",
    "midstates",
    "prepare",
    "relay",
    "scan",
    "words",
]
