"""The interlock: which files mean closed, and what becomes of a contact that bounces or a file that hangs."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from miner.commands.cli import main
from miner.rig.interlock import (
    AGAIN_S,
    READ_S,
    SETTLED_LONGEST_S,
    SETTLED_S,
    SILENT_S,
    STEADY_S,
    UNREAD,
    Closed,
    Contact,
    Interlock,
    Opened,
    Reading,
    why_open,
    why_open_within,
)
from tests.running import home


@pytest.mark.parametrize("content", ["1", "1\n", "closed", "closed\n", " 1 \n"])
def test_a_file_that_says_1_or_closed_is_a_closed_contact(tmp_path: Path, content: str) -> None:
    (tmp_path / "value").write_text(content)
    assert why_open(tmp_path / "value") is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n", "it is empty"),
        (b"0\n", "it says '0'"),
        (b"11", "it says '11'"),
        (b"CLOSED", "it says 'CLOSED'"),
        (b"1\n0\n", "it says '1\\x0a0'"),
        (b"1" + b" " * 64, "it is longer than 64 bytes"),
        (b"\xff\x1b[2J", "it says '\ufffd\\x1b[2J'"),
    ],
)
def test_anything_else_is_open_and_said(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "value").write_bytes(content)
    assert why_open(tmp_path / "value") == reason


def test_what_cannot_be_read_is_open(tmp_path: Path) -> None:
    assert why_open(tmp_path / "absent") == "it cannot be read: No such file or directory"
    assert why_open(tmp_path) == "it cannot be read: Is a directory"
    os.mkfifo(tmp_path / "fifo")
    assert why_open(tmp_path / "fifo") == "it is empty", "a FIFO without a writer is not waited for"
    (tmp_path / "secret").write_text("1")
    assert why_open(tmp_path / "secret" / "below") == "it cannot be read: Not a directory"


def test_a_contact_is_closed_only_once_it_has_settled_and_open_at_once() -> None:
    contact = Contact(0.0)
    assert contact.why_open == UNREAD
    assert contact.handle(None, 0.1) == []
    assert contact.handle(Reading(None, 0.2), 0.2) == []
    assert contact.handle(Reading("it says '0'", 0.4), 0.4) == [Opened("it says '0'")]
    assert contact.handle(Reading(None, 0.6), 0.6) == []
    assert contact.handle(Reading(None, 0.6 + SETTLED_S), 0.6 + SETTLED_S) == [Closed()]
    assert contact.why_open is None
    assert contact.handle(Reading(None, 2.0), 2.0) == []
    assert contact.handle(Reading("it is empty", 2.2), 2.2) == [Opened("it is empty")]
    assert contact.handle(Reading("it is empty", 2.4), 2.4) == [], "said once"
    assert contact.handle(Reading("it says '0'", 2.6), 2.6) == [Opened("it says '0'")], "for another reason, again"


def closed_after_s(contact: Contact, since: float) -> float:
    """Open the contact and close it at once; return how long it had to stay closed until devices may run."""
    contact.handle(Reading("it says '0'", since), since)
    now = since
    while not contact.handle(Reading(None, now), now):
        now += READ_S
    return round(now - since, 3)


def test_a_contact_that_bounces_must_stay_closed_for_longer_each_time_and_a_steady_one_need_not() -> None:
    contact, now, waits = Contact(0.0), 0.0, []
    for _ in range(9):
        waits.append(closed_after_s(contact, now))
        now += waits[-1] + 1.0
    assert waits[0] == pytest.approx(SETTLED_S, abs=READ_S)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(SETTLED_LONGEST_S, abs=READ_S)
    assert closed_after_s(contact, now + STEADY_S) == pytest.approx(SETTLED_S, abs=READ_S)


def test_a_contact_that_bounces_settles_anew_after_each_bounce() -> None:
    contact, now = Contact(0.0), 0.0
    for _ in range(20):
        now += READ_S
        assert contact.handle(Reading(None, now), now) == []
        now += READ_S
        contact.handle(Reading("it says '0'", now), now)
    assert contact.handle(Reading(None, now + READ_S), now + READ_S) == []
    now += READ_S + SETTLED_S
    assert contact.handle(Reading(None, now), now) == [Closed()]


def test_a_closed_contact_that_is_not_heard_of_any_more_is_open() -> None:
    contact = Contact(0.0)
    last = Reading(None, 1.0)
    contact.handle(last, 1.0)
    assert contact.handle(last, 1.0 + SETTLED_S) == [Closed()]
    assert contact.handle(last, 1.0 + SILENT_S) == []
    assert contact.handle(last, 1.1 + SILENT_S) == [Opened("it could not be read for 2 s")]


def test_a_file_system_that_hangs_from_the_start_is_said() -> None:
    contact = Contact(0.0)
    assert contact.handle(None, SILENT_S) == []
    assert contact.handle(None, SILENT_S + 0.1) == [Opened("it could not be read for 2 s")]


def test_open_takes_effect_within_a_second_and_closed_soon_after() -> None:
    assert 2 * READ_S < 1.0
    assert 2 * READ_S + SETTLED_S < 1.5


class Devices:
    """In the engine's place."""

    def __init__(self) -> None:
        self.holds: dict[str, str] = {}

    def hold(self, name: str, text: str) -> None:
        self.holds[name] = text

    def release(self, name: str) -> None:
        self.holds.pop(name, None)


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_devices_are_held_before_the_first_reading_and_as_the_file_says_from_then_on(tmp_path: Path) -> None:
    path, devices = tmp_path / "value", Devices()
    path.write_text("1")
    interlock = Interlock(path, devices)
    assert not devices.holds
    interlock.start()
    try:
        assert devices.holds == {"interlock": f"the interlock {path} is open: {UNREAD}"}
        with capture_logs() as logs:
            until(lambda: not devices.holds)
            (tmp_path / "new").write_text("0")
            (tmp_path / "new").rename(path)
            until(lambda: devices.holds == {"interlock": f"the interlock {path} is open: it says '0'"})
            interlock.tell()
            interlock.tell()
    finally:
        interlock.close()
    assert [entry["event"] for entry in logs] == ["interlock_closed", "interlock_open"]
    assert logs[1]["reason"] == "it says '0'"


