"""The interface of a card's sensors, of any maker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from backends.opencl.protocol import Sensed


class SensorError(Exception):
    """The card or its driver refuses a limit; the message says why."""


@dataclass(frozen=True, slots=True)
class PowerRange:
    """The range of the card's power limit, W. refused: why this user cannot set it; None if the user can."""

    least_w: float
    most_w: float
    refused: str | None = None


class Sensors(Protocol):
    """The sensors of one card."""

    @property
    def source(self) -> str:
        """nvml, hwmon."""

    def read(self) -> Sensed:
        """The readings of this moment. A sensor that cannot be read is left out. Never raises."""

    def power_range(self) -> PowerRange | None:
        """None: its power cannot be limited."""

    def limit_power(self, power_w: float) -> float:
        """Set the limit, W, and return the limit in force then. Raises SensorError."""

    def restore(self) -> None:
        """Restore the limit that was in force at the start, if it was changed."""
