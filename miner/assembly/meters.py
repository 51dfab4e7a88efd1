"""Builds meters, metering and alarms from the tables about electricity in the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from miner.config import Configuration
from miner.config.power import Meter, ModbusMeter, MqttMeter, ShellyMeter, TasmotaMeter
from miner.engine.metering import Market, Metering, Wall
from miner.power import rapl, shelly, tasmota
from miner.power import reading as power
from miner.power import tariff as prices
from miner.power.digest import Login
from miner.power.errors import PowerError
from miner.power.modbus import Modbus, Register
from miner.power.mqtt import Broker, Mqtt, Value
from miner.power.reader import READ_S, Reader
from miner.power.tariff import KWH_J
from miner.power.web import Web
from miner.telemetry.alarm_rules import Thresholds, rules
from miner.telemetry.alarms import Alarms

_RAPL_S = 1.0  # between readings: the counters of a large server go round in minutes


def metering_for(configuration: Configuration, *, root: Path = rapl.ROOT) -> Metering:
    """The metering of this machine, not yet started. Raises MissingLibrary."""
    return Metering(
        meters=[Wall(build_reader(meter), meter.scope == "machine") for meter in configuration.meter],
        processor=_processor(root) if configuration.power.rapl else None,
        model=configuration.power.model,
        market=_market(configuration),
    )


def try_meters(configuration: Configuration, *, root: Path = rapl.ROOT) -> Iterator[tuple[str, bool]]:
    """Read each meter once. Yields a sentence for each, and whether it is in order."""
    if configuration.power.rapl and (zones := rapl.zones(root)):
        try:
            rapl.Rapl(zones).read(READ_S)
        except PowerError as error:
            yield f"processor: {error}", True  # nobody asked for it
        else:
            yield f"processor: its energy counters can be read ({len(zones)})", True
    for told in configuration.meter:
        try:
            meter = build_meter(told)
            try:
                sample = meter.read(read_s(told))
            finally:
                meter.close()
        except PowerError as error:
            yield f"meter {told.name}: {error}", False
        else:
            shown = [] if sample.watts is None else [f"{sample.watts:g} W"]
            shown += [f"{sum(one.joules for one in sample.counters) / KWH_J:.3f} kWh"] if sample.counters else []
            yield f"meter {told.name}: {', '.join(shown)}", True


def alarms_for(configuration: Configuration) -> Alarms:
    """The alarms as configured."""
    wanted = configuration.alarms
    thresholds = Thresholds(
        hot_c=wanted.hot_c,
        rate_ratio=wanted.rate_ratio,
        reject_ratio=wanted.reject_ratio,
        silence=wanted.silence,
        meter_ratio=wanted.meter_ratio,
        budget_w=configuration.power.budget_w,
        overhead_w=configuration.power.overhead_w,
    )
    return Alarms(rules(thresholds, wanted.off))


def _processor(root: Path) -> Reader | None:
    """A reader of the processor's counters, where there are some."""
    zones = rapl.zones(root)
    return Reader(rapl.Rapl(zones), _RAPL_S, most_w=rapl.MOST_W, level="info") if zones else None


def _market(configuration: Configuration) -> Market | None:
    told = configuration.tariff
    if told is None:
        return None
    windows = tuple(
        prices.Window(one.start, one.end, one.price_per_kwh, frozenset(one.days) or prices.EVERY_DAY)
        for one in told.window
    )
    tariff = prices.Tariff(told.currency, told.price_per_kwh, windows)
    return Market(tariff, told.time_zone, told.hash_price, told.fee)


def build_meter(meter: Meter) -> power.Meter:
    """The meter itself, not yet spoken to. Raises MissingLibrary."""
    where = meter.url
    match meter:
        case ShellyMeter():
            web = Web(meter.name, where.host, where.port, _login(meter, shelly.USER))
            return shelly.Shelly(web, meter.channel)
        case TasmotaMeter():
            web = Web(meter.name, where.host, where.port, None)
            return tasmota.Tasmota(web, meter.channel, _login(meter, tasmota.USER))
        case MqttMeter():
            broker = Broker(
                where.host,
                where.port,
                meter.topic,
                tls=where.scheme == "mqtts",
                ca_file=str(meter.ca_file) if meter.ca_file else None,
                login=_login(meter, meter.user or ""),
            )
            return Mqtt(
                meter.name,
                broker,
                power=None if meter.power_path is None else Value(meter.power_path, meter.power_scale),
                energy=None if meter.energy_path is None else Value(meter.energy_path, meter.energy_scale),
            )
        case ModbusMeter():
            return Modbus(
                meter.name,
                where.host,
                where.port,
                unit=meter.unit,
                power=None
                if meter.power_register is None
                else Register(meter.power_register, meter.power_type, meter.power_scale, meter.table, meter.word_order),
                energy=None
                if meter.energy_register is None
                else Register(
                    meter.energy_register, meter.energy_type, meter.energy_scale, meter.table, meter.word_order
                ),
            )


def read_s(meter: Meter) -> float:
    """Seconds that one reading may take: a meter that publishes by itself is waited for."""
    return 2 * meter.interval + READ_S if isinstance(meter, MqttMeter) else READ_S


def build_reader(meter: Meter) -> Reader:
    """The thread that reads it, not yet started. Raises MissingLibrary."""
    return Reader(build_meter(meter), meter.interval, read_s=read_s(meter))


def _login(meter: ShellyMeter | TasmotaMeter | MqttMeter, user: str) -> Login | None:
    secret = meter.password.get_secret_value() if meter.password else ""
    return Login(user, secret) if secret or (user and isinstance(meter, MqttMeter)) else None
