"""The suite that every device must pass, as a class of tests to inherit from.

    class TestMyDevice(DeviceContract):
        @pytest.fixture
        def make_device(self): return lambda: MyBackend(MyBackend.Options(), Host()).open(...)

Every run is checked for what must hold always (`_mining`): nothing wrong, outside its lease or reported twice, and no
more hashes claimed than a lease holds. Nothing here waits for a fixed time except to see that nothing happens.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import nan, sqrt

from backends.base import (
    NONCES,
    BackendError,
    Capability,
    Device,
    DeviceFault,
    Misuse,
    SettingRefused,
    Settings,
    State,
    Telemetry,
    Verdict,
    Work,
)

from .feed import FakeFeed, Template

MakeDevice = Callable[[], Device]

_ANY_HASH = (1 << 256) - 1
_DEFECTS = (Verdict.WRONG, Verdict.OUTSIDE, Verdict.DUPLICATE)
_EXACT_HITS = 512  # expected where every one of them is checked
_NEEDS = {
    Capability.DUTY: Settings(duty=0.5),
    Capability.POWER: Settings(power_w=100.0),
    Capability.FREQUENCY: Settings(frequency_hz=5e8),
    Capability.VOLTAGE: Settings(voltage_v=1.2),
    Capability.FAN: Settings(fan=0.5),
}


class DeviceContract:
    """Inherit, provide the fixture `make_device`, and adjust the figures to the device's speed."""

    bits = 8  # one hash in 2^bits is a hit while it mines freely: a few hundred a second at most
    enough = 1 << 14  # hashes whose every hit is checked with hashlib
    patience_s = 20.0  # the longest that anything may take, a first start included
    quiet_s = 0.1  # how long to look for what must not happen
    replace_s = 0.001  # between two jobs that replace all before: as soon as it can tell what belongs to which

    def claimed(self, work: Work, hashes: int) -> list[tuple[int, range]] | None:
        """The headers, as (version, nonces), that so many hashes on one lease stand for.

        Here: nonces from 0 upwards under the lease's own version. None for a device whose order is not known: then
        its hits are counted, not compared.
        """
        return [(work.version, range(hashes))]

    # ---- exactness and leases

    def test_what_it_claims_to_have_searched_holds_no_other_hits(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(Template(target=_ANY_HASH * _EXACT_HITS // self.enough), enough=self.enough)
        with self._mining(make_device(), feed):
            self._until(feed, lambda: feed.total >= self.enough)
        self._assert_exact(feed)

    def test_an_interrupted_search_goes_on_where_it_was(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(Template(target=_ANY_HASH * _EXACT_HITS // self.enough), enough=self.enough)
        with self._mining(make_device(), feed):
            give_up = time.monotonic() + self.patience_s
            while not feed.wait_for(lambda: feed.total >= self.enough, 0.001):
                assert time.monotonic() < give_up, "interrupts keep it from hashing"
                feed.interrupt()
        self._assert_exact(feed)

    def test_it_rolls_nothing_beyond_its_lease(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(replace(self._template(), version_mask=0xFF << 13, ntime_span=7))
        with self._mining(make_device(), feed):
            self._until(feed, lambda: len(feed.hits) >= 50)

    def test_work_replaced_in_quick_succession_is_accounted_for_to_the_last_hash(self, make_device: MakeDevice) -> None:
        template = Template(target=_ANY_HASH * _EXACT_HITS // self.enough)
        feed, number = FakeFeed(template, enough=self.enough), 0
        with self._mining(make_device(), feed):
            give_up = time.monotonic() + self.patience_s
            while not feed.wait_for(lambda: feed.total >= self.enough, self.replace_s):
                assert time.monotonic() < give_up, "new work keeps it from hashing"
                number += 1
                feed.serve(replace(template, prev_hash=number.to_bytes(32, "little")), replace=True)
        self._assert_exact(feed)

    # ---- new work

    def test_an_update_is_taken_up_and_older_hits_stay_good(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(self._template())
        with self._mining(make_device(), feed):
            self._until_hashing(feed)
            feed.serve(self._template(prev_hash=bytes(32)), replace=False)
            self._until(feed, lambda: any(hit.work.prev_hash == bytes(32) for hit in feed.hits))
        assert not feed.verdicts[Verdict.STALE]

    def test_replaced_work_is_dropped(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(self._template())
        with self._mining(make_device(), feed):
            self._until_hashing(feed)
            feed.serve(self._template(prev_hash=bytes(32)), replace=True)
            self._until(feed, lambda: any(hit.work.prev_hash == bytes(32) for hit in feed.hits))
        moved_on: set[int] = set()
        for call in feed.calls:
            if call.work and call.work.prev_hash == bytes(32) and call.name in {"take", "worked"}:
                moved_on.add(call.thread)
            elif call.work and call.work.prev_hash != bytes(32):
                assert call.thread not in moved_on, f"{call.name} on dead work after new work was taken"

    def test_with_nothing_to_do_it_waits_and_says_so(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(self._template())
        feed.serve(None, replace=False)
        with self._mining(make_device(), feed) as device:
            self._until_state(device, State.IDLE)
            assert not feed.taken
            feed.serve(self._template(), replace=False)
            self._until_hashing(feed)

    # ---- start and stop

    def test_after_stop_it_never_touches_its_feed_and_starts_again_on_another(self, make_device: MakeDevice) -> None:
        device, first, second = make_device(), FakeFeed(self._template()), FakeFeed(self._template())
        with self._mining(device, first):
            self._until_hashing(first)
            device.stop(self.patience_s)
            first.close()
            assert device.telemetry().state is State.OFF
            with self._mining(device, second):
                self._until_hashing(second)
        assert first.late == []

    def test_stop_may_come_early_often_and_at_once(self, make_device: MakeDevice) -> None:
        device, feed = make_device(), FakeFeed(self._template())
        device.stop(self.patience_s)
        device.start(feed)
        device.stop(self.patience_s)
        feed.close()
        device.stop(self.patience_s)
        assert device.telemetry().state is State.OFF
        assert not feed.wait_for(lambda: bool(feed.late), self.quiet_s)

    def test_start_returns_at_once_and_only_once(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(self._template())
        feed.hang()
        with self._mining(make_device(), feed) as device:  # returns although the feed answers nothing
            assert _refuses(lambda: device.start(feed), Misuse), "a second start() went through"
            feed.release()

    # ---- settings

    def test_what_it_cannot_change_is_refused_whole(self, make_device: MakeDevice) -> None:
        device = make_device()
        for capability, settings in _NEEDS.items():
            if capability in device.info.capabilities:
                continue
            assert _refuses(lambda s=settings: device.apply(s), SettingRefused), f"took {settings}"  # type: ignore[misc]
            assert _refuses(lambda s=settings: device.apply(replace(s, enabled=False)), SettingRefused)  # type: ignore[misc]
        feed = FakeFeed(self._template())
        with self._mining(device, feed):
            self._until_hashing(feed)  # the refused `enabled=False` did not stay behind

    def test_a_duty_that_is_none_is_refused(self, make_device: MakeDevice) -> None:
        device = make_device()
        if Capability.DUTY not in device.info.capabilities:
            return
        for duty in (-0.01, 1.01, nan):
            assert _refuses(lambda d=duty: device.apply(Settings(duty=d)), SettingRefused), f"took {duty}"  # type: ignore[misc]
        assert device.apply(Settings(duty=0.25)) == Settings(duty=0.25)
        assert device.telemetry().duty == 0.25

    def test_settings_left_alone_are_answered_with_none(self, make_device: MakeDevice) -> None:
        assert make_device().apply(Settings()) == Settings()

    def test_a_pause_stops_the_hashing_and_ends(self, make_device: MakeDevice) -> None:
        feed = FakeFeed(self._template())
        with self._mining(make_device(), feed) as device:
            self._until_hashing(feed)
            assert device.apply(Settings(enabled=False)) == Settings(enabled=False)
            self._until_state(device, State.PAUSED)
            paused_at = feed.total
            assert not feed.wait_for(lambda: feed.total != paused_at, self.quiet_s), "hashes while paused"
            assert device.apply(Settings(enabled=True)) == Settings(enabled=True)
            self._until(feed, lambda: feed.total > paused_at)
            self._until_state(device, State.MINING)

    def test_a_pause_from_before_the_start_holds(self, make_device: MakeDevice) -> None:
        feed, device = FakeFeed(self._template()), make_device()
        device.apply(Settings(enabled=False))
        with self._mining(device, feed):
            self._until_state(device, State.PAUSED)
            assert not feed.total
            device.apply(Settings(enabled=True))
            self._until_hashing(feed)

    # ---- trouble

    def test_telemetry_answers_in_every_state_and_while_the_feed_hangs(self, make_device: MakeDevice) -> None:
        device, feed = make_device(), FakeFeed(self._template())
        assert self._telemetry(device).state is State.OFF
        with self._mining(device, feed):
            self._until_hashing(feed)
            feed.hang()
            self._until(feed, lambda: feed.held > 0)
            assert self._telemetry(device).state is not State.OFF
            assert _refuses(lambda: device.stop(0.05), DeviceFault), "stop() returned while it was not off"
            assert self._telemetry(device).state is not State.OFF
            feed.release()
            device.stop(self.patience_s)
            assert self._telemetry(device).state is State.OFF

    def test_an_exception_in_its_threads_kills_nothing_else(self, make_device: MakeDevice) -> None:
        device, feed = make_device(), FakeFeed(self._template())
        with self._mining(device, feed):
            self._until_hashing(feed)
            feed.fault = BackendError("a defect above the device")
            feed.interrupt()
            self._until_state(device, State.DEAD)
            assert "a defect above the device" in str(device.telemetry().fault)
            device.stop(self.patience_s)
            healthy = FakeFeed(self._template())
            with self._mining(device, healthy):
                self._until_hashing(healthy)
                assert device.telemetry().fault is None

    # ---- how

    def _template(self, prev_hash: bytes = Template().prev_hash) -> Template:
        return Template(target=_ANY_HASH >> self.bits, prev_hash=prev_hash)

    @contextmanager
    def _mining(self, device: Device, feed: FakeFeed) -> Iterator[Device]:
        device.start(feed)
        try:
            yield device
        finally:
            feed.release()
            device.stop(self.patience_s)
        sizes = {work.id: NONCES * (1 << work.version_mask.bit_count()) * (work.ntime_span + 1) for work in feed.taken}
        assert not [verdict for verdict in _DEFECTS if feed.verdicts[verdict]], feed.verdicts
        assert all(hashes <= sizes[work] for work, hashes in feed.hashes.items()), "more hashes than its lease holds"
        assert {hit.work.id for hit in feed.hits} <= sizes.keys(), "hits on work that was never taken"

    def _until(self, feed: FakeFeed, happened: Callable[[], bool]) -> None:
        assert feed.wait_for(happened, self.patience_s), f"nothing after {self.patience_s} s: {feed.calls[-5:]}"

    def _until_hashing(self, feed: FakeFeed) -> None:
        self._until(feed, lambda: len(feed.hits) >= 3 and feed.total > 0)

    def _until_state(self, device: Device, state: State) -> None:
        give_up = time.monotonic() + self.patience_s
        while device.telemetry().state is not state:
            assert time.monotonic() < give_up, f"not {state} after {self.patience_s} s: {device.telemetry()}"
            time.sleep(0.002)

    def _telemetry(self, device: Device) -> Telemetry:
        """Asked from a thread of its own, so that a telemetry() which blocks is a failure and no dead run."""
        answers: list[Telemetry] = []
        asking = threading.Thread(target=lambda: answers.append(device.telemetry()), daemon=True)
        asking.start()
        asking.join(1.0)
        assert answers, "telemetry() blocks or raises"
        return answers[0]

    def _assert_exact(self, feed: FakeFeed) -> None:
        assert sum(feed.verdicts.values()), "no hits at all"
        for work in feed.taken:
            claims = self.claimed(work, feed.hashes[work.id])
            if claims is None:
                continue
            expected = {(version, nonce) for version, nonces in claims for nonce in hits_among(work, version, nonces)}
            assert {(hit.version, hit.nonce) for hit in feed.hits if hit.work == work} == expected, (
                f"{len(expected)} hits expected in {claims}"
            )
        expected_hits = feed.total * _EXACT_HITS / self.enough
        assert abs(len(feed.hits) - expected_hits) < 6 * sqrt(expected_hits), "hits lost or hashes invented"


def hits_among(work: Work, version: int, nonces: range) -> list[int]:
    """The nonces whose header meets the work's target under this version and the first ntime, by hashlib."""
    header = work.header(0, version, work.ntime)
    middle, tail, bound = hashlib.sha256(header[:64]), header[64:76], work.target
    found = []
    for nonce in nonces:
        first = middle.copy()
        first.update(tail + nonce.to_bytes(4, "little"))
        if int.from_bytes(hashlib.sha256(first.digest()).digest(), "little") <= bound:
            found.append(nonce)
    return found


def _refuses(call: Callable[[], object], error: type[BackendError]) -> bool:
    try:
        call()
    except error:
        return True
    return False
