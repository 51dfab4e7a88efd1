"""One picture of the miner: snapshot, terminal size and log tail in, rows of text out. Pure, and cheap.

rate, mining, job, blocks, shares, sources      facts: wrapped at every width
table of devices                                columns go, least wanted first, when the terminal is narrow
last log lines                                  get the rows that are left
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from backends.base import State
from miner.printable import printable
from miner.telemetry.alarm import Alarm, Severity, Stage
from miner.telemetry.snapshot import Basis, DeviceView, Snapshot, SourceView
from miner.telemetry.totals import Totals

from .quantities import UNKNOWN, duration, efficiency, hash_rate, modelled, money, power, quantity, temperature

LOG_ROWS = 8
LOG_ROWS_KEPT = 3  # of which the table of devices leaves these
SOURCES_MAX = 6
ALARMS_MAX = 3
_INDENT = 8  # cells, of the facts' names
_GAP = 2  # cells between columns

HEADING, WARNING, BAD, QUIET, NORMAL = "bold", "yellow", "red", "dim", ""
_BASES = {
    Basis.WALL: "at the wall",
    Basis.DEVICES: "by the devices",
    Basis.MODEL: "by the devices and the operator's figures",
}
_STYLES = {State.SICK: WARNING, State.DEAD: BAD, State.OFF: QUIET, State.PAUSED: QUIET}


class Row(NamedTuple):
    """One line of the terminal, in one style."""

    text: str
    style: str = NORMAL


class _Column(NamedTuple):
    title: str
    rank: int  # 0: the last to go
    cell: Callable[[DeviceView], str]
    left: bool = False
    always: bool = False  # shown even while nothing is known


class _Filled(NamedTuple):
    column: _Column
    lines: list[str]  # the title and a cell for each device, all `size` cells wide
    size: int


def _name(device: DeviceView) -> str:
    return printable(device.info.id) + (" (virtual)" if device.info.virtual else "")


def _expected(device: DeviceView) -> str:
    now = device.telemetry.expected_hps
    return hash_rate(device.info.expected_hps if now is None else now)


def _hottest(device: DeviceView) -> str:
    return temperature(max((reading.value for reading in device.telemetry.temperatures_c), default=None))


def _power(device: DeviceView) -> str:
    if device.info.virtual:  # nobody draws them
        return UNKNOWN
    drawn = power(device.telemetry.power_w)
    return modelled(drawn) if device.power_modelled else drawn


_COLUMNS = (
    _Column("device", 0, _name, left=True, always=True),
    _Column("state", 1, lambda d: str(d.telemetry.state), left=True, always=True),
    _Column("10 s", 5, lambda d: hash_rate(d.rate_hps.get(10)), always=True),
    _Column("1 min", 2, lambda d: hash_rate(d.rate_hps.get(60)), always=True),
    _Column("15 min", 8, lambda d: hash_rate(d.rate_hps.get(900)), always=True),
    _Column("expected", 7, _expected),
    _Column("hits", 4, lambda d: quantity(d.hits), always=True),
    _Column("errors", 3, lambda d: quantity(d.hardware_errors), always=True),
    _Column("temp", 6, _hottest),
    _Column("power", 9, _power),
    _Column("activity", 10, lambda d: printable(d.telemetry.activity or UNKNOWN), left=True),
    _Column("model", 11, lambda d: printable(d.info.model), left=True),
)


def compose(snapshot: Snapshot, width: int, height: int, log: Sequence[str] = ()) -> list[Row]:
    """At most `height` rows, each at most `width` cells wide and free of control characters."""
    rows = _facts(snapshot, width)
    log_room = 1 + min(len(log), LOG_ROWS_KEPT) if log else 0
    rows += [Row(""), *_devices(snapshot.devices, width, max(height - len(rows) - 1 - log_room, 2))]
    room = min(height - len(rows) - 1, LOG_ROWS, len(log))
    if room > 0:
        rows += [Row(""), *(Row(printable(line), QUIET) for line in log[-room:])]
    return [Row(_cut(row.text, width), row.style) for row in rows[:height]]


def _facts(snapshot: Snapshot, width: int) -> list[Row]:
    sources, totals = [source for source in snapshot.sources if source.present], Totals.of(snapshot)
    active = next((source for source in sources if source.active), None)
    averages = [
        f"{hash_rate(snapshot.rate_hps.get(seconds))} in {name}"
        for seconds, name in ((10, "10 s"), (60, "1 min"), (900, "15 min"))
    ]
    hashed = [f"for {duration(snapshot.mining_s)}", f"{quantity(snapshot.hashes)} hashes"]
    blocks = [f"{totals.blocks_accepted} accepted", f"{totals.blocks_rejected} rejected"]
    shares = [
        f"{totals.accepted} accepted",
        f"{totals.rejected} rejected",
        f"{totals.stale} stale",
        f"best difficulty {quantity(snapshot.best_difficulty)}",
    ]
    rows = _fact("rate", averages, width, HEADING)
    rows += _fact("mining", hashed, width)
    rows += _fact("job", _job(snapshot, active), width, NORMAL if active else WARNING)
    rows += _fact("", ["these coins are worthless"], width, WARNING) if snapshot.worthless else []
    for why in snapshot.held.values():
        rows += _wrapped("held", f"all devices are off: {why}", width, WARNING)
    rows += _fact("blocks", blocks, width, BAD if totals.blocks_rejected else NORMAL)
    rows += _fact("shares", shares, width)
    rows += _fact("power", spending, width, QUIET) if (spending := _spending(snapshot)) else []
    rows += [row for alarm in _raised(snapshot)[:ALARMS_MAX] for row in _alarm(alarm, width)]
    rows += [row for source in sources[:SOURCES_MAX] for row in _source(source, width)]
    if len(sources) > SOURCES_MAX:
        rows += _fact("", [f"and {len(sources) - SOURCES_MAX} more"], width, QUIET)
    return rows


def _job(snapshot: Snapshot, active: SourceView | None) -> list[str]:
    if active is None:
        return ["none: no source has work"]
    height = "" if snapshot.height is None else f" at height {snapshot.height}"
    return [
        f"{printable(active.name)}{height}",
        f"network difficulty {quantity(snapshot.network_difficulty)}",
        f"{duration(active.job_age_s)} old",
    ]


def _spending(snapshot: Snapshot) -> list[str]:
    """What is drawn and what that costs, by the best that is known of it; nothing where nothing is."""
    if not snapshot.consumption:
        return []
    best, costs = snapshot.consumption[0], snapshot.costs
    words = [f"{_marked(power(best.watts), best.basis)} {_BASES[best.basis]}"]
    words += [] if best.joules_per_hash is None else [_marked(efficiency(best.joules_per_hash), best.basis)]
    if costs is not None and costs.spent is not None:
        words.append(f"{_marked(money(costs.spent, costs.currency), costs.basis)} spent")
    if costs is not None and costs.break_even_per_kwh is not None:
        price = f"{money(costs.break_even_per_kwh, costs.currency)}/kWh"
        words.append(f"breaks even at {_marked(price, costs.basis)}")
    return words


def _marked(text: str, basis: Basis) -> str:
    """The figure, marked where it is not all measured."""
    return modelled(text) if basis is Basis.MODEL else text


def _raised(snapshot: Snapshot) -> list[Alarm]:
    return [alarm for alarm in snapshot.alarms if alarm.stage is Stage.ACTIVE]


def _alarm(alarm: Alarm, width: int) -> list[Row]:
    words = f"{alarm.rule}: {alarm.subject}: {alarm.detail}"
    style = {Severity.INFO: HEADING, Severity.WARNING: WARNING, Severity.CRITICAL: BAD}[alarm.severity]
    return _wrapped("alarm", words, width, style)


def _wrapped(name: str, words: str, width: int, style: str) -> list[Row]:
    """A sentence under its name, broken between words where the terminal ends."""
    return [
        Row(f"{'' if index else name:{_INDENT}}{line}", style)
        for index, line in enumerate(textwrap.wrap(printable(words), width - _INDENT))
    ]


def _source(source: SourceView, width: int) -> list[Row]:
    """Only what the job's row does not say already."""
    if source.failed is not None:
        return _wrapped("source", f"{source.name} failed: {source.failed}", width, BAD)
    if source.active and source.connected:
        return []
    return _fact("source", [f"{printable(source.name)} {'up' if source.connected else 'down'}"], width, NORMAL)


