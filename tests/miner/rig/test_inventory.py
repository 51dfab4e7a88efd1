"""What is in the machine, asked of all backends at once; and mining that does not wait for the slowest of them."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from backends.base import BackendError, DeviceInfo, Host, Kind
from miner.config import Configuration
from miner.rig import inventory
from miner.rig.inventory import Found, Inventory, Look, Watch, begin_inventory, take_inventory
from tests.running import PATIENCE_S, Home, home

# Found like any plug-in, and looking until a file is there.
TARDY = """
import os, time
from pydantic import BaseModel
from backends.base import BackendError, DeviceInfo, Kind
from backends.testing.synthetic import SyntheticDevice

class Options(BaseModel):
    pass

class Tardy:
    name = "tardy"
    Options = Options
    def __init__(self, options, host):
        if "TARDY_FILE" not in os.environ:
            raise BackendError("nobody said which file")
    def probe(self):
        while not os.path.exists(os.environ["TARDY_FILE"]):
            time.sleep(0.01)
        with open(os.environ["TARDY_FILE"]) as file:
            obstacle = file.read() or None
        spare = DeviceInfo("tardy:1", "tardy", Kind.CPU, "no miner", unusable="left alone", harmless=True)
        return [DeviceInfo("tardy:0", "tardy", Kind.CPU, "a late one", virtual=True, unusable=obstacle), spare]
    def open(self, info):
        return SyntheticDevice("tardy:0")
    def watch(self, changed):
        return lambda: None
