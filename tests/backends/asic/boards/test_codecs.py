from __future__ import annotations

import itertools
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.boards import sensors
from backends.asic.boards.bitaxe_raw import (
    ControlPort,
    Request,
    parse_reply,
    read_i2c,
    set_i2c_frequency,
    set_pin,
    write_i2c,
)
from backends.asic.boards.board import Sensor
from backends.asic.boards.catalogue import CATALOGUE, KINDS, open_board, recognise
from backends.asic.boards.compac_a1 import decode
from backends.asic.usb.bus import UsbIdentity
from backends.base import DeviceFault, Misuse
from tests.backends.asic.boards.fakes import FakeBridge, FakePorts, FakeTime
from tests.backends.asic.chips.golden import of_kind

COMPAC_F = UsbIdentity("1-1", 0x0403, 0x6015, manufacturer="GekkoScience", product="CompacF Bitcoin Miner", serial="1")
GAMMA = UsbIdentity("1-2", 0xC0DE, 0xCAFE, manufacturer="OSMU", product="Bitaxe", serial="0a1b2c3d")
COMPAC_A1 = UsbIdentity("1-3", 0x10C4, 0xEA70, manufacturer="Silicon Labs", product="GekkoScience Compac A1")


def test_requests_are_those_of_the_firmwares_documentation() -> None:
    made = [
        set_i2c_frequency(400_000).frame(1),
        write_i2c(0x4F, 0xDE).frame(1),
        Request(0x05, 0x30, b"\x4c\x01", expect=1).frame(1),
        set_pin(0, 0).frame(0),
        set_pin(0, 1).frame(0),
        Request(0x06, 0, expect=1).frame(0),
    ]
    assert made == [bytes.fromhex(vector["frame"]) for vector in of_kind("control_frame")]
    assert read_i2c(0x32, 0xFE, 2).frame(1) == bytes.fromhex("0900010005" + "4032fe02")


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("payload", [b"", b"\x01", b"ab", bytes(40)])
def test_both_ways_to_count_a_reply_are_read_however_it_is_cut(*, whole: bool, payload: bytes) -> None:
    frame = (len(payload) + 3 * whole).to_bytes(2, "little") + b"\x07" + payload
    for expect in {len(payload), None if len(payload) < 2 else len(payload)}:
        for cut in range(len(frame)):
            assert parse_reply(frame[:cut], 7, expect) is None
        reply = parse_reply(frame, 7, expect)
        assert reply is not None and (reply.payload, reply.whole) == (payload, whole)


@pytest.mark.parametrize("code", [0x10, 0x11, 0x12, 0x13, 0xFF])
def test_errors_are_told_from_answers(code: int) -> None:
    error = bytes((4, 0, 7, code))
    for expect, whole in ((None, None), (0, True), (2, None), (1, False)):
        with pytest.raises(DeviceFault, match="error"):
            parse_reply(error, 7, expect, whole=whole)
    reply = parse_reply(error, 7, 1, whole=True)  # nobody can tell: who asked for one byte gets one
    assert reply is not None and reply.payload == bytes((code,))


@given(st.binary(max_size=20), st.one_of(st.none(), st.integers(0, 8)), st.sampled_from([None, False, True]))
def test_any_bytes_are_an_answer_none_yet_or_a_fault(frame: bytes, expect: int | None, whole: bool | None) -> None:  # noqa: FBT001
    with suppress(DeviceFault):
        reply = parse_reply(frame, 7, expect, whole=whole)
        assert reply is None or expect is None or len(reply.payload) == expect


def test_an_answer_that_comes_late_is_not_taken_for_the_next() -> None:
    time, answers = FakeTime(), itertools.chain([b""], itertools.repeat(None))
    bridge = FakeBridge(time)

    def hear(frame: bytes) -> bytes:
        prepared = next(answers)
        return bytes((2, 0, frame[2])) + b"ok" if prepared is None else prepared

    bridge.hears = hear
    port = ControlPort(bridge, time.clock)
    with pytest.raises(DeviceFault, match="does not answer"):
        port.ask(read_i2c(1, 2, 2))
    bridge.pending = b"\x02\x00\x01no"
    assert port.ask(read_i2c(1, 2, 2)) == b"ok"


def test_a_request_that_no_frame_holds_is_our_mistake() -> None:
    with pytest.raises(Misuse):
        write_i2c(1, *range(256)).frame(1)


