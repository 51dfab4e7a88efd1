"""The section [backends.opencl] of the configuration."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from backends.opencl.device.thermal import Limits

_Celsius = Annotated[float, Field(ge=30, le=120)]


class OpenclOptions(BaseModel):
    """Which devices to use, how hard, and how warm they may get."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    platform: Annotated[str, Field(min_length=1, description="only runtimes with this in their name")] | None = None
    cpu_runtimes: Annotated[
        bool, Field(description="mine with runtimes on the processor, too, without being asked")
    ] = False
    intensity: (
        Annotated[
            float,
            Field(ge=1, le=1000, description="milliseconds a launch; default: 50, and 10 on a card with a screen"),
        ]
        | None
    ) = None
    tune: Annotated[bool, Field(description="measure at the first start which form of the search is fastest")] = True
    retune: Annotated[bool, Field(description="measure it anew at this start")] = False
    duty: Annotated[float, Field(gt=0, le=1, description="share of the time to hash in")] = 1.0
    power_limit: (
        Annotated[float, Field(gt=0, allow_inf_nan=False, description="each card's power limit, W; needs root")] | None
    ) = None
    temperature_target: Annotated[_Celsius, Field(description="above it a card is worked less, °C")] = 75.0
    temperature_overheat: Annotated[_Celsius, Field(description="from here on hardly at all, °C")] = 85.0
    temperature_cutoff: Annotated[_Celsius, Field(description="from here on not at all, °C")] = 95.0
    temperature_hysteresis: Annotated[
        float, Field(ge=1, le=20, description="how far below the target to rise again")
    ] = 3.0

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.temperature_target < self.temperature_overheat < self.temperature_cutoff:
            raise ValueError("temperature_target, temperature_overheat and temperature_cutoff must rise in this order")
        return self

    @property
    def limits(self) -> Limits:
        return Limits(
            self.temperature_target, self.temperature_overheat, self.temperature_cutoff, self.temperature_hysteresis
        )
