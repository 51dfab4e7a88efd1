"""The section [backends.asic] of the configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from backends.asic.boards.board import BoardKind
from backends.asic.boards.catalogue import KINDS

_Hertz = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Celsius = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_CLAIM = re.compile(r"usb:.{1,126}")


def _named(claim: str) -> str:
    if not _CLAIM.fullmatch(claim):
        raise ValueError('it must be "usb:SERIAL" or "usb:PORT", as `miner devices` names it')
    return claim


def _understood(order: str) -> str:
    from backends.asic.virtual import parse_order  # noqa: PLC0415 # emulation is imported only when used

    parse_order(order)
    return order


_Claim = Annotated[str, AfterValidator(_named)]
_Order = Annotated[str, AfterValidator(_understood)]


class BoardOptions(BaseModel):
    """One board's, or one kind's: `[backends.asic.boards.SERIAL]` or `[backends.asic.boards.KIND]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    frequency_hz: Annotated[_Hertz | None, Field(description="its clock; the next one of its table below this")] = None
    throttle_c: Annotated[
        _Celsius | None, Field(description="slow down from here on; no later than it does anyway")
    ] = None
    cutoff_c: Annotated[_Celsius | None, Field(description="turn off from here on; no later than it does anyway")] = (
        None
    )


class AsicOptions(BaseModel):
    """Which USB devices are miners, and the limits of each board."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: Annotated[
        tuple[_Claim, ...],
        Field(description='devices that are miners though their strings do not say so: "usb:SERIAL" or "usb:PORT"'),
    ] = ()
    allow_unproven: Annotated[
        bool, Field(strict=True, description="drive real boards whose driver was not yet proven on hardware")
    ] = False
    virtual: Annotated[tuple[_Order, ...], Field(description="emulated boards to plug in")] = ()
    boards: Mapping[str, BoardOptions] = Field(
        default_factory=dict, description="clock and limits, by serial number or kind of board"
    )

    @model_validator(mode="after")
    def _sensible(self) -> AsicOptions:
        for name, options in self.boards.items():
            kind = KINDS.get(name)
            if kind is None or options.frequency_hz is None:
                continue
            lowest, *_, highest = kind.limits.frequencies_hz
            if not lowest <= options.frequency_hz <= highest:
                clocks = f"{lowest / 1e6:g} to {highest / 1e6:g} MHz"
                raise ValueError(f"boards.{name}.frequency_hz: a {kind.title} has clocks of {clocks}")
        return self

    def of_board(self, kind: BoardKind, serial: str | None) -> BoardOptions:
        """The options of this board: its own, else those of its kind."""
        if serial is not None and serial in self.boards:
            return self.boards[serial]
        return self.boards.get(kind.name, BoardOptions())
