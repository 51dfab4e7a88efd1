"""The commands `off` and `unlatch`: devices in their safest state, whoever left them on.

The operator, the systemd unit after its miner ended, and the guard of a miner that was killed all come here. A device
that another miner drives is that miner's to turn off: its lock is respected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from backends.base import BackendError, DeviceInfo, Host, PowerSwitch
from miner import state_dir
from miner.config import Configuration
from miner.inventory import Inventory, take_inventory
from miner.selection import matching
from miner.state_dir import StateError, Taken, Unlockable


def turn_off(configuration: Configuration, environ: Mapping[str, str]) -> Iterator[tuple[str, bool]]:
    """A sentence about each device that draws power by itself, and whether it is off; only those of --device."""
    state = None
    with suppress(StateError):  # a lock in the folder that all share is enough
        state = state_dir.locate(configuration.state_dir, environ)
    inventory = take_inventory(configuration, Host(state))
    for failure in inventory.failures:
        yield failure, False
    meant = {info.id for entry in configuration.device for info in matching(inventory.infos, entry)}
    chosen = [(switch, info) for switch, info in _switchable(inventory) if not configuration.device or info.id in meant]
    if configuration.device and not chosen:
        yield f"--device {', '.join(configuration.device)}: nothing there that could be turned off", False
    for switch, info in chosen:
        lock = None
        try:
            with suppress(Unlockable):  # where nobody can lock, nobody is kept apart: off is the safe side
                lock = state_dir.lock_device(info, state_dir.lock_folders(state, environ))
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


def unlatch(configuration: Configuration, environ: Mapping[str, str], serial: str) -> bool:
    """Let a device start again; whether it was kept off. Raises BackendError, StateError."""
    state: Path = state_dir.locate(configuration.state_dir, environ)
    inventory = take_inventory(configuration, Host(state))
    switches = [backend for backend in inventory.backends if isinstance(backend, PowerSwitch)]
    return sum(switch.unlatch(serial) for switch in switches) > 0  # all of them are asked


def _switchable(inventory: Inventory) -> Iterator[tuple[PowerSwitch, DeviceInfo]]:
    for found in inventory.found:
        recognised = found.info.capabilities  # what is listed but not recognised has none, and is never written to
        if isinstance(found.backend, PowerSwitch) and recognised:
            yield found.backend, found.info
