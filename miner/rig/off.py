"""The commands `off` and `unlatch`: put devices into their safest state, or let a latched one start again.

The operator, the systemd unit after its miner ended, and the guard of a miner that was killed all come here. A device
that another miner drives is that miner's to turn off: its lock is respected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from backends.base import BackendError, DeviceInfo, Host, PowerSwitch
from miner.books import state_dir
from miner.books.state_dir import StateError, Taken
from miner.config import Configuration
from miner.rig import locks
from miner.rig.inventory import Inventory, take_inventory
from miner.rig.locks import Unlockable
from miner.rig.selection import matching


def turn_off(configuration: Configuration, environ: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """Turn devices off, all or those of --device. Yields a sentence for each, and whether it is off."""
    state = state_folder(configuration, environ)
    inventory = take_inventory(configuration, Host(state), PowerSwitch)
    for failure in inventory.failures:
        yield failure, False
    yield from turn_off_found(inventory, configuration.device, state, environ)


def turn_off_found(
    inventory: Inventory, devices: Sequence[str], state: Path | None, environ: Mapping[str, str]
) -> Iterator[tuple[str, bool]]:
    """The same for what was found already; `devices` as --device names them, all if there are none."""
    meant = {info.id for entry in devices for info in matching(inventory.infos, entry)}
    chosen = [(switch, info) for switch, info in _switchable(inventory) if not devices or info.id in meant]
    if devices and not chosen:
        yield f"--device {', '.join(devices)}: nothing there that could be turned off", False
    for switch, info in chosen:
        lock = None
        try:
            with suppress(Unlockable):  # where nobody can lock, nobody is kept apart: off is the safe side
                lock = locks.lock_device(info, locks.lock_folders(state, environ))
        except Taken as error:
            yield f"{error}; stop it first", False
            continue
        try:
            switch.turn_off(info)
            yield f"{info.id} ({info.model}): off", True
        except BackendError as error:
            yield f"{info.id} ({info.model}): may be on: {error}", False
        finally:
            if lock:
                lock.close()


def state_folder(configuration: Configuration, environ: Mapping[str, str]) -> Path | None:
    """Where latches and locks may lie; None where there is none, for a lock in the folder that all share is enough."""
    with suppress(StateError):
        return state_dir.locate(configuration.state_dir, environ)
    return None


def unlatch(configuration: Configuration, environ: Mapping[str, str], serial: str) -> bool:
    """Let a device start again. Return whether it was kept off. Raises BackendError, StateError."""
    state: Path = state_dir.locate(configuration.state_dir, environ)
    inventory = take_inventory(configuration, Host(state), PowerSwitch)
    switches = [backend for backend in inventory.backends if isinstance(backend, PowerSwitch)]
    return sum(switch.unlatch(serial) for switch in switches) > 0  # all of them are asked


def _switchable(inventory: Inventory) -> Iterator[tuple[PowerSwitch, DeviceInfo]]:
    for found in inventory.found:
        recognised = found.info.capabilities  # what is listed but not recognised has none, and is never written to
        if isinstance(found.backend, PowerSwitch) and recognised:
            yield found.backend, found.info
