from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.boards import bitaxe_raw, chain
from backends.asic.boards import compac_a1 as compac_a1_driver
from backends.asic.boards.board import Board, Garbage, Nonce, Sensor
from backends.asic.boards.chain import RAMP_STEP_HZ, START_HZ, ChainBoard
from backends.asic.chips.chip import CHIPS
from backends.asic.chips.frames import Register
from backends.asic.chips.ticket import UNIT
from backends.base import BackendError, DeviceFault, DeviceGone, Hit, Misuse, SettingRefused
from tests.backends.asic.boards.benches import BENCHES, Bench, bitaxe_gamma, compac_a1, compac_f
from tests.backends.asic.chips.golden import lease_of, of_kind

GENESIS = bytes.fromhex(of_kind("derived_job_nonce")[0]["header"])
WORK = lease_of(GENESIS)


@pytest.fixture(autouse=True)
def nobody_else_powers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here `off` comes from within the step that it would wait for."""
    monkeypatch.setattr(chain, "_GATE_S", 0.0)
    monkeypatch.setattr(bitaxe_raw, "_LOCK_S", 0.0)
    monkeypatch.setattr(compac_a1_driver, "_LOCK_S", 0.0)


@pytest.fixture(params=BENCHES)
def bench(request: pytest.FixtureRequest) -> Bench:
    return BENCHES[request.param]()


def up(bench: Bench) -> Bench:
    assert bench.board.bring_up() == 1
    return bench


def tag_of(bench: Bench, job: bytes) -> int:
    """What a result of this job's first version has for its tag."""
    return job[4] << CHIPS[bench.board.kind.chip].tag_job_shift


def answer(bench: Bench, nonce: bytes) -> list[Nonce | Garbage]:
    """Let the chip say this nonce for its last job, and receive."""
    tag = tag_of(bench, bench.chip.jobs[-1])
    short = bench.board.kind.chip == "BM1397"
    bench.line.pending = bench.short_result(tag, nonce) if short else bench.result(tag, nonce)
    return bench.board.receive(0.1)


def test_it_comes_up_with_its_lowest_clock_and_no_work(bench: Bench) -> None:
    assert isinstance(bench.board, ChainBoard)
    board: Board = bench.board  # the contract, as mypy sees it
    assert board.bring_up() == 1
    kind = bench.board.kind
    chip = CHIPS[kind.chip]
    assert chip.pll.dividers(bench.chip.registers[Register.PLL0]).hertz == START_HZ
    assert bench.chip.registers[Register.TICKET_MASK] == 0xFF
    assert not bench.chip.jobs
    assert bench.chip.commands.count(0x53) == (3 if kind.chip == "BM1397" else 1)
    assert not bench.is_cut()


def test_it_can_be_brought_up_again_after_it_was_off(bench: Bench) -> None:
    up(bench)
    bench.board.off()
    assert bench.is_cut()
    up(bench)
    assert bench.board.send(WORK)


def test_off_works_from_any_state_and_as_often_as_one_likes(bench: Bench) -> None:
    for _ in range(2):
        bench.board.off()
        assert bench.is_cut()


def steps_of(make: Callable[[], Bench]) -> int:
    bench, count = make(), itertools.count()
    bench.time.tick = lambda: (next(count), None)[1]
    up(bench)
    return next(count)


@pytest.mark.parametrize("name", BENCHES)
def test_turned_off_at_any_moment_of_its_start_it_ends_off(name: str) -> None:
    steps = steps_of(BENCHES[name])
    assert steps > 20
    for moment in range(steps):
        bench = BENCHES[name]()
        _at_tick(bench, moment, bench.board.off)
        with pytest.raises(DeviceFault):
            bench.board.bring_up()
        assert bench.is_cut(), f"at {moment} of {steps}"
        with pytest.raises(Misuse):
            bench.board.receive(0.1)