"""


class _Options(BaseModel):
    pass


class _Backend:
    """One device, told when `ready`; None: at once."""

    Options = _Options
    ready: threading.Event | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        self.probes = 0
        self.watched = 0

    def __call__(self, _options: object, _host: Host) -> _Backend:
        return self

    def probe(self) -> list[DeviceInfo]:
        self.probes += 1
        if self.ready:
            assert self.ready.wait(PATIENCE_S)
        return [DeviceInfo(f"{self.name}:0", self.name, Kind.CPU, self.name)]

    def watch(self, _changed: Callable[[], None]) -> Callable[[], None]:
        self.watched += 1
        return lambda: None


class _Leaving(_Backend):
    def probe(self) -> list[DeviceInfo]:
        raise SystemExit("goodbye")


class _Answering(Future[list[DeviceInfo]]):
    """Owed still when it is asked for, and there at once afterwards."""

    def __init__(self, devices: list[DeviceInfo]) -> None:
        super().__init__()
        self._devices = devices

    def done(self) -> bool:
        if owed := not super().done():
            self.set_result(self._devices)
        return not owed


class _Registry:
    def __init__(self, *backends: _Backend) -> None:
        self._backends = {backend.name: backend for backend in backends}

    def names(self) -> list[str]:
        return sorted(self._backends)

    def load(self, name: str) -> Any:
        if name not in self._backends:
            raise BackendError("there is none")
        return self._backends[name]


@pytest.fixture
def slow() -> Iterator[_Backend]:
    backend = _Backend("a-slow")
    backend.ready = threading.Event()
    yield backend
    backend.ready.set()


@pytest.fixture
def quick() -> _Backend:
    return _Backend("b-quick")


@pytest.fixture
def installed(slow: _Backend, quick: _Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "registry", _Registry(slow, quick, _Leaving("c-leaving")))


AUTO = cast("Configuration", Configuration.model_validate({}))


@pytest.mark.usefixtures("installed")
def test_what_one_backend_finds_is_known_while_another_still_looks(slow: _Backend) -> None:
    first = begin_inventory(AUTO, Host())
    while not first.found:
        first = first.with_next()
    assert [info.id for info in first.infos] == ["b-quick:0"]
    assert slow in [look.backend for look in first.late]


@pytest.mark.usefixtures("installed")
def test_a_whole_inventory_waits_for_all_and_has_them_in_the_order_of_their_names(slow: _Backend) -> None:
    threading.Timer(0.05, cast("threading.Event", slow.ready).set).start()
    whole = take_inventory(AUTO, Host())
    assert [info.id for info in whole.infos] == ["a-slow:0", "b-quick:0"]
    assert not whole.late


@pytest.mark.usefixtures("installed")
def test_a_backend_that_ends_its_thread_is_a_sentence(slow: _Backend) -> None:
    cast("threading.Event", slow.ready).set()
    whole = take_inventory(AUTO, Host())
    assert whole.failures == ("c-leaving: looking for devices failed: SystemExit: goodbye",)


@pytest.mark.usefixtures("installed")
def test_looking_again_neither_waits_for_a_late_one_nor_asks_it_twice(slow: _Backend, quick: _Backend) -> None:
    first = begin_inventory(AUTO, Host())
    while not first.found:
        first = first.with_next()
    second = first.again()
    assert [info.id for info in second.infos] == ["b-quick:0"]
    assert (slow.probes, quick.probes) == (1, 2)
    assert [look.backend for look in second.late] == [slow]
    cast("threading.Event", slow.ready).set()
    assert [info.id for info in second.with_next().infos] == ["a-slow:0", "b-quick:0"]


@pytest.mark.usefixtures("installed")
def test_who_hangs_when_asked_again_keeps_its_devices_and_nobody_waiting(
    slow: _Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = cast("threading.Event", slow.ready)
    ready.set()
    whole = take_inventory(AUTO, Host())
    ready.clear()
    monkeypatch.setattr(inventory, "PATIENCE_S", 0.01)
    again = whole.again()
    assert [info.id for info in again.infos] == ["a-slow:0", "b-quick:0"]
    assert [look.backend for look in again.late] == [slow]
    ready.set()
    assert [info.id for info in again.with_next().infos] == ["a-slow:0", "b-quick:0"]


@pytest.mark.usefixtures("installed")
def test_a_late_answer_is_a_change_and_the_backend_is_watched_from_then_on(slow: _Backend, quick: _Backend) -> None:
    first = begin_inventory(AUTO, Host())
    while not first.found:
        first = first.with_next()
    changed = threading.Event()
    watch = Watch(changed.set)
    watch.follow(first)
    assert (slow.watched, quick.watched) == (0, 1)
    assert not changed.is_set()
    cast("threading.Event", slow.ready).set()
    assert changed.wait(PATIENCE_S)
    watch.follow(first.again())
    assert (slow.watched, quick.watched) == (1, 1)
    watch.end()


@pytest.mark.usefixtures("installed")
def test_who_was_late_at_the_start_and_hangs_once_more_is_heard_again(
    slow: _Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready, changed = cast("threading.Event", slow.ready), threading.Event()
    watch = Watch(changed.set)
    devices = begin_inventory(AUTO, Host())
    watch.follow(devices)
    ready.set()
    while devices.late:
        devices = devices.with_next()
    watch.follow(devices)
    assert changed.wait(PATIENCE_S)
    ready.clear()
    monkeypatch.setattr(inventory, "PATIENCE_S", 0.01)
    devices = devices.again()
    changed.clear()
    watch.follow(devices)
    ready.set()
    assert changed.wait(PATIENCE_S)
    watch.end()


def test_a_backend_of_another_type_than_wanted_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Switch(_Backend):
        pass

    backends = {"switch": Switch("switch"), "hangs": _Backend("hangs")}
    monkeypatch.setattr(inventory.registry, "names", lambda: list(backends))
    monkeypatch.setattr(inventory.registry, "load", backends.__getitem__)
    configuration = Configuration.model_construct(backend="auto")
    monkeypatch.setattr(Configuration, "options_of", lambda *_: None)
    taken = take_inventory(configuration, Host(), Switch)
    assert [info.id for info in taken.infos] == ["switch:0"]
    assert (backends["switch"].probes, backends["hangs"].probes) == (1, 0)


def test_an_answer_that_comes_while_answers_are_counted_lists_no_device_twice() -> None:
    early, sudden = _Backend("a-early"), _Backend("b-sudden")
    kept = Found(sudden, sudden.probe()[0])
    answered, answering = Future[list[DeviceInfo]](), _Answering(sudden.probe())
    answered.set_result(early.probe())
    late = (Look(early, answered), Look(sudden, answering))
    devices = Inventory((kept,), (), (early, sudden), late).with_next()
    assert [info.id for info in devices.infos] == ["a-early:0", "b-sudden:0"]


@pytest.mark.usefixtures("installed")
def test_a_late_answer_after_the_end_changes_nothing(slow: _Backend) -> None:
    first = begin_inventory(AUTO, Host())
    changed = threading.Event()
    watch = Watch(changed.set)
    watch.end()
    watch.follow(first)
    cast("threading.Event", slow.ready).set()
    while first.late:
        first = first.with_next()
    assert not changed.is_set()


def test_one_named_backend_is_the_only_one_that_looks(
    slow: _Backend, quick: _Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "registry", _Registry(slow, quick))
    alone = take_inventory(cast("Configuration", Configuration.model_validate({"backend": "b-quick"})), Host())
    assert [info.id for info in alone.infos] == ["b-quick:0"]
    assert slow.probes == 0


class _Demanding(BaseModel):
    port: int
    baud: int = 9600


class _Broken(_Backend):
    """A plug-in with one defect."""

    def __init__(self, defect: str) -> None:
        super().__init__("a-broken")
        self.defect = defect
        if defect == "options":
            self.Options = _Demanding

    def __call__(self, _options: object, _host: Host) -> _Backend:
        if self.defect == "constructor":
            raise ValueError("no such port")
        if self.defect == "leaves":
            raise SystemExit(3)
        return self

    def probe(self) -> list[DeviceInfo]:
        if self.defect == "probe":
            return cast("list[DeviceInfo]", iter(()))
        if self.defect == "devices":
            return cast("list[DeviceInfo]", ["a-broken:0"])
        if self.defect == "id":
            return [DeviceInfo("b-quick:0", "a-broken", Kind.CPU, "an impostor"), *super().probe()]
        return super().probe()

    def watch(self, changed: Callable[[], None]) -> Callable[[], None]:
        super().watch(changed)
        if self.defect == "watch":
            raise OSError("no inotify")
        return cast("Callable[[], None]", None) if self.defect == "watch returns" else self.cancel

    def cancel(self) -> None:
        if self.defect == "cancel":
            raise RuntimeError("never begun")


@pytest.mark.parametrize(
    ("defect", "sentence"),
    [
        ("constructor", "a-broken: setting it up failed: ValueError: no such port"),
        ("leaves", "a-broken: setting it up failed: SystemExit: 3"),
        ("options", "a-broken: [backends.a-broken] must set port"),
        ("probe", "a-broken: looking for devices failed: TypeError: probe() returned tuple_iterator, not a list"),
        ("devices", "a-broken: looking for devices failed: TypeError: probe() listed str, not a DeviceInfo"),
        ("id", "a-broken: its device b-quick:0 has the id of a device of b-quick"),
    ],
)
def test_a_broken_plug_in_is_a_sentence_and_spoils_no_other(
    quick: _Backend, monkeypatch: pytest.MonkeyPatch, defect: str, sentence: str
) -> None:
    monkeypatch.setattr(inventory, "registry", _Registry(_Broken(defect), quick, _Backend("c-whole")))
    whole = take_inventory(AUTO, Host())
    assert whole.failures == (sentence,)
    assert {"b-quick:0", "c-whole:0"} <= {one.info.id for one in whole.found if one.backend.name != "a-broken"}
    assert len({info.id for info in whole.infos}) == len(whole.infos)


@pytest.mark.parametrize("defect", ["watch", "watch returns", "cancel"])
def test_a_plug_in_whose_watch_is_broken_keeps_no_other_from_being_watched(
    quick: _Backend, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    broken = _Broken(defect)
    monkeypatch.setattr(inventory, "registry", _Registry(broken, quick))
    devices = take_inventory(AUTO, Host())
    watch = Watch(lambda: None)
    with capture_logs() as logs:
        for _ in range(2):
            watch.follow(devices)
        watch.end()
    assert (broken.watched, quick.watched) == (1, 1)
    assert [line["event"] for line in logs] == ["backend_watch_failed"]


class _Site:
    """A home where the tardy plug-in is installed."""

    def __init__(self, folder: Path, opened: Home) -> None:
        site = folder / "site"
        info = site / "tardy-1.0.dist-info"
        info.mkdir(parents=True)
        (site / "tardy_plugin.py").write_text(TARDY)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tardy\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[miner.backends]\ntardy = tardy_plugin:Tardy\n")
        self.home = opened
        self.answer = folder / "answer"
        path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.more = {"PYTHONPATH": path, "TARDY_FILE": str(self.answer)}


@pytest.fixture
def site(tmp_path: Path, kernels: Path) -> Iterator[_Site]:
    with home(tmp_path, kernels) as opened:
        yield _Site(tmp_path, opened)


def test_a_backend_that_is_slow_to_look_delays_nobody_and_its_device_mines_once_it_is_found(site: _Site) -> None:
    miner = site.home.start("--pool", "synthetic:", "--threads", "1", "--log-format", "json", **site.more)
    miner.until("mining_began")
    assert "tardy:0" not in miner.output()
    site.answer.touch()
    miner.until('"device": "tardy:0", "state": "mining"')


def test_a_device_that_must_not_mine_any_more_is_told_of_by_its_reason_and_is_not_gone(site: _Site) -> None:
    site.answer.touch()
    miner = site.home.start("--pool", "synthetic:", "--threads", "1", "--log-format", "json", **site.more)
    miner.until('"device": "tardy:0", "state": "mining"')
    site.answer.write_text("worn out")
    miner.signal(signal.SIGHUP)
    miner.until('"reason": "worn out"')
    miner.until('"device": "tardy:0", "state": "off"')
    miner.signal(signal.SIGTERM)
    assert miner.ended() == 0
    assert "device_gone" not in miner.output()
    lines = [json.loads(line) for line in miner.output().splitlines() if "device_passed_over" in line]
    levels = {line["device"]: line["level"] for line in lines}
    assert levels["tardy:0"] == "warning", "a person must look at it"
    assert levels["tardy:1"] == "info", "nobody misses it"


def test_with_device_all_backends_are_waited_for_before_any_mines(site: _Site) -> None:
    miner = site.home.start("--pool", "synthetic:", "--device", "abacus", **site.more)
    site.answer.touch()
    assert miner.ended() == 1
    assert "--device abacus fits nothing" in miner.output()
    assert "tardy:0 (cpu, a late one)" in miner.output()


def test_the_only_wanted_backend_says_why_it_cannot_be_used(site: _Site) -> None:
    del site.more["TARDY_FILE"]
    miner = site.home.start("--pool", "synthetic:", "--backend", "tardy", **site.more)
    assert miner.ended() == 1
    assert "tardy: nobody said which file" in miner.output()
