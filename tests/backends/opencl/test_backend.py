from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from backends.base import BackendError, Capability, DeviceGone, DeviceInfo, Host, Kind
from backends.opencl import OpenclBackend, OpenclOptions
from backends.opencl.backend import _details
from backends.opencl.device.device import OpenclDevice
from backends.opencl.listing import Broken, Listed, Listing, PowerLimits
from backends.opencl.runtime import Identity
from backends.opencl.worker.program import open_folder
from backends.opencl.worker.source import Form
from backends.opencl.worker.tune import Trial, settle
from tests.backends.opencl.fakes import CARD, a_listed


def finding(
    *listed: Listed,
    broken: tuple[Broken, ...] = (),
    nothing: str | None = None,
    state: Path | None = None,
    **options: Any,
) -> OpenclBackend:
    return OpenclBackend(OpenclOptions(**options), Host(state), take=lambda: Listing(listed, broken, nothing))


def ids(infos: list[DeviceInfo]) -> list[str]:
    return [info.id for info in infos]


def with_(listed: Listed, **changes: Any) -> Listed:
    return listed.model_copy(update=changes)


def test_ids_are_pci_addresses_and_else_names_in_a_stable_order() -> None:
    second, first = a_listed(pci="0000:41:00.0"), a_listed(pci="0000:01:00.0")
    found = finding(a_listed(index=0), second, a_listed(index=1), first, a_listed(type="cpu", name="Xeon (R)")).probe()
    assert ids(found) == [
        "opencl:0000:01:00.0",
        "opencl:0000:41:00.0",
        "opencl:fake-platform:fake-card",
        "opencl:fake-platform:fake-card:1",
        "opencl:fake-platform:xeon-r",
    ]
    assert [info.kind for info in found] == [Kind.GPU] * 4 + [Kind.CPU]


def test_a_card_that_two_runtimes_drive_mines_once() -> None:
    card = a_listed(pci="0000:01:00.0")
    backend = finding(card, a_listed(pci="0000:01:00.0", platform="rusticl"))
    one, other = backend.probe()
    assert one.unusable is None
    assert other.id == "opencl:0000:01:00.0/rusticl"
    assert other.harmless
    assert "the same card as opencl:0000:01:00.0" in str(other.unusable)
    with pytest.raises(BackendError, match="the same card"):
        backend.open(other)
    chosen = finding(card, a_listed(pci="0000:01:00.0", platform="rusticl"), platform="RUSTICL").probe()
    assert [(info.id, info.unusable) for info in chosen] == [("opencl:0000:01:00.0", None)]


def test_a_runtime_on_the_processor_waits_to_be_asked() -> None:
    (info,) = finding(a_listed(type="cpu")).probe()
    assert "name it with --device" in str(info.on_request)
    assert "finds no graphics card" in str(info.on_request)
    _, info = finding(a_listed(), a_listed(type="cpu")).probe()
    assert "graphics card" not in str(info.on_request)
    (info,) = finding(a_listed(type="cpu"), cpu_runtimes=True).probe()
    assert info.on_request is None
    (info,) = finding(a_listed()).probe()
    assert info.on_request is None


def test_with_nothing_there_it_says_what_was_looked_for() -> None:
    backend = finding(nothing="no OpenCL driver is installed")
    assert (backend.probe(), backend.absent) == ([], "no OpenCL driver is installed")
    backend = finding(a_listed(), platform="NVIDIA")
    assert backend.probe() == []
    assert backend.absent == "no runtime has 'NVIDIA' in its name; there is: Fake Platform"


def test_a_driver_that_cannot_be_asked_is_listed_with_what_to_do() -> None:
    broken = Broken("/etc/OpenCL/vendors/nvidia.icd", "crashed with SIGSEGV when asked for its devices")
    usable, driver = finding(a_listed(), broken=(broken,)).probe()
    assert usable.unusable is None
    assert driver.id == "opencl:driver:nvidia-icd"
    assert "its driver crashed with SIGSEGV" in str(driver.unusable)
    assert "remove /etc/OpenCL/vendors/nvidia.icd" in str(driver.unusable)


