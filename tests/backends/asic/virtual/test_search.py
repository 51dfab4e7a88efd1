"""The chips of a bus really search: nonces come as often as from real boards, and hash to what they claim."""

from __future__ import annotations

import binascii
import json
import os
import threading
import time
from pathlib import Path

import pytest
import usb.util

from backends.asic.virtual import Fault, VirtualBus
from backends.asic.virtual.boards.board import AMBIENT_C, Heat
from backends.asic.virtual.chips.frames import take_frame
from backends.asic.virtual.chips.jobs import header_job, midstate_job
from backends.asic.virtual.chips.search import give_way
from backends.asic.virtual.faults import parse_fault
from backends.kernels import open_cache
from native import host_features
from tests.backends.asic.virtual.bench import Clock, framed

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "usb_asic.json").read_text())["vectors"]
GENESIS = next(vector for vector in VECTORS if vector["id"] == "derived-genesis")


@pytest.fixture(scope="module")
def bus(kernels: Path) -> VirtualBus:
    made = VirtualBus(["compac-f", "bitaxe-gamma"], kernels=open_cache(kernels, host_features()))
    yield made
    made.close()


def test_the_scale_is_a_power_of_two_that_this_machine_can_keep_up(bus: VirtualBus) -> None:
    for identity in bus.scan():
        scale, board = bus.scale(identity), bus.board(identity.path)
        mantissa, _ = scale.as_integer_ratio()
        assert mantissa == 1 and scale < 1e-3
        assert board.specification.nominal_hps * scale < 1e9


def test_a_compac_f_finds_nonces_of_its_midstates(bus: VirtualBus) -> None:
    identity = bus.scan()[0]
    board, device = bus.board(identity.path), bus.open(identity)
    device.detach_kernel_driver(0)
    usb.util.claim_interface(device, 0)
    device.ctrl_transfer(0x40, 3, 0x1A, 0, None)
    device.ctrl_transfer(0x40, 9, 10, 0, None)  # an answer every 10 ms, and as often a new job
    device.write(2, framed("51090014000000c0") + framed("51090008406a0115"))  # difficulty 4; 530 MHz
    taken = take_frame(bytearray.fromhex(GENESIS["bm1397_job_1mid"]), None)
    assert taken is not None
    target = int(2 ** (224 - 2) / bus.scale(identity))
    number, jobs, found, buffer, end = 0, {}, set(), b"", time.monotonic() + 60
    while len(found) < 8 and time.monotonic() < end:
        body = bytearray(taken.body)
        number += 1
        body[2], body[12:16] = number * 4 & 0x7C, number.to_bytes(4, "little")
        jobs[body[2]] = midstate_job(bytes(body))
        device.write(2, b"\x55\xaa" + body + binascii.crc_hqx(body, 0xFFFF).to_bytes(2, "big"))
        got = bytes(device.read(0x81, 512, 1000))
        buffer += b"".join(got[at + 2 : at + 64] for at in range(0, len(got), 64))
        while len(buffer) >= 9:
            reply, buffer = buffer[:9], buffer[9:]
            assert jobs[reply[7] & 0x7C].hash(0, int.from_bytes(reply[2:6], "little")) <= target
            found.add(reply[2:8])
    assert len(found) >= 8
    done, claimed = board.chain.hashes, len(found) * 2**34 * bus.scale(identity)
    assert claimed / 6 < done < claimed * 6  # so many nonces stand for so many hashes


def test_a_bitaxe_rolls_versions_and_reports_them(bus: VirtualBus) -> None:
    identity = bus.scan()[1]
    board, device = bus.board(identity.path), bus.open(identity)
    for interface in range(4):
        device.detach_kernel_driver(interface)
        usb.util.claim_interface(device, interface)
    for request in ("0a0001000520 2421 4d02", "0900020005202401 80", "0700030006 0001"):
        body = bytearray(bytes.fromhex(request.replace(" ", "")))
        body[0] = len(body)
        device.write(2, bytes(body))
        device.read(0x82, 64, 1000)
    for body in ("510900a490000ff0", "5109000850d20240", "510900100fffffff", "5109003c800082aa", "51090014000000f0"):
        device.write(4, framed(body))
    frame = bytes.fromhex(GENESIS["full_job_len36"])
    taken = take_frame(bytearray(frame), 86)
    assert taken is not None
    job, target = header_job(taken.body), int(2 ** (224 - 4) / bus.scale(identity))
    device.write(4, frame)
    found, buffer, end = set(), b"", time.monotonic() + 60
    while len(found) < 8 and time.monotonic() < end:
        buffer += bytes(device.read(0x84, 512, 10_000))
        while len(buffer) >= 11:
            reply, buffer = buffer[:11], buffer[11:]
            rolled = int.from_bytes(reply[8:10], "big")
            assert rolled & ~0x0FF0 == 0
            assert job.hash(rolled, int.from_bytes(reply[2:6], "little")) <= target
            assert reply[7] == (job.id << 1 & 0xF0 | rolled & 0xF)
            found.add(reply[2:10])
    assert len(found) >= 8
    assert board.power_w() > board.specification.nominal_w / 2


def test_heat_follows_power_and_goes_again() -> None:
    clock = Clock()
    heat = Heat(2.0, clock, time_constant_s=10.0)
    clock.now += 100
    assert heat.celsius(20.0) == pytest.approx(AMBIENT_C + 40, abs=0.1)
    clock.now += 10
    assert AMBIENT_C + 10 < heat.celsius(0.0) < AMBIENT_C + 20
    clock.now += 100
    assert heat.celsius(0.0) == pytest.approx(AMBIENT_C, abs=0.1)
    clock.now += 100
    assert heat.celsius(20.0, cooling=0.5) == pytest.approx(AMBIENT_C + 80, abs=0.1)


@pytest.mark.parametrize("text", ["rust", "hot:warm", "hot:-1", "hot:nan"])
def test_faults_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="fault"):
        parse_fault(text)


def test_a_board_unplugs_itself_when_ordered_to() -> None:
    bus = VirtualBus([f"compac-f,fault={Fault.UNPLUG}:0.01"], scale=1.0)
    end = time.monotonic() + 10
    while bus.scan() and time.monotonic() < end:
        time.sleep(0.005)
    assert bus.scan() == []
    bus.close()


def test_who_searches_is_bound_to_no_core_by_who_started_it() -> None:
    seen: list[set[int]] = []

    def started() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        give_way()
        seen.append(os.sched_getaffinity(0))

    thread = threading.Thread(target=started)
    thread.start()
    thread.join()
    assert seen == [os.sched_getaffinity(0)]
