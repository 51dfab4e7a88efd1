"""The house stands: arrows go down only, and every fact has one home."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import native

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("native", "backends", "miner")

# What a package may import of the others; inside miner/ the same rule one level finer.
BELOW = {
    "native": set(),
    "backends": {"native"},
    "miner": {"native", "backends"},
}
# Every room of miner/ with the rooms that it may import. `__main__` is the door, `commands` stands at the top.
BELOW_IN_MINER: dict[str, set[str]] = {
    "printable": set(),
    "chain": set(),
    "logs": {"printable"},
    "power": {"printable"},
    "work": {"chain"},
    "telemetry": {"printable", "work"},
    "ui": {"printable", "telemetry"},
    "sources": {"chain", "printable", "work"},
    "config": {"chain", "printable", "telemetry"},
    "books": {"chain", "printable", "sources", "telemetry", "work"},
    "engine": {"books", "chain", "power", "sources", "telemetry", "work"},
    "rig": {"books", "config", "engine", "logs", "printable"},
    "assembly": {"books", "chain", "config", "engine", "power", "sources", "telemetry", "work"},
    "metrics_guard": {"config", "telemetry"},
}
BELOW_IN_MINER["commands"] = {*BELOW_IN_MINER}
BELOW_IN_MINER["__main__"] = {"commands"}
# The same inside sources/, inside backends/ and inside the backends that have rooms.
BELOW_IN_SOURCES: dict[str, set[str]] = {
    "base": set(),
    "scratch": set(),
    "solo": set(),
    "consensus": {"base", "scratch"},
    "embedded": {"base", "consensus", "solo"},
    "node": {"base", "solo"},
    "net": {"base"},
    "stratum": {"base", "net"},
    "synthetic": {"base"},
}
BELOW_IN_BACKENDS: dict[str, set[str]] = {
    **{name: set() for name in ("affinity", "base", "child", "duty", "kept", "private", "rates")},
    "rectangle": {"base"},
    "registry": {"base"},
    "threaded": {"base"},
    "kernels": {"base", "private"},
    "testing": {"base", "threaded"},
    "cpu": {"base", "child", "duty", "kept", "kernels", "rates", "rectangle", "threaded"},
    "opencl": {"base", "child", "duty", "kept", "kernels", "private", "rates", "rectangle", "threaded"},
    "asic": {"affinity", "base", "child", "kept", "kernels", "rates", "rectangle", "threaded"},
}
BELOW_IN_OPENCL: dict[str, set[str]] = {
    "errors": set(),
    "runtime": {"errors"},
    "protocol": {"runtime"},
    "listing": {"runtime"},
    "sensors": {"protocol"},
    "lister": {"errors", "listing", "runtime", "sensors"},
    "worker": {"errors", "protocol", "runtime", "sensors"},
    "device": {"listing", "protocol"},
    "options": {"device"},
    "backend": {"device", "listing", "options", "protocol", "runtime", "worker"},
}
ROOMS = {
    "miner": BELOW_IN_MINER,
    "miner.sources": BELOW_IN_SOURCES,
    "backends": BELOW_IN_BACKENDS,
    "backends.opencl": BELOW_IN_OPENCL,
}
# The floors inside backends/asic: emulated boards share nothing with the drivers but what a USB bus is.
BELOW_IN_ASIC = {
    "errors": set(),
    "usb": {"errors"},
    "chips": {"errors"},
    "boards": {"errors", "usb", "chips"},
    "virtual": {"errors", "usb"},
}
DAY_S = 86_400
# Emulated boards are written from the reference alone, facts and all: agreeing with the drivers is what proves both.
EMULATION = "backends.asic.virtual"
SHARED_WITH_DRIVERS = {"backends.asic.usb.bus", "backends.asic.errors"}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(part for part in parts if part != "__init__"), path


@cache
def parsed(path: Path) -> ast.Module:
    """Its syntax, read once for all the tests that look at it."""
    return ast.parse(path.read_text())


@cache
def imports(name: str, path: Path) -> tuple[str, ...]:
    """The modules that a module imports, and the names that it imports from them."""
    return tuple(_imports(name, path))


def _imports(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*anchor, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


MODULES = list(modules())
NAMES = {name for name, _ in MODULES}


def rooms_of(name: str) -> Iterator[tuple[str, str]]:
    """Each folder with rules that a module lies in, with the module's room there."""
    for folder in ROOMS:
        if name.startswith(f"{folder}."):
            yield folder, name.removeprefix(f"{folder}.").split(".")[0]


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_a_module_imports_only_what_is_below_it(name: str, path: Path) -> None:
    floor, rooms = name.split(".", maxsplit=1)[0], dict(rooms_of(name))
    for target in imports(name, path):
        target_floor = target.split(".")[0]
        if target_floor in PACKAGES and target_floor != floor:
            assert target_floor in BELOW[floor], f"{name} reaches up to {target}"
        for folder, there in rooms_of(target):
            if folder in rooms and there != rooms[folder] and f"{folder}.{there}" in NAMES:
                assert there in ROOMS[folder][rooms[folder]], f"{name} reaches across to {target}"


