"""The devices of this machine that mine: chosen and locked at the start, followed as they are plugged in and out."""

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
    """What mines, `mining`, follows from what is there and from `configuration`, which may be replaced.

    `guard`: the words that a guard is started with, once there is a device whose power it must cut. Raises
    SelectionError where nothing can mine. On the event loop's thread.
    """

    def __init__(self, configuration: Configuration, state: Path | None, *, guard: Sequence[str]) -> None:
        self.configuration = configuration
        self._state = state
        self._guard_words = guard
        self._guard: Guard | None = None
        self._engine: Engine | None = None  # from `start` on
        self._watch: Watch | None = None  # from `follow` to `unfollow`
        self._locks: dict[str, Lock] = {}
        self._told: set[str | tuple[str, str]] = set()  # failures, and devices passed over with the reason
        self._changed = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._inventory, self.mining = self._first_look(begin_inventory(configuration, Host(state, teller(log))))

    def start(self, engine: Engine) -> None:
        """Hand the chosen devices to the engine; raises StateError for one that another miner drives."""
        self._engine = engine
        for info in self.mining:
            self._add(info, engine)

    def follow(self) -> None:
        """From now on, on the running loop, until `unfollow`."""
        loop = asyncio.get_running_loop()

        def changed() -> None:  # in a thread of the backend's
            loop.call_soon_threadsafe(self.look_again)

        self._watch = Watch(changed)
        self._watch.follow(self._inventory)

    def unfollow(self) -> None:
        """Stop following. Does nothing if the rig does not follow."""
        if self._watch is not None:
            self._watch.end()
            self._watch = None

    def look_again(self) -> None:
        """Look for devices that came or went, one look at a time. Does nothing before `start`."""
        if self._engine is None:
            return
        self._changed.set()
        if self._following is None or self._following.done():
            self._following = asyncio.create_task(self._look_while_changed(self._engine))

    def close(self) -> None:
        """Let others have the devices: the guard first, should one be on still."""
        for lock in self._locks.values():
            lock.close()
        if self._guard:
            self._guard.close()

    def _first_look(self, inventory: Inventory) -> tuple[Inventory, tuple[DeviceInfo, ...]]:
        """What to begin with: who still looks for devices is waited for only where that decides what mines."""
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
        """Mine with this device, unless another miner does; raises StateError then."""
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
            present = {info.id for info in self._inventory.infos}  # and passed over, for a reason that was told
            for gone in mining.keys() - chosen.keys():
                if gone not in present:
                    log.warning("device_gone", device=gone)
                if not await engine.remove_device(gone):
                    log.error("device_not_off", device=gone)
                    continue  # its lock stays, and it is not added again, while a driver may still be at it
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


def _tell(guard: Guard, device: str, on: bool) -> None:  # noqa: FBT001  what a keeper tells
    """The guard turns off what is on, should this process be killed."""
    (guard.on if on else guard.off)(device)


def _open_guarded(found: Found, guard: Guard) -> Device:
    """In the thread of the device's keeper, at each start of the device."""
    device = found.open()
    if isinstance(device, Supervised):
        guard.watch(found.info.id, device)
    return device


def _switched(inventory: Inventory) -> list[str]:
    """The guard's flag for the backend whose devices it turns off: without the others it is ready sooner."""
    names = [backend.name for backend in inventory.backends if isinstance(backend, PowerSwitch)]
    return [f"--backend={names[0]}"] if len(names) == 1 else []
