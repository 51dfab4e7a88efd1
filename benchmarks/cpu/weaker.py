"""The same benchmark on weaker processors: features taken away, in a process each, which is told so at its start.

Other people's machines, as far as ours can play them: what such a processor lacks is not used, but the rest is ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import native
from backends import kernels
from native.features import VARIABLE

_SSE = frozenset({"sse3", "ssse3", "sse4.1"})


@dataclass(frozen=True, slots=True)
class Weaker:
    """A processor that lacks something, and the search that it would choose."""

    name: str
    features: native.Features
    kernel: str


def _without(*prefixes: str) -> Callable[[frozenset[str]], frozenset[str]]:
    return lambda host: frozenset(x for x in host if not x.startswith(prefixes))


_WIDE = ("avx512", "avx10", "evex", "amx")
_KINDS: dict[str, Callable[[frozenset[str]], frozenset[str]]] = {
    "no SHA": _without("sha"),
    "no AVX-512": _without(*_WIDE),
    "AVX2": _without(*_WIDE, "sha"),
    "SHA, SSE4.1": lambda host: host & (_SSE | {"sha"}),
    "SSE4.1": lambda host: host & _SSE,
    "bare": lambda _: frozenset(),
}


def processors(host: native.Features) -> Iterator[Weaker]:
    """Those that differ from `host` and from each other, with the first search that each could run."""
    seen = {host.present}
    for name, weaken in _KINDS.items():
        chosen = weaken(host.present)
        if chosen in seen:
            continue
        seen.add(chosen)
        features = host.weakened_to(chosen)
        reputed = kernels.candidates(replace(features, cpu=host.cpu))
        kernel = next(x.name for x in reputed if x.unusable is None)
        yield Weaker(name, features, kernel)


def measure(weaker: Weaker, seconds: float) -> list[dict[str, Any]]:
    """Its kernels as `benchmarks cpu` describes them, one thread; subprocess.CalledProcessError if that fails."""
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder, "answer")
        options = ["--seconds", str(seconds), "--threads", "1", "--kernels", weaker.kernel, "--json", str(answer)]
        command = [sys.executable, "-m", "benchmarks", "cpu", *options]
        forced = os.environ | {VARIABLE: ",".join(sorted(weaker.features.present))}
        subprocess.run(command, env=forced, capture_output=True, check=True)  # noqa: S603
        kernels: list[dict[str, Any]] = json.loads(answer.read_text())["kernels"]
    return [result | {"features": weaker.name} for result in kernels]
