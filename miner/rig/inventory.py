"""The devices in the machine: loads each configured backend, finds its devices, turns each failure into a sentence.

All backends probe at once, each in a thread of its own. Mining with the devices that are known need not wait for a
backend that loads drivers, or for a driver that hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from typing import Any

import structlog

from backends import registry
from backends.base import AbsenceHint, Backend, BackendError, Device, DeviceInfo, Host
from miner.config import Configuration

log = structlog.get_logger(__name__)

PATIENCE_S = 10.0  # for a backend that probes again: a driver that hangs must not keep the miner from ending


@dataclass(frozen=True, slots=True)
class Found:
    """One device and the backend that drives it."""

    backend: Backend
    info: DeviceInfo

    def open(self) -> Device:
        """Raises what the backend raises."""
        return self.backend.open(self.info)


@dataclass(frozen=True, slots=True)
class Look:
    """A backend and its probe, which may still be running."""

    backend: Backend
    answer: Future[list[DeviceInfo]]


@dataclass(frozen=True, slots=True)
class Inventory:
    """All devices found, usable or not, in the order of their indices."""

    found: tuple[Found, ...]
    failures: tuple[str, ...]  # backends that could not be used, a sentence each
    backends: tuple[Backend, ...]
    late: tuple[Look, ...] = ()  # probes that still run: call nothing else of these backends meanwhile

    @property
    def hints(self) -> tuple[str, ...]:
        """The hint of the only backend, if it has no device."""
        if len(self.backends) != 1 or self.found:
            return ()
        (backend,) = self.backends
        return (backend.absent,) if isinstance(backend, AbsenceHint) and isinstance(backend.absent, str) else ()

    @property
    def infos(self) -> tuple[DeviceInfo, ...]:
        return tuple(found.info for found in self.found)

    def again(self) -> Inventory:
        """Probe again. Backends still busy from the last probe are skipped; one that times out keeps its devices."""
        late = {look.backend.name: look for look in self.late}
        looks = [late.get(backend.name) or _look(backend) for backend in self.backends]
        wait([look.answer for look in looks if look.backend.name not in late], PATIENCE_S)
        hanging = {look.backend.name for look in looks if not look.answer.done()}
        kept = tuple(found for found in self.found if found.backend.name in hanging)
        return _answered(Inventory(kept, (), self.backends), looks)

    def with_next(self) -> Inventory:
        """Wait for one more of the late probes and return the inventory with its devices."""
        wait([look.answer for look in self.late], return_when=FIRST_COMPLETED)
        return _answered(self, self.late)

    def device(self, device: str) -> Found:
        """The device with this id. Raises KeyError if it was not found."""
        return {found.info.id: found for found in self.found}[device]


def begin_inventory(configuration: Configuration, host: Host, of: type[Any] = object) -> Inventory:
    """Load the configured backends and start the probes of those of type `of`, without waiting for any.

    A backend that cannot be loaded, configured or constructed becomes a failure; the others go on.
    """
    names = registry.names() if configuration.backend == "auto" else [configuration.backend]
    backends: list[Backend] = []
    failures: list[str] = []
    for name in names:
        try:
            backend = registry.load(name)
            made = backend(configuration.options_of(backend), host)
            if isinstance(made, of):
                backends.append(made)
        except BackendError as error:
            failures.append(f"{name}: {error}")
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plug-in's defect
            failures.append(f"{name}: setting it up failed: {_described(error)}")
    return Inventory((), tuple(failures), tuple(backends), tuple(map(_look, backends)))


def take_inventory(configuration: Configuration, host: Host, of: type[Any] = object) -> Inventory:
    """Load the configured backends and probe those of type `of`. Writes to no device, compiles nothing."""
    inventory = begin_inventory(configuration, host, of)
    while inventory.late:
        inventory = inventory.with_next()
    return inventory


def _look(backend: Backend) -> Look:
    """Start the backend's probe in a daemon thread."""
    answer: Future[list[DeviceInfo]] = Future()

    def probe() -> None:
        try:
            answer.set_result(_devices(backend))
        except BaseException as error:  # noqa: BLE001  one broken driver must not hide the others' devices
            answer.set_exception(error)

    threading.Thread(target=probe, name=f"{backend.name}-probe", daemon=True).start()
    return Look(backend, answer)


