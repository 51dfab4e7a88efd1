"""Plugs that run Tasmota, over HTTP.

Source: Tasmota documentation, "Commands" (Status 8: StatusSNS.ENERGY, Power in watts, Total in kilowatt-hours; lists
where there are several channels) and "Web requests": user and password stand in the query, so the path is a secret.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlencode

from miner.power import reading
from miner.power.digest import Login
from miner.power.errors import Nonsense, Unreadable
from miner.power.reading import WH_J, Counter, Sample
from miner.power.web import Web

USER = "admin"
_KWH = 1000 * WH_J


class Tasmota:
    """One device. `channel`: which of its meters; None: all of them together."""

    def __init__(
        self, web: Web, channel: int | None, login: Login | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = web.who
        self._web = web
        self._channel = channel
        self._clock = clock
        asked = {"user": login.user, "password": login.password} if login else {}
        self._path = "/cm?" + urlencode({**asked, "cmnd": "Status 8"})

    def read(self, timeout_s: float) -> Sample:
        answer = self._web.get(self._path, time.monotonic() + timeout_s)
        if isinstance(answer, dict) and "WARNING" in answer:  # "Need user=<username>&password=<password>", status 200
            raise Unreadable(f"{self.name} does not take the password in its password_file, or needs one")
        status = answer.get("StatusSNS") if isinstance(answer, dict) else None
        energy = status.get("ENERGY") if isinstance(status, dict) else None
        if not isinstance(energy, dict):
            raise Nonsense(f"{self.name} tells no energy: is it a Tasmota that measures power?")
        watts = sum(reading.watts(value, self.name) for value in self._chosen(energy.get("Power")))
        # With several channels Total is either a list or already the sum, which does not say what one of them used.
        total = energy.get("Total")
        several = isinstance(energy.get("Power"), list)
        if total is None or (self._channel is not None and several and not isinstance(total, list)):
            return Sample(self._clock(), watts)
        counts = [reading.joules(value, self.name, _KWH) for value in self._chosen(total)]
        return Sample(self._clock(), watts, tuple(Counter(count, step_j=WH_J) for count in counts))

    def close(self) -> None:
        """Nothing is held open."""

    def _chosen(self, value: object) -> list[object]:
        values = value if isinstance(value, list) else [value]
        if self._channel is not None:
            values = values[self._channel : self._channel + 1]
        if not values:
            raise Nonsense(f"{self.name} has no channel {self._channel}")
        return values