def test_what_is_known_of_a_card_is_shown() -> None:
    refused = PowerLimits(least_w=100, most_w=350, refused="only root may")
    listed = with_(a_listed(pci="0000:01:00.0"), sensors="nvml", temperature=True, screen=True, power=refused)
    lines = dict(_details(listed))
    assert lines["platform"] == "Fake Platform, OpenCL 3.0 FAKE"
    assert (lines["driver"], lines["PCI"], lines["units"]) == ("1.0", "0000:01:00.0", "4, up to 1000 MHz")
    assert (lines["sensors"], lines["power limit"]) == ("nvml", "100 to 350 W, not settable: only root may")
    assert "short launches" in lines["screen"]
    assert "not watched" in dict(_details(a_listed()))["sensors"]
    assert "not watched" in dict(_details(with_(a_listed(), sensors="hwmon")))["temperature"]


def test_a_power_limit_is_a_capability_only_where_it_may_be_set() -> None:
    for power, capable in (
        (None, False),
        (PowerLimits(least_w=100, most_w=350), True),
        (PowerLimits(least_w=100, most_w=350, refused="only root may"), False),
    ):
        (info,) = finding(with_(a_listed(), power=power)).probe()
        assert (Capability.POWER in info.capabilities) is capable
        assert {Capability.DUTY, Capability.ROLLS_VERSION} <= info.capabilities


@pytest.mark.parametrize(
    ("options", "screen", "launch_s"),
    [({}, False, 0.05), ({}, True, 0.01), ({"intensity": 200}, True, 0.2)],
)
def test_launches_are_short_on_a_card_with_a_screen_unless_told(
    options: dict[str, Any], launch_s: float, *, screen: bool
) -> None:
    backend = finding(with_(a_listed(), screen=screen, icd="/x.icd"), **options)
    device = backend.open(backend.probe()[0])
    assert isinstance(device, OpenclDevice)
    assert device._setup.opening.launch_s == pytest.approx(launch_s)
    assert device._setup.environ == {"OCL_ICD_VENDORS": "/x.icd"}


def test_a_device_that_is_gone_cannot_be_opened() -> None:
    with pytest.raises(DeviceGone, match=r"there is no opencl:0000:09:00.0 any more"):
        finding(a_listed()).open(DeviceInfo("opencl:0000:09:00.0", "opencl", Kind.GPU, "Gone"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature_target": 90.0},
        {"temperature_overheat": 96.0},
        {"temperature_cutoff": 200.0},
        {"intensity": 0},
        {"duty": 0},
        {"power_limit": -5},
        {"colour": "red"},
        {"power_limit": float("inf")},
    ],
)
def test_options_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        OpenclOptions(**wrong)


def test_a_card_is_tuned_anew_at_the_start_and_not_after_a_fault() -> None:
    backend = finding(a_listed(), retune=True)
    (info,) = backend.probe()
    opened = [backend.open(info) for _ in range(2)]
    assert [device._setup.opening.retune for device in opened if isinstance(device, OpenclDevice)] == [True, False]


def tuned(state: Path, rate_hps: float) -> None:
    folder, _ = open_folder(state, CARD)

    def attempt(identity: Identity, form: Form, folder: Path | None) -> Trial:
        return Trial(form=form, refused="crashed") if form.batches > 1 else Trial(form=form, rate_hps=rate_hps)

    settle(CARD, folder, attempt=attempt)


def test_what_a_card_does_is_known_before_it_runs_once_it_was_tuned(tmp_path: Path) -> None:
    (info,) = finding(a_listed(), state=tmp_path).probe()
    assert info.expected_hps is None
    assert not list(tmp_path.iterdir())  # looking leaves nothing
    tuned(tmp_path, 1e9)
    (info,) = finding(a_listed(), state=tmp_path, duty=0.5).probe()
    assert info.expected_hps == pytest.approx(5e8)
    assert "measured 1000.0 MH/s" in dict(info.details)["search"]
    assert "2 did not work" in dict(info.details)["search"]
    (other,) = finding(a_listed(driver="1.1"), state=tmp_path).probe()
    assert other.expected_hps is None


@pytest.mark.parametrize(
    ("options", "rate_hps"), [({}, 1e9), ({"retune": True}, None)], ids=["remembered", "to be measured again"]
)
def test_a_device_is_told_what_it_was_measured_to_do(
    tmp_path: Path, options: dict[str, Any], rate_hps: float | None
) -> None:
    tuned(tmp_path, 1e9)
    backend = finding(a_listed(), state=tmp_path, **options)
    device = backend.open(backend.probe()[0])
    assert isinstance(device, OpenclDevice)
    assert device._setup.rate_hps == rate_hps
