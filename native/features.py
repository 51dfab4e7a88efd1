"""What the processor can do, asked before anything is compiled: an instruction it lacks would end the process.

ANGARA_CPU_FEATURES forces a weaker machine, to test what other people's computers do: a comma-separated list of
LLVM's feature names ("avx2", "avx512f,avx512vl") on top of the architecture's baseline; empty for the bare baseline.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from native.errors import FeatureError

VARIABLE = "ANGARA_CPU_FEATURES"

_BASELINES = {"x86_64": "x86-64"}  # LLVM's name of the weakest processor; "generic" for other architectures


@dataclass(frozen=True, slots=True)
class Features:
    """A compilation target: an LLVM processor name, and the features it has and lacks."""

    architecture: str
    cpu: str
    present: frozenset[str]
    absent: frozenset[str] = frozenset()

    @property
    def target(self) -> str:
        """The features as LLVM takes them: "+avx2,-sse4a"."""
        return ",".join([*(f"+{x}" for x in sorted(self.present)), *(f"-{x}" for x in sorted(self.absent))])

    @property
    def fingerprint(self) -> str:
        """Equal for machines that can run each other's compiled kernels."""
        return hashlib.sha256(f"{self.architecture} {self.cpu} {self.target}".encode()).hexdigest()[:16]

    def lacks(self, required: Iterable[str]) -> list[str]:
        return [x for x in required if x not in self.present]

    def weakened_to(self, features: Iterable[str]) -> Features:
        """The architecture's weakest processor plus these features of this machine.

        Raises FeatureError for a feature that this machine does not have.
        """
        chosen = frozenset(features)
        if missing := self.lacks(sorted(chosen)):
            raise FeatureError(f"this processor ({self.cpu}) does not have: {', '.join(missing)}")
        return Features(self.architecture, _BASELINES.get(self.architecture, "generic"), chosen)


def host_features(environment: Mapping[str, str] = os.environ) -> Features:
    """This machine's features, or the weaker set that ANGARA_CPU_FEATURES asks for (FeatureError if it cannot be)."""
    if (forced := environment.get(VARIABLE)) is None:
        return _host()
    return _host().weakened_to(x.strip() for x in forced.split(",") if x.strip())


@cache
def _host() -> Features:
    import llvmlite.binding as llvm  # noqa: PLC0415 # 50 MB that who asks for no features need not carry

    known = llvm.get_host_cpu_features()
    present, absent = (frozenset(x for x in known if known[x] == there) for there in (True, False))
    return Features(llvm.get_default_triple().split("-")[0], llvm.get_host_cpu_name(), present, absent)
