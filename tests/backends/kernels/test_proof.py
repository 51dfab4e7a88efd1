from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

import native
from backends import kernels
from native import compiled, sha256, streams

Scan = Callable[..., int]


def words(memory: Any) -> Any:
    return ctypes.cast(memory, ctypes.POINTER(ctypes.c_uint32))


# The arguments of a scan that these look at.
HITS, CANCEL, EPOCH, FOUND = 4, 6, 7, 10


def forgets_the_last_hit(scan: Scan, *job: Any) -> int:
    done = scan(*job)
    job[FOUND]._obj.value = max(job[FOUND]._obj.value - 1, 0)
    return done


def reports_a_neighbour(scan: Scan, *job: Any) -> int:
    done = scan(*job)
    for place in range(job[FOUND]._obj.value):
        words(job[HITS])[2 * place] += 1
    return done


def stops_short(scan: Scan, *job: Any) -> int:
    done = max(scan(*job) - 1, 0)
    job[FOUND]._obj.value = 0
    return done


def never_advances(_scan: Scan, *_job: Any) -> int:
    return 0


def ignores_the_cancel(scan: Scan, *job: Any) -> int:
    return scan(*job) if words(job[CANCEL])[0] == job[EPOCH] else 1


@pytest.mark.parametrize(
    "flaw", [forgets_the_last_hit, reports_a_neighbour, stops_short, never_advances, ignores_the_cancel]
)
def test_a_flawed_kernel_is_not_let_through(quick: native.Kernel, flaw: Callable[..., int]) -> None:
    flawed = dataclasses.replace(quick, run_scan=lambda *job: flaw(quick.run_scan, *job))
    with pytest.raises(kernels.ProofError, match=quick.name):
        kernels.prove(flawed)


@pytest.mark.parametrize("name", ["avx512x16+", "sha4"])
def test_a_kernel_compiled_from_a_wrong_constant_is_not_let_through(
    name: str, cache: kernels.KernelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    (candidate,) = [x for x in kernels.candidates() if x.name == name.strip("+")]
    if candidate.unusable:
        candidate, name = next(x for x in kernels.candidates() if x.name == "scalar"), "scalar"
    kernel = kernels.load(candidate, cache)
    wrong = (*sha256.K[:40], sha256.K[40] ^ 0x100, *sha256.K[41:])
    monkeypatch.setattr(sha256, "K", wrong)
    monkeypatch.setattr(streams, "K", wrong)
    run = compiled.compile_scan(native.host_features(), name, None)
    flawed = {"run_several": run} if name.endswith("+") else {"run_scan": run}
    with pytest.raises(kernels.ProofError, match=kernel.name):
        kernels.prove(dataclasses.replace(kernel, **flawed))
