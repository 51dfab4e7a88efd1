"""What the shipped dashboards ask, as Prometheus would be asked."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "configs/grafana"
NAMES = ("miner.json", "farm.json")


def rendered() -> dict[str, str]:
    """What the script beside the dashboards would write."""
    spec = importlib.util.spec_from_file_location("dashboards_render", FOLDER / "render.py")
    assert spec and spec.loader
    script = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = script  # dataclasses look their module up
    spec.loader.exec_module(script)
    files: dict[str, str] = script.rendered()
    return files


def panels(name: str) -> list[dict[str, Any]]:
    """The panels that show something."""
    board = json.loads((FOLDER / name).read_text())
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(name: str, instance: str = "x") -> Iterator[str]:
    """Every expression, with Grafana's variables filled in: this instance, all sites and racks."""
    filled = {"$instance": instance, "$site": ".*", "$rack": ".*", "$__rate_interval": "1m"}
    for panel in panels(name):
        for target in panel["targets"]:
            expression = target["expr"]
            for variable, value in filled.items():
                expression = expression.replace(variable, value)
            yield expression
