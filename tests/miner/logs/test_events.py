"""Every log event of the source has the level that the table gives it, and the docs list the table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import structlog

from backends.base import Host
from miner.config import Configuration
from miner.logs import events as log_events
from miner.logs import output as logs
from miner.logs.events import EVENTS, UNKNOWN_LEVEL, teller
from miner.rig import rig
from miner.rig.inventory import Inventory
from miner.rig.selection import SelectionError
from miner.work.events import Fate

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs/reference/events.md"
TABLE = "miner/logs/events.py"
LEVELS = {name: name for name in log_events.LEVELS} | {"exception": "error", "critical": "error"}

FROM_TABLE, VARIES = "by the table", "varies"


class Wrapper(NamedTuple):
    """A call that becomes a log line: which argument is the event, and its level or the argument that is its level."""

    folder: str
    name: str
    event: int
    level: str | int


WRAPPERS = (
    Wrapper("miner/", "level", 0, VARIES),  # level = log.warning if ... else log.info
    Wrapper("miner/", "Line", 1, 0),
    Wrapper("miner/rig/guard.py", "_say", 1, 0),
    Wrapper("miner/books/ledger.py", "_complain", 0, "error"),
    Wrapper("miner/sources/", "Say", 1, 0),
    Wrapper("miner/sources/node/", "Warn", 0, "warning"),
    Wrapper("miner/sources/node/source.py", "_tell_own", 0, "warning"),
    Wrapper("miner/sources/stratum/pool.py", "_remark", 0, "warning"),
    Wrapper("miner/sources/stratum/", "remark", 0, "warning"),
    Wrapper("backends/", "log", 0, FROM_TABLE),
    Wrapper("backends/", "_log", 0, FROM_TABLE),
    Wrapper("backends/asic/usb/claim.py", "_attempt", 0, FROM_TABLE),
)
_MAY_LOG = r"\blog\b|" + "|".join(rf"\b{wrapper.name}\(" for wrapper in WRAPPERS)
# Functions that pass on an event that is named elsewhere. One that is new needs its entry in WRAPPERS as well.
PASS_ON = {
    ("miner/engine/dropped_blocks.py", "_write"),
    ("miner/rig/guard.py", "_say"),
    ("miner/books/ledger.py", "_complain"),
    ("miner/logs/events.py", "tell"),
    ("miner/sources/node/source.py", "_decide"),
    ("miner/sources/node/source.py", "_tell_own"),
    ("miner/sources/stratum/check.py", "check"),
    ("miner/sources/stratum/pool.py", "_remark"),
    ("miner/sources/stratum/delivery.py", "remark"),
    ("miner/sources/stratum/source.py", "_do"),
    ("miner/ui/lines.py", "emit"),
    ("backends/asic/device.py", "__init__"),
    ("backends/asic/usb/claim.py", "_attempt"),
    ("backends/opencl/device/device.py", "log"),
}


class Use(NamedTuple):
    where: str
    event: str
    level: str


def uses_of(file: str, source: str) -> Iterator[Use]:
    """Every event that this file logs. Raises AssertionError for a call that cannot be understood."""
    if not re.search(_MAY_LOG, source):
        return
    calls: list[tuple[str, ast.Call]] = []
    _collect(ast.parse(source), "module", calls)
    for function, call in calls:
        found = _log_call(file, call)
        if found is None:
            continue
        event, level = found
        names = _texts(event)
        if names is None:
            assert (file, function) in PASS_ON, (
                f"{file}:{call.lineno}: {ast.unparse(call)[:80]}: write the event's name as a plain text; a function "
                f"that passes events on stands in WRAPPERS and PASS_ON of {Path(__file__).name}"
            )
            continue
        for name in names:
            yield Use(f"{file}:{call.lineno}", name, level)


def _collect(node: ast.AST, function: str, calls: list[tuple[str, ast.Call]]) -> None:
    """Every call below this node, with the name of the function that it is in."""
    for child in ast.iter_child_nodes(node):
        inside = child.name if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) else function
        if isinstance(child, ast.Call):
            calls.append((inside, child))
        _collect(child, inside, calls)


def _log_call(file: str, call: ast.Call) -> tuple[ast.expr, str] | None:
    """The event and the level of this call; None: it logs nothing."""
    match call.func:
        case ast.Attribute(ast.Name("log"), method) if method in LEVELS and call.args:
            return call.args[0], LEVELS[method]
        case ast.Call(ast.Name("getattr"), [ast.Name("log"), *_]):
            return call.args[0], VARIES
        case ast.Name(name) | ast.Attribute(_, name):
            for wrapper in WRAPPERS:
                if name == wrapper.name and file.startswith(wrapper.folder) and len(call.args) > wrapper.event:
                    level = wrapper.level
                    return call.args[wrapper.event], level if isinstance(level, str) else _level(call.args[level])
    return None


def _level(argument: ast.expr) -> str:
    match argument:
        case ast.Constant(str(level)) | ast.Attribute(ast.Name("log"), level):
            return LEVELS[level]
    return VARIES


def _texts(argument: ast.expr) -> list[str] | None:
    match argument:
        case ast.Constant(str(text)):
            return [text]
        case ast.IfExp(_, one, other):
            found = [_texts(one), _texts(other)]
            return None if None in found else [text for texts in found for text in texts or []]
    return None


def uses() -> list[Use]:
    files = [path for folder in ("miner", "backends") for path in sorted((ROOT / folder).rglob("*.py"))]
    fates = [Use("miner/work/events.py", fate.value, "warning") for fate in Fate]
    return [use for path in files for use in uses_of(str(path.relative_to(ROOT)), path.read_text())] + fates


def faults_of(found: list[Use]) -> list[str]:
    """What the integrator of a change has to mend, a line each."""
    faults = []
    for where, event, level in found:
        entry = EVENTS.get(event)
        if entry is None:
            faults.append(f"{where}: {event!r} is logged as {level}, and {TABLE} has no such event: add it there")
        elif level == FROM_TABLE and len(entry.levels) > 1:
            faults.append(f"{where}: {event!r} comes from a backend and needs one level, {TABLE} gives {entry.levels}")
        elif level == VARIES and len(entry.levels) == 1:
            faults.append(f"{where}: the level of {event!r} varies, {TABLE} gives it {entry.levels[0]} alone")
        elif level not in (FROM_TABLE, VARIES, *entry.levels):
            faults.append(f"{where}: {event!r} is logged as {level}, {TABLE} says {' or '.join(entry.levels)}")
    for event, entry in EVENTS.items():
        used = {level for _, name, level in found if name == event}
        if not used:
            faults.append(f"{TABLE}: {event!r} is logged nowhere: remove it")
        elif not used & {FROM_TABLE, VARIES} and (unused := set(entry.levels) - used):
            faults.append(f"{TABLE}: {event!r} is never logged as {', '.join(sorted(unused))}")
    return faults


def rows() -> list[str]:
    """The table as the docs have it."""
    return [
        f"| `{name}` | {' or '.join(entry.levels)} | {entry.meaning} | {entry.action or '-'} |"
        for name, entry in EVENTS.items()
    ]


def test_each_event_is_logged_at_the_level_that_the_table_gives_it() -> None:
    faults = faults_of(uses())
    assert not faults, "\n".join(["", *faults])


def test_the_docs_list_each_event_as_the_table_does() -> None:
    listed = [line for line in DOCS.read_text().splitlines() if line.startswith("| `")]
    missing, extra = [row for row in rows() if row not in listed], [row for row in listed if row not in rows()]
    assert not missing + extra, "\n".join(["", *(f"add: {row}" for row in missing), *(f"drop: {row}" for row in extra)])
    assert list(EVENTS) == sorted(EVENTS), f"put the events of {TABLE} in the order of the alphabet"
    assert listed == rows(), f"put the events of {DOCS.name} in the order of the alphabet"


def test_what_a_person_must_look_at_says_what_to_do() -> None:
    silent = [name for name, entry in EVENTS.items() if "error" in entry.levels and not entry.action]
    assert not silent


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('log.info("asic_not_off")', "miner/a.py:1: 'asic_not_off' is logged as info, miner/logs/events.py says error"),
        ('log.info("brand_new")', "miner/a.py:1: 'brand_new' is logged as info, and miner/logs/events.py has no such"),
        ('level("asic_not_off")', "the level of 'asic_not_off' varies, miner/logs/events.py gives it error alone"),
        ('getattr(log, level)("asic_not_off")', "the level of 'asic_not_off' varies"),
        ('Line("warning", "status")', "'status' is logged as warning, miner/logs/events.py says info"),
        ('log.debug("a_b" if x else "c_d")', "'c_d' is logged as debug"),
    ],
)
def test_a_level_that_is_wrong_is_named_with_its_place(source: str, fault: str) -> None:
    assert any(fault in line for line in faults_of(list(uses_of("miner/a.py", source))))


@pytest.mark.parametrize("source", ["log.info(event)", 'log.info(f"share_{outcome}")', "getattr(log, level)(event)"])
def test_an_event_whose_name_cannot_be_read_is_refused(source: str) -> None:
    with pytest.raises(AssertionError, match=r"miner/a.py:1: .* plain text"):
        list(uses_of("miner/a.py", source))


class Recorded:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str, dict[str, Any]]] = []

    def __getattr__(self, level: str) -> Any:
        return lambda event, **values: self.lines.append((level, event, values))


@pytest.mark.parametrize(
    ("event", "level"),
    [
        ("asic_cut_off", "warning"),
        ("asic_throttled", "warning"),
        ("asic_not_off", "error"),
        ("asic_latched", "error"),
        ("asic_record_not_kept", "error"),
        ("asic_relieved", "info"),
        ("device_failed", "warning"),
        ("worker_lost", "warning"),
        ("kernels_exhausted", "error"),
        ("a_plugins_own", UNKNOWN_LEVEL),
    ],
)
def test_what_a_backend_says_gets_its_level_from_the_table(event: str, level: str) -> None:
    log = Recorded()
    teller(log)(event, device="asic:A")
    assert log.lines == [(level, event, {"device": "asic:A"})]


def test_a_plug_in_may_give_the_level_of_its_own_events_and_of_no_others() -> None:
    log = Recorded()
    tell = teller(log)
    tell("a_plugins_own", level="error")
    tell("asic_not_off", level="debug")
    tell("a_plugins_own", level="loud")
    assert log.lines == [
        ("error", "a_plugins_own", {}),
        ("error", "asic_not_off", {}),
        (UNKNOWN_LEVEL, "a_plugins_own", {}),
    ]


def test_the_miner_gives_its_backends_this_way_to_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def looking(_configuration: Configuration, host: Host) -> Inventory:
        host.log("asic_not_off", device="asic:A")
        return Inventory((), (), ())

    monkeypatch.setattr(rig, "begin_inventory", looking)
    logs.configure("text", "error")
    with pytest.raises(SelectionError):
        rig.Rig(Configuration(), None, guard=())
    assert "error   asic_not_off device=asic:A" in capsys.readouterr().err


def test_a_board_that_was_cut_off_is_seen_by_whoever_logs_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("text", "warning")
    tell = teller(structlog.get_logger())
    tell("asic_up", device="asic:A")
    tell("asic_cut_off", device="asic:A", reason="hot")
    assert [line.split()[2:4] for line in capsys.readouterr().err.splitlines()] == [["warning", "asic_cut_off"]]
