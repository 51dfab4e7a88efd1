"""Snapshots in, snapshots with watts, joules and money out; no thread, no clock but the snapshots'."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from datetime import UTC, time

import pytest

from backends.base import DeviceInfo, Kind, State
from miner.engine.metering import Market, Metering, Wall
from miner.power.errors import Unreadable
from miner.power.reader import Reader
from miner.power.reading import Counter, Sample
from miner.power.tariff import Tariff, Window
from miner.telemetry.snapshot import Basis, DeviceView, Snapshot
from tests.telemetry.snapshots import device, snapshot, source


class Script:
    """A meter that says what a test wrote."""

    def __init__(self, name: str = "desk") -> None:
        self.name = name
        self.says: Sample | None = None

    def read(self, timeout_s: float) -> Sample:
        if self.says is None:
            raise Unreadable(f"{self.name} is silent")
        return self.says

    def close(self) -> None:
        self.says = None


class Bench:
    """A metering, its meters, and the time."""

    def __init__(self, **kwargs: object) -> None:
        self.now = 0.0
        self.meters = {name: Script(name) for name in ("desk", "rack", "rapl")}
        self.readers = {
            name: Reader(meter, 1.0, clock=lambda: self.now, most_w=2000.0) for name, meter in self.meters.items()
        }
        self.kwargs = kwargs

    def with_(self, *meters: str, machine: bool = True, rapl: bool = False) -> Metering:
        return Metering(
            meters=[Wall(self.readers[name], machine) for name in meters],
            processor=self.readers["rapl"] if rapl else None,
            **self.kwargs,  # type: ignore[arg-type]
        )

    def say(self, name: str, watts: float | None = None, *counters: Counter) -> None:
        self.meters[name].says = None if watts is None and not counters else Sample(self.now, watts, counters)
        self.readers[name].look()

    def show(self, metering: Metering, *devices: DeviceView, hashes: int = 0, **values: object) -> Snapshot:
        view = replace(snapshot(*devices, now=self.now), hashes=hashes, **values)  # type: ignore[arg-type]
        return metering.handle(view, {})


def gpu(name: str = "opencl:0", **values: object) -> DeviceView:
    return replace(device(name, **values), info=DeviceInfo(name, "opencl", Kind.GPU, "GPU"))


def test_a_device_that_measures_itself_is_integrated_and_labelled_with_its_source() -> None:
    bench = Bench()
    metering = bench.with_()
    for second in range(11):
        bench.now = float(second)
        view = bench.show(metering, gpu(power_w=200.0, power_source="nvml", hashes=second * 10**9))
    (one,) = view.devices
    assert one.energy_by == {"nvml": pytest.approx(2000.0)}
    assert one.joules_per_hash == pytest.approx(2e-7)
    assert [(x.basis, x.watts, x.joules) for x in view.consumption] == [(Basis.DEVICES, 200.0, pytest.approx(2000.0))]


def test_the_time_of_a_reading_is_that_of_the_device_and_one_that_stands_still_adds_nothing() -> None:
    bench = Bench()
    metering = bench.with_()
    for second in range(100):
        bench.now = float(second)
        view = metering.handle(
            snapshot(gpu(power_w=100.0, power_source="nvml"), now=bench.now), {"opencl:0": min(second, 10.0)}
        )
    assert view.devices[0].energy_j == pytest.approx(1000.0)


def test_energy_end_to_end_is_within_a_thousandth_of_the_trace_and_gaps_stay_gaps() -> None:
    """A device's own watts, seen at uneven times with failures in between, against the integral of what it drew."""

    def trace_w(at: float) -> float:
        return 200.0 + 80.0 * math.sin(at / 30.0)

    def integral(begin: float, end: float) -> float:
        return 200.0 * (end - begin) - 2400.0 * (math.cos(end / 30.0) - math.cos(begin / 30.0))

    bench, jitter = Bench(), random.Random(8).uniform
    metering, wanted, before = bench.with_(), 0.0, None
    view = snapshot()
    for second in range(1, 7200):
        bench.now = float(second)
        seen = second + jitter(-0.4, 0.0)
        lost = second % 900 in range(200, 260)
        view = metering.handle(
            snapshot(gpu(power_w=None if lost else trace_w(seen), power_source="hwmon"), now=bench.now),
            {"opencl:0": seen},
        )
        if not lost and before is not None:
            wanted += integral(before, seen)
        before = None if lost else seen
    assert view.devices[0].energy_j == pytest.approx(wanted, rel=1e-3)


