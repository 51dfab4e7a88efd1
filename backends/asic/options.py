"""The section [backends.asic] of the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from backends.asic.boards.board import BoardKind
from backends.asic.boards.catalogue import KINDS

_Hertz = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Celsius = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_CLAIM = r"usb:.{1,126}"


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
    """Which USB devices are miners, and how far they may go."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claim: Annotated[
        tuple[Annotated[str, Field(pattern=_CLAIM)], ...],
        Field(description='devices that are miners though their strings do not say so: "usb:SERIAL" or "usb:PORT"'),
    ] = ()
    allow_unproven: Annotated[
        bool, Field(strict=True, description="drive real boards whose driver was not yet proven on hardware")
    ] = False
    virtual: Annotated[tuple[str, ...], Field(description="emulated boards to plug in")] = ()
    boards: Mapping[str, BoardOptions] = Field(
        default_factory=dict, description="clock and limits, by serial number or kind of board"
    )

    @field_validator("virtual")
    @classmethod
    def _understood(cls, orders: tuple[str, ...]) -> tuple[str, ...]:
        if orders:
            from backends.asic.virtual import parse_order  # noqa: PLC0415 # emulation is loaded for whom it is there

            for order in orders:
                parse_order(order)
        return orders

    @model_validator(mode="after")
    def _sensible(self) -> AsicOptions:
        for name, options in self.boards.items():
            kind = KINDS.get(name)
            if kind is None or options.frequency_hz is None:
                continue
            if options.frequency_hz < (lowest := kind.limits.frequencies_hz[0]):
                raise ValueError(f"boards.{name}.frequency_hz: the slowest clock of a {kind.title} is {lowest:g} Hz")
        return self

    def of_board(self, kind: BoardKind, serial: str | None) -> BoardOptions:
        """What was said of this board: of itself, else of its kind."""
        if serial is not None and serial in self.boards:
            return self.boards[serial]
        return self.boards.get(kind.name, BoardOptions())
