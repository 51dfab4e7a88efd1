"""The backend `opencl`: finds every device of every runtime, without building anything or loading a driver here."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable

from backends.base import (
    BackendError,
    Capability,
    Device,
    DeviceGone,
    DeviceInfo,
    Host,
    Kind,
)
from backends.opencl.worker.program import folder_of
from backends.opencl.worker.search import DISPLAY_LAUNCH_S, LAUNCH_S
from backends.opencl.worker.tune import Tuned, recall

from .listing import Broken, Listed, Listing, take_listing
from .options import OpenclOptions
from .runtime import Identity

_ON_REQUEST = (
    "it is a runtime on the processor, which the cpu backend drives faster: "
    "name it with --device, or set cpu_runtimes in [backends.opencl]"
)
_NO_CARD = "; OpenCL finds no graphics card: docs/howto/opencl.md says which driver one needs"


class OpenclBackend:
    """Implements `backends.base.Backend`."""

    name = "opencl"
    Options = OpenclOptions

    def __init__(self, options: OpenclOptions, host: Host, take: Callable[[], Listing] = take_listing) -> None:
        self._options = options
        self._host = host
        self._take = take
        self._opened: set[str] = set()
        self._listed: dict[str, Listed] = {}  # by id, from the last look
        self.absent: str | None = None  # why the last look found nothing, for who asked for nothing else

    def probe(self) -> list[DeviceInfo]:
        """Devices by PCI address, then runtimes on the processor, then drivers that cannot even be asked."""
        listing = self._take()
        self.absent = None
        if not listing.devices and not listing.broken:
            self.absent = listing.nothing or "no OpenCL device was found"
        wanted = [x for x in listing.devices if self._options.platform is None or _says(x, self._options.platform)]
        if listing.devices and not wanted:
            there = ", ".join(sorted({x.identity.platform for x in listing.devices}))
            self.absent = f"no runtime has {self._options.platform!r} in its name; there is: {there}"
        named = ids([x.identity for x in wanted])
        by_id = {named[x.identity]: x for x in wanted}
        self._listed = {id_: by_id[id_] for id_ in named.values()}
        return [*(self._info(id_, x) for id_, x in self._listed.items()), *map(_broken, listing.broken)]

    def open(self, info: DeviceInfo) -> Device:
        if info.unusable:
            raise BackendError(f"{info.id} cannot mine: {info.unusable}")
        if info.id not in self._listed:
            self.probe()
        listed = self._listed.get(info.id)
        if listed is None:
            raise DeviceGone(f"there is no {info.id} any more: see miner devices")
        options = self._options
        retune = options.retune and info.id not in self._opened  # at this start, not after every fault
        self._opened.add(info.id)
        tuned = self._tuned(listed.identity)
        launch_s = options.intensity / 1e3 if options.intensity else DISPLAY_LAUNCH_S if listed.screen else LAUNCH_S
        # Who finds nothing to drive starts the sooner for not loading this.
        from backends.opencl.device.device import OpenclDevice, Setup  # noqa: PLC0415

        from .protocol import Open  # noqa: PLC0415

        setup = Setup(
            opening=Open(
                identity=listed.identity,
                state_dir=str(self._host.state_dir) if self._host.state_dir else None,
                launch_s=launch_s,
                tune=options.tune,
                retune=retune,
            ),
            limits=options.limits,
            has_temperature=listed.temperature,
            power=listed.power,
            power_w=options.power_limit if listed.power else None,
            duty=options.duty,
            rate_hps=tuned.rate_hps if tuned and not retune else None,
            environ={"OCL_ICD_VENDORS": listed.icd} if listed.icd else None,
        )
        return OpenclDevice(info, setup, self._host.log)

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 # cards are not unplugged
        return lambda: None

    def _tuned(self, identity: Identity) -> Tuned | None:
        state = self._host.state_dir
        return recall(identity, folder_of(state, identity)) if state else None

    def _info(self, id_: str, listed: Listed) -> DeviceInfo:
        identity = listed.identity
        capabilities = {Capability.DUTY, Capability.ROLLS_VERSION}
        if listed.power and not listed.power.refused:
            capabilities.add(Capability.POWER)
        on_cpu = identity.type == "cpu"
        cards = any(x.identity.type != "cpu" for x in self._listed.values())
        tuned = self._tuned(identity)
        rate_hps = tuned.rate_hps if tuned else None
        twin = self._twin(id_)
        return DeviceInfo(
            id=id_,
            backend=self.name,
            kind=Kind.CPU if on_cpu else Kind.GPU,
            model=identity.name,
            expected_hps=None if rate_hps is None else rate_hps * self._options.duty,
            capabilities=frozenset(capabilities),
            unusable=twin,
            harmless=twin is not None,
            on_request=_ON_REQUEST + ("" if cards else _NO_CARD) if on_cpu and not self._options.cpu_runtimes else None,
            details=(*_details(listed), *_measured(tuned)),
        )

    def _twin(self, id_: str) -> str | None:
        first, twice, _ = id_.partition("/")
        if not twice:
            return None
        other = self._listed[first].identity.platform
        return f"it is the same card as {first}, through another runtime: to use this one, set platform, not {other}"


def ids(identities: Iterable[Identity]) -> dict[Identity, str]:
    """Stable and unique, cards first: the PCI address, else platform, name and which of them it is.

    A card that two runtimes drive is the first one's; the second's id has its platform behind it.
    """
    seen: Counter[str] = Counter()
    found = {}
    for identity in sorted(dict.fromkeys(identities), key=lambda x: (x.type == "cpu", x.pci or "~")):
        platform = _word(identity.platform)
        first = f"opencl:{identity.pci}" if identity.pci else f"opencl:{platform}:{_word(identity.name)}"
        before = seen[first]
        seen[first] += 1
        if not before:
            found[identity] = first
        elif identity.pci:
            found[identity] = f"{first}/{platform}" if before == 1 else f"{first}/{platform}-{before}"
        else:
            found[identity] = f"{first}:{before}"
    return found


def _word(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:60] or "unnamed"


def _says(listed: Listed, platform: str) -> bool:
    return platform.casefold() in listed.identity.platform.casefold()


def _details(listed: Listed) -> list[tuple[str, str]]:
    identity, power = listed.identity, listed.power
    lines = [("platform", f"{identity.platform}, {identity.platform_version}"), ("driver", identity.driver)]
    if identity.pci:
        lines.append(("PCI", identity.pci))
    clock = f", up to {identity.clock_hz / 1e6:.0f} MHz" if identity.clock_hz else ""
    lines.append(("units", f"{identity.units}{clock}"))
    if identity.type != "cpu":
        lines.append(("sensors", listed.sensors or "none that can be read: its temperature is not watched"))
        if listed.sensors and not listed.temperature:
            lines.append(("temperature", "not told: it is not watched"))
    if power:
        refused = f", not settable: {power.refused}" if power.refused else ""
        lines.append(("power limit", f"{power.least_w:g} to {power.most_w:g} W{refused}"))
    if listed.screen:
        lines.append(("screen", "connected: short launches, so that it stays fluent"))
    if listed.icd:
        lines.append(("loaded alone", f"{listed.icd}, as another driver breaks the list"))
    return lines


def _measured(tuned: Tuned | None) -> list[tuple[str, str]]:
    if tuned is None or tuned.rate_hps is None:
        return []
    refused = sum(trial.refused is not None for trial in tuned.trials)
    passed_over = f", {refused} did not work" if refused else ""
    measured = f"measured {tuned.rate_hps / 1e6:.1f} MH/s"
    return [("search", f"{tuned.several.name}, {measured}, the fastest of {len(tuned.trials)}{passed_over}")]


def _broken(broken: Broken) -> DeviceInfo:
    name = broken.icd.rpartition("/")[2]
    return DeviceInfo(
        id=f"opencl:driver:{_word(name)}",
        backend=OpenclBackend.name,
        kind=Kind.GPU,
        model=f"OpenCL driver {name}",
        unusable=f"its driver {broken.reason}; reinstall it, or remove {broken.icd}",
    )
