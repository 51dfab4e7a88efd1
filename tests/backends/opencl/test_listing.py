"""What is listed when drivers are well, crash, hang, and talk nonsense."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from backends.opencl import listing
from backends.opencl.listing import Answer, take_listing
from tests.backends.opencl.fakes import a_listed

WELL = Answer(devices=(a_listed(),)).model_dump_json()


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of drivers of our own; pip's is not among them."""
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))
    monkeypatch.setattr(listing.importlib.util, "find_spec", lambda _: None)
    return tmp_path


def asked(body: str) -> tuple[str, ...]:
    """A lister that knows which driver it is to load, by `vendors`."""
    return (sys.executable, "-c", f"import os, sys; vendors = os.environ['OCL_ICD_VENDORS']; well = {WELL!r}\n{body}")


def test_without_a_driver_no_process_is_started(drivers: Path) -> None:
    found = take_listing(("/nowhere/python",))
    assert found.devices == () and found.broken == ()
    assert "no OpenCL driver is in" in str(found.nothing)


def test_all_drivers_are_asked_at_once_where_they_are_well(drivers: Path) -> None:
    (drivers / "a.icd").write_text("liba.so")
    found = take_listing(asked("print('driver speaking'); print(well)"))
    assert [(x.identity.name, x.icd) for x in found.devices] == [("Fake Card", None)]
    assert found.broken == ()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (
            "sys.stderr.write('no such device'); sys.stderr.flush(); os.kill(os.getpid(), 11)",
            "crashed with SIGSEGV: no",
        ),
        ("sys.exit('bad library')", "ended with status 1: bad library"),
        ("print('hello')", "answered with something else than a list of devices"),
        ("import time; time.sleep(1000)", "did not answer within 1 s"),
    ],
    ids=["crash", "exit", "nonsense", "hang"],
)
def test_a_broken_driver_is_named_and_costs_only_its_own_devices(
    drivers: Path, body: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PATIENCE_S", 1.0)
    for name in ("broken", "well"):
        (drivers / f"{name}.icd").write_text(f"lib{name}.so")
    found = take_listing(asked(f"if vendors.endswith('well.icd'): print(well)\nelse: {body}"))
    assert [x.icd for x in found.devices] == [str(drivers / "well.icd")]
    (broken,) = found.broken
    assert broken.icd == str(drivers / "broken.icd")
    assert sentence in broken.reason


def test_a_single_driver_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    icd = tmp_path / "one.icd"
    icd.write_text("libone.so")
    monkeypatch.setenv("OCL_ICD_VENDORS", str(icd))
    assert listing.icds() == [icd]
    monkeypatch.setenv("OCL_ICD_VENDORS", "libone.so")
    assert listing.icds() == [Path("libone.so")]
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path / "gone.icd"))
    assert listing.icds() == []


def test_a_lister_that_cannot_be_started_is_a_sentence(drivers: Path) -> None:
    (drivers / "a.icd").write_text("liba.so")
    (broken,) = take_listing(("/nowhere/python",)).broken
    assert "no process could be started" in broken.reason
