from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import native
from backends import cpu
from backends.cpu.forge import Forge, Search


class Named:
    """A search that is only its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    prepare = scan = None


def candidate(name: str, unusable: str | None = None) -> cpu.Candidate:
    return cpu.Candidate(name, (), 1.0, unusable)


GOOD, BEST = candidate("good"), candidate("best")


def quick_then_best(left: Sequence[cpu.Candidate]) -> Sequence[cpu.Candidate]:
    """As cpu.startup_order: of candidates that are best first, the last starts quickest."""
    return [left[-1], left[0]] if len(left) > 1 else left


def forge(
    choice: Sequence[cpu.Candidate], refuse: dict[str, Exception] | None = None
) -> tuple[Forge, list[str | None]]:
    """A forge, and the names of what it had to offer each time that it said so."""
    offered: list[str | None] = []

    def load(candidate: cpu.Candidate) -> Search:
        if error := (refuse or {}).get(candidate.name):
            raise error
        return Named(candidate.name)  # type: ignore[return-value]

    made = Forge(choice, quick_then_best, load)
    made.changed = lambda: offered.append(made.search and made.search.name)
    return made, offered


def work(made: Forge) -> None:
    made.begin()
    assert made._thread
    made._thread.join(10.0)


def test_something_quick_comes_first_and_the_best_replaces_it() -> None:
    made, offered = forge([BEST, GOOD])
    work(made)
    assert offered == ["good", "best"]
    assert made.compiling is None and made.failure is None


def test_a_kernel_that_fails_its_proof_is_skipped_with_its_reason() -> None:
    made, offered = forge([BEST, GOOD], {"best": native.ProofError("missed a block")})
    work(made)
    assert offered == ["good"]
    assert made.refused == {"best": "missed a block"}


def test_after_a_refused_start_the_rest_has_its_turn() -> None:
    made, offered = forge([BEST, GOOD], {"good": ValueError("a defect in its making")})
    work(made)
    assert offered == ["best"]
    assert made.refused == {"good": "a defect in its making"}


def test_when_none_is_left_it_says_of_each_why_and_tries_again_when_asked() -> None:
    refuse: dict[str, Exception] = {"good": native.CompilationError("no"), "best": native.ProofError("wrong")}
    made, offered = forge([BEST, GOOD], refuse)
    work(made)
    assert offered == [None]
    assert made.failure == "no kernel works here: good: no; best: wrong"
    refuse.clear()
    work(made)
    assert made.search and made.search.name == "best"
    assert made.failure is None and not made.refused


def test_what_the_machine_cannot_run_is_never_loaded() -> None:
    made, offered = forge([candidate("best", "no such instructions"), GOOD])
    work(made)
    assert offered == ["good"]


def test_a_second_begin_neither_repeats_nor_doubles_the_work() -> None:
    started, release, loads = threading.Event(), threading.Event(), []

    def load(candidate: cpu.Candidate) -> Search:
        loads.append(candidate.name)
        started.set()
        release.wait(10.0)
        return Named(candidate.name)  # type: ignore[return-value]

    made = Forge([BEST], quick_then_best, load)
    made.begin()
    assert started.wait(10.0)
    assert made.compiling == "best"
    made.begin()
    release.set()
    work(made)
    assert loads == ["best"]


def test_it_gives_way_only_once_something_hashes() -> None:
    order: list[str] = []
    said: Callable[[str], None] = order.append
    made = Forge([BEST], quick_then_best, lambda x: Named(x.name), settle=lambda: said("settled"))  # type: ignore[arg-type, return-value]
    made.changed = lambda: said("ready")
    work(made)
    assert order == ["ready", "settled"]
