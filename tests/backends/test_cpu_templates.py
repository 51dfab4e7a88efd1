from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import native
from backends import cpu
from backends.cpu import cores, templates
from backends.cpu.dispatch import SCHEDULED
from backends.cpu.templates import Tuned
from native.scheduled import MANY, ONE

TUNED = Tuned(one=replace(ONE, window=61), many=MANY)
STRONG = native.Features("x86_64", "znver4", frozenset(SCHEDULED))


def test_what_was_found_is_remembered_for_its_processor(tmp_path: Path) -> None:
    templates.write(tmp_path, "ACME 1", TUNED)
    templates.write(tmp_path, "ACME 2", Tuned(one=ONE, many=MANY))
    assert templates.read(tmp_path, "ACME 1") == TUNED
    assert templates.read(tmp_path, "ACME 3") is None
    assert templates.read(None, "ACME 1") is None
    assert [x.name for x in tmp_path.iterdir()] == ["tuned.json"]


@pytest.mark.parametrize(
    "flaw",
    [
        {"beats": []},
        {"beats": ["x"]},
        {"beats": ["n"] * 65},
        {"groups": [8, 8]},
        {"groups": [4, 4, 4]},
        {"groups": [16, 0]},
        {"window": 0},
        {"window": 10**9},
        {"pace": -1},
        {"pace": "nan"},
        {"margin": 101},
    ],
    ids=str,
)
def test_a_file_that_no_tuning_wrote_is_not_used(tmp_path: Path, flaw: dict[str, object]) -> None:
    sound = {"one": asdict(ONE), "many": asdict(MANY)}
    (tmp_path / "tuned.json").write_text(json.dumps({"x": sound}))
    assert templates.read(tmp_path, "x") == Tuned(one=ONE, many=MANY)
    (tmp_path / "tuned.json").write_text(json.dumps({"x": {**sound, "one": asdict(ONE) | flaw}}))
    assert templates.read(tmp_path, "x") is None
    (tmp_path / "tuned.json").write_text("{")
    assert templates.read(tmp_path, "x") is None


def test_other_templates_make_another_kernel_which_stands_first(tmp_path: Path) -> None:
    def names() -> list[str]:
        return [x.name for x in cpu.candidates(STRONG, cpu.KernelCache(tmp_path))]

    plain = names()
    templates.write(tmp_path, cores.model(), TUNED)
    tuned = names()
    assert tuned[1:] == plain
    templates.write(tmp_path, cores.model(), Tuned(one=ONE, many=replace(MANY, low=False)))
    assert names()[1:] == plain and names()[0] != tuned[0]
    first = cpu.candidates(STRONG, cpu.KernelCache(tmp_path))[0]
    assert (first.family, first.unusable) == ("tuned8", None)


def test_a_kernel_of_found_templates_is_compiled_and_proven(tmp_path: Path) -> None:
    cache = cpu.open_cache(tmp_path, native.host_features())
    assert cache.folder is not None
    templates.write(cache.folder, cores.model(), Tuned(one=replace(ONE, low=False), many=replace(MANY, low=False)))
    tuned = next(x for x in cpu.candidates(cache=cache) if x.family == "tuned8")
    if tuned.unusable:
        with pytest.raises(native.UnusableKernelError):
            cpu.load(tuned, cache)
        return
    assert cpu.load(tuned, cache).name == tuned.name
    assert cache.holds(tuned.name)