def test_a_file_that_says_something_else_with_every_reading_does_not_flood_the_log(tmp_path: Path) -> None:
    words, now, devices = ["it says '0.0'"], [0.0], Devices()
    interlock = Interlock(tmp_path / "value", devices, read=lambda _: words[0], clock=lambda: now[0])
    with capture_logs() as logs:
        interlock.start()
        try:
            for at in (0.0, 1.0, AGAIN_S - 0.1):
                now[0], words[0] = at, f"it says '{at}'"
                until(lambda: words[0] in devices.holds["interlock"])
                interlock.tell()
            now[0] = AGAIN_S
            interlock.tell()
            interlock.tell()
        finally:
            interlock.close()
    assert [entry["reason"] for entry in logs] == ["it says '0.0'", f"it says '{AGAIN_S - 0.1}'"]


def test_a_read_that_hangs_holds_the_devices(tmp_path: Path) -> None:
    devices, let_go, now = Devices(), threading.Event(), [0.0]
    reads: list[float] = []

    def read(_path: Path) -> str | None:
        reads.append(now[0])
        if len(reads) > 1:
            let_go.wait(20)
        return None

    interlock = Interlock(tmp_path / "value", devices, read=read, clock=lambda: now[0])
    interlock.start()
    try:
        until(lambda: len(reads) == 2)
        interlock.judge()
        now[0] = SETTLED_S
        until(lambda: not devices.holds)
        now[0] = SILENT_S + 0.1
        until(lambda: "could not be read" in devices.holds.get("interlock", ""))
        let_go.set()
        until(lambda: len(reads) > 2)
        now[0] += 2 * SETTLED_S  # it has bounced
        until(lambda: not devices.holds)
    finally:
        let_go.set()
        interlock.close()


def test_a_command_that_looks_once_does_not_wait_for_a_file_system_that_hangs(tmp_path: Path) -> None:
    let_go = threading.Event()
    reason = why_open_within(tmp_path / "value", 0.01, lambda _: str(let_go.wait(20)))
    let_go.set()
    assert reason == "it could not be read for 0.01 s"
    (tmp_path / "value").write_text("1")
    assert why_open_within(tmp_path / "value", 20.0) is None


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith("MINER_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MINER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path / "none.icd"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "miner.toml").write_text('[safety]\ninterlock = "key"\n')
    return tmp_path


def test_check_says_how_the_interlock_stands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--backend", "cpu"]) == 0
    no_file = "it cannot be read: No such file or directory"
    assert f"interlock {folder / 'key'}: open, no device would start: {no_file}\n" in capsys.readouterr().out
    (folder / "key").write_text("1")
    assert main(["check", "--backend", "cpu"]) == 0
    assert f"interlock {folder / 'key'}: closed\n" in capsys.readouterr().out


def test_the_miner_gives_no_device_power_until_the_contact_is_closed_and_takes_it_when_it_opens(
    tmp_path: Path, kernels: Path
) -> None:
    with home(tmp_path, kernels) as operator:
        config, key = tmp_path / "safe.toml", tmp_path / "key"
        config.write_text('[safety]\ninterlock = "key"\n')
        miner = operator.start("--config", str(config), "--pool", "synthetic:", "--backend", "cpu", "--threads", "1")
        miner.until("interlock_open")
        miner.until("state=paused")
        assert "mining_began" not in miner.output()
        key.write_text("1")
        miner.until("state=mining")
        key.unlink()
        miner.until("state=paused", 2)
        miner.signal(signal.SIGINT)
        assert miner.ended() == 0, miner.output()
        events = [line.split()[3] for line in miner.output().splitlines() if "interlock_" in line]
    assert events == ["interlock_open", "interlock_closed", "interlock_open"]
