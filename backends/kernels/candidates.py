"""The kernels that this machine may be able to run, best first, and how to compile and examine one."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from backends.kernels.cache import NO_CACHE, KernelCache
from backends.kernels.proof import ProofError, prove
from native import Features, Kernel, UnusableKernelError, build, host_features


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel that may be compiled. `unusable` says why this machine cannot run it.

    compile_s: approximate time to compile, in seconds of one core of 2023; only the ratios matter.
    midstates: versions to search together until that is measured. 4 give three quarters of the possible gain; 32 give
    hardly more than 16.
    mixes: SHA instructions stand between vector instructions that use the upper halves of the same registers.
    """

    name: str
    requires: tuple[str, ...]
    compile_s: float
    unusable: str | None = None
    midstates: int = 16
    mixes: bool = False


# Fastest first where the speed is known. This is the order of trying; the first one wins where measurements are equal.
# Narrower vectors compile no faster: the code is as long, and without AVX-512 longer. Eight lanes with explicit ternary
# logic are missing: LLVM makes the same of avx2x8 where the target has AVX-512.
_SHA = ("sha", "sse4.1")
_SCHEDULED = (*_SHA, "avx512f", "avx512vl", "avx512bw")
_ALL = (
    Candidate("scheduled8", _SCHEDULED, 0.5, mixes=True),
    Candidate("scheduled8-avx2", (*_SHA, "avx2"), 0.5, mixes=True),
    Candidate("hybrid8", _SHA, 1.2, mixes=True),
    Candidate("avx512x16", ("avx512f",), 1.2),
    Candidate("scheduled8-high", _SCHEDULED, 0.6),
    Candidate("scheduled4", (*_SHA, "avx2"), 0.5),
    Candidate("sha4", _SHA, 0.45),
    Candidate("avx2x8", ("avx2",), 1.5),
    Candidate("vector4", (), 1.4),
    Candidate("scalar", (), 1.1, midstates=1),
)
_ARM = (Candidate("arm4", ("sha2",), 0.45),)
# Where mixing is known to cost nothing. Elsewhere it may cost a hundred cycles an instruction: those go last.
_MIXERS = "znver"


def candidates(features: Features | None = None) -> tuple[Candidate, ...]:
    """Every candidate, with the reason if this machine (or `features`) cannot run it.

    The order is by reputation, best first. It holds until the candidates have been measured.
    """
    features = features or host_features()
    there: Sequence[Candidate] = (*_ARM, *_ALL) if features.architecture == "aarch64" else _ALL
    if not features.cpu.startswith(_MIXERS):
        there = sorted(there, key=lambda x: x.mixes)
    return tuple(_judged(candidate, features) for candidate in there)


def starter(usable: Sequence[Candidate], proven: Container[str]) -> Candidate:
    """The candidate to hash with first: the best, unless another one starts in half of its time."""
    cost = {x.name: 0.0 if x.name in proven else x.compile_s for x in usable}
    best, quickest = usable[0], min(usable, key=lambda x: cost[x.name])
    return quickest if cost[quickest.name] < cost[best.name] / 2 else best


def load(candidate: Candidate, cache: KernelCache = NO_CACHE, features: Features | None = None) -> Kernel:
    """Compile a candidate, or take it from the cache, and prove it.

    Raises UnusableKernelError, CompilationError or ProofError. All are KernelErrors: another candidate may work.
    """
    if candidate.unusable is not None:
        raise UnusableKernelError(f"{candidate.name}: {candidate.unusable}")
    kernel = build(
        candidate.name,
        features or host_features(),
        cache.folder_for,
        requires=candidate.requires,
        midstates=candidate.midstates,
    )
    try:
        prove(kernel)
    except ProofError:
        for part in kernel.parts:  # what is on disk is suspect too
            cache.forget(part)
        raise
    cache.vouch(candidate.name)
    return kernel


def _judged(candidate: Candidate, features: Features) -> Candidate:
    if not (missing := features.lacks(candidate.requires)):
        return candidate
    return replace(candidate, unusable=f"this processor has no {', '.join(missing)}")
