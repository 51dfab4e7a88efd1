from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.asic.usb import sysfs
from backends.asic.usb.bus import UsbIdentity, UsbInterface
from tests.backends.asic.usb.plugged import COMPAC_F, moved
from tests.backends.asic.usb.sysfs_tree import Machine

ENUMERATION_S = 3.0  # what 64 devices may take


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def only(machine: Machine) -> UsbIdentity:
    (found,) = sysfs.scan(machine.roots)
    return found


def test_a_device_is_known_by_what_the_kernel_read_of_it(machine: Machine) -> None:
    machine.plug(COMPAC_F, driver="ftdi_sio")
    bound = (UsbInterface(0, 0xFF, driver="ftdi_sio"),)
    assert only(machine) == replace(COMPAC_F, interfaces=bound)
    assert sysfs.identity(machine.roots, "1-1") == only(machine)


def test_devices_come_in_the_order_of_their_ports(machine: Machine) -> None:
    for port in ("1-1.10", "2-1", "1-1.2", "1-1"):
        machine.plug(moved(COMPAC_F, path=port))
    assert [found.path for found in sysfs.scan(machine.roots)] == ["1-1", "1-1.2", "1-1.10", "2-1"]


def test_hubs_and_root_hubs_are_no_devices(machine: Machine) -> None:
    (machine.plug(COMPAC_F) / "bDeviceClass").write_text("09\n")
    assert sysfs.scan(machine.roots) == []


def test_a_machine_without_usb_has_no_devices(tmp_path: Path) -> None:
    assert sysfs.scan(sysfs.Roots(devices=tmp_path / "absent")) == []


def test_a_device_node_without_permission_is_an_obstacle_with_a_remedy(machine: Machine) -> None:
    machine.plug(COMPAC_F)
    machine.forbidden.add(machine.node(COMPAC_F))
    assert "no permission" in (said := only(machine).obstacle or "")
    assert "70-angara-miner.rules" in said
    assert 'ATTR{product}=="CompacF Bitcoin Miner"' in said


def test_a_device_that_the_port_could_not_feed_says_so(machine: Machine) -> None:
    (machine.plug(COMPAC_F) / "bConfigurationValue").write_text("\n")
    assert "power (100mA that it asks for)" in (only(machine).obstacle or "")


def test_a_device_that_is_not_authorised_says_how_to(machine: Machine) -> None:
    (machine.plug(COMPAC_F) / "authorized").write_text("0\n")
    assert "echo 1 >" in (only(machine).obstacle or "")


def test_a_container_without_device_nodes_says_what_is_missing(machine: Machine) -> None:
    machine.plug(COMPAC_F)
    machine.node(COMPAC_F).unlink()
    assert "container" in (only(machine).obstacle or "")


def test_a_folder_of_device_nodes_that_may_not_be_looked_into_ends_no_scan(machine: Machine) -> None:
    machine.plug(COMPAC_F)
    roots = replace(machine.roots, nodes=Path("/" + 300 * "x"))  # root may look anywhere: an error of another kind
    (found,) = sysfs.scan(roots)
    assert "is not to be seen" in (found.obstacle or "")


def test_a_device_that_another_program_holds_names_it(machine: Machine) -> None:
    machine.plug(COMPAC_F, driver="usbfs")
    machine.run(4711, "cgminer", machine.node(COMPAC_F))
    assert only(machine).obstacle == "in use by cgminer (process 4711): stop that program first"


def test_a_device_that_somebody_unknown_holds_says_how_to_find_out(machine: Machine) -> None:
    machine.plug(COMPAC_F, driver="usbfs")
    assert "fuser" in (only(machine).obstacle or "")


def test_a_device_that_this_process_holds_has_no_obstacle(machine: Machine) -> None:
    machine.plug(COMPAC_F, driver="usbfs")
    machine.run(os.getpid(), "miner", machine.node(COMPAC_F))
    assert only(machine).obstacle is None


def test_texts_are_bounded_and_printable(machine: Machine) -> None:
    folder = machine.plug(COMPAC_F)
    (folder / "product").write_bytes(b"\x1b[31m" + b"A" * 5000)
    (folder / "serial").write_bytes(b"\xff\xfe\x00\n")
    (folder / "manufacturer").write_bytes(b"  \n")
    found = only(machine)
    assert found.product == "\ufffd[31m" + "A" * (sysfs.TEXT_MAX - 5)
    assert found.serial == "\ufffd\ufffd\ufffd"
    assert found.manufacturer is None


@pytest.mark.parametrize("name", ["idVendor", "idProduct", "devnum", "busnum"])
@pytest.mark.parametrize("text", [b"", b"zz\n", b"-1\n", b"1_0\n", b"9" * 2000, "\u0661".encode()])
def test_a_number_that_is_none_hides_the_device(machine: Machine, name: str, text: bytes) -> None:
    (machine.plug(COMPAC_F) / name).write_bytes(text)
    assert sysfs.scan(machine.roots) == []


def test_a_device_unplugged_while_it_is_read_is_left_out(machine: Machine) -> None:
    (machine.plug(COMPAC_F) / "idVendor").unlink()
    machine.plug(moved(COMPAC_F, path="1-2"))
    assert only(machine).path == "1-2"


def test_a_place_knows_the_terminals_of_both_kinds_of_driver(machine: Machine) -> None:
    machine.plug(COMPAC_F, "ftdi_sio", "ttyUSB0")
    machine.plug(moved(COMPAC_F, path="1-2"), "cdc_acm", "tty/ttyACM3")
    terminals = [place.terminals for port in ("1-1", "1-2") if (place := sysfs.place(machine.roots, port))]
    assert terminals == [(machine.roots.terminals / "ttyUSB0",), (machine.roots.terminals / "ttyACM3",)]


@pytest.mark.parametrize("port", ["", "..", "../1-1", "usb1", "1-1:1.0", "1-1/..", "virtual-1", "9-9"])
def test_a_port_that_is_none_has_no_place(machine: Machine, port: str) -> None:
    machine.plug(COMPAC_F)
    assert sysfs.place(machine.roots, port) is None
    assert sysfs.identity(machine.roots, port) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    name=st.sampled_from(["idVendor", "bcdDevice", "product", "serial", "authorized", "bConfigurationValue", "devnum"]),
    content=st.binary(max_size=300),
)
def test_whatever_an_attribute_holds_the_scan_goes_on(machine: Machine, name: str, content: bytes) -> None:
    folder = machine.roots.devices / COMPAC_F.path
    if not folder.exists():
        machine.plug(COMPAC_F)
        machine.plug(moved(COMPAC_F, path="1-2"))
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(content)
    found = sysfs.scan(machine.roots)
    (folder / name).write_bytes(before)
    assert found[-1].path == "1-2"
    assert all((each.product or "").isprintable() and len(each.serial or "") <= sysfs.TEXT_MAX for each in found)


def test_64_devices_are_enumerated_long_before_three_seconds(machine: Machine) -> None:
    interfaces = tuple(UsbInterface(number, 2, 2) for number in range(4))
    for number in range(64):
        machine.plug(moved(COMPAC_F, path=f"1-1.{number + 1}", serial=f"{number}", interfaces=interfaces), "cdc_acm")
    started = time.process_time()  # other tests share the processor
    assert len(sysfs.scan(machine.roots)) == 64
    assert time.process_time() - started < ENUMERATION_S / 3
