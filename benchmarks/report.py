"""Results for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table


def table(console: Console, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows whose first column is a name, and whose others are figures."""
    drawn = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for index, column in enumerate(columns):
        # A narrow terminal breaks figures into lines rather than losing digits.
        drawn.add_column(column, justify="right" if index else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*row)
    console.print(drawn)


def warn(console: Console, disturbances: Iterable[str]) -> None:
    """Say what `machine` found, next to the figures that it spoils."""
    for text in disturbances:
        console.print(f"[yellow]not quiet:[/] {text}; compare medians of one run only")


def progress(console: Console) -> Progress:
    """A bar for each task, gone when all is done."""
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    # Drawing costs up to 1.6 % of two busy cores at rich's own pace.
    return Progress(*columns, console=console, transient=True, refresh_per_second=1)


def write_json(path: Path, result: dict[str, Any]) -> None:
    """Write a result so that two of them can be compared line by line."""
    path.write_text(json.dumps(result, indent=2) + "\n")


def millions(value: float) -> str:
    """1234567.0 as "1.23": for columns whose title says so."""
    return f"{value / 1e6:.2f}"