@pytest.mark.parametrize("vector", of_kind("sensor"), ids=lambda vector: vector["id"])
def test_raw_readings_mean_what_the_sources_say(vector: dict[str, object]) -> None:
    name, raw = str(vector["id"]), int(str(vector["raw"]))
    if "linear11" in name:
        value = sensors.linear11(raw)
        assert sensors.linear11(sensors.to_linear11(value, exponent=-5 if value < 32 else 0)) == value
    else:
        value = sensors.linear16_v(raw, 0x17)
        assert sensors.to_linear16(value, 0x97) == raw
    assert value == vector["value"]


def test_a_diode_that_is_not_there_reads_as_none() -> None:
    assert sensors.diode_c(0x3F8 << 5) is None
    assert sensors.diode_c(0x3FF << 5) is None
    assert sensors.diode_c(0x3740) == 55.25
    assert sensors.diode_c(0x7FF << 5) == -0.125
    assert sensors.internal_c(0xFF) == -1.0
    assert sensors.tach_rpm(0xFFFF) == sensors.tach_rpm(0) == 0.0


def test_an_ina260_counts_its_power_in_its_own_units() -> None:
    assert sensors.ina260_w(1834) == pytest.approx(18.34)


def test_values_that_do_not_fit_a_format_are_refused() -> None:
    for call in (lambda: sensors.to_linear11(5000, 0), lambda: sensors.to_linear16(200, 0x17)):
        with pytest.raises(ValueError, match="Linear"):
            call()


def test_an_a1_is_read_by_the_version_of_its_firmware() -> None:
    raw = bytes((212, 100, 75, 90, 150, 120, 60))
    third = decode(raw, 0x30, 0x80)
    assert third[Sensor.INPUT_V] == pytest.approx(212 * 12 * 2.048 / 255)
    assert third[Sensor.CORE_V] == pytest.approx(0.3012, abs=1e-4)
    assert third[Sensor.INPUT_A] == pytest.approx(100 * 2.048 / 255 * 20)
    assert third[Sensor.CHIP_C] == pytest.approx(150 * 175 / 218 - 50)
    assert third[Sensor.FAN_RPM] == 1800
    assert third[Sensor.POWER_W] == pytest.approx(third[Sensor.INPUT_V] * third[Sensor.INPUT_A])
    assert decode(raw, 0x30, 0)[Sensor.INPUT_A] == pytest.approx(100 * 2.048 / 255 * 3.125)
    first = decode(raw, 0x10, 0x80)
    assert first.keys() == {Sensor.INPUT_V, Sensor.CORE_V, Sensor.CHIP_C}
    assert first[Sensor.INPUT_V] == pytest.approx(212 * 6 / 255)
    assert Sensor.BOARD_C not in decode(raw, 0x20, 0x80)
    assert Sensor.BOARD_C in decode(raw, 0x21, 0x80)
    assert Sensor.CHIP_C not in decode(bytes(7), 0x30, 0x80)
    assert decode(b"\xff" * 7, 0x30, 0x80)[Sensor.CHIP_C] == 125.0


@pytest.mark.parametrize(
    ("identity", "name"), [(COMPAC_F, "compac-f"), (GAMMA, "bitaxe-gamma"), (COMPAC_A1, "compac-a1")]
)
def test_boards_are_recognised_by_ids_and_strings_together(identity: UsbIdentity, name: str) -> None:
    assert recognise(identity) == KINDS[name]
    for stranger in (
        replace(identity, product=None),
        replace(identity, manufacturer="Acme"),
        replace(identity, product="CP2105 Dual USB to UART Bridge Controller"),
        replace(identity, vid=0x1A86),
        replace(identity, pid=0xEA60),
    ):
        assert recognise(stranger) is None


def test_a_board_that_lacks_a_port_is_not_opened() -> None:
    with pytest.raises(Misuse, match="1 serial ports where 2"):
        open_board(KINDS["compac-a1"], FakePorts([FakeBridge(FakeTime())]))


def test_every_board_can_be_opened_and_its_names_are_its_own() -> None:
    assert len({entry.kind.name for entry in CATALOGUE}) == len(CATALOGUE)
    for entry in CATALOGUE:
        ports = FakePorts([FakeBridge(FakeTime()) for _ in range(entry.ports)])
        assert open_board(entry.kind, ports).kind == entry.kind
    with pytest.raises(Misuse, match="no driver"):
        open_board(replace(KINDS["compac-f"], name="compac-z", title="Compac Z"), FakePorts([]))
