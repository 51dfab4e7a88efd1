"""Kernels that LLVM takes long over, compiled for processors with fewer instructions than this one."""

from __future__ import annotations

from pathlib import Path

import pytest

import native
from tests.backends.kernels import weaker


@pytest.mark.parametrize(("features", "name"), [("", "vector4"), ("avx2", "avx2x8"), ("sha,sse4.1", "hybrid8")])
def test_a_weaker_machine_runs_what_it_can(features: str, name: str, state: Path) -> None:
    if native.host_features({}).lacks(x for x in features.split(",") if x):
        features, name = "", "vector4"
    weaker.load(features, name, state)