def test_the_processor_is_measured_by_its_counters_over_wraps_and_failures() -> None:
    bench, range_j = Bench(), 262_143.328850
    metering = bench.with_(rapl=True)
    used_j = 262_000.0
    first = used_j
    for second in range(600):
        bench.now = float(second)
        used_j += 150.0
        bench.say("rapl", None, *(() if second % 100 == 50 else (Counter(used_j % range_j, range_j),)))
        view = bench.show(metering, device("cpu:0"))
    (one,) = view.devices
    assert one.telemetry.power_source == "rapl"
    assert one.telemetry.power_w == pytest.approx(150.0)
    assert one.energy_by == {"rapl": pytest.approx(used_j - first - 150.0, rel=1e-6)}


def test_a_processor_that_measures_itself_is_not_counted_a_second_time_by_the_counters() -> None:
    bench = Bench()
    metering = bench.with_(rapl=True)
    for second in range(11):
        bench.now = float(second)
        bench.say("rapl", None, Counter(150.0 * second, 1e6))
        view = bench.show(metering, device("cpu:0", power_w=140.0, power_source="hwmon"))
    (one,) = view.devices
    assert (one.telemetry.power_w, one.telemetry.power_source) == (140.0, "hwmon")
    assert one.energy_by == {"hwmon": pytest.approx(1400.0)}


def test_with_two_processors_to_mine_with_nobody_gets_the_joules() -> None:
    bench = Bench()
    metering = bench.with_(rapl=True)
    for second in range(3):
        bench.now = float(second)
        bench.say("rapl", None, Counter(100.0 * second, 1e6))
        view = bench.show(metering, device("cpu:0"), device("cpu:1"))
    assert all(one.telemetry.power_w is None and one.energy_j is None for one in view.devices)


def test_an_operators_figure_counts_only_where_nothing_measures_and_only_while_it_mines() -> None:
    bench = Bench(model={"cpu:0": 65.0, "opencl:0": 999.0})
    metering = bench.with_()
    for second, state in enumerate([State.STARTING] * 5 + [State.MINING] * 5 + [State.OFF] * 5):
        bench.now = float(second)
        view = bench.show(metering, device("cpu:0", state=state), gpu(power_w=100.0, power_source="nvml"))
    cpu, card = view.devices
    assert cpu.energy_by == {"model": pytest.approx(65.0 * 4)}
    assert cpu.telemetry.power_w is None
    assert card.energy_by == {"nvml": pytest.approx(1400.0)}
    assert view.consumption[0].basis is Basis.MODEL


@pytest.mark.parametrize("lie", [math.nan, math.inf, -5.0, 1e9])
def test_a_sensor_that_lies_costs_its_value_and_no_figure_stands_in_for_it(lie: float) -> None:
    bench = Bench(model={"opencl:0": 100.0})
    metering = bench.with_()
    for second in range(6):
        bench.now = float(second)
        view = bench.show(metering, gpu(power_w=lie if second == 3 else 200.0, power_source="nvml"))
        if second == 3:
            assert view.devices[0].telemetry.power_w is None
            assert view.consumption[0].watts is None
    assert view.devices[0].energy_by == {"nvml": pytest.approx(600.0)}


def test_emulated_devices_draw_nothing() -> None:
    bench = Bench()
    metering = bench.with_()
    virtual = gpu(power_w=500.0, power_source="usb")
    virtual = replace(virtual, info=replace(virtual.info, virtual=True))
    for second in range(3):
        bench.now = float(second)
        view = bench.show(metering, virtual)
    assert view.consumption == ()


def test_the_wall_stands_before_the_devices_and_is_never_added_to_them() -> None:
    bench = Bench()
    metering = bench.with_("desk")
    for second in range(11):
        bench.now = float(second)
        bench.say("desk", 300.0)
        view = bench.show(metering, gpu(power_w=200.0, power_source="nvml", hashes=second * 100), hashes=second * 100)
    wall, own = view.consumption
    assert (wall.basis, wall.watts, wall.joules) == (Basis.WALL, 300.0, pytest.approx(3000.0))
    assert wall.joules_per_hash == pytest.approx(3.0)
    assert (own.basis, own.watts, own.joules_per_hash) == (Basis.DEVICES, 200.0, pytest.approx(2.0))


def test_a_meter_of_the_rack_is_shown_and_says_nothing_of_this_machine() -> None:
    bench = Bench()
    metering = bench.with_("rack", machine=False)
    for second in range(3):
        bench.now = float(second)
        bench.say("rack", 30_000.0)
        view = bench.show(metering, device())
    assert view.meters[0].watts == 30_000.0 and not view.meters[0].machine
    assert view.consumption == ()


def test_two_supplies_are_one_machine_and_while_one_is_silent_its_power_is_not_known() -> None:
    bench = Bench()
    metering = bench.with_("desk", "rack")
    for second in range(5):
        bench.now = float(second)
        bench.say("desk", 100.0)
        bench.say("rack", 50.0 if second != 4 else None)
        view = bench.show(metering, device(), hashes=second)
        if second == 3:
            assert view.consumption[0].watts == 150.0
    assert view.consumption[0].watts is None
    assert view.meters[1].fault == "rack is silent"


