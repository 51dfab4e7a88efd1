"""One device under supervision, in a thread of its own: whatever a driver does, the event loop and the others go on.

The thread opens and starts the device, looks at it once a second, and does what `DeviceWatch` decides. A driver that
hangs hangs this thread and nothing else; from outside that shows as a device that is sick because it does not answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from backends.base import Device, DeviceInfo, State, Telemetry, Verdict
from miner.work.feed import DeviceFeed
from miner.work.watch import DeviceWatch, Disable, Observation, Phase, Recovered, Restart, Sick

log = structlog.get_logger(__name__)

LOOK_S = 1.0
STOP_S = 5.0  # what a device gets to come to rest before a restart
HUNG_S = 15.0  # a driver that takes so long for one call has hung


class Keeper:
    """Keeps one device mining. `open_device` runs in the keeper's thread and may raise."""

    def __init__(
        self,
        info: DeviceInfo,
        open_device: Callable[[], Device],
        feed: DeviceFeed,
        *,
        watch: DeviceWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
        look_s: float = LOOK_S,
    ) -> None:
        self.info = info
        self.feed = feed
        self._open = open_device
        self._watch = watch or DeviceWatch(info.id)
        self._clock = clock
        self._look_s = look_s
        self._device: Device | None = None
        self._fault: str | None = None  # why there is no device
        self._telemetry = Telemetry(State.STARTING)
        self._seen_at = clock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keeper {info.id}", daemon=True)

    def start(self) -> None:
        """Begin to open and mine; returns at once."""
        self._thread.start()

    def end(self) -> None:
        """Ask for the end; returns at once."""
        self._ending.set()
        self.feed.interrupt()

    def join(self, timeout: float) -> bool:
        """Wait until the device is off; whether it is. After `end`."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive() and self._device is None

    @property
    def restarts(self) -> int:
        """How often the device was started anew."""
        return self._watch.restarts

    @property
    def seen_at(self) -> float:
        """When the device was last looked at: the time of its telemetry."""
        return self._seen_at

    @property
    def telemetry(self) -> Telemetry:
        """The device's last word, or what is known better from outside. Any thread; no I/O."""
        seen = self._telemetry
        if self._thread.is_alive() and not self._ending.is_set() and self._clock() - self._seen_at > HUNG_S:
            return replace(seen, state=State.SICK, fault="its driver does not answer", power_w=None)
        match self._watch.phase:
            case Phase.DEAD:
                return replace(seen, state=State.DEAD, fault=self._watch.reason)
            case Phase.SICK:
                return replace(seen, state=State.SICK, fault=self._watch.reason)
            case _:
                return seen

    def _run(self) -> None:
        try:
            self._bring_up()
            while True:
                self._look()
                if self._ending.wait(self._look_s):
                    break
        finally:
            self._bring_down()
            if self._device is None:
                self._telemetry = replace(self._telemetry, state=State.OFF, power_w=None)

    def _look(self) -> None:
        now = self._clock()
        try:
            seen = self._device.telemetry() if self._device else Telemetry(State.DEAD, fault=self._fault)
            if not isinstance(seen, Telemetry):
                raise TypeError(f"its telemetry is {type(seen).__name__}")  # noqa: TRY301  a driver's defect like others
            self._telemetry = seen
        except Exception as error:  # noqa: BLE001  a driver's defect is the device's fault, not ours
            self._telemetry = Telemetry(State.DEAD, fault=f"{type(error).__name__}: {error}")
        self._seen_at = now
        counts = self.feed.counts()
        observed = Observation(
            hashes=counts.hashes,
            good=counts.of(Verdict.GOOD),
            wrong=counts.of(Verdict.WRONG),
            has_work=self.feed.busy,
            state=self._telemetry.state,
            fault=self._telemetry.fault,
            activity=self._telemetry.activity,
        )
        for effect in self._watch.handle(observed, now):
            match effect:
                case Restart(device, reason):
                    log.info("device_restarted", device=device, reason=reason)
                    self._bring_down()
                    self._bring_up()
                case Disable(device, reason):
                    log.error("device_disabled", device=device, reason=reason)
                    self._bring_down()
                case Sick(device, reason):
                    log.warning("device_sick", device=device, reason=reason)
                case Recovered(device):
                    log.info("device_recovered", device=device)

    def _bring_up(self) -> None:
        if self._device is not None:  # it could not be stopped: two drivers on one device would be worse than none
            return
        try:
            self._device = self._open()
            self._device.start(self.feed)
        except Exception as error:  # noqa: BLE001  as above
            self._fault = str(error) or type(error).__name__
            self._bring_down()

    def _bring_down(self) -> None:
        if self._device is None:
            return
        try:
            self._device.stop(STOP_S)
        except Exception as error:  # noqa: BLE001  as above
            log.error(  # noqa: TRY400  a sentence
                "device_not_off", device=self.info.id, reason=str(error) or type(error).__name__
            )
        else:
            self._device = None
