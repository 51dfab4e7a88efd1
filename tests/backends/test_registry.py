from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

from backends import registry
from backends.registry import BrokenBackend, UnknownBackend

_serial = itertools.count()

GOOD = """
from pydantic import BaseModel
class Good:
    name = "{name}"
    class Options(BaseModel): pass
    def __init__(self, options, host): pass
    def probe(self): return []
    def open(self, info): raise LookupError(info)
    def watch(self, changed): return lambda: None
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    monkeypatch.syspath_prepend(tmp_path)
    return Install(tmp_path)


class Install:
    """Puts distributions with one backend each onto the path, as pip would lay them out."""

    def __init__(self, site: Path) -> None:
        self.site = site

    def __call__(self, dist: str, name: str, source: str, attribute: str = "Good") -> str:
        module = f"plugin_{next(_serial)}"  # a name of its own: Python remembers the modules of earlier tests
        (self.site / f"{module}.py").write_text(source)
        info = self.site / f"{dist.replace('-', '_')}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[miner.backends]\n{name} = {module}:{attribute}\n")
        return module


def test_our_own_backend_is_found_beside_an_installed_one(install: Install) -> None:
    install("acme-miner", "acme", GOOD.format(name="acme"))
    assert {"acme", "cpu"} <= set(registry.names())
    assert registry.names() == sorted(registry.names())
    assert registry.load("acme").name == "acme"


def test_names_are_listed_without_importing_anything(install: Install) -> None:
    module = install("boom-miner", "boom", "raise RuntimeError('imported')")
    assert "boom" in registry.names()
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("source", "attribute", "says"),
    [
        ("raise RuntimeError('no driver here')", "Good", "RuntimeError: no driver here"),
        ("import a_module_nobody_has", "Good", "a_module_nobody_has"),
        ("raise SystemExit(3)", "Good", "SystemExit: 3"),
        ("x = (", "Good", "SyntaxError"),
        ("", "Good", "AttributeError"),
        ("Good = 7", "Good", "no class"),
        (GOOD.format(name="other"), "Good", "its `name` is 'other'"),
        (GOOD.format(name="bad").replace("class Options(BaseModel)", "class Options"), "Good", "pydantic"),
        (GOOD.format(name="bad").replace("def watch", "def look"), "Good", "lacks watch()"),
    ],
)
def test_a_broken_plug_in_is_one_sentence_with_its_owner(
    install: Install, source: str, attribute: str, says: str
) -> None:
    install("broken-miner", "bad", source, attribute)
    with pytest.raises(BrokenBackend) as error:
        registry.load("bad")
    assert says in str(error.value) and "broken-miner 1.5" in str(error.value)
    assert "cpu" in registry.names()


def test_two_owners_of_one_name_are_refused_by_name(install: Install) -> None:
    install("first-miner", "twin", GOOD.format(name="twin"))
    install("second-miner", "twin", GOOD.format(name="twin"))
    assert registry.names().count("twin") == 1
    with pytest.raises(BrokenBackend, match=r"first-miner 1\.5 and second-miner 1\.5 both provide"):
        registry.load("twin")


def test_an_unknown_name_is_answered_with_what_is_installed() -> None:
    with pytest.raises(UnknownBackend, match=r"'abacus'.*cpu"):
        registry.load("abacus")
