from __future__ import annotations

import pytest

from backends.base import DeviceInfo, Kind
from miner.rig.selection import SelectionError, obstacle, select

CPU = DeviceInfo("cpu:0", "cpu", Kind.CPU, "AMD EPYC 7B13")
GPU = DeviceInfo("opencl:0000:01:00.0", "opencl", Kind.GPU, "Radeon VII")
BROKEN = DeviceInfo("opencl:0000:02:00.0", "opencl", Kind.GPU, "Radeon VI", unusable="driver\x1b gone")
STICK = DeviceInfo("asic:GSF1", "asic", Kind.ASIC, "GekkoScience Compac F")
EMULATED = DeviceInfo("asic:virtual", "asic", Kind.ASIC, "emulated Compac F", virtual=True)
MACHINE = (CPU, GPU, BROKEN, STICK, EMULATED)


def test_with_a_pool_everything_usable_mines_and_the_rest_says_why_not() -> None:
    selection = select(MACHINE, (), consented=True)
    assert selection.chosen == (CPU, GPU, STICK, EMULATED)
    assert selection.passed_over == ((BROKEN, "driver\x1b gone"),)


def test_without_a_pool_no_real_gpu_or_asic_starts() -> None:
    selection = select(MACHINE, (), consented=False)
    assert selection.chosen == (CPU, EMULATED)
    assert [device for device, _ in selection.passed_over] == [GPU, BROKEN, STICK]
    assert "--pool embedded:" in (obstacle(STICK, consented=False) or "")
    assert obstacle(STICK, consented=True) is None


@pytest.mark.parametrize("wanted", ["asic:gsf1", "3", "gekko"])
def test_naming_a_real_device_is_no_consent_to_burn_power_for_nothing(wanted: str) -> None:
    with pytest.raises(SelectionError, match=r"asic:GSF1 .*--pool embedded:"):
        select(MACHINE, [wanted], consented=False)


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (["0"], (CPU,)),
        (["01"], (GPU,)),
        (["OPENCL:0000:01:00.0"], (GPU,)),
        (["gpu"], (GPU,)),
        (["opencl"], (GPU,)),
        (["asic"], (STICK, EMULATED)),
        (["compac"], (STICK, EMULATED)),
        (["Radeon VI"], (GPU,)),
        (["4", "cpu"], (CPU, EMULATED)),
        (["cpu", "0", "cpu:0"], (CPU,)),
    ],
)
def test_devices_are_named_by_index_id_kind_or_model(wanted: list[str], chosen: tuple[DeviceInfo, ...]) -> None:
    selection = select(MACHINE, wanted, consented=True)
    assert selection.chosen == chosen
    assert dict(selection.passed_over).keys() == set(MACHINE) - set(chosen)


def test_an_entry_that_fits_nothing_names_what_exists() -> None:
    with pytest.raises(
        SelectionError, match=r"--device 7 fits nothing; there is: 0 cpu:0 \(cpu, AMD EPYC 7B13\), 1 opencl"
    ):
        select(MACHINE, ["cpu", "7"], consented=True)
    with pytest.raises(SelectionError, match="there is: no device at all"):
        select((), ["cpu"], consented=True)


def test_an_unusable_device_that_was_asked_for_is_an_error_with_its_reason() -> None:
    with pytest.raises(SelectionError, match=r"--device 2: opencl:0000:02:00.0 \(Radeon VI\): driver\\x1b gone"):
        select(MACHINE, ["2"], consented=True)


def test_nothing_that_can_mine_is_an_error_with_every_reason() -> None:
    with pytest.raises(
        SelectionError, match=r"no device can mine: opencl.*: driver.*; asic:GSF1.*: it would burn power"
    ):
        select((BROKEN, STICK), (), consented=False)
    with pytest.raises(SelectionError, match="none was found"):
        select((), (), consented=True)


RUNTIME = DeviceInfo("opencl:pocl", "opencl", Kind.CPU, "pthread-Xeon", on_request="the cpu backend is faster")


def test_a_device_that_waits_to_be_asked_mines_only_when_it_is_meant() -> None:
    machine = (CPU, GPU, RUNTIME)
    unasked = select(machine, (), consented=True)
    assert unasked.chosen == (CPU, GPU)
    assert unasked.passed_over == ((RUNTIME, "the cpu backend is faster"),)
    assert select(machine, ["cpu"], consented=True).chosen == (CPU,)
    assert select(machine, ["opencl"], consented=True).chosen == (GPU,)
    assert select(machine, ["2"], consented=True).chosen == (RUNTIME,)
    assert select(machine, ["opencl:pocl", "cpu"], consented=True).chosen == (CPU, RUNTIME)
    assert select((RUNTIME,), ["cpu"], consented=True).chosen == (RUNTIME,)
    assert select((RUNTIME,), ["xeon"], consented=False).chosen == (RUNTIME,)


def test_with_nothing_but_devices_that_wait_to_be_asked_it_says_how_to_ask() -> None:
    with pytest.raises(SelectionError, match=r"no device can mine: opencl:pocl .*: the cpu backend is faster"):
        select((RUNTIME,), (), consented=True)