@pytest.mark.parametrize("name", BENCHES)
def test_unplugged_at_any_moment_of_its_start_it_says_so_at_once(name: str) -> None:
    for moment in range(0, steps_of(BENCHES[name]), 3):
        bench = BENCHES[name]()

        def unplug(bench: Bench = bench) -> None:
            for bridge in bench.ports.bridges:
                bridge.gone = True

        _at_tick(bench, moment, unplug)
        with pytest.raises(DeviceGone):
            bench.board.bring_up()


def _at_tick(bench: Bench, moment: int, act: Callable[[], None]) -> None:
    ticks: Iterator[int] = itertools.count()

    def tick() -> None:
        if next(ticks) == moment:
            act()

    bench.time.tick = tick


def test_a_chip_of_another_kind_is_not_driven(bench: Bench) -> None:
    bench.chip.identity = 0x1366
    with pytest.raises(DeviceFault, match="1366"):
        bench.board.bring_up()
    assert bench.is_cut()


def test_a_dead_chip_is_told_and_left_off(bench: Bench) -> None:
    bench.chip.replies = 0
    with pytest.raises(DeviceFault, match="no chip answers"):
        bench.board.bring_up()
    assert bench.is_cut()


def test_one_damaged_reply_keeps_no_board_from_starting(bench: Bench) -> None:
    heard, damaged = bench.line.hears, []

    def damage(data: bytes) -> bytes:
        reply = heard(data)
        if reply and not damaged:
            damaged.append(reply)
            return reply[:-1] + bytes((reply[-1] ^ 1,))
        return reply

    bench.line.hears = damage
    up(bench)
    assert damaged


def test_more_chips_than_there_can_be_are_a_fault(bench: Bench) -> None:
    bench.chip.replies = 2
    with pytest.raises(DeviceFault, match="2 chips"):
        bench.board.bring_up()


def test_the_clock_rises_and_falls_by_steps_that_have_time_to_settle(bench: Bench) -> None:
    up(bench)
    board, limits = bench.board, bench.board.kind.limits
    clock = float(START_HZ)
    for target in (limits.default_hz, limits.frequencies_hz[0]):
        first, steps = clock, 0
        while clock != target:
            before, at = clock, bench.time.now
            clock = board.set_frequency(target)
            assert abs(clock - before) <= RAMP_STEP_HZ * 1.5
            assert bench.time.now - at >= (0.05 if steps else 0)
            steps += 1
            register = bench.chip.registers[Register.PLL0]
            assert CHIPS[board.kind.chip].pll.dividers(register).hertz == pytest.approx(clock)
        assert steps >= abs(target - first) / RAMP_STEP_HZ


def test_every_clock_in_the_table_is_one_that_the_chip_can_make(bench: Bench) -> None:
    kind = bench.board.kind
    for hertz in kind.limits.frequencies_hz:
        assert CHIPS[kind.chip].pll.solve(hertz).hertz == hertz
    assert kind.limits.default_hz in kind.limits.frequencies_hz
    assert list(kind.limits.frequencies_hz) == sorted(kind.limits.frequencies_hz)
    assert not kind.proven


@pytest.mark.parametrize("hertz", [0.0, -1.0, 1e6, 2e9, float("nan"), float("inf")])
def test_a_clock_beyond_the_table_is_refused_and_nothing_is_written(bench: Bench, hertz: float) -> None:
    up(bench)
    before = len(bench.chip.writes)
    with pytest.raises(SettingRefused):
        bench.board.set_frequency(hertz)
    assert len(bench.chip.writes) == before


def test_a_lease_is_used_piece_by_piece_until_it_is_used_up(bench: Bench) -> None:
    up(bench)
    work = replace(WORK, version_mask=0x6000, ntime_span=2)
    seconds = [bench.board.send(work) for _ in range(4)]
    assert seconds[3] is None
    assert all(piece is not None and piece > 0 for piece in seconds[:3])
    assert len({job[8:] for job in bench.chip.jobs}) == len(bench.chip.jobs) == 3
    assert bench.board.send(replace(work, id=2)) is not None


