from __future__ import annotations

import json
import re

import pytest

from tests.configs import dashboards
from tests.configs.test_prometheus import KNOWN, named


def test_the_dashboards_are_what_their_script_renders() -> None:
    for name, content in dashboards.rendered().items():
        assert (dashboards.FOLDER / name).read_text() == content, f"run configs/grafana/render.py to renew {name}"


@pytest.mark.parametrize("name", dashboards.NAMES)
def test_every_panel_asks_for_what_there_is(name: str) -> None:
    for expression in dashboards.queries(name):
        assert named(expression) or "ALERTS" in expression
        assert named(expression) <= KNOWN, expression
        assert "$" not in expression


def test_the_farms_dashboard_reads_recorded_series_only() -> None:
    for expression in dashboards.queries("farm.json"):
        assert all(":" in name for name in named(expression)), expression
    variables = json.loads((dashboards.FOLDER / "farm.json").read_text())["templating"]["list"]
    assert all(":" in variable["query"] for variable in variables if variable["type"] == "query")


@pytest.mark.parametrize("name", dashboards.NAMES)
def test_every_panel_has_a_name_a_number_and_a_place_of_its_own(name: str) -> None:
    shown = dashboards.panels(name)
    assert len({panel["id"] for panel in shown}) == len(shown)
    assert all(re.search(r"\w", panel["title"]) and panel["targets"] for panel in shown)
    taken = set()
    for place in (panel["gridPos"] for panel in shown):
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken
        taken |= cells
