"""The tables about electricity: `[power]`, `[[meter]]`, `[tariff]`, `[alarms]`. Their keys have no flags."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    model_validator,
)

from miner.telemetry.alarm_rules import RULES

from .text import File, Secret, Text, from_text

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._:-]{0,62}")
_CURRENCY = re.compile(r"\S{1,8}")
_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2})")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PORTS: Mapping[str, int] = {"http": 80, "mqtt": 1883, "mqtts": 8883, "modbus": 502}
SECTIONS = ("power", "tariff", "alarms", "safety")  # tables of their own; [[meter]] is a list of them


@dataclass(frozen=True, slots=True)
class Address:
    """Where a meter or a broker is: `http://192.0.2.7`."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def _address(text: str, *schemes: str) -> Address:
    example = f"{schemes[0]}://192.0.2.7" + (f":{_PORTS[schemes[0]]}" if schemes[0] != "http" else "")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"it is written {example}") from error
    if "@" in parts.netloc:
        raise ValueError("user and password do not stand in it: they are keys of their own")
    if parts.scheme not in schemes or not host or re.search(r"[^A-Za-z0-9._:%-]", host) or port == 0:
        raise ValueError(f"it is written {example}")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError(f"nothing follows the host and port: {example}")
    return Address(parts.scheme, host, port or _PORTS[parts.scheme])


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("a name has up to 63 letters, digits, spaces and . _ : -, and begins with a letter or digit")
    return text


def _topic(text: str) -> str:
    """MQTT 5, 4.7.1: what a client subscribes to; the library would say so only in a thread of its own."""
    levels = text.split("/")
    alone = all(level in ("+", "#") for level in levels if "+" in level or "#" in level)
    if not alone or "#" in levels[:-1]:
        raise ValueError("in a topic + stands alone between slashes, and # alone at the end")
    if len(text.encode()) >= 1 << 16:
        raise ValueError("a topic has 65,535 bytes at most")
    return text


def _currency(text: str) -> str:
    if not _CURRENCY.fullmatch(text):
        raise ValueError('it is a short word or sign without spaces, as "EUR"')
    return text


def _clock_time(text: str) -> time:
    written = _CLOCK.fullmatch(text)
    if written is None or int(written[1]) > 23 or int(written[2]) > 59:
        raise ValueError('a time of day is written "22:00"')
    return time(int(written[1]), int(written[2]))


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError('there is no such time zone on this machine; it is written "Europe/Berlin"') from error


def _day(value: object) -> object:
    if isinstance(value, str):
        if value.lower() not in _DAYS:
            raise ValueError("a day is one of " + ", ".join(_DAYS))
        return _DAYS.index(value.lower())
    return value


def _rule(text: str) -> str:
    if text not in RULES:
        raise ValueError("an alarm is one of " + ", ".join(RULES))
    return text


Name = Annotated[Text, AfterValidator(_name)]
Watts = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Ratio = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Price = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Whole = Annotated[int, Field(strict=True, ge=0, le=65_535)]
Clock = Annotated[InstanceOf[time], from_text(_clock_time)]
Day = Annotated[int, BeforeValidator(_day), Field(ge=0, le=6)]
WebUrl = Annotated[InstanceOf[Address], from_text(lambda text: _address(text, "http"))]
BrokerUrl = Annotated[InstanceOf[Address], from_text(lambda text: _address(text, "mqtt", "mqtts"))]
ModbusUrl = Annotated[InstanceOf[Address], from_text(lambda text: _address(text, "modbus"))]
RegisterType = Literal["uint16", "int16", "uint32", "int32", "float32", "uint64", "int64", "float64"]


class Table(BaseModel):
    """A table of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Power(Table):
    """`[power]`: what is known of the machine's consumption beside its sensors."""

    rapl: bool = Field(True, strict=True, description="read the processor's own energy counters")
    model: Mapping[Text, Watts] = Field(
        default_factory=dict, description="watts of a device while it mines, by its id, where nothing measures it"
    )
    overhead_w: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] | None = Field(
        None, description="what the machine draws beside its devices, for comparing them with a meter"
    )
    budget_w: Watts | None = Field(None, description="what it may draw before an alarm")


class _AnyMeter(Table):
    name: Name = Field(description="what it is called in metrics and logs")
    scope: Literal["machine", "rack"] = Field(
        "machine", description="machine: it measures this machine and nothing else; rack: others, too"
    )
    interval: float = Field(5.0, strict=True, ge=1, le=3600, description="seconds between readings")


class _Locked(_AnyMeter):
    password: Secret | None = Field(None, description="its password")
    password_file: File | None = Field(None, description="a file whose first line is the password")


