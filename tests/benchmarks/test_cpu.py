"""What the CPU benchmark makes of samples, without taking any."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import native
from benchmarks.cpu import benchmark as cpu
from benchmarks.cpu import floor, weaker
from benchmarks.cpu.searches import HITS_PER_HASH, TARGET, Trial, Walk
from benchmarks.pace import STEPS, chain
from native.symbolic import Layout, Operations
from native.word import Program

OWN, SHARED = Operations(add=100, rotate=10, xor3=2), Operations(add=32, choose=16)


def layout(own: Operations = OWN, shared: Operations = SHARED) -> Layout:
    return Layout(Program(11), (), shared, own)


def kernel(layout: Layout) -> native.Kernel:
    def scan(*_: object) -> tuple[int, int]:
        return 0, 0

    return native.Kernel("made up", 16, (), layout, 0, 4, scan, scan, scan, scan)


def trial(rates: list[float], threads: int = 1, midstates: int = 1, **given: Any) -> Trial:
    made = object.__new__(Trial)
    made.kernel, made.threads, made.midstates = kernel(layout(**given)), threads, midstates
    made.rates, made.clock = rates, []
    made._walks = [Walk(made.kernel, midstates, thread) for thread in range(threads)]
    return made


def test_cycles_are_those_of_the_best_chunks_and_of_all_threads() -> None:
    rates = [1e6] * 90 + [40e6] * 10
    assert cpu.describe(trial(rates), 4e9)["cycles_per_hash"] == 100.0
    assert cpu.describe(trial(rates, threads=2), 4e9)["cycles_per_hash"] == 200.0


def test_a_kernel_is_described_as_the_json_promises() -> None:
    told = cpu.describe(trial([1e6, 2e6, 3e6], midstates=4), 3e9)
    assert (told["name"], told["threads"], told["midstates"]) == ("made up", 1, 4)
    rate = told["hashes_per_second"]
    assert (rate["median"], rate["min"], rate["max"], rate["p95"]) == (2e6, 1e6, 3e6, 3e6)
    assert told["operations_per_hash"]["add"] == 108.0
    assert told["operations"] in {112 + 48 / 4, 134 + 80 / 4}
    assert told["operations_own"]["rotate"] == 10
    assert told["hits"] == {"found": 0, "expected": 0.0, "wrong": 0, "right": True}


def test_threads_are_compared_with_one_of_the_same_kind() -> None:
    slow, fast = cpu.describe(trial([10.0]), 1.0), cpu.describe(trial([19.0], threads=2), 1.0)
    other = cpu.describe(trial([30.0], threads=2, midstates=4), 1.0)
    (ratio,) = cpu.ratios([fast, slow, other])
    assert (ratio["threads"], ratio["midstates"], ratio["median"], ratio["p95"]) == (2, 1, 1.9, 1.9)


def test_the_floor_of_a_vector_is_all_its_operations_in_all_its_pipes() -> None:
    assert floor.cycles(floor.ZEN_4, layout(), 4, 16, ternary=True) == (112 + 48 / 4) / 16 / 2
    assert floor.cycles(floor.ZEN_4, layout(), 1, 8, ternary=False) == (112 + 20 + 2 + 48 + 32) / 8 / 4
    assert floor.cycles(floor.ZEN_4, layout(), 1, 1, ternary=True) is None


def test_the_floor_of_sha_instructions_is_their_round_pairs() -> None:
    counted = layout(own=Operations(round_pairs=60, add=400))
    assert floor.cycles(floor.ZEN_4, counted, 1, 8, ternary=True) == 60.0
    assert floor.cycles(floor.ICE_LAKE, counted, 1, 8, ternary=True) == pytest.approx(180.0)


def test_a_processor_that_nobody_measured_has_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_name", lambda: "flux")
    assert floor.core_named("flux") is None
    told = cpu.describe(trial([1e6]), 1e9)
    assert (told["floor_cycles_per_hash"], told["share_of_floor"]) == (None, None)


def test_each_step_of_the_chain_depends_on_the_last() -> None:
    x = 5
    for _ in range(3 * STEPS):
        x = (x + 5) ^ 5
    assert chain()(3, 5) == x


def test_weaker_processors_are_different_and_run_what_they_can() -> None:
    names = {"sha", "sse3", "ssse3", "sse4.1", "avx", "avx2", "avx512f", "avx512vl"}
    host = native.Features("x86_64", "znver4", frozenset(names))
    found = {x.name: x for x in weaker.processors(host)}
    assert list(found) == ["no SHA", "no AVX-512", "AVX2", "SHA, SSE4.1", "SSE4.1", "bare"]
    assert "avx512f" in found["no SHA"].features.present
    assert found["AVX2"].features.present == names - {"sha", "avx512f", "avx512vl"}
    assert found["AVX2"].kernel == "avx2x8"
    assert found["bare"].features.present == frozenset()
    assert len({x.features for x in found.values()}) == len(found)
    assert list(weaker.processors(host.weakened_to([]))) == []


def test_a_weaker_processor_is_measured_in_a_process_that_has_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[tuple[list[str], str]] = []

    def run(command: list[str], env: dict[str, str], **_: Any) -> None:
        started.append((command, env["ANGARA_CPU_FEATURES"]))
        Path(command[command.index("--json") + 1]).write_text('{"kernels": [{"name": "avx2x8", "features": "all"}]}')

    monkeypatch.setattr("subprocess.run", run)
    features = native.Features("x86_64", "x86-64", frozenset({"avx2", "avx"}))
    measured = weaker.measure(weaker.Weaker("AVX2", features, "avx2x8"), 1.5)
    assert measured == [{"name": "avx2x8", "features": "AVX2"}]
    ((command, forced),) = started
    assert forced == "avx,avx2"
    assert {"--kernels", "avx2x8", "--seconds", "1.5"} <= set(command)


class Searching:
    """A kernel's scan that reports one hit per chunk."""

    def __init__(self, nonce: int) -> None:
        self._nonce = nonce

    def __call__(self, _kernel: native.Kernel, nonces: native.NonceRange) -> tuple[int, int]:
        nonces.hits[0] = self._nonce, 0
        return nonces.count, 1


