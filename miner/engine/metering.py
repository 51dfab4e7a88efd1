"""What mining costs: readings of devices, processor and wall meters become joules, efficiency and money.

    devices' telemetry, RAPL, the operator's figures --> each device's energy --+
    wall meters --> Reader threads --> the machine's energy --------------------+--> Consumption --> Costs

One `Metering` looks at every snapshot, on the loop, and fills in what it knows; it waits for nobody. A device's energy
is taken from the best that there is: its own sensor, else the processor's counters, else the figure that the operator
gave. Wall meters stand apart: nothing is counted twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo
from types import MappingProxyType

from backends.base import Kind, State, Telemetry
from miner.power.account import Account, Mark
from miner.power.energy import MOST_W, Energy
from miner.power.reader import Known, Reader
from miner.power.tariff import Tariff, break_even_per_kwh, joules_per_hash
from miner.telemetry.snapshot import MODEL, Basis, Consumption, Costs, DeviceView, MeterView, Snapshot

RAPL = "rapl"
_SOURCE_MAX = 32  # characters


@dataclass(frozen=True, slots=True)
class Market:
    """Prices: of electricity by its tariff, of hashes by the day. `zone` None: the machine's."""

    tariff: Tariff
    zone: tzinfo | None = None
    hash_price: float | None = None  # what 1e12 hashes a second earn in a day
    fee: float = 0.0

    def price_per_kwh(self, wall_s: float) -> float:
        """At a Unix time."""
        return self.tariff.price_per_kwh(datetime.fromtimestamp(wall_s, self.zone))


@dataclass(slots=True)
class _Device:
    """What one device has used, by the source of its readings."""

    energies: dict[str, Energy] = field(default_factory=dict)
    account: Account = field(default_factory=Account)
    gap_s: float = 0.0  # seconds that are not in the joules

    def handle(self, at: float, watts: float | None, source: str | None) -> None:
        for name, energy in self.energies.items():
            if name != source or watts is None:
                energy.lost(at)
        if source is not None and watts is not None:
            self.energies.setdefault(source, Energy()).power(at, watts)

    def joules(self, counted: Known | None) -> dict[str, float]:
        """`counted`: by the processor's own counters."""
        known = {name: energy.joules for name, energy in self.energies.items() if energy.joules is not None}
        return known | ({RAPL: counted.joules} if counted and counted.joules is not None else {})

    def book(self, joules: float, counted: Known | None, hashes: int, *, known: bool) -> None:
        """What it has used and done by now."""
        self.gap_s = sum(energy.gap_s for energy in self.energies.values()) + (counted.gap_s if counted else 0.0)
        self.account.handle(Mark(joules, self.gap_s, hashes), known=known, price_per_kwh=None)


@dataclass(frozen=True, slots=True)
class Wall:
    """A wall meter. `machine`: whether it measures this machine and nothing else."""

    reader: Reader
    machine: bool = True


