from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import native
from backends import kernels
from backends.kernels.candidates import starter
from native import compiled
from tests.backends.kernels import weaker

WEAK = native.Features("x86_64", "x86-64", frozenset())


def by_name(features: native.Features) -> dict[str, str | None]:
    return {x.name: x.unusable for x in kernels.candidates(features)}


def test_a_candidate_says_what_the_processor_lacks() -> None:
    reasons = by_name(dataclasses.replace(WEAK, present=frozenset({"avx512f"})))
    assert reasons == {
        "scheduled8": "this processor has no sha, sse4.1, avx512vl, avx512bw",
        "scheduled8-high": "this processor has no sha, sse4.1, avx512vl, avx512bw",
        "scheduled8-avx2": "this processor has no sha, sse4.1, avx2",
        "hybrid8": "this processor has no sha, sse4.1",
        "avx512x16": None,
        "scheduled4": "this processor has no sha, sse4.1, avx2",
        "sha4": "this processor has no sha, sse4.1",
        "avx2x8": "this processor has no avx2",
        "vector4": None,
        "scalar": None,
    }
    assert [name for name, reason in by_name(WEAK).items() if reason is None] == ["vector4", "scalar"]


def test_what_may_be_very_slow_goes_first_only_where_it_is_known_not_to_be() -> None:
    everything = frozenset({"sha", "sse4.1", "avx2", "avx512f", "avx512vl", "avx512bw"})
    names = {cpu_name: [*by_name(native.Features("x86_64", cpu_name, everything))] for cpu_name in ("znver4", "new")}
    assert names["znver4"][:4] == ["scheduled8", "scheduled8-avx2", "hybrid8", "avx512x16"]
    assert names["new"] == [*names["znver4"][3:], "scheduled8", "scheduled8-avx2", "hybrid8"]


def test_an_arm_processor_runs_its_own_sha_instructions_or_vectors() -> None:
    arm = native.Features("aarch64", "neoverse-n1", frozenset({"neon", "sha2"}))
    assert next(name for name, reason in by_name(arm).items() if reason is None) == "arm4"
    old = by_name(dataclasses.replace(arm, present=frozenset({"neon"})))
    assert old["arm4"] == "this processor has no sha2"
    assert next(name for name, reason in old.items() if reason is None) == "vector4"
    assert "arm4" not in by_name(WEAK)


def test_an_unusable_candidate_is_never_compiled() -> None:
    with pytest.raises(native.UnusableKernelError, match="avx512f"):
        kernels.load(next(x for x in kernels.candidates(WEAK) if x.name == "avx512x16"))


@pytest.mark.parametrize(("features", "name"), [("", "scalar"), ("sha,sse4.1", "sha4")])
def test_a_weaker_machine_runs_what_it_can(features: str, name: str, state: Path) -> None:
    if native.host_features({}).lacks(x for x in features.split(",") if x):
        features, name = "", "scalar"
    weaker.load(features, name, state)  # more kernels, which take longer to compile: make test-real


VECTORS = {"avx512x16", "avx2x8", "vector4", "scalar"}


def vectors_only() -> list[kernels.Candidate]:
    return [dataclasses.replace(x, unusable=None) for x in kernels.candidates() if x.name in VECTORS]


def test_the_start_is_the_best_unless_another_is_ready_or_much_quicker_to_compile() -> None:
    usable = vectors_only()
    best, *_, last = usable
    assert starter(usable, set()) == best
    assert starter(usable, {last.name}) == last
    assert starter(usable, {last.name, best.name}) == best
    slow, quick = (dataclasses.replace(x, compile_s=s) for x, s in zip(usable, (3.0, 1.0), strict=False))
    assert starter([slow, quick], set()) == quick


def test_sha_instructions_are_what_a_machine_that_has_them_starts_with() -> None:
    strong = dataclasses.replace(WEAK, present=frozenset({"sha", "sse4.1", "avx2", "avx512f"}))
    assert starter([x for x in kernels.candidates(strong) if x.unusable is None], set()).name == "sha4"


def test_what_was_cached_of_a_kernel_that_fails_its_proof_is_forgotten(
    quick: native.Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    candidate = next(x for x in kernels.candidates() if x.name == quick.name)
    (tmp_path / quick.name).mkdir()
    monkeypatch.setattr(compiled, "compile_scan", lambda *_args, **_named: lambda *_job: 0)
    with pytest.raises(kernels.ProofError):
        kernels.load(candidate, kernels.KernelCache(tmp_path))
    assert not (tmp_path / quick.name).exists()
