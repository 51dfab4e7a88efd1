from __future__ import annotations

from pathlib import Path

import pytest

from backends.cpu.topology import spell, survey


class Tree:
    """A /sys/devices as some machine would show it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")

    def cores(self, *, siblings: list[str], **files: list[int]) -> None:
        """Each core's siblings, and further files by their name with / for __."""
        self.write("system/cpu/online", f"0-{len(siblings) - 1}")
        for number, text in enumerate(siblings):
            self.write(f"system/cpu/cpu{number}/topology/thread_siblings_list", text)
            for name, values in files.items():
                self.write(f"system/cpu/cpu{number}/{name.replace('__', '/')}", values[number])

    def order(self, usable: range | list[int]) -> list[int]:
        return [core.number for core in survey(usable, self.root)]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_every_physical_core_comes_before_any_sibling(tree: Tree) -> None:
    tree.cores(siblings=["0-1", "0-1", "2-3", "2-3"])
    assert tree.order(range(4)) == [0, 2, 1, 3]


def test_siblings_numbered_apart_are_siblings_all_the_same(tree: Tree) -> None:
    tree.cores(siblings=["0,2", "1,3", "0,2", "1,3"])
    assert [(x.number, x.sibling) for x in survey(range(4), tree.root)] == [(0, 0), (1, 0), (2, 1), (3, 1)]


def test_a_sibling_whose_other_half_is_not_ours_is_a_core_of_its_own(tree: Tree) -> None:
    tree.cores(siblings=["0-1", "0-1", "2-3", "2-3"])
    assert tree.order([1, 2, 3]) == [1, 2, 3]


def test_cores_of_one_memory_node_stand_together(tree: Tree) -> None:
    tree.cores(siblings=["0", "1", "2", "3"])
    tree.write("system/node/node0/cpulist", "0,2")
    tree.write("system/node/node1/cpulist", "1,3")
    assert [(x.number, x.node) for x in survey(range(4), tree.root)] == [(0, 0), (2, 0), (1, 1), (3, 1)]


def test_on_a_hybrid_processor_efficient_cores_come_after_fast_ones_and_before_siblings(tree: Tree) -> None:
    tree.cores(siblings=["0-1", "0-1", "2-3", "2-3", "4", "5"])
    tree.write("cpu_core/cpus", "0-3")
    tree.write("cpu_atom/cpus", "4-5")
    assert tree.order(range(6)) == [0, 2, 4, 5, 1, 3]


def test_big_cores_come_before_little_ones(tree: Tree) -> None:
    tree.cores(siblings=["0", "1", "2", "3"], cpu_capacity=[446, 446, 1024, 1024])
    assert tree.order(range(4)) == [2, 3, 0, 1]


def test_where_nothing_else_differs_the_higher_clock_comes_first(tree: Tree) -> None:
    tree.cores(siblings=["0", "1", "2"], cpufreq__cpuinfo_max_freq=[4_000_000, 4_000_000, 5_200_000])
    assert tree.order(range(3)) == [2, 0, 1]


def test_a_core_that_is_offline_is_not_hashed_on(tree: Tree) -> None:
    tree.cores(siblings=["0", "1", "2", "3"])
    tree.write("system/cpu/online", "0,2-3")
    assert tree.order(range(4)) == [0, 2, 3]


@pytest.mark.parametrize("nonsense", ["", "0-", "3-1", "0-99999999", "-1", "first"])
def test_what_makes_no_sense_leaves_the_plain_order(tree: Tree, nonsense: str) -> None:
    tree.cores(siblings=[nonsense] * 3)
    for path in ("system/cpu/online", "system/node/node0/cpulist", "cpu_atom/cpus", "system/cpu/cpu1/cpu_capacity"):
        tree.write(path, nonsense)
    assert tree.order([2, 0, 1]) == [0, 1, 2]


def test_without_a_sys_there_is_the_plain_order(tmp_path: Path) -> None:
    assert [x.number for x in survey([5, 3], tmp_path / "nothing")] == [3, 5]


def test_this_machine_has_the_cores_that_it_has() -> None:
    assert sorted(x.number for x in survey([0])) == [0]


def test_core_numbers_are_spelled_as_taskset_takes_them() -> None:
    assert spell([6, 0, 1, 2, 3]) == "0-3,6"
    assert spell([]) == ""
