"""One device under supervision, in a thread of its own: whatever a driver does, the event loop and the others go on.

The thread opens and starts the device, looks at it once a second, and does what `DeviceWatch` decides. A driver that
hangs hangs this thread and nothing else; from outside that shows as a device that is sick because it does not answer.

A hold keeps the device off, whatever else is wanted. Several holds may stand at once, each under a name of its own; the
device starts again when the last one is released.
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
    """Keeps one device mining. `open_device` runs in the keeper's thread and may raise.

    `tell_power`: called in the keeper's thread: with True before the device may draw power, with False once it is off.
    """

    def __init__(
        self,
        info: DeviceInfo,
        open_device: Callable[[], Device],
        feed: DeviceFeed,
        *,
        watch: DeviceWatch | None = None,
        clock: Callable[[], float] = time.monotonic,
        look_s: float = LOOK_S,
        tell_power: Callable[[bool], None] = lambda _on: None,
    ) -> None:
        self.info = info
        self.feed = feed
        self._open = open_device
        self._watch = watch or DeviceWatch(info.id)
        self._clock = clock
        self._look_s = look_s
        self._tell_power = tell_power
        self._device: Device | None = None
        self._fault: str | None = None  # why there is no device
        self._not_off: str | None = None  # why the last attempt to stop the device failed
        self._holds: dict[str, str] = {}  # name -> sentence for the operator
        self._powered = False  # the device may draw power: from before it is opened until it was stopped
        self._changed = threading.Condition()  # guards the two above
        self._to_start = True  # the device must be brought up at the next step that no hold forbids
        self._woken = threading.Event()  # an end or a hold waits for the thread
        self._telemetry = Telemetry(State.STARTING)
        self._seen_at = clock()
        self._busy_since: float | None = None  # when the present step began; None between two of them
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"keeper {info.id}", daemon=True)

    def start(self) -> None:
        """Begin to open and mine; returns at once."""
        self._thread.start()

    def end(self) -> None:
        """Ask for the end; returns at once."""
        self._ending.set()
        self._woken.set()
        self.feed.interrupt()

    def join(self, timeout: float) -> bool:
        """Wait until the device is off; whether it is. After `end`."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive() and self._device is None

    def hold(self, name: str, text: str) -> None:
        """Keep the device off until `release(name)`; returns at once. Any thread. `text`: why, for the operator."""
        with self._changed:
            self._holds[name] = text
        self._woken.set()

    def release(self, name: str) -> None:
        """Take back the hold of this name; returns at once. Any thread."""
        with self._changed:
            self._holds.pop(name, None)
        self._woken.set()

    def rested(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until the device is off; whether it is. It stays off as long as it is held."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._powered, timeout)

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
        seen, since = self._telemetry, self._busy_since
        # Between two steps no driver is asked: a process that was stopped there for minutes has no driver that hangs.
        if since is not None and not self._ending.is_set() and self._clock() - since > HUNG_S:
            return replace(seen, state=State.SICK, fault="its driver does not answer", power_w=None)
        match self._watch.phase:
            case Phase.DEAD:
                return replace(seen, state=State.DEAD, fault=self._watch.reason)
            case Phase.SICK if seen.state is not State.PAUSED:
                return replace(seen, state=State.SICK, fault=self._watch.reason)
            case _:
                return seen

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._woken.clear()
                self._busy_since = self._clock()
                self._step()
                self._busy_since = None
                self._woken.wait(self._look_s)
        finally:
            self._busy_since = None
            self._bring_down()
            if self._device is None:
                fault = None if self._why_held() else self._telemetry.fault  # that it did not go off is over
                self._telemetry = replace(self._telemetry, state=State.OFF, fault=fault, power_w=None)

    def _step(self) -> None:
        if (why := self._why_held()) is not None:
            self._rest(why)
            return
        if self._to_start:
            self._to_start = False
            self._watch.woke(self.feed.counts().hashes, self._clock())
            if self._watch.phase in (Phase.WELL, Phase.TRIAL):  # a sick device waits for its restart
                self._bring_up()
        self._look()

    def _why_held(self) -> str | None:
        with self._changed:
            return "; ".join(self._holds.values()) or None

    def _rest(self, why: str) -> None:
        """Turn the device off, or try once more. Its rest is no trouble, so the watch is not asked."""
        self._to_start = True
        self._bring_down()
        if self._device is None:
            self._telemetry = Telemetry(State.PAUSED, activity=why)  # a hold is wanted: no fault, and no alarm
        else:
            self._telemetry = Telemetry(State.SICK, fault=f"it does not go off ({self._not_off}): {why}")
        self._seen_at = self._clock()

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
        if not self._may_start():
            self._to_start = True
            return
        try:
            self._device = self._open()
            if self._why_held() is None:
                self._device.start(self.feed)
        except Exception as error:  # noqa: BLE001  as above
            self._fault = str(error) or type(error).__name__
            self._bring_down()

    def _may_start(self) -> bool:
        """Whether no hold stands and no end; if so, the device counts as powered from here on."""
        with self._changed:
            if self._holds or self._ending.is_set():
                return False
            self._powered = True
        self._tell_power(True)
        return True

    def _bring_down(self) -> None:
        if self._device is not None:
            try:
                self._device.stop(STOP_S)
            except Exception as error:  # noqa: BLE001  as above
                reason = str(error) or type(error).__name__
                if reason != self._not_off:
                    log.error("device_not_off", device=self.info.id, reason=reason)  # noqa: TRY400  a sentence
                self._not_off = reason
                return
        self._device = self._not_off = None
        if self._powered:  # which this thread alone changes
            self._tell_power(False)
            with self._changed:
                self._powered = False
                self._changed.notify_all()