@pytest.mark.parametrize("folder", ROOMS)
def test_every_room_has_a_rule_and_no_rule_leads_in_a_circle(folder: str) -> None:
    there = {room for name, _ in MODULES for at, room in rooms_of(name) if at == folder}
    assert there == set(ROOMS[folder]), "a room without a rule, or a rule without a room"
    list(TopologicalSorter(ROOMS[folder]).static_order())  # CycleError names the circle


def test_the_house_has_no_more_rooms_than_a_newcomer_can_know() -> None:
    entries = {path.relative_to(ROOT / "miner").parts[0] for path in (ROOT / "miner").rglob("*.py")} | {"py.typed"}
    assert len(entries) <= 18


def behind_the_face(path: Path) -> Iterator[str]:
    """What a file imports, or names to import it later, of native/ but the names that native/__init__ gives away."""
    modules = {name for name, _ in MODULES if name.startswith("native.")}
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("native."))
        elif isinstance(node, ast.ImportFrom) and node.module == "native":
            yield from (alias.name for alias in node.names if alias.name not in native.__all__)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("native."):
            yield node.module or ""
        elif isinstance(node, ast.Constant) and node.value in modules:
            yield str(node.value)


@pytest.mark.parametrize(("name", "path"), [x for x in MODULES if x[0].split(".")[0] != "native"])
def test_nobody_above_the_search_looks_behind_its_face_or_emits_code(name: str, path: Path) -> None:
    assert not list(behind_the_face(path)), name
    assert not [target for target in imports(name, path) if target.split(".")[0] == "llvmlite"], f"{name} emits code"


def test_looking_behind_the_face_of_the_search_is_seen(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text(
        "import native\nimport native.loop\nfrom native import relay, kernel\nfrom native.word import Word\n"
        "later('native.compiled')\n"
    )
    assert list(behind_the_face(module)) == ["native.loop", "kernel", "native.word", "native.compiled"]


@pytest.mark.parametrize(("name", "path"), [x for x in MODULES if x[0].startswith("backends.asic.")])
def test_an_asic_module_imports_only_what_is_below_it(name: str, path: Path) -> None:
    room = name.split(".")[2]
    for target in imports(name, path):
        there = target.split(".")
        if room in BELOW_IN_ASIC and there[:2] == ["backends", "asic"] and len(there) > 2 and there[2] != room:
            assert there[2] in BELOW_IN_ASIC[room], f"{name} reaches across to {target}"
        if room == "virtual" and there[:3] == ["backends", "asic", "usb"] and len(there) > 3:
            assert there[3] == "bus", f"{name} shares {target} with the drivers that it is to prove"


def test_emulated_boards_share_no_code_with_their_drivers() -> None:
    for name, path in MODULES:
        if name.startswith(EMULATION):
            drivers = {target for target in imports(name, path) if target.startswith("backends.asic.")}
            foreign = {target for target in drivers if not f"{target}.".startswith(f"{EMULATION}.")}
            assert all(target.startswith(tuple(SHARED_WITH_DRIVERS)) for target in foreign), f"{name}: {foreign}"


def lines_of_code(path: Path) -> int:
    """Without blank lines, comments and docstrings."""
    text = path.read_text()
    told: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            told.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in {tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING}:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - told)


def test_lines_of_code_are_counted_without_what_is_told(tmp_path: Path) -> None:
    module = tmp_path / "m.py"
    module.write_text(
        '"""Told,\nat length."""\n\nA = (\n    1,  # why\n)\n# Aside\n\ndef f():\n    """Told."""\n    return A\n'
    )
    assert lines_of_code(module) == 5


def test_the_search_stays_small_enough_to_be_read() -> None:
    assert sum(lines_of_code(path) for name, path in MODULES if name.split(".")[0] == "native") <= 1750


@pytest.mark.parametrize("floor", ["native", "backends"])
def test_the_modules_of_a_floor_build_on_each_other_without_a_circle(floor: str) -> None:
    names = {name for name, path in MODULES if name.startswith(f"{floor}.") and path.name != "__init__.py"}
    below = {name: set(imports(name, path)) & names for name, path in MODULES if name in names}
    list(TopologicalSorter(below).static_order())  # CycleError names the circle


def memorable(value: object) -> bool:
    """A literal that states a fact of the field: not a small number, a day, a mask, a power of two or of ten."""
    if isinstance(value, bytes):
        return len(value.strip(b"\0\xff")) >= 4
    if not isinstance(value, int) or isinstance(value, bool) or value < 10_000 or value == DAY_S:
        return False
    return value & (value - 1) != 0 and value & (value + 1) != 0 and str(value).rstrip("0") != "1"


def test_no_two_modules_hold_the_same_constant() -> None:
    homes: defaultdict[tuple[bool, object], set[str]] = defaultdict(set)
    for name, path in MODULES:
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.Constant) and memorable(node.value):
                homes[name.startswith(EMULATION), node.value].add(name)
    twice = {
        hex(value) if isinstance(value, int) else value: sorted(where)
        for (_, value), where in homes.items()
        if len(where) > 1
    }
    assert not twice


def test_the_walk_sees_the_house_it_judges() -> None:
    assert {name.split(".")[0] for name, _ in MODULES} == set(PACKAGES)
    assert "miner.chain.hashes" in set(imports("miner.work.job", ROOT.joinpath("miner", "work", "job.py")))
