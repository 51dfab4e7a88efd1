from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.cpu import cores


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


class Machine:
    """A /proc and a /sys/fs/cgroup of our own."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.cgroups.mkdir()

    def belongs_to(self, *lines: str) -> None:
        (self.proc / "self/cgroup").write_text("\n".join(lines) + "\n")

    def limits(self, group: str, **files: str) -> None:
        folder = self.cgroups / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name.replace("__", ".")).write_text(text + "\n")

    def quota(self) -> float | None:
        return cores.quota(self.proc, self.cgroups)


def test_a_quota_of_the_unified_hierarchy_is_read(machine: Machine) -> None:
    machine.belongs_to("0::/system.slice/miner.service")
    machine.limits("system.slice/miner.service", cpu__max="150000 100000")
    assert machine.quota() == 1.5


def test_the_tightest_limit_on_the_way_up_counts(machine: Machine) -> None:
    machine.belongs_to("0::/outer/inner")
    machine.limits("outer/inner", cpu__max="400000 100000")
    machine.limits("outer", cpu__max="200000 100000")
    machine.limits("", cpu__max="max 100000")
    assert machine.quota() == 2


def test_a_quota_of_the_old_hierarchy_is_read_through_its_controllers_folder(machine: Machine) -> None:
    machine.belongs_to("9:name=systemd:/x", "4:cpu,cpuacct:/docker/ab", "0::/")
    machine.limits("cpu,cpuacct/docker/ab", cpu__cfs_quota_us="50000", cpu__cfs_period_us="100000")
    assert machine.quota() == 0.5


def test_a_container_sees_its_limit_at_the_root_though_its_path_is_the_hosts(machine: Machine) -> None:
    machine.belongs_to("4:cpu,cpuacct:/docker/ab")
    machine.limits("cpu", cpu__cfs_quota_us="300000", cpu__cfs_period_us="100000")
    assert machine.quota() == 3


@pytest.mark.parametrize(
    "files",
    [
        {"cpu__max": "max 100000"},
        {"cpu__cfs_quota_us": "-1", "cpu__cfs_period_us": "100000"},
        {"cpu__max": "nonsense"},
        {"cpu__max": "100000 0"},
        {},
    ],
)
def test_no_limit_and_no_sense_are_no_quota(machine: Machine, files: dict[str, str]) -> None:
    machine.belongs_to("0::/group", "4:cpu:/group")
    machine.limits("group", **files)
    machine.limits("cpu/group", **files)
    assert machine.quota() is None


def test_without_control_groups_there_is_no_quota(machine: Machine) -> None:
    assert machine.quota() is None


def test_a_quota_above_the_controllers_root_is_not_ours(machine: Machine) -> None:
    machine.belongs_to("4:cpu:/group")
    machine.limits("", cpu__max="100000 100000")
    assert machine.quota() is None


@pytest.mark.parametrize(
    ("count", "quota", "threads"), [(8, None, 8), (8, 4.0, 4), (8, 2.9, 2), (8, 0.3, 1), (2, 16.0, 2)]
)
def test_threads_are_the_whole_cores_that_can_be_had(count: int, quota: float | None, threads: int) -> None:
    assert cores.thread_count(count, quota) == threads


def test_fewer_threads_than_cores_get_the_best_and_more_are_left_alone() -> None:
    assert cores.placement(2, [5, 3]) == [5, 3]
    assert cores.placement(1, [5, 3]) == [5]
    assert cores.placement(3, [5, 3]) == [None, None, None]


def test_affinity_is_what_this_process_was_given() -> None:
    assert set(cores.affinity()) == os.sched_getaffinity(0)


def test_the_model_is_the_makers_name_for_it(machine: Machine) -> None:
    (machine.proc / "cpuinfo").write_text("processor\t: 0\nmodel name\t: ACME 9000 @ 3:1\n\nprocessor\t: 1\n")
    assert cores.model(machine.proc) == "ACME 9000 @ 3:1"


def test_a_machine_that_does_not_say_its_model_has_one_all_the_same(machine: Machine) -> None:
    assert cores.model(machine.proc) == "unknown processor"
