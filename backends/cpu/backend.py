"""The backend `cpu`: finds the one processor there is and what it can run, without compiling anything."""

from __future__ import annotations

from collections.abc import Callable

import native
from backends.base import BackendError, Capability, Device, DeviceGone, DeviceInfo, Host, Kind
from backends.cpu.choice.choice import choose, read, reasons
from backends.cpu.choice.forge import Forge
from backends.cpu.choice.workshop import Workshop
from backends.kernels.cache import NO_CACHE, KernelCache, find_cache, open_cache
from backends.kernels.candidates import Candidate, candidates

from . import cores
from .device import CpuDevice
from .options import CpuOptions
from .priority import give_way
from .topology import Core, spell, survey

_ID = "cpu:0"


class CpuBackend:
    """Implements `backends.base.Backend`."""

    name = "cpu"
    Options = CpuOptions

    def __init__(self, options: CpuOptions, host: Host) -> None:
        self._options = options
        self._host = host

    def probe(self) -> list[DeviceInfo]:
        """One device: all cores that this process may use, as threads of one search."""
        details = [("threads", str(self._threads())), *_describe(survey(cores.affinity()))]
        if (quota := cores.quota()) is not None:
            details.append(("cpu quota", f"{quota:g} cores"))
        unusable = None
        try:
            state = self._host.state_dir
            cache = find_cache(state, native.host_features()) if state else NO_CACHE
            found = self._candidates()
            details += _kernels(found, cache)
            if not any(x.unusable is None for x in found):
                unusable = "; ".join(f"{x.name}: {x.unusable}" for x in found)
        except native.NativeError as e:
            unusable = str(e)
        return [
            DeviceInfo(
                id=_ID,
                backend=self.name,
                kind=Kind.CPU,
                model=cores.model(),
                capabilities=frozenset({Capability.DUTY, Capability.ROLLS_VERSION}),
                unusable=unusable,
                details=tuple(details),
            )
        ]

    def open(self, info: DeviceInfo) -> Device:
        if info.id != _ID:
            raise DeviceGone(f"there is no {info.id}: the processor is {_ID}")
        if info.unusable:
            raise BackendError(f"{_ID} cannot mine: {info.unusable}")
        cache = self._cache()
        forge = Forge(
            Workshop(self._candidates(), cache, cores.model(), log=self._host.log),
            settle=lambda: give_way(self._options.priority),
            log=self._host.log,
        )
        return CpuDevice(
            info,
            forge,
            self._placement(),
            priority=self._options.priority,
            duty=self._options.duty,
            log=self._host.log,
        )

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 # processors are not unplugged
        return lambda: None

    def _threads(self) -> int:
        return self._options.threads or cores.thread_count(len(survey(cores.affinity())), cores.quota())

    def _placement(self) -> list[int | None]:
        """Threads are bound to the best cores, but not where a quota has the number of them.

        Every container on a machine would sit on the same few cores.
        """
        threads, ranked = self._threads(), [core.number for core in survey(cores.affinity())]
        asked = self._options.threads is not None or threads == len(ranked)
        return cores.placement(threads, ranked) if self._options.affinity and asked else [None] * threads

    def _candidates(self) -> list[Candidate]:
        return [x for x in candidates() if self._options.kernel in {None, x.name}]

    def _cache(self) -> KernelCache:
        if self._host.state_dir is None:
            return NO_CACHE
        cache = open_cache(self._host.state_dir, native.host_features())
        if cache.unusable:
            self._host.log("kernel_cache_unusable", reason=cache.unusable)
        return cache


def _kernels(found: list[Candidate], cache: KernelCache) -> list[tuple[str, str]]:
    """Which kernel runs here, as far as is known before it does, and why each of the others does not."""
    record = read(cache.folder, cores.model())
    if not (choice := choose(found, record)):
        usable = ", ".join(x.name for x in found if x.unusable is None)
        lines = [("kernel", f"the fastest of {usable or 'none'}, measured at the first start")]
    else:
        hps = record[choice.single].rates_hps[1]
        lines = [("kernel", f"{choice.single}, measured {hps / 1e6:.1f} MH/s a core")]
        if choice.midstates > 1:
            hps = record[choice.several].rates_hps[choice.midstates]
            text = f"{choice.several}, {choice.midstates} at once, measured {hps / 1e6:.1f} MH/s a core"
            lines.append(("kernel for several versions", text))
    return lines + [(f"not {name}", why) for name, why in reasons(found, record).items()]


def _describe(found: list[Core]) -> list[tuple[str, str]]:
    """The cores, and what makes some better to hash on than others."""
    lines = [("cores", spell(core.number for core in found))]
    if siblings := [core.number for core in found if core.sibling]:
        lines.append(("second threads of a core", f"{spell(siblings)}: used last"))
    if len(speeds := {core.speed for core in found}) > 1:
        slower = [core.number for core in found if core.speed != max(speeds)]
        lines.append(("slower cores", spell(slower)))
    if len(nodes := sorted({core.node for core in found})) > 1:
        each = (f"{node}: {spell(core.number for core in found if core.node == node)}" for node in nodes)
        lines.append(("cores by memory node", "; ".join(each)))
    return lines