def test_hits_that_hashlib_does_not_confirm_are_false(monkeypatch: pytest.MonkeyPatch) -> None:
    searching = Searching(nonce=3)
    monkeypatch.setattr("native.prepare", lambda *_: None)
    monkeypatch.setattr("native.scan", searching)
    walk = Walk(kernel(layout()), 1, 0)
    assert walk.step() == walk.count == walk.hashes
    walk.check()
    walk.check()
    assert (walk.found, walk.wrong) == (1, 1)

    monkeypatch.setattr(Walk, "_confirmed", lambda *_: True)
    walk.step()
    walk.check()
    assert (walk.found, walk.wrong) == (2, 1)
    assert round(1 / HITS_PER_HASH) == 65535
    assert TARGET >> 224 == 1 << 16


def test_the_table_says_what_was_assumed_and_who_is_wrong() -> None:
    results = []
    for threads in (1, 2):
        told = cpu.describe(trial([20e6 * threads], threads=threads), 2e9)
        told |= {"compile_s": 1.5, "cached_s": 0.25, "resident_bytes": 99e6, "times_peer": 2.0 * threads}
        results.append(told)
    results[0]["hits"] = {"found": 2, "expected": 100.0, "wrong": 1, "right": False}
    rate = {"median": 10e6, "min": 9e6, "max": 11e6}
    console = Console(file=io.StringIO(), width=100)
    cpu._show(
        console,
        {
            "cpu": "znver4",
            "kernels": results,
            "ratios": cpu.ratios(results),
            "against": {"command": "peer --benchmark", "hashes_per_second": rate},
        },
    )
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "2.00 GHz with 1 thread(s)" in shown
    assert "Zen 4 begins in a cycle 1 pairs of rounds" in shown
    assert "times the rate of one thread" in shown
    assert "peer --benchmark: 10.00 MH/s (9.00 to 11.00); made up with 2 thread(s)" in shown
    assert "made up is wrong: 2 hits, 1 of them false, where 100 were to be expected" in shown
    assert "made up 1 1 20.00 20.00 20.00 20.00 100.0" in shown
    assert "made up 1 1 2.00 2.00" not in shown
    assert "made up 1 2 2.00 2.00" in shown
    assert "made up 1.50 0.25 99" in shown
