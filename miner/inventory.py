"""What is in the machine: every wanted backend loaded, its devices found, each failure turned into a sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from backends import registry
from backends.base import Backend, BackendError, Device, DeviceInfo, Host
from miner.config import Configuration


@dataclass(frozen=True, slots=True)
class Found:
    """One device and the backend that drives it."""

    backend: Backend
    info: DeviceInfo

    def open(self) -> Device:
        """Raises what the backend raises."""
        return self.backend.open(self.info)


@dataclass(frozen=True, slots=True)
class Inventory:
    """Everything found, usable or not, in the order that gives devices their index."""

    found: tuple[Found, ...]
    failures: tuple[str, ...]  # backends that could not be used, a sentence each
    backends: tuple[Backend, ...]

    @property
    def hints(self) -> tuple[str, ...]:
        """What backends without any device would tell an operator who asked for them alone."""
        if len(self.backends) != 1 or self.found:
            return ()
        hint = getattr(self.backends[0], "absent", None)
        return (hint,) if isinstance(hint, str) else ()

    @property
    def infos(self) -> tuple[DeviceInfo, ...]:
        return tuple(found.info for found in self.found)

    def again(self) -> Inventory:
        """Look anew with the same backends."""
        return _probed(self.backends, [])

    def device(self, device: str) -> Found:
        """By its id; KeyError for one that is not here."""
        return {found.info.id: found for found in self.found}[device]


def take_inventory(configuration: Configuration, host: Host) -> Inventory:
    """Load the configured backends and probe them; writes to no device, compiles nothing."""
    names = registry.names() if configuration.backend == "auto" else [configuration.backend]
    backends: list[Backend] = []
    failures: list[str] = []
    for name in names:
        try:
            backend = registry.load(name)
            backends.append(backend(configuration.options_of(backend), host))
        except BackendError as error:
            failures.append(f"{name}: {error}")
    return _probed(tuple(backends), failures)


def _probed(backends: tuple[Backend, ...], failures: list[str]) -> Inventory:
    found = tuple(Found(backend, info) for backend in backends for info in _probe(backend, failures))
    return Inventory(found, tuple(failures), backends)


def _probe(backend: Backend, failures: list[str]) -> list[DeviceInfo]:
    try:
        return backend.probe()
    except Exception as error:  # noqa: BLE001  one broken driver must not hide the others' devices
        failures.append(f"{backend.name}: looking for devices failed: {type(error).__name__}: {error}")
        return []


def watch_all(inventory: Inventory, changed: Callable[[], None]) -> Callable[[], None]:
    """Call `changed`, in any thread, when a new inventory would look otherwise; returns what ends that."""
    cancels = [backend.watch(changed) for backend in inventory.backends]

    def cancel() -> None:
        for each in cancels:
            each()

    return cancel
