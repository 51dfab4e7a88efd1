from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import native
from backends import cpu
from native import compiled, sha256, streams

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
def test_a_flawed_kernel_is_not_let_through(quick: native.Kernel, flaw: Callable[..., tuple[int, int]]) -> None:
    flawed = dataclasses.replace(quick, run_scan=lambda *job: flaw(quick.run_scan, *job))
    with pytest.raises(cpu.ProofError, match=quick.name):
        cpu.prove(flawed)


@pytest.mark.parametrize("name", ["avx512x16+", "sha4"])
def test_a_kernel_compiled_from_a_wrong_constant_is_not_let_through(
    name: str, cache: cpu.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (candidate,) = [x for x in cpu.candidates() if x.name == name.strip("+")]
    if candidate.unusable:
        candidate, name = next(x for x in cpu.candidates() if x.name == "scalar"), "scalar"
    kernel = cpu.load(candidate, cache)
    wrong = (*sha256.K[:40], sha256.K[40] ^ 0x100, *sha256.K[41:])
    monkeypatch.setattr(sha256, "K", wrong)
    monkeypatch.setattr(streams, "K", wrong)
    run = compiled.compile_scan(native.host_features(), name, None)
    flawed = {"run_several": run} if name.endswith("+") else {"run_scan": run}
    with pytest.raises(cpu.ProofError, match=kernel.name):
        cpu.prove(dataclasses.replace(kernel, **flawed))
