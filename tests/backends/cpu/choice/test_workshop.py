from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import native
from backends import kernels
from backends.cpu.choice import workshop as workshop_module
from backends.cpu.choice.choice import Choice, Outcome
from backends.cpu.choice.forge import forged
from backends.cpu.choice.workshop import Interrupted, Refused, Workshop

CANDIDATE = kernels.Candidate("scalar", (), 1.0)


def staged(folder: Path | None, script: str) -> Workshop:
    """A workshop whose processes run this instead."""
    command = [sys.executable, "-c", "import os, signal, sys, time\n" + script]
    return Workshop([CANDIDATE], kernels.KernelCache(folder), "ACME 9000", command=command)


def prove(folder: Path, script: str) -> Refused:
    with pytest.raises(Refused) as refused:
        staged(folder, script).prove("scalar")
    return refused.value


@pytest.mark.parametrize("name", ["SIGILL", "SIGSEGV", "SIGABRT"])
def test_a_kernel_that_crashes_takes_nobody_along_and_is_refused_for_good(tmp_path: Path, name: str) -> None:
    (tmp_path / "scalar").mkdir()
    refused = prove(
        tmp_path, f"sys.stderr.write('cannot select'); sys.stderr.flush(); os.kill(os.getpid(), signal.{name})"
    )
    assert str(refused) == f"crashed with {name}: cannot select"
    assert refused.for_good
    assert not (tmp_path / "scalar").exists()


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL"),
        ("sys.stderr.write('LLVM ERROR: out of memory'); sys.stderr.flush(); os.abort()", "out of memory"),
        ("raise OSError('no space left')", "no space left"),
        ("""print('{"refused": "the compiler refused"}')""", "the compiler refused"),
    ],
)
def test_what_may_go_better_tomorrow_is_refused_for_today(tmp_path: Path, script: str, says: str) -> None:
    refused = prove(tmp_path, script)
    assert says in str(refused)
    assert not refused.for_good


def test_a_wrong_answer_is_refused_for_good(tmp_path: Path) -> None:
    refused = prove(tmp_path, """print('{"refused": "missed the nonce of block 0", "for_good": true}')""")
    assert (str(refused), refused.for_good) == ("missed the nonce of block 0", True)


def test_a_compiler_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop_module, "_PATIENCE_S", 0.01)
    refused = prove(tmp_path, "time.sleep(60)")
    assert "took more than" in str(refused) and refused.for_good


def test_what_is_interrupted_ends_at_once_and_is_held_against_nobody(tmp_path: Path) -> None:
    made = staged(tmp_path, "print('at work', file=sys.stderr, flush=True); time.sleep(60)")
    outcomes: list[BaseException] = []

    def work() -> None:
        try:
            made.prove("scalar")
        except BaseException as e:  # noqa: BLE001
            outcomes.append(e)

    thread = threading.Thread(target=work)
    thread.start()
    while made._at_work is None:
        thread.join(0.001)
    made.interrupt()
    made.resume()  # before anybody noticed
    thread.join(10.0)
    assert [type(outcome) for outcome in outcomes] == [Interrupted]
    made.interrupt()
    with pytest.raises(Interrupted):
        made.race(["scalar"])
    made.resume()
    assert staged(tmp_path, """print('{"rates_hps": {}}')""").race(["scalar"]) == {}


def test_rates_come_back_from_the_process_that_measured_them(tmp_path: Path) -> None:
    made = staged(tmp_path, """print('{"rates_hps": {"scalar": {"1": 2.5}}}')""")
    assert made.race(["scalar"]) == {"scalar": Outcome(rates_hps={1: 2.5})}
    with pytest.raises(Refused, match="SIGILL"):
        staged(tmp_path, "os.kill(os.getpid(), signal.SIGILL)").race(["scalar"])


def test_what_it_remembers_makes_the_next_plan(tmp_path: Path) -> None:
    made = staged(tmp_path, "")
    made.remember({"scalar": Outcome(refused="crashed with SIGILL")})
    assert staged(tmp_path, "").plan().next() is None
    assert staged(tmp_path / "other", "").plan().next() is not None


def test_a_place_that_cannot_be_written_costs_the_memory_only(tmp_path: Path) -> None:
    said: list[str] = []
    made = Workshop([CANDIDATE], kernels.KernelCache(tmp_path / "gone"), "x", log=lambda event, **_: said.append(event))
    made.remember({})
    assert said == ["kernel_choice_not_kept"]


def test_a_memory_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    (tmp_path / "measured.json").write_text("torn")
    said: list[str] = []
    made = Workshop([CANDIDATE], kernels.KernelCache(tmp_path), "x", log=lambda event, **_: said.append(event))
    assert made.plan().record == {}
    assert said == ["kernel_choice_not_read"]


def candidate(kernel: native.Kernel) -> kernels.Candidate:
    return next(x for x in kernels.candidates() if x.name == kernel.name)


@pytest.mark.parametrize("unable", ["no cache", "no process"])
def test_where_no_process_can_do_it_it_is_done_here(
    unable: str, quick: native.Kernel, cache: kernels.KernelCache
) -> None:
    where = kernels.KernelCache(None) if unable == "no cache" else cache
    made = Workshop([candidate(quick)], where, "x", command=["/nonexistent/python"])
    loaded = pytest.MonkeyPatch()
    with loaded.context() as patch:
        patch.setattr(workshop_module, "load", lambda *_: quick)
        patch.setattr(workshop_module, "race", lambda searches: {name: {1: 3.0} for name in searches})
        made.prove(quick.name)
        assert made.race([quick.name]) == {quick.name: Outcome(rates_hps={1: 3.0})}
        assert made.load(Choice(quick.name, quick.name, 4)).midstates == 4


def test_without_a_cache_it_does_not_compile_everything() -> None:
    assert Workshop([CANDIDATE], kernels.NO_CACHE, "x").plan().most == 2
    assert Workshop([CANDIDATE], kernels.KernelCache(Path("x")), "x").plan().most is None


def test_a_real_kernel_is_proven_measured_and_loaded(quick: native.Kernel, cache: kernels.KernelCache) -> None:
    made = Workshop([candidate(quick)], cache, "a processor of this test")
    search = forged(made)
    assert search.name.split()[0] == quick.name
    (outcome,) = made.plan().record.values()
    assert set(outcome.rates_hps) == {1, 4, 8, 16, 32} and min(outcome.rates_hps.values()) > 0


def test_a_task_ends_with_the_process_that_asked_for_it(tmp_path: Path) -> None:
    task = [sys.executable, "-m", "backends.cpu.choice.trial", "1", str(tmp_path), "prove", "scalar"]
    ran = subprocess.run(
        task, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )
    assert ran.returncode == 1
    assert "the miner has ended" in ran.stderr
    assert not list(tmp_path.iterdir())