def test_a_nonce_comes_back_as_the_header_that_the_chip_searched(bench: Bench) -> None:
    up(bench)
    work = replace(WORK, version=1, version_mask=0)
    bench.board.send(work)
    assert answer(bench, GENESIS[76:]) == [
        Nonce(work, 0x7C2BAC1D, 1, work.ntime, 0, CHIPS[bench.board.kind.chip].core(0x1DAC2B7C))
    ]
    assert Hit(work, 0x7C2BAC1D, 1, work.ntime).hash() < 1 << 216
    assert answer(bench, GENESIS[76:]) == [Garbage("duplicate")]


def test_older_work_stays_answerable_and_what_was_never_sent_is_garbage(bench: Bench) -> None:
    up(bench)
    bench.board.send(WORK)
    first = bench.chip.jobs[-1]
    bench.board.send(replace(WORK, id=2))
    bench.chip.jobs.append(first)
    [late] = answer(bench, b"\x01\x02\x03\x04")
    assert isinstance(late, Nonce) and late.work.id == 1
    bench.chip.jobs.append(first[:4] + bytes((first[4] ^ 0x40,)) + first[5:])
    assert answer(bench, b"\x01\x02\x03\x04") == [Garbage("unknown-job")]


def test_what_was_running_before_a_restart_is_forgotten(bench: Bench) -> None:
    up(bench)
    bench.board.send(WORK)
    bench.board.off()
    up(bench)
    assert answer(bench, b"\x01\x02\x03\x04") == [Garbage("unknown-job")]
    assert bench.board.send(WORK) is not None


@given(st.lists(st.binary(max_size=64), max_size=8), st.sampled_from(sorted(BENCHES)))
def test_any_bytes_are_counted_and_the_next_good_nonce_is_found(chunks: list[bytes], name: str) -> None:
    bench = up(BENCHES[name]())
    bench.board.send(WORK)
    results: list[Nonce | Garbage] = []
    for chunk in chunks:
        bench.line.pending = chunk
        results += bench.board.receive(0.01)
    bench.line.pending = bytes(11)  # lets go of a half frame
    results += bench.board.receive(0.01)
    assert all(not isinstance(result, Nonce) or WORK.covers(result.nonce, result.version, result.ntime)
               for result in results)  # fmt: skip
    assert any(isinstance(result, Nonce) and result.nonce == 0x04030201 for result in answer(bench, b"\1\2\3\4"))


def test_the_filter_is_as_hard_as_it_may_be(bench: Bench) -> None:
    up(bench)
    assert bench.board.set_ticket(UNIT >> 10) == UNIT >> 10
    assert bench.chip.registers[Register.TICKET_MASK] == 0xC0FF
    before = len(bench.chip.writes)
    assert bench.board.set_ticket((UNIT >> 10) - 5) == UNIT >> 10
    assert len(bench.chip.writes) == before
    assert bench.board.set_ticket((1 << 256) - 1) == UNIT


def test_an_emulated_chip_with_an_easier_unit_gets_the_same_mask_for_an_easier_target() -> None:
    bench = up(compac_f(unit=(1 << 236) - 1))
    assert bench.board.set_ticket(((1 << 236) - 1) >> 10) == ((1 << 236) - 1) >> 10
    assert bench.chip.registers[Register.TICKET_MASK] == 0xC0FF


@pytest.mark.parametrize(
    ("make", "mask", "low", "high"),
    [
        (compac_f, 0x6000, 0.2, 0.6),  # four versions at 50 MHz: 0.51 s
        (bitaxe_gamma, 0x1FFFE000, 600, 1400),
        (compac_a1, 0x1FFFE000, 1000, 3000),
    ],
)
def test_new_work_is_asked_for_before_the_chips_have_none(
    make: Callable[[], Bench], mask: int, low: float, high: float
) -> None:
    bench = up(make())
    seconds = bench.board.send(replace(WORK, version_mask=mask))
    assert seconds is not None and low < seconds < high
    registers = bench.chip.registers
    if Register.HASH_COUNTING in registers:
        chip = CHIPS[bench.board.kind.chip]
        assert seconds < (1 << 16) / chip.subcores * registers[Register.HASH_COUNTING] / 25e6


