from __future__ import annotations

import subprocess
import sys

import pytest

import native
from native.features import VARIABLE

HOST = native.host_features({})
STRONG = native.Features("x86_64", "znver4", frozenset({"avx2", "avx512f", "avx512vl", "sha"}), frozenset({"sse4a"}))


def test_a_forced_set_is_the_baseline_and_nothing_else() -> None:
    weak = native.host_features({VARIABLE: ""})
    assert (weak.present, weak.absent) == (frozenset(), frozenset())
    assert weak.cpu in {"x86-64", "generic"}
    assert STRONG.weakened_to(["avx2"]).target == "+avx2"


def test_a_feature_that_the_machine_lacks_is_refused_by_name() -> None:
    with pytest.raises(native.FeatureError, match="flux512"):
        native.host_features({VARIABLE: "flux512"})


def test_different_targets_have_different_fingerprints() -> None:
    targets = [HOST, STRONG, STRONG.weakened_to([]), STRONG.weakened_to(["avx2"])]
    assert len({x.fingerprint for x in targets}) == 4
    assert native.host_features({}).fingerprint == HOST.fingerprint
    assert STRONG.target == "+avx2,+avx512f,+avx512vl,+sha,-sse4a"


def test_looking_at_kernels_does_not_load_llvm() -> None:
    code = "import sys, native; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
