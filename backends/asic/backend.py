"""The backend `asic`: which plugged-in USB devices are miners, and what is driven how.

Looking opens nothing and writes to nothing. A device is recognised by its own strings; one that the operator claims is
taken for the only board behind that kind of bridge. Bridges that are neither are listed, and left alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import native
from backends import kernels
from backends.asic.boards.board import Board, BoardKind, Limits
from backends.asic.boards.catalogue import CATALOGUE, open_board, recognise
from backends.asic.boards.chain import Options as BoardSetup
from backends.asic.boards.script import Clock
from backends.asic.chips.chip import CHIPS
from backends.asic.chips.jobs import Midstates
from backends.asic.chips.ticket import UNIT
from backends.asic.device import AsicDevice, Equipment, clock_of, latched_text
from backends.asic.driver import Terms
from backends.asic.health import Silence
from backends.asic.latch import Latches
from backends.asic.options import AsicOptions
from backends.asic.safety import Patience
from backends.asic.usb import ids
from backends.asic.usb.bus import Bus, UsbIdentity
from backends.asic.usb.device import find_again, open_device
from backends.asic.usb.real import RealBus, preload
from backends.base import (
    BackendError,
    Capability,
    Device,
    DeviceGone,
    DeviceInfo,
    Host,
    Kind,
    Misuse,
    Rest,
    SettingRefused,
)

_CAPABILITIES = frozenset({Capability.FREQUENCY, Capability.ROLLS_VERSION, Capability.ROLLS_NTIME})
_EMULATED = Silence(due=200.0, least_s=30.0)  # a busy machine's virtual chips are slow, and that is no fault of theirs


@dataclass(frozen=True, slots=True)
class _Plugged:
    """A device on a bus, and the board that it is; None: not recognised."""

    bus: Bus
    identity: UsbIdentity
    kind: BoardKind | None

    @property
    def key(self) -> str:
        return self.identity.serial or self.identity.path


class AsicBackend:
    """Implements `backends.base.Backend`, `PowerSwitch` and `Guarded`."""

    name = "asic"
    Options = AsicOptions
    absent = (
        "no USB miner is plugged in: `lsusb` shows what the system sees, docs/howto/asic.md which boards are known; "
        "to try without one: --virtual compac-f"
    )

    def __init__(
        self,
        options: AsicOptions,
        host: Host,
        *,
        buses: tuple[Bus, ...] | None = None,
        clock: Clock | None = None,
        terms: Terms | None = None,
        patience: Patience | None = None,
    ) -> None:
        """`buses`: where to look; None: the machine's ports, and one for emulated boards if any are wanted.

        clock, terms, patience: the pace of starts, of driving and of safety, for tests.
        """
        self._options = options
        self._host = host
        self._buses = buses if buses is not None else self._own_buses()
        self._setup = BoardSetup(clock=clock) if clock else BoardSetup()
        self._terms = terms or Terms()
        self._patience = patience
        self._latches = Latches(host.state_dir, log=host.log)

    def probe(self) -> list[DeviceInfo]:
        return list(self._found())

    def open(self, info: DeviceInfo) -> Device:
        if info.unusable:
            raise BackendError(f"{info.id} cannot mine: {info.unusable}")
        plugged = self._plugged(info)
        kind = plugged.kind
        if kind is None:
            raise Misuse(f"{info.id} is not recognised as a miner")
        limits = self._limits(kind, plugged.identity)
        equipment = Equipment(
            kind=kind,
            limits=limits,
            key=plugged.key,
            open_board=partial(self._open_board, plugged, kind),
            latches=self._latches,
            terms=replace(self._terms, silence=_EMULATED) if plugged.identity.virtual else self._terms,
            patience=self._patience,
            prepare=partial(self._prepare, kind),
        )
        return AsicDevice(info, equipment, self._clock_of(kind, plugged.identity), self._host.log)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        cancels = [bus.watch(changed) for bus in self._buses]

        def cancel() -> None:
            for each in cancels:
                each()

        return cancel

    def turn_off(self, info: DeviceInfo) -> None:
        """Reset line and regulator off, on a board that no miner drives."""
        plugged = self._plugged(info)
        if plugged.kind is None:
            raise Misuse(f"{info.id} is not recognised as a miner: nothing is written to it")
        ports = open_device(plugged.bus, plugged.identity, self._host.log)
        try:
            board = open_board(plugged.kind, ports, self._setup)  # its kernels are not loaded: it gets no jobs
        except BaseException:
            ports.close()
            raise
        try:
            board.off()
        finally:
            with suppress(BackendError):
                board.close()

    def make_ready(self) -> None:
        """Import pyusb and load libusb, which takes longer than turning a board off."""
        preload()

    def trip(self, info: DeviceInfo, reason: str) -> None:
        """Record a cut-off from outside, as the board's supervisor records its own; the third in an hour latches.

        The record is kept for the board's serial number, plugged in or not. No bus is scanned: this must be quick.
        """
        key = info.serial or info.id.partition(":")[2]  # the key of `_Plugged`
        self._latches.trip(key, reason)
        latching = (self._patience or Patience()).latching(reason, self._latches.ages_s(key))
        if latching is not None:
            self._latches.latch(key, latching)

    def unlatch(self, serial: str) -> bool:
        """Let a board start again that is kept off for safety; whether it was. Takes a device's id too."""
        return self._latches.unlatch(serial.removeprefix(f"{self.name}:"))

    def _own_buses(self) -> tuple[Bus, ...]:
        if not self._options.virtual:
            return (RealBus(),)
        from backends.asic.virtual import VirtualBus  # noqa: PLC0415 # loaded for whom it is there

        return (RealBus(), VirtualBus(self._options.virtual, kernels=self._kernels()))

    def _kernels(self) -> kernels.KernelCache:
        """Where compiled code is kept."""
        state = self._host.state_dir
        return kernels.open_cache(state, native.host_features()) if state else kernels.NO_CACHE

    def _midstates(self) -> Midstates:
        return partial(native.midstates, folder=self._kernels().folder_for("midstates"))

    def _scan(self) -> Iterator[_Plugged]:
        for bus in self._buses:
            for identity in bus.scan():
                kind = recognise(identity)
                if kind is None and ids.named(identity, self._options.claim):
                    kind = _only_board_behind(identity)
                if kind is not None or ids.bridge_kind(identity) is not None:
                    yield _Plugged(bus, identity, kind)

    def _found(self) -> Iterator[DeviceInfo]:
        everything = list(self._scan())
        serials = Counter(plugged.identity.serial for plugged in everything)
        for plugged in everything:
            unique = serials[plugged.identity.serial] == 1
            yield self._info(plugged, plugged.key if unique else plugged.identity.path)

    def _info(self, plugged: _Plugged, name: str) -> DeviceInfo:
        identity, kind = plugged.identity, plugged.kind
        where = ("USB", f"{identity.vid:04x}:{identity.pid:04x} at {identity.path}")
        if kind is None:
            return DeviceInfo(
                id=f"usb:{name}",
                backend=self.name,
                kind=Kind.ASIC,
                model=identity.product or "a serial bridge",
                serial=identity.serial,
                virtual=identity.virtual,
                unusable="not recognised as a miner, and left alone; if it is one, say so: "
                f'claim = ["usb:{name}"] in [backends.asic]',
                harmless=True,
                details=(where,),
            )
        clock_hz = self._clock_of(kind, identity)
        proven = "on hardware" if kind.proven else "against emulated boards and captured bytes, not yet on hardware"
        return DeviceInfo(
            id=f"asic:{name}",
            backend=self.name,
            kind=Kind.ASIC,
            model=kind.title,
            virtual=identity.virtual,
            expected_hps=None if identity.virtual else kind.hashes_per_hz * clock_hz,
            serial=identity.serial,
            capabilities=_CAPABILITIES,
            unusable=self._obstacle(plugged, kind),
            resting=self._rest(plugged, kind),
            details=(
                where,
                ("chips", f"{kind.chips} x {kind.chip}"),
                ("clock", f"{clock_hz / 1e6:g} MHz"),
                ("driver proven", proven),
            ),
        )

    def _rest(self, plugged: _Plugged, kind: BoardKind) -> Rest | None:
        patience = self._patience or Patience()
        return self._latches.rest(plugged.key, patience.rest_s if kind.chip_c_when_off else patience.blind_rest_s)

    def _obstacle(self, plugged: _Plugged, kind: BoardKind) -> str | None:
        identity = plugged.identity
        if identity.obstacle is not None:
            return identity.obstacle
        if (reason := self._latches.record(plugged.key).latched) is not None:
            return latched_text(plugged.key, reason)
        wanted = self._options.of_board(kind, identity.serial).frequency_hz
        if wanted is not None:
            try:
                clock_of(kind.limits, wanted)
            except SettingRefused as error:
                return f"frequency_hz in [backends.asic.boards]: {error}"
        if not (kind.proven or identity.virtual or self._options.allow_unproven):
            return (
                f"the driver of the {kind.title} was not yet seen on hardware: to try it, at its lowest clock and "
                "under your eyes, set allow_unproven = true in [backends.asic]"
            )
        return None

    def _plugged(self, info: DeviceInfo) -> _Plugged:
        """Where this device is now."""
        for plugged in self._scan():
            if info.id.partition(":")[2] in (plugged.key, plugged.identity.path):
                return plugged
        raise DeviceGone(f"{info.id} is not plugged in")

    def _limits(self, kind: BoardKind, identity: UsbIdentity) -> Limits:
        """The board's, narrowed by what the operator says."""
        limits, said = kind.limits, self._options.of_board(kind, identity.serial)
        return replace(
            limits,
            throttle_c=_stricter(limits.throttle_c, said.throttle_c),
            cutoff_c=_stricter(limits.cutoff_c, said.cutoff_c),
        )

    def _clock_of(self, kind: BoardKind, identity: UsbIdentity) -> float:
        """As the operator says; else the usual one, and the lowest where nobody has seen it work."""
        wanted = self._options.of_board(kind, identity.serial).frequency_hz
        if wanted is not None:
            with suppress(SettingRefused):  # which makes it unusable
                return clock_of(kind.limits, wanted)
        if not kind.proven and not identity.virtual:
            return kind.limits.frequencies_hz[0]
        return clock_of(kind.limits, kind.limits.default_hz)

    def _prepare(self, kind: BoardKind) -> None:
        """Have what its chips need compiled now: once there is power, a driver that is so long silent has hung."""
        if not CHIPS[kind.chip].version_bits:
            self._midstates()(bytes(64), (0,))

    def _open_board(self, plugged: _Plugged, kind: BoardKind) -> tuple[Board, float]:
        identity = find_again(plugged.bus, plugged.identity)
        scale: float = getattr(plugged.bus, "scale", _unscaled)(identity)
        unit = min(int((UNIT + 1) / scale), 1 << 256) - 1
        ports = open_device(plugged.bus, identity, self._host.log)
        try:
            return open_board(kind, ports, replace(self._setup, unit=unit), self._midstates()), scale
        except BaseException:
            ports.close()
            raise


def _unscaled(_: UsbIdentity) -> float:
    return 1.0


def _only_board_behind(identity: UsbIdentity) -> BoardKind | None:
    kinds = [entry.kind for entry in CATALOGUE if (entry.vid, entry.pid) == (identity.vid, identity.pid)]
    return kinds[0] if len(kinds) == 1 else None


def _stricter(limit_c: float | None, wanted_c: float | None) -> float | None:
    known = [value for value in (limit_c, wanted_c) if value is not None]
    return min(known, default=None)
