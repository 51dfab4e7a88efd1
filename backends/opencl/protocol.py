"""What the miner and a device's worker process say to each other: lines of JSON, each one message.

    miner                                   worker
    Open ---------------------------------> finds, builds, examines, tunes       Doing <-
                                            <------------------------------------- Ready
    Stretch(id, header, versions, range) -> launches, two in flight
                                            <---- Done(id, from where, how many, hits)  ...
    Drop(token) --------------------------> forgets its stretches, lets the launches in flight end
                                            <---- Done ... then Dropped(token)
    Set(duty, power) ---------------------> <---- PowerSet
    end of the pipe ----------------------> ends

A worker whose driver went wild may send anything: lines are bounded, every field is checked, nothing is unpickled.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from .runtime import Identity

LINE_MAX = 1 << 20  # bytes
HITS_MAX = 4096  # in one Done; a launch with more is told of in parts
TEXT_MAX = 4000  # characters

U32 = Annotated[int, Field(ge=0, lt=1 << 32)]
Text = Annotated[str, Field(max_length=TEXT_MAX)]
Celsius = Annotated[float, Field(ge=-100, le=300, allow_inf_nan=False)]
Positive = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=1e-9, lt=1e12, allow_inf_nan=False)]  # devices' clocks count nanoseconds


class ProtocolError(Exception):
    """The other side said what nobody says who is well."""


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Open(_Message):
    """Which device, and how it is to be used. launch_s: how long a launch shall take.

    tune: measure which form of the search is the fastest, if that is not known; retune: even if it is.
    """

    kind: Literal["open"] = "open"
    identity: Identity
    state_dir: str | None = None
    launch_s: Annotated[float, Field(gt=0, le=10)]
    tune: bool = True
    retune: bool = False


class Set(_Message):
    """duty: of the time, 0 to 1; power_w: None leaves the card's limit alone."""

    kind: Literal["set"] = "set"
    duty: Annotated[float, Field(ge=0, le=1)]
    power_w: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class Stretch(_Message):
    """Nonces start .. start + count - 1 under these versions: full header words, which replace the header's own."""

    kind: Literal["stretch"] = "stretch"
    id: Annotated[int, Field(ge=0)]
    header76: Annotated[str, Field(pattern="^[0-9a-f]{152}$")]
    versions: Annotated[tuple[U32, ...], Field(min_length=1, max_length=64)]
    target: Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")]
    start: U32
    count: Annotated[int, Field(gt=0, le=1 << 32)]


class Drop(_Message):
    """Forget what is not launched; answered with Dropped when the launches in flight are told."""

    kind: Literal["drop"] = "drop"
    token: int


class Doing(_Message):
    """What keeps it busy before it is ready."""

    kind: Literal["doing"] = "doing"
    text: Text


class Ready(_Message):
    """It passed its examination. midstates: the most versions it takes at once."""

    kind: Literal["ready"] = "ready"
    name: Text
    midstates: Annotated[int, Field(ge=1, le=64)]


class Done(_Message):
    """Every nonce of this part was tested under every version; hits: (nonce, full header version).

    Parts of a stretch come in order, without gaps. took_s: the device's own time of the launch, None if not told.
    """

    kind: Literal["done"] = "done"
    stretch: Annotated[int, Field(ge=0)]
    start: U32
    count: Annotated[int, Field(gt=0, le=1 << 32)]
    hits: Annotated[tuple[tuple[U32, U32], ...], Field(max_length=HITS_MAX)] = ()
    took_s: Seconds | None = None


class Dropped(_Message):
    """Nothing is in flight any more of what was given before that Drop."""

    kind: Literal["dropped"] = "dropped"
    token: int


class Temperature(_Message):
    """critical_c: where the card's maker draws the line, None if not told."""

    sensor: Annotated[str, Field(max_length=64)]
    celsius: Celsius
    critical_c: Celsius | None = None


class Sensed(_Message):
    """The card's sensors, None for what it has not. The first temperature is the processor's own."""

    kind: Literal["sensed"] = "sensed"
    temperatures: Annotated[tuple[Temperature, ...], Field(max_length=16)] = ()
    fans_rpm: Annotated[tuple[tuple[Annotated[str, Field(max_length=64)], Positive], ...], Field(max_length=16)] = ()
    fan: Annotated[float, Field(ge=0, le=1)] | None = None  # what the fans are told
    power_w: Positive | None = None
    power_limit_w: Positive | None = None
    frequency_hz: Positive | None = None
    voltage_v: Positive | None = None
    source: Annotated[str, Field(max_length=64)] = ""  # nvml, hwmon


class PowerSet(_Message):
    """The limit in force, or why it was not changed."""

    kind: Literal["power"] = "power"
    limit_w: Positive | None = None
    refused: Text | None = None


class Failed(_Message):
    """Its last words. for_good: another attempt would end alike."""

    kind: Literal["failed"] = "failed"
    reason: Text
    for_good: bool = False


Order = Open | Set | Stretch | Drop
Report = Doing | Ready | Done | Dropped | Sensed | PowerSet | Failed
_T = TypeVar("_T")
_ORDERS: TypeAdapter[Order] = TypeAdapter(Annotated[Order, Field(discriminator="kind")])
_REPORTS: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="kind")])


def encode(message: Order | Report) -> bytes:
    """A message as a line."""
    return message.model_dump_json().encode() + b"\n"


def order(line: bytes) -> Order:
    """Raises ProtocolError."""
    return _decoded(_ORDERS, line)


def report(line: bytes) -> Report:
    """Raises ProtocolError."""
    return _decoded(_REPORTS, line)


def _decoded(adapter: TypeAdapter[_T], line: bytes) -> _T:
    try:
        return adapter.validate_json(line)
    except ValidationError as error:
        what = error.errors(include_url=False)[0]["msg"]
        raise ProtocolError(f"{line[:60]!r} is no message: {what}") from error


class Lines:
    """Whole lines out of the pieces that a pipe gives."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[bytes]:
        """Raises ProtocolError for a line that does not end."""
        *whole, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LINE_MAX or any(len(line) > LINE_MAX for line in whole):
            raise ProtocolError(f"a line of more than {LINE_MAX} bytes")
        return whole
