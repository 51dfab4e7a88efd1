"""The list stays true while the code moves; the runs themselves are `make mutate`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.__main__ import is_caught
from tests.mutation.catalogue import ROOT, Mutation, mutations

MUTATIONS = mutations()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[each.name for each in MUTATIONS])
def test_a_mutation_has_its_place_and_its_tests(mutation: Mutation) -> None:
    sound = (ROOT / mutation.file).read_text()
    compile(mutation.applied(sound), mutation.file, "exec")
    assert mutation.applied(sound) != sound
    assert mutation.tests and all((ROOT / test).exists() for test in mutation.tests)


def test_a_mutation_is_caught_by_a_test_that_fails_and_its_file_is_whole_again(tmp_path: Path) -> None:
    (tmp_path / "abacus.py").write_text("def add(a, b):\n    return a + b\n")
    (tmp_path / "test_good.py").write_text("from abacus import add\n\ndef test_sum():\n    assert add(2, 3) == 5\n")
    (tmp_path / "test_poor.py").write_text("from abacus import add\n\ndef test_sum():\n    assert add(0, 0) == 0\n")
    caught = [
        is_caught(Mutation("minus", "abacus.py", "a + b", "a - b", (test,)), tmp_path)
        for test in ("test_good.py", "test_poor.py")
    ]
    assert caught == [True, False]
    assert "a + b" in (tmp_path / "abacus.py").read_text()


def test_tests_that_cannot_be_run_catch_nothing(tmp_path: Path) -> None:
    (tmp_path / "abacus.py").write_text("a + b\n")
    with pytest.raises(RuntimeError, match="pytest ended with"):
        is_caught(Mutation("minus", "abacus.py", "a + b", "a - b", ("no_such_test.py",)), tmp_path)