def _devices(backend: Backend) -> list[DeviceInfo]:
    """What the backend's probe returns, if it is a list of devices; raises TypeError otherwise."""
    devices: object = backend.probe()
    if not isinstance(devices, list):
        raise TypeError(f"probe() returned {type(devices).__name__}, not a list")
    if wrong := next((device for device in devices if not isinstance(device, DeviceInfo)), None):
        raise TypeError(f"probe() listed {type(wrong).__name__}, not a DeviceInfo")
    return devices


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _answered(before: Inventory, looks: Sequence[Look]) -> Inventory:
    """The inventory `before`, updated with the probes that have ended."""
    late = tuple(look for look in looks if not look.answer.done())  # asked once: an answer may come at any moment
    ended = [look for look in looks if look not in late]
    told = {look.backend.name for look in ended}
    found, failures = [x for x in before.found if x.backend.name not in told], list(before.failures)
    for look in ended:
        if error := look.answer.exception():
            failures.append(f"{look.backend.name}: looking for devices failed: {_described(error)}")
        else:
            found += [Found(look.backend, info) for info in look.answer.result()]
    order = {backend.name: place for place, backend in enumerate(before.backends)}
    found.sort(key=lambda one: order[one.backend.name])
    # Of devices that share an id, the one whose backend the id names keeps it, else the first.
    named = [one for one in found if one.info.id.partition(":")[0] == one.backend.name]
    owners = {one.info.id: one for one in (*reversed(found), *reversed(named))}
    failures += [
        f"{one.backend.name}: its device {one.info.id} has the id of a device of {owners[one.info.id].backend.name}"
        for one in found
        if owners[one.info.id] is not one
    ]
    unique = tuple(one for one in found if owners[one.info.id] is one)
    return Inventory(unique, tuple(failures), before.backends, late)


class Watch:
    """Calls `changed`, on any thread, when a new inventory would differ, until `end`."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._cancels: dict[str, Callable[[], None]] = {}  # by backend
        self._awaited: set[Future[list[DeviceInfo]]] = set()
        self._ended = False

    def follow(self, inventory: Inventory) -> None:
        """Watch the backends whose probes have ended, and wait for the other probes."""
        late = {look.backend.name for look in inventory.late}
        for backend in inventory.backends:
            if backend.name not in late | self._cancels.keys():
                self._cancels[backend.name] = self._begin(backend)
        awaited = {look.answer for look in inventory.late}
        for answer in awaited - self._awaited:
            answer.add_done_callback(self._answered)
        self._awaited = awaited

    def end(self) -> None:
        self._ended = True
        for name, cancel in self._cancels.items():
            try:
                cancel()
            except (Exception, SystemExit) as error:  # noqa: BLE001  a plug-in's defect
                log.warning("backend_watch_failed", backend=name, error=_described(error))

    def _begin(self, backend: Backend) -> Callable[[], None]:
        """Start the backend's watch and return the function that ends it. A watch that fails is not tried again."""
        try:
            cancel: object = backend.watch(self._changed)
            if callable(cancel):
                return cancel
            raise TypeError(f"watch() returned {type(cancel).__name__}, not a function")  # noqa: TRY301  as others
        except (Exception, SystemExit) as error:  # noqa: BLE001  a plug-in's defect
            log.warning("backend_watch_failed", backend=backend.name, error=_described(error))
            return lambda: None

    def _answered(self, _answer: Future[list[DeviceInfo]]) -> None:
        if not self._ended:
            self._changed()