def test_what_belongs_to_a_running_board_is_misuse_of_one_that_is_off(bench: Bench) -> None:
    for call in (
        lambda: bench.board.send(WORK),
        lambda: bench.board.receive(0.1),
        lambda: bench.board.set_frequency(1e8),
        lambda: bench.board.set_ticket(UNIT),
    ):
        with pytest.raises(Misuse):
            call()


def test_closing_gives_every_bridge_back(bench: Bench) -> None:
    bench.board.close()
    assert all(bridge.closed for bridge in bench.ports.bridges)


def test_the_sensors_of_a_healthy_board_are_all_there(bench: Bench) -> None:
    up(bench)
    readings = bench.board.sensors()
    assert readings.problem is None
    assert readings.values.keys() >= bench.board.kind.sensors


def test_the_compac_f_is_reset_for_as_long_as_its_own_driver_does_it() -> None:
    bench = up(compac_f())
    (run, a), (held, b), (again, c) = ((level, at) for at, level in bench.line.pin_log)
    assert (run, held, again) == (2, 0, 2)
    assert b - a == pytest.approx(0.03) and c - b == pytest.approx(1.0)
    assert bench.line.baud == 1_500_000
    assert [(register, value) for register, value, _ in bench.chip.writes[-4:]] == [
        (0x70, 0x0F0F0F00), (0x70, 0x0F0F0F00), (0x08, 0x403C0235), (0x08, 0x403C0235),
    ]  # fmt: skip


def test_the_gamma_gets_its_power_in_the_safe_order() -> None:
    bench = up(bitaxe_gamma())
    assert bench.raw is not None
    sent = bench.raw.log
    order = [
        b"\x06\x00\x00",  # reset held
        b"\x05\x20\x4c\x4c\x3f",  # fan full
        b"\x05\x20\x24\x01\x00",  # regulator off
        b"\x05\x20\x24\x29\x01\xf0",  # its divider
        b"\x05\x20\x24\x21\x4c\x02",  # 1.15 V, rounded down
        b"\x05\x20\x24\x01\x80",  # on
        b"\x06\x00\x01",  # reset released
    ]
    places = [sent.index(request) for request in order]
    assert places == sorted(places)


def test_a_gamma_whose_regulator_gives_something_else_is_turned_off() -> None:
    bench = bitaxe_gamma()
    assert bench.raw is not None
    bench.raw.i2c[0x24][0x21] = b""
    bench.raw._output = lambda device: 900  # type: ignore[method-assign] # 1.76 V
    with pytest.raises(DeviceFault, match=r"1\.76 V"):
        bench.board.bring_up()
    assert bench.is_cut()
    assert b"\x06\x00\x01" not in bench.raw.log


@pytest.mark.parametrize(("device", "register", "value"), [
    (0x4C, 0xFD, b"\x10"), (0x4C, 0x01, b"\x7f"), (0x24, 0x88, None), (0x24, 0x20, b"\x16"),
])  # fmt: skip
@pytest.mark.parametrize("whole", [False, True])
def test_a_sensor_of_the_gamma_that_fails_is_absent_and_named(
    device: int, register: int, value: bytes | None, *, whole: bool
) -> None:
    bench = up(bitaxe_gamma(whole=whole))
    assert bench.raw is not None
    if value is None:
        del bench.raw.i2c[device][register]
    else:
        bench.raw.i2c[device][register] = value
        bench.raw.i2c[0x4C][0x10] = b"\xe0"
    readings = bench.board.sensors()
    assert readings.problem
    assert bench.board.kind.sensors - readings.values.keys()


