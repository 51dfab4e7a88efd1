"""The devices of this machine that mine. They are chosen and locked at the start, and followed as they come and go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from backends.base import Device, DeviceInfo, Host, PowerSwitch, Supervised
from miner.books.state_dir import Lock, StateError
from miner.config import Configuration
from miner.engine.engine import Engine
from miner.logs.events import teller
from miner.rig import locks
from miner.rig.guard import Guard
from miner.rig.inventory import Found, Inventory, Watch, begin_inventory
from miner.rig.selection import SelectionError, select

log = structlog.get_logger(__name__)


class Rig:
    """Keeps `mining`, the devices that mine, in step with the devices present and with `configuration`.

    `configuration` may be replaced. `guard`: command-line flags for the guard, which starts with the first device whose
    power it must cut. Raises SelectionError if no device can mine. Use it on the event loop's thread.
    """

    def __init__(self, configuration: Configuration, state: Path | None, *, guard: Sequence[str]) -> None:
        self.configuration = configuration
        self._state = state
        self._guard_words = guard
        self._guard: Guard | None = None
        self._engine: Engine | None = None  # from `start` on
        self._watch: Watch | None = None  # from `follow` to `unfollow`
        self._locks: dict[str, Lock] = {}
        self._told: set[str | tuple[str, str]] = set()  # failures and passed-over devices that were logged
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._inventory, self.mining = self._first_look(begin_inventory(configuration, Host(state, teller(log))))

    def start(self, engine: Engine) -> None:
        """Give the chosen devices to the engine. Raises StateError for a device that another miner drives."""
        self._engine = engine
        for info in self.mining:
            self._add(info, engine)

    def follow(self) -> None:
        """Follow changes of the devices on the running event loop, until `unfollow`."""
        loop = asyncio.get_running_loop()

        def changed() -> None:  # on a thread of the backend
            loop.call_soon_threadsafe(self.look_again)

        self._watch = Watch(changed)
        self._watch.follow(self._inventory)

    def unfollow(self) -> None:
        """Stop following. Does nothing if the rig does not follow."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None

    def look_again(self) -> None:
        """Take the inventory again, since something may have changed. One look runs at a time; none before `start`."""
        if self._engine is None:
            return
        self._changed.set()
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._look_while_changed(self._engine))

    def close(self) -> None:
        """Release the locks and close the guard, which then turns off any device that is still on."""
        for lock in self._locks.values():
            lock.close()
        if self._guard:
            self._guard.close()

    def _first_look(self, inventory: Inventory) -> tuple[Inventory, tuple[DeviceInfo, ...]]:
        """The inventory and the devices to begin with. Waits for a slow backend only if the selection depends on it."""
        self._tell_failures(inventory)
        while inventory.late:
            inventory = inventory.with_next()
            self._tell_failures(inventory)
            if not self.configuration.device:
                with suppress(SelectionError):
                    return inventory, self._select(inventory)
        return inventory, self._select(inventory)

    def _tell_failures(self, inventory: Inventory) -> None:
        for failure in inventory.failures:
            if failure not in self._told:
                self._told.add(failure)
                log.warning("backend_unusable", text=failure)

    def _select(self, inventory: Inventory) -> tuple[DeviceInfo, ...]:
        configuration = self.configuration
        try:
            selection = select(inventory.infos, configuration.device, consented=configuration.consented)
        except SelectionError as error:
            raise SelectionError("; ".join([str(error), *inventory.hints])) from error
        for info, reason in selection.passed_over:
            if (info.id, reason) not in self._told:
                self._told.add((info.id, reason))
                level = log.warning if info.unusable is not None and not info.harmless else log.info
                level("device_passed_over", device=info.id, reason=reason)
        return selection.chosen

    def _add(self, info: DeviceInfo, engine: Engine) -> None:
        """Mine with this device. Raises StateError if another miner drives it."""
        lock = locks.lock_device(info, locks.lock_folders(self._state, os.environ))
        if lock is not None:
            self._locks[info.id] = lock
        found = self._inventory.device(info.id)
        if isinstance(found.backend, PowerSwitch) and not info.virtual:
            if self._guard is None:
                self._guard = Guard([*self._guard_words, *_switched(self._inventory)])
            tell = partial(_tell, self._guard, info.id)
            engine.add_device(info, partial(_open_guarded, found, self._guard), tell)
        else:
            engine.add_device(info, found.open)

    async def _look_while_changed(self, engine: Engine) -> None:
        while self._changed.is_set():
            self._changed.clear()
            self._inventory = await asyncio.to_thread(self._inventory.again)
            if self._watch is not None:
                self._watch.follow(self._inventory)
            self._tell_failures(self._inventory)
            try:
                chosen = {info.id: info for info in self._select(self._inventory)}
            except SelectionError as error:
                log.error("no_device_left", text=str(error))  # noqa: TRY400  a sentence
                chosen = {}
            mining = {info.id: info for info in self.mining}
            present = {info.id for info in self._inventory.infos}  # those that do not mine have their reason logged
            for gone in mining.keys() - chosen.keys():
                if gone not in present:
                    log.warning("device_gone", device=gone)
                if not await engine.remove_device(gone):
                    log.error("device_not_off", device=gone)
                    continue  # it stays locked and is not added again while its driver may still run
                del mining[gone]
                if lock := self._locks.pop(gone, None):
                    lock.close()
            for new in chosen.keys() - mining.keys():
                try:
                    self._add(chosen[new], engine)
                except StateError as error:
                    log.warning("device_taken", device=new, text=str(error))
                else:
                    mining[new] = chosen[new]
            self.mining = tuple(mining.values())


def _tell(guard: Guard, device: str, on: bool) -> None:  # noqa: FBT001  the signature that a keeper calls
    """Tell the guard whether this device may have power: it turns the device off if this process is killed."""
    (guard.on if on else guard.off)(device)


def _open_guarded(found: Found, guard: Guard) -> Device:
    """Open the device and register its supervisor with the guard. Runs in the keeper's thread at each start."""
    device = found.open()
    if isinstance(device, Supervised):
        guard.watch(found.info.id, device)
    return device


def _switched(inventory: Inventory) -> list[str]:
    """The guard's flag for the one backend with a power switch: without the other backends it is ready sooner."""
    names = [backend.name for backend in inventory.backends if isinstance(backend, PowerSwitch)]
    return [f"--backend={names[0]}"] if len(names) == 1 else []
