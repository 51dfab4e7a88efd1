"""What a guard does about devices: what `miner off` does, a trip for each that nobody watched, a notice for later."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from backends.base import BackendError, Guarded, Host, PowerSwitch
from miner.config import ConfigError, load
from miner.logs import output as logs
from miner.logs.events import teller
from miner.rig import guard_notice
from miner.rig.guard_notice import Notice
from miner.rig.inventory import Inventory, take_inventory
from miner.rig.off import state_folder, turn_off_found

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What is needed later: the backends, made and asked once, and the state folder."""

    inventory: Inventory
    state: Path | None


class MinerOff:
    """Implements `guard_process.Duties`. Loads all it needs when it is made, or else when it is needed."""

    def __init__(self, flags: Sequence[str], environ: Mapping[str, str] = os.environ) -> None:
        self._flags, self._environ = flags, environ
        self._loaded: _Loaded | None = None
        try:
            self._loaded = self._load()
        except ConfigError as error:  # somebody is writing to the file just now
            log.error("guard_configuration", reason=str(error))  # noqa: TRY400  a sentence, no traceback
        else:
            level = log.debug if sys.stderr.isatty() else log.info  # the miner's screen may be on that terminal
            level("guard_ready", backends=[backend.name for backend in self._loaded.inventory.backends])

    def record(self, devices: Sequence[str], reason: str) -> None:
        """Say why, keep a notice for the next start, and record a trip for each device."""
        log.error("guard_kills_miner", devices=list(devices), reason=reason)
        loaded = self._loaded or self._load()
        if loaded.state is not None:
            try:
                guard_notice.add(loaded.state, [Notice(device, reason, time.time()) for device in devices])
            except OSError as error:
                log.warning("guard_notice_not_kept", reason=error.strerror)
        inventory = _with(loaded.inventory, devices)
        for device in devices:
            try:
                found = inventory.device(device)
                if isinstance(found.backend, Guarded):
                    found.backend.trip(found.info, reason)
            except (KeyError, BackendError) as error:
                log.warning("trip_not_recorded", device=device, reason=str(error))

    def turn_off(self, device: str) -> bool:
        """As `miner off --device` does."""
        loaded = self._loaded or self._load()
        inventory = _with(loaded.inventory, [device])
        outcomes = list(turn_off_found(inventory, [device], loaded.state, self._environ))
        for sentence, is_off in outcomes:
            level = log.warning if is_off else log.error
            level("guard_turns_off", device=device, text=sentence)
        return bool(outcomes) and all(is_off for _, is_off in outcomes)

    def give_up(self, device: str) -> None:
        """Say that it may be on."""
        log.error("device_not_off", device=device, hint="it may be on: unplug it")

    def _load(self) -> _Loaded:
        flags = _by_option(self._flags)
        file = flags.pop("config", None)
        configuration = load(flags, self._environ, Path.cwd(), file=file).configuration
        logs.configure(configuration.log_format, configuration.log_level, secrets=configuration.secrets)
        state = state_folder(configuration, self._environ)
        inventory = take_inventory(configuration, Host(state, teller(log)), PowerSwitch)
        for backend in inventory.backends:
            if isinstance(backend, Guarded):
                backend.make_ready()
        return _Loaded(inventory, state)


def _by_option(flags: Sequence[str]) -> dict[str, str]:
    """The texts of flags written --log-format=json, by the option's name."""
    split = (flag.removeprefix("--").partition("=") for flag in flags)
    return {name.replace("-", "_"): text for name, _, text in split}


def _with(inventory: Inventory, devices: Sequence[str]) -> Inventory:
    """An inventory with these devices, probed again only if one of them was plugged in since the last probe."""
    known = {found.info.id for found in inventory.found}
    return inventory if known.issuperset(devices) else inventory.again()
