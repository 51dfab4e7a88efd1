"""What can go wrong below the search: each class is one thing that a caller would do differently about."""

from __future__ import annotations


class NativeError(Exception):
    """Anything that native/ reports besides misuse, which is ValueError."""


class FeatureError(NativeError):
    """A forced set of CPU features that this machine lacks."""


class KernelError(NativeError):
    """A kernel that must not be used; another candidate may do."""


class UnusableKernelError(KernelError):
    """The machine lacks what the kernel needs."""


class CompilationError(KernelError):
    """The compiler refused."""
