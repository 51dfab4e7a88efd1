"""The process that drives one device: `python -m backends.opencl.worker.worker PARENT`, orders in, reports out.

A driver may hang, print, or end the process that loads it, so it is loaded here and not in the miner. The worker ends
with its parent, however that ends, and when its standard input closes. Standard output carries nothing but reports: a
driver's own output goes to standard error.
"""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from backends.base import BackendError
from backends.child import end_with
from backends.opencl.errors import BuildFailed, NoDevice, NoPlatform, WrongResult
from backends.opencl.protocol import (
    TEXT_MAX,
    Doing,
    Drop,
    Failed,
    Lines,
    Open,
    Order,
    PowerSet,
    ProtocolError,
    Ready,
    Report,
    Sensed,
    Set,
    Stretch,
    encode,
    order,
)
from backends.opencl.sensors.reading import SensorError, Sensors
from backends.opencl.sensors.sensing import find_sensors
from backends.opencl.worker import proof
from backends.opencl.worker.program import open_folder
from backends.opencl.worker.search import Search
from backends.opencl.worker.serving import Serving
from backends.opencl.worker.tune import recall, settle, untuned

Opener = Callable[[Open, Callable[[str], None]], Search]
SENSE_S = 1.0
_PIECE = 1 << 16
_LOWEST = 19  # nice: a processor's runtime gives way as our own hash threads do


class Channel:
    """The worker's end of the pipes. `tell` may be called from any thread."""

    def __init__(self, orders: int, reports: int) -> None:
        self._orders = orders
        self._reports = reports
        self._lines = Lines()
        self._lock = threading.Lock()

    def tell(self, report: Report) -> None:
        line = encode(report)
        with self._lock:
            while line:
                line = line[os.write(self._reports, line) :]

    def hear(self, timeout: float | None) -> list[Order] | None:
        """Wait up to `timeout` seconds for orders. None: there will be no more."""
        if not select.select([self._orders], [], [], timeout)[0]:
            return []
        piece = os.read(self._orders, _PIECE)
        return [order(line) for line in self._lines.feed(piece)] if piece else None


def serve(channel: Channel, opener: Opener, sensors_of: Callable[[str | None], Sensors | None] = find_sensors) -> int:
    """Carry out orders until the pipe closes. Return the exit status."""
    sensors: Sensors | None = None
    try:
        first = channel.hear(None)
        if not first:
            return 0
        opening, *orders = first
        if not isinstance(opening, Open):
            raise ProtocolError("the first order is not to open a device")  # noqa: TRY301
        sensors = sensors_of(opening.identity.pci)
        if sensors:
            channel.tell(_read(sensors))
            threading.Thread(target=_sense, args=(sensors, channel), name="sensors", daemon=True).start()
        if opening.identity.type == "cpu":
            os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)
        search = opener(opening, lambda text: channel.tell(Doing(text=text[:TEXT_MAX])))
        serving = Serving(search, channel.tell)
        channel.tell(Ready(name=search.name[:TEXT_MAX], midstates=search.midstates))
        heard: list[Order] | None = orders
        due = False
        while heard is not None:
            for each in heard:
                _obey(each, serving, sensors, channel)
            if due:
                serving.step()
            due_s = serving.due_s
            heard = channel.hear(due_s)
            due = due_s == 0 or (due_s is not None and not heard)
        search.close()
    except BrokenPipeError:
        return 0  # the parent is gone
    except Exception as error:  # noqa: BLE001 # report any error as the last message, then end
        for_good = isinstance(error, BuildFailed | NoDevice | NoPlatform | WrongResult)
        reason = str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
        channel.tell(Failed(reason=reason[:TEXT_MAX], for_good=for_good))
        return 1
    finally:
        if sensors:
            with suppress(SensorError):  # only root can set the limit, and only root can put it back
                sensors.restore()
    return 0


def _obey(given: Order, serving: Serving, sensors: Sensors | None, channel: Channel) -> None:
    match given:
        case Stretch():
            serving.add(given)
        case Drop():
            serving.drop(given)
        case Set(duty=duty, power_w=power_w):
            serving.duty(duty)
            if power_w is not None:
                channel.tell(_limited(sensors, power_w))
        case Open():
            raise ProtocolError("it is open already")


def _limited(sensors: Sensors | None, power_w: float) -> PowerSet:
    try:
        if sensors is None:
            raise SensorError("its power cannot be limited: it has no sensors")  # noqa: TRY301
        return PowerSet(limit_w=sensors.limit_power(power_w))
    except SensorError as error:
        return PowerSet(refused=str(error)[:TEXT_MAX])


def _read(sensors: Sensors) -> Sensed:
    try:
        return sensors.read()
    except ValidationError:  # readings that make no sense count as none
        return Sensed()


def _sense(sensors: Sensors, channel: Channel) -> None:
    """The body of the thread that reads the sensors once a second while the pipe is open."""
    forever = threading.Event()
    try:
        while not forever.wait(SENSE_S):
            channel.tell(_read(sensors))
    except OSError:
        return


def open_search(opening: Open, doing: Callable[[str], None]) -> Search:
    """The search on a device: tuned here if it has not been, examined, ready. Raises OpenclError."""
    identity = opening.identity
    folder, reason = open_folder(Path(opening.state_dir) if opening.state_dir else None, identity)
    if reason:
        doing(f"what is built and measured cannot be kept: {reason}")
    if opening.tune:
        tuned = settle(identity, folder, again=opening.retune, tell=doing)
    else:
        tuned = recall(identity, folder, doing) or untuned(identity)
    doing("building the search")
    return proof.open_search(identity, tuned.forms, folder, launch_s=opening.launch_s)


def run(parent: int, opener: Opener = open_search) -> int:
    """The process's body."""
    end_with(parent)
    reports = os.dup(1)
    os.dup2(2, 1)
    return serve(Channel(0, reports), opener)


if __name__ == "__main__":
    status = run(int(sys.argv[1]))
    sys.stderr.flush()
    os._exit(status)  # a driver's own clean-up may hang or crash; everything is reported by now
