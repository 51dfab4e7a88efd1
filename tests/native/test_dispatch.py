from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import native
from native import compiled, pairs, proof, sha256
from native.features import VARIABLE

WEAK = native.Features("x86_64", "x86-64", frozenset())

RUN_ALL = """
import sys, native
from pathlib import Path
cache = native.open_cache(Path(sys.argv[1]), native.host_features())
usable = [x for x in native.candidates() if x.unusable is None]
for candidate in usable[: int(sys.argv[2])]:
    print(native.load(candidate, cache).name)
"""


def by_name(features: native.Features) -> dict[str, str | None]:
    return {x.name: x.unusable for x in native.candidates(features)}


def test_a_candidate_says_what_the_processor_lacks() -> None:
    reasons = by_name(dataclasses.replace(WEAK, present=frozenset({"avx512f"})))
    assert reasons == {
        "avx512x16": None,
        "sha4": "this processor has no sha, sse4.1",
        "avx2x8": "this processor has no avx2",
        "vector4": None,
        "scalar": None,
    }
    assert [name for name, reason in by_name(WEAK).items() if reason is None] == ["vector4", "scalar"]


def test_an_unusable_candidate_is_never_compiled() -> None:
    with pytest.raises(native.UnusableKernelError, match="avx512f"):
        native.load(native.candidates(WEAK)[0])


@pytest.mark.parametrize(("features", "best"), [("", "vector4"), ("avx2", "avx2x8"), ("sha,sse4.1", "sha4")])
def test_a_weaker_machine_runs_what_it_can(features: str, best: str, state: Path) -> None:
    if native.host_features({}).lacks(x for x in features.split(",") if x):
        features, best = "", "vector4"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_ALL, str(state), "1"],
        env={VARIABLE: features, "PYTHONPATH": str(Path(native.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout.split(), run.stderr) == ([best], "")


VECTORS = {"avx512x16", "avx2x8", "vector4", "scalar"}


def vectors_only() -> list[native.Candidate]:
    return [dataclasses.replace(x, unusable=None) for x in native.candidates() if x.name in VECTORS]


def test_the_start_is_what_the_cache_holds_and_then_the_best(tmp_path: Path) -> None:
    usable = vectors_only()
    best = usable[0]
    cache = native.KernelCache(tmp_path)

    def order() -> list[str]:
        return [x.name for x in native.startup_order(usable, cache)]

    assert order() == [best.name]
    for held in ("scalar", "vector4", best.name):
        (tmp_path / held / "sub").mkdir(parents=True)
        (tmp_path / held / "sub" / "scan.1.nbc").touch()
        assert (
            order()
            == {
                "scalar": ["scalar", best.name],
                "vector4": ["vector4", best.name],
                best.name: [best.name],
            }[held]
        )
    assert native.startup_order(usable)[0] == best
    assert native.startup_order([dataclasses.replace(best, unusable="broken")]) == ()


def test_something_much_quicker_to_compile_goes_first() -> None:
    slow, quick = (dataclasses.replace(x, compile_s=s) for x, s in zip(vectors_only(), (3.0, 1.0), strict=False))
    assert native.startup_order([slow, quick]) == (quick, slow)


def test_sha_instructions_are_what_a_machine_that_has_them_starts_with() -> None:
    strong = dataclasses.replace(WEAK, present=frozenset({"sha", "sse4.1", "avx2", "avx512f"}))
    assert [x.name for x in native.startup_order(native.candidates(strong))] == ["sha4", "avx512x16"]


Scan = Callable[..., tuple[int, int]]


def forgets_the_last_hit(scan: Scan, *job: Any) -> tuple[int, int]:
    done, found = scan(*job)
    return done, max(found - 1, 0)


def reports_a_neighbour(scan: Scan, *job: Any) -> tuple[int, int]:
    done, found = scan(*job)
    job[3][:found, 0] += 1
    return done, found


def stops_short(scan: Scan, *job: Any) -> tuple[int, int]:
    return max(scan(*job)[0] - 1, 0), 0


def never_advances(_scan: Scan, *_job: Any) -> tuple[int, int]:
    return 0, 0


def ignores_the_cancel(scan: Scan, *job: Any) -> tuple[int, int]:
    done, found = scan(*job)
    return (done, found) if job[4][0] == job[5] else (1, 0)


@pytest.mark.parametrize(
    "flaw", [forgets_the_last_hit, reports_a_neighbour, stops_short, never_advances, ignores_the_cancel]
)
def test_a_flawed_kernel_is_not_let_through(best: native.Kernel, flaw: Callable[..., tuple[int, int]]) -> None:
    flawed = dataclasses.replace(best, run_scan=lambda *job: flaw(best.run_scan, *job))
    with pytest.raises(native.ProofError, match=best.name):
        proof.prove(flawed)


@pytest.mark.parametrize("name", ["avx512x16", "avx512x16+", "sha4", "vector4+"])
def test_a_kernel_compiled_from_a_wrong_constant_is_not_let_through(
    name: str, cache: native.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (candidate,) = [x for x in native.candidates() if x.name == name.strip("+")]
    if candidate.unusable:
        candidate, name = native.candidates()[-1], "scalar"
    kernel = native.load(candidate, cache)
    wrong = (*sha256.K[:40], sha256.K[40] ^ 0x100, *sha256.K[41:])
    monkeypatch.setattr(sha256, "K", wrong)
    monkeypatch.setattr(pairs, "K", wrong)
    run = compiled.compile_scan(native.host_features(), name, None)
    flawed = {"run_several": run} if name.endswith("+") else {"run_scan": run}
    with pytest.raises(native.ProofError, match=kernel.name):
        proof.prove(dataclasses.replace(kernel, **flawed))


def test_what_was_cached_of_a_kernel_that_fails_its_proof_is_forgotten(
    best: native.Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "scalar").mkdir()
    monkeypatch.setattr(compiled, "compile_scan", lambda *_args, **_named: lambda *_job: (0, 0))
    with pytest.raises(native.ProofError):
        native.load(native.candidates()[-1], native.KernelCache(tmp_path))
    assert not (tmp_path / "scalar").exists()


def test_a_compiler_that_refuses_is_reported_as_such(best: native.Kernel) -> None:
    def nonsense() -> int:
        return undefined  # type: ignore[name-defined, no-any-return] # noqa: F821

    with pytest.raises(native.CompilationError, match="nonsense"):
        compiled._compile(native.host_features(), "int64()", nonsense, None)