def test_the_gammas_readings_are_in_si_units() -> None:
    values = up(bitaxe_gamma()).board.sensors().values
    assert values[Sensor.CHIP_C] == 55.25
    assert values[Sensor.BOARD_C] == 30.0
    assert values[Sensor.FAN_RPM] == pytest.approx(5400000 / 0x056C)
    assert values[Sensor.FAN_TOLD] == 1.0
    assert values[Sensor.INPUT_V] == 5.0
    assert values[Sensor.CORE_V] == pytest.approx(1.15, abs=0.002)
    assert values[Sensor.REGULATOR_C] == 50.0
    assert values[Sensor.POWER_W] == pytest.approx(12 * 1.15, abs=0.1)


def test_the_gammas_diode_is_not_read_before_it_is_connected() -> None:
    bench = bitaxe_gamma()
    assert bench.raw is not None
    bench.raw.i2c[0x4C][0x01], bench.raw.i2c[0x4C][0x10] = b"\x7f", b"\x00"
    readings = bench.board.sensors()
    assert readings.problem is None or "diode" not in readings.problem
    assert Sensor.CHIP_C not in readings.values


def test_a_power_meter_is_used_where_there_is_one() -> None:
    bench = bitaxe_gamma()
    assert bench.raw is not None
    bench.raw.i2c[0x40] = {0x03: (1834).to_bytes(2, "big")}
    assert up(bench).board.sensors().values[Sensor.POWER_W] == pytest.approx(18.34)


def test_a_mute_control_port_still_gets_the_reset_line_told() -> None:
    bench = up(bitaxe_gamma())
    assert bench.raw is not None
    bench.raw.mute = True
    at = bench.time.now
    with pytest.raises(DeviceFault, match="does not answer"):
        bench.board.off()
    assert bench.raw.pins[0] == 1  # it hears nothing any more ...
    assert b"\x06\x00\x00" in bench.raw.log[-4:]  # ... but was told
    assert bench.time.now - at < 2.5
    bench.raw.mute = False
    bench.board.off()
    assert bench.is_cut()


def test_the_a1_is_asked_for_its_version_and_given_the_cited_voltage() -> None:
    bench = up(compac_a1())
    assert bench.micro is not None
    assert bench.micro.log == [b"?v", b"V\x3c", b"BO", b"LN", b"M."]
    assert bench.ports.parities[0].value == "mark" and bench.ports.parities[1].value == "none"
    bench.board.off()
    assert bench.micro.log[-1] == b"B-"


def test_an_a1_without_an_answer_on_its_telemetry_port_does_not_start_and_can_be_turned_off() -> None:
    bench = compac_a1()
    assert bench.micro is not None
    bench.micro.mute = True
    with pytest.raises(DeviceFault, match="telemetry"):
        bench.board.bring_up()
    assert bench.is_cut()
    assert bench.board.sensors().problem


def test_an_a1_of_unknown_firmware_is_refused() -> None:
    with pytest.raises(DeviceFault, match="version 50"):
        compac_a1(version=0x50).board.bring_up()


def test_a_short_answer_of_the_a1_is_no_reading_and_spoils_none_behind_it() -> None:
    bench = up(compac_a1())
    assert bench.micro is not None
    whole, bench.micro.readings = bench.micro.readings, b"\x01\x02"
    assert bench.board.sensors().problem
    bench.micro.readings = whole
    assert bench.board.sensors().problem is None


def test_any_error_of_a_bridge_in_a_start_ends_off() -> None:
    bench = compac_a1()
    bench.ports.bridges[1].gone = True
    with pytest.raises(BackendError):
        bench.board.bring_up()
    assert bench.is_cut()


def test_driving_boards_needs_no_compiler_until_one_starts() -> None:
    code = "import sys, backends.asic.boards.catalogue; sys.exit('llvmlite' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
