from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import native
from native import compiled, proof, sha256
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
        "avx2x8": "this processor has no avx2",
        "vector4": None,
        "scalar": None,
    }
    assert [name for name, reason in by_name(WEAK).items() if reason is None] == ["vector4", "scalar"]


def test_an_unusable_candidate_is_never_compiled() -> None:
    with pytest.raises(native.UnusableKernelError, match="avx512f"):
        native.load(native.candidates(WEAK)[0])


@pytest.mark.parametrize("features", ["", "avx2"])
def test_a_weaker_machine_runs_what_it_can(features: str, state: Path) -> None:
    if native.host_features({}).lacks(x for x in features.split(",") if x):
        features = ""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_ALL, str(state), "1"],
        env={VARIABLE: features, "PYTHONPATH": str(Path(native.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout.split(), run.stderr) == (["avx2x8" if features else "vector4"], "")


def test_the_start_is_what_the_cache_holds_and_then_the_best(tmp_path: Path) -> None:
    usable = [dataclasses.replace(x, unusable=None) for x in native.candidates()]
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
    slow, quick, *_ = (
        dataclasses.replace(x, unusable=None, compile_s=s)
        for x, s in zip(native.candidates(), (3.0, 1.0, 2.0, 2.0), strict=True)
    )
    assert native.startup_order([slow, quick]) == (quick, slow)


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


def test_a_kernel_compiled_from_a_wrong_constant_is_not_let_through(
    best: native.Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sha256, "K", (*sha256.K[:40], sha256.K[40] ^ 0x100, *sha256.K[41:]))
    run_scan = compiled.compile_scan(native.host_features(), best.lanes, ternary=best.lanes == 16, folder=None)
    with pytest.raises(native.ProofError, match=best.name):
        proof.prove(dataclasses.replace(best, run_scan=run_scan))


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