class Metering:
    """Fills in a snapshot's watts, joules and money.

    `model`: watts of a device while it mines, where nothing measures it. `processor`: reads the processor's counters.
    """

    def __init__(
        self,
        *,
        meters: Sequence[Wall] = (),
        processor: Reader | None = None,
        model: Mapping[str, float] = MappingProxyType({}),
        market: Market | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._meters = meters
        self._processor = processor
        self._model = model
        self._market = market
        self._wall = wall
        self._devices: dict[str, _Device] = {}
        self._at_wall = Account()
        self._by_devices = Account()

    def start(self) -> None:
        """Begin to read, in threads."""
        for reader in self._readers():
            reader.start()

    def close(self) -> None:
        """Stop reading. Idempotent."""
        for reader in self._readers():
            reader.close()

    def handle(self, snapshot: Snapshot, seen: Mapping[str, float]) -> Snapshot:
        """The snapshot with all that is known of power. `seen`: when each device's telemetry was taken."""
        price = self._market.price_per_kwh(self._wall()) if self._market else None
        cpus = [one.info.id for one in snapshot.devices if one.info.kind is Kind.CPU and not one.info.virtual]
        known = self._processor.known(snapshot.now) if self._processor else None
        devices = tuple(
            # With two CPU devices nobody can say whose joules the package's are.
            self._device(device, seen.get(device.info.id, snapshot.now), known if cpus == [device.info.id] else None)
            for device in snapshot.devices
        )
        snapshot = replace(
            snapshot, devices=devices, meters=tuple(_meter_view(meter, snapshot.now) for meter in self._meters)
        )
        wall, own = self._wall_consumption(snapshot, price), self._device_consumption(snapshot, price)
        consumption = tuple(one for one in (wall, own) if one is not None)
        costs = self._costs(consumption[0], price) if consumption and price is not None else None
        return replace(snapshot, consumption=consumption, costs=costs)

    def _readers(self) -> tuple[Reader, ...]:
        return (*(meter.reader for meter in self._meters), *((self._processor,) if self._processor else ()))

    # ---- devices

    def _device(self, view: DeviceView, at: float, counted: Known | None) -> DeviceView:
        device = self._devices.setdefault(view.info.id, _Device())
        telemetry = view.telemetry
        own = telemetry.power_w is not None
        if telemetry.power_w is not None and not 0 <= telemetry.power_w <= MOST_W:
            telemetry = replace(telemetry, power_w=None)  # a sensor that lies; no other word stands in for it
        if counted is not None and (own or (counted.watts is None and counted.joules is None)):
            counted = None
        if own:
            device.handle(at, telemetry.power_w, (telemetry.power_source or "other")[:_SOURCE_MAX])
        elif counted is not None:
            device.handle(at, None, None)
            telemetry = replace(telemetry, power_w=counted.watts, power_source=RAPL)
        else:
            telemetry = self._modelled(view, telemetry)
            device.handle(at, telemetry.power_w, MODEL)
        joules = device.joules(counted)
        device.book(sum(joules.values()), counted, view.hashes, known=telemetry.power_w is not None)
        return replace(view, telemetry=telemetry, energy_by=joules, joules_per_hash=device.account.joules_per_hash)

    def _modelled(self, view: DeviceView, telemetry: Telemetry) -> Telemetry:
        figure = self._model.get(view.info.id)
        if figure is None or telemetry.state is not State.MINING:
            return telemetry
        return replace(telemetry, power_w=figure, power_source=MODEL)

    def _device_consumption(self, snapshot: Snapshot, price: float | None) -> Consumption | None:
        """Of all devices of which anything is known."""
        real = [view for view in snapshot.devices if not view.info.virtual]
        metered = [view for view in real if view.energy_by or view.telemetry.power_w is not None]
        if not metered:
            return None
        accounts = [self._devices[view.info.id].account for view in metered]
        known = [view.telemetry.power_w for view in metered if view.telemetry.power_w is not None]
        joules = [view.energy_j for view in metered if view.energy_j is not None]
        modelled = any(view.power_modelled or view.energy_modelled for view in metered)
        if joules:
            gap_s = sum(self._devices[view.info.id].gap_s for view in metered)
            mark = Mark(sum(joules), gap_s, sum(view.hashes for view in metered), _difficulty(snapshot))
            # A share may be of any device: what one has cost is known where all devices' energy is.
            mined = [view for view in real if view.telemetry.state is State.MINING or view.hashes]
            everything = all(view.telemetry.power_w is not None for view in mined)
            self._by_devices.handle(mark, known=everything, price_per_kwh=price)
        return Consumption(
            Basis.MODEL if modelled else Basis.DEVICES,
            sum(known) if known else None,
            sum(joules) if joules else None,
            joules_per_hash(sum(one.joules for one in accounts) or None, sum(one.hashes for one in accounts)),
        )

    # ---- the wall

    def _wall_consumption(self, snapshot: Snapshot, price: float | None) -> Consumption | None:
        """Of all meters of this machine together; None where there are none."""
        meters = [meter for meter in snapshot.meters if meter.machine]
        if not meters:
            return None
        watts = [meter.watts for meter in meters if meter.watts is not None]
        joules = [meter.joules for meter in meters if meter.joules is not None]
        all_known = len(watts) == len(meters)
        if joules:
            gap_s = sum(meter.gap_s for meter in meters)
            mark = Mark(sum(joules), gap_s, snapshot.hashes, _difficulty(snapshot))
            self._at_wall.handle(mark, known=all_known, price_per_kwh=price)
        return Consumption(
            Basis.WALL,
            sum(watts) if all_known else None,
            sum(joules) if joules else None,
            self._at_wall.joules_per_hash,
        )

    def _costs(self, consumption: Consumption, price: float) -> Costs | None:
        market = self._market
        if market is None:
            return None
        account = self._at_wall if consumption.basis is Basis.WALL else self._by_devices
        per_hash = consumption.joules_per_hash
        earning = market.hash_price
        return Costs(
            market.tariff.currency,
            consumption.basis,
            price,
            account.spent,
            account.cost_per_difficulty,
            break_even_per_kwh(earning, per_hash, market.fee) if earning is not None and per_hash else None,
        )


def _difficulty(snapshot: Snapshot) -> float:
    return sum(source.accepted_difficulty for source in snapshot.sources)


def _meter_view(meter: Wall, now: float) -> MeterView:
    known = meter.reader.known(now)
    return MeterView(meter.reader.name, meter.machine, known.watts, known.joules, known.gap_s, known.fault)