class ShellyMeter(_Locked):
    """A Shelly of any generation."""

    kind: Literal["shelly"]
    url: WebUrl = Field(description="where it is")
    channel: Whole | None = Field(None, description="which of its meters, from 0")


class TasmotaMeter(_Locked):
    """A plug that runs Tasmota."""

    kind: Literal["tasmota"]
    url: WebUrl = Field(description="where it is")
    channel: Whole | None = Field(None, description="which of its meters, from 0")


class _Scaled(_AnyMeter):
    power_scale: Ratio = Field(1.0, description="watts that one count of its power is")
    energy_scale: Ratio = Field(1.0, description="joules that one count of its energy is")


class MqttMeter(_Scaled, _Locked):
    """Whatever publishes to a broker."""

    kind: Literal["mqtt"]
    url: BrokerUrl = Field(description="where the broker is")
    topic: Annotated[Text, AfterValidator(_topic)] = Field(description="what to listen to")
    user: Text | None = Field(None, description="the account at the broker")
    ca_file: File | None = Field(None, description="a certificate to trust instead of the system's, for mqtts")
    power_path: str | None = Field(None, description='where in the JSON its power stands; "": the message is it')
    energy_path: str | None = Field(None, description="where its energy counter stands")

    @model_validator(mode="after")
    def _has_a_value(self) -> Self:
        _require_one(self, "power_path", "energy_path")
        return self


class ModbusMeter(_Scaled):
    """Whatever has registers."""

    kind: Literal["modbus"]
    url: ModbusUrl = Field(description="where it is")
    unit: Annotated[int, Field(strict=True, ge=0, le=255)] = Field(1, description="its number behind that address")
    table: Literal["holding", "input"] = Field("holding", description="which registers")
    word_order: Literal["big", "little"] = Field("big", description="which word of a long number comes first")
    power_register: Whole | None = Field(None, description="where its power stands, from 0")
    power_type: RegisterType = Field("float32", description="how its power is written")
    energy_register: Whole | None = Field(None, description="where its energy counter stands, from 0")
    energy_type: RegisterType = Field("float32", description="how its energy is written")

    @model_validator(mode="after")
    def _has_a_value(self) -> Self:
        _require_one(self, "power_register", "energy_register")
        return self


Meter = ShellyMeter | TasmotaMeter | MqttMeter | ModbusMeter
METERS: Mapping[str, type[Meter]] = {
    "shelly": ShellyMeter,
    "tasmota": TasmotaMeter,
    "mqtt": MqttMeter,
    "modbus": ModbusMeter,
}
AnyMeter = Annotated[Meter, Field(discriminator="kind")]


class Window(Table):
    """`[[tariff.window]]`: another price for part of the day."""

    start: Clock = Field(description='from, as "22:00"')
    end: Clock = Field(description="until; before the start: over midnight; the same: all day")
    price_per_kwh: Price = Field(description="its price")
    days: tuple[Day, ...] = Field((), description="the days on which it starts; none: all")


class Tariff(Table):
    """`[tariff]`: what electricity costs and what hashing earns."""

    currency: Annotated[Text, AfterValidator(_currency)] = Field(description="what all of its prices are in")
    price_per_kwh: Price = Field(description="of a kilowatt-hour outside all windows")
    window: tuple[Window, ...] = Field((), description="other prices for parts of the day; the first that fits")
    time_zone: Annotated[InstanceOf[ZoneInfo], from_text(_zone)] | None = Field(
        None, description="of the windows; by default the machine's"
    )
    hash_price: Ratio | None = Field(None, description="what 1 TH/s earns in a day, for the break-even price")
    fee: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(0.0, description="the pool's part of that, 0 to 1")


class Alarms(Table):
    """`[alarms]`: when something is wrong."""

    hot_c: Ratio = Field(90.0, description="degrees Celsius of a device's hottest sensor")
    rate_ratio: Ratio = Field(0.8, description="part of the expected rate under which a device is slow")
    reject_ratio: Ratio = Field(0.05, description="part of the last shares that may be refused")
    silence: Ratio = Field(10.0, description="usual waits between shares without one")
    meter_ratio: Ratio = Field(0.1, description="by how much devices and meter may disagree")
    off: tuple[Annotated[Text, AfterValidator(_rule)], ...] = Field((), description="alarms that are not wanted")


def _require_one(meter: MqttMeter | ModbusMeter, *keys: str) -> None:
    if all(getattr(meter, key) is None for key in keys):
        raise ValueError(f"a meter of kind {meter.kind} needs {' or '.join(keys)}")