def test_a_meter_that_hangs_is_old_news_after_a_while() -> None:
    bench = Bench()
    metering = bench.with_("desk")
    bench.say("desk", 100.0)
    bench.now = 29.0
    assert bench.show(metering, device()).meters[0].watts == 100.0
    bench.now = 31.0
    (meter,) = bench.show(metering, device()).meters
    assert (meter.watts, meter.fault) == (None, "it does not answer")


def test_cost_follows_the_price_of_the_hour_and_break_even_the_wall() -> None:
    night = Window(time(22), time(6), 0.10)
    market = Market(Tariff("EUR", 0.30, (night,)), UTC, hash_price=0.05, fee=0.02)
    wall_s = 1_700_000_000.0 // 86_400 * 86_400 + 21 * 3600  # 21:00 UTC
    bench = Bench(market=market, wall=lambda: wall_s + bench.now)
    metering = bench.with_("desk")
    for minute in range(121):
        bench.now = 60.0 * minute
        bench.say("desk", 1000.0, Counter(1000.0 * bench.now))
        view = bench.show(
            metering,
            device(),
            hashes=round(bench.now * 50e12),
            sources=(source(accepted_difficulty=10.0 * minute), source("b", accepted_difficulty=0.0)),
        )
    costs = view.costs
    assert costs is not None
    assert (costs.currency, costs.basis, costs.price_per_kwh) == ("EUR", Basis.WALL, 0.10)
    assert costs.spent == pytest.approx(0.30 + 0.10, rel=0.01)
    assert costs.per_difficulty == pytest.approx(0.40 / 1200, rel=0.02)
    assert costs.break_even_per_kwh == pytest.approx(0.104166 * 0.98, rel=1e-3)


def test_without_a_wall_meter_cost_is_that_of_the_devices_and_a_share_has_a_price_once_all_are_known() -> None:
    bench = Bench(market=Market(Tariff("EUR", 0.30)))
    metering = bench.with_()
    for second in range(1, 11):
        bench.now = float(second)
        shares = (source(accepted_difficulty=float(second)),)
        card = gpu(power_w=3600.0, power_source="nvml")
        view = bench.show(metering, card, sources=shares)
        dark = bench.show(metering, card, gpu("opencl:1"), sources=shares)
    assert view.costs is not None and dark.costs is not None
    assert view.costs.basis is Basis.DEVICES
    assert view.costs.spent == pytest.approx(0.30 * 9 / 1000)
    assert view.costs.per_difficulty == pytest.approx(0.30 / 1000)


def test_an_idle_card_that_tells_its_power_does_not_stand_in_for_a_mining_one_that_does_not() -> None:
    bench = Bench(market=Market(Tariff("EUR", 0.30)))
    metering = bench.with_()
    for second in range(1, 11):
        bench.now = float(second)
        idle = gpu(power_w=10.0, power_source="nvml", state=State.IDLE, hashes=0)
        shares = (source(accepted_difficulty=float(second)),)
        told = gpu("opencl:1", power_w=3600.0, power_source="nvml")
        view = bench.show(metering, idle, told, gpu("opencl:2"), sources=shares)
    assert view.costs is not None and view.costs.per_difficulty is None


def test_an_idle_card_that_tells_its_power_does_not_keep_the_price_of_a_share_unknown() -> None:
    bench = Bench(market=Market(Tariff("EUR", 0.30)))
    metering = bench.with_()
    for second in range(1, 11):
        bench.now = float(second)
        idle = gpu("opencl:1", power_w=0.0, power_source="nvml", state=State.IDLE, hashes=0)
        shares = (source(accepted_difficulty=float(second)),)
        view = bench.show(metering, gpu(power_w=3600.0, power_source="nvml"), idle, sources=shares)
    assert view.costs is not None and view.costs.per_difficulty == pytest.approx(0.30 / 1000)


def test_shares_of_a_time_that_is_not_in_the_processors_counter_have_no_part_in_their_price() -> None:
    bench = Bench(market=Market(Tariff("EUR", 0.30)))
    metering = bench.with_(rapl=True)
    for second in range(1, 101):
        bench.now = float(second)
        if not 20 < second <= 90:
            bench.say("rapl", None, Counter(1000.0 * (second % 90)))  # it was reset in between
        elif second == 21:
            bench.say("rapl")
        view = bench.show(metering, device("cpu:0"), sources=(source(accepted_difficulty=float(second)),))
    assert view.costs is not None
    assert view.costs.per_difficulty == pytest.approx(0.30 * 1000 / 3.6e6)


def test_nothing_known_is_nothing_said() -> None:
    metering = Bench(market=Market(Tariff("EUR", 0.30))).with_()
    view = metering.handle(snapshot(), {})
    assert (view.consumption, view.costs, view.meters) == ((), None, ())
    assert view.devices[0].energy_j is None