def _fact(name: str, parts: list[str], width: int, style: str = NORMAL) -> list[Row]:
    """The parts, separated by commas, broken between two of them where the terminal ends."""
    lines = [parts[0]]
    for part in parts[1:]:
        if _INDENT + cell_len(f"{lines[-1]}, {part},") <= width:
            lines[-1] += f", {part}"
        else:
            lines[-1] += ","
            lines.append(part)
    return [Row(f"{'' if index else name:{_INDENT}}{line}", style) for index, line in enumerate(lines)]


def _devices(devices: Sequence[DeviceView], width: int, room: int) -> list[Row]:
    """Heading and one row a device, its fault below it. Where they are too many, those in trouble come first."""
    shown = list(devices)
    if 1 + len(devices) > room:
        shown = sorted(devices, key=lambda device: _style(device) not in {WARNING, BAD})[:room]
    filled = [_filled(column, shown, widest=max(12, width // 3)) for column in _COLUMNS]
    table = _fitting([one for one in filled if one is not None], width)
    heading, *lines = ((" " * _GAP).join(cells).rstrip() for cells in zip(*(one.lines for one in table), strict=True))
    rows = [Row(heading, QUIET)]
    for index, (device, line) in enumerate(zip(shown, lines, strict=True)):
        style = _style(device)
        block = [Row(line, style)]
        fault = printable(device.telemetry.fault or "")
        block += [Row(f"{'':{_GAP}}{line}", style) for line in textwrap.wrap(fault, width - _GAP)]
        left_out = len(devices) - index
        if len(rows) + len(block) + (left_out > 1) > room:
            return [*rows, Row(f"and {left_out} more", QUIET)]
        rows += block
    return rows


def _style(device: DeviceView) -> str:
    if device.telemetry.state is State.PAUSED and device.telemetry.fault is not None:  # it rests after a cut-off
        return WARNING
    return _STYLES.get(device.telemetry.state, NORMAL)


def _filled(column: _Column, devices: Sequence[DeviceView], widest: int) -> _Filled | None:
    """The column for these devices; None where it has nothing to say."""
    cells = [_cut(column.cell(device), widest) for device in devices]
    if not column.always and all(cell == UNKNOWN for cell in cells):
        return None
    sizes = [cell_len(text) for text in (column.title, *cells)]
    widest = max(sizes)
    paddings = [" " * (widest - size) for size in sizes]
    texts = zip((column.title, *cells), paddings, strict=True)
    return _Filled(column, [text + pad if column.left else pad + text for text, pad in texts], widest)


def _fitting(table: list[_Filled], width: int) -> list[_Filled]:
    """The columns that fit, most wanted first; none is left out for one that is wanted less."""
    kept: list[_Column] = []
    used = -_GAP
    for column, _, size in sorted(table, key=lambda filled: filled.column.rank):
        used += _GAP + size
        if used > width and kept:
            break
        kept.append(column)
    return [filled for filled in table if filled.column in kept]


def _cut(text: str, width: int) -> str:
    """At most `width` cells; dots where something is missing."""
    return text if cell_len(text) <= width else set_cell_size(text, max(width - 2, 0)).rstrip() + ".."
