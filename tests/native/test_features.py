from __future__ import annotations

import pytest

import native
from backends import cpu
from native import compiled
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


def test_one_process_compiles_for_one_set_of_features(quick: native.Kernel) -> None:
    scalar = next(x for x in cpu.candidates() if x.name == "scalar")
    with pytest.raises(native.FeatureError, match="process"):
        cpu.load(scalar, features=STRONG)


def test_a_compiler_that_refuses_is_reported_as_such(quick: native.Kernel) -> None:
    def nonsense() -> int:
        return undefined  # type: ignore[name-defined, no-any-return] # noqa: F821

    with pytest.raises(native.CompilationError, match="nonsense"):
        compiled._compile(native.host_features(), "int64()", nonsense, None, passes=True)


def test_leaving_out_llvms_passes_does_not_change_how_instructions_are_chosen(
    quick: native.Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_compiled", {})
    usual = compiled.config.OPT
    listing = next(iter(compiled.compile_midstates(native.host_features(), None).inspect_asm().values()))
    instructions = [line for line in listing.splitlines() if line.startswith("\t") and not line.startswith("\t.")]
    assert len(instructions) < 4_000  # of a compression; chosen without care they are more than 5,000
    assert compiled.config.OPT is usual
