"""What a card's sensors answer, whoever's they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from backends.opencl.protocol import Sensed


class SensorError(Exception):
    """A limit that the card or its driver does not take; the message says why."""


@dataclass(frozen=True, slots=True)
class PowerRange:
    """What the card's power limit may be set to, W. refused: why it may not by this user, None if it may."""

    least_w: float
    most_w: float
    refused: str | None = None


class Sensors(Protocol):
    """One card's."""

    @property
    def source(self) -> str:
        """nvml, hwmon."""

    def read(self) -> Sensed:
        """What can be read now; what cannot is left out. Never raises."""

    def power_range(self) -> PowerRange | None:
        """None: its power cannot be limited."""

    def limit_power(self, power_w: float) -> float:
        """The limit in force then, W. Raises SensorError."""

    def restore(self) -> None:
        """Put the limit back to what it was found at, if it was changed."""
