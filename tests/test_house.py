"""The house stands: arrows go down only, and every fact has one home."""

from __future__ import annotations

import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterator
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
# The rooms of each floor that is divided into rooms, lowest first: what each may import of the others.
BELOW_IN_MINER: dict[str, set[str]] = {
    "chain": set(),
    "printable": set(),
    "work": {"chain"},
    "logs": {"printable"},
    "power": {"printable"},
    "telemetry": {"printable", "work"},
    "sources": {"chain", "printable", "work"},
    "config": {"chain", "printable", "telemetry"},
    "metrics_guard": {"config", "telemetry"},
    "books": {"chain", "printable", "sources", "telemetry", "work"},
    "ui": {"printable", "telemetry"},
    "engine": {"books", "chain", "power", "sources", "telemetry", "work"},
    "rig": {"books", "config", "engine", "logs", "printable"},
    "assembly": {"books", "chain", "config", "engine", "power", "sources", "telemetry", "work"},
    "commands": {
        *("assembly", "books", "config", "engine", "logs", "metrics_guard", "power", "printable"),
        *("rig", "sources", "telemetry", "ui", "work"),
    },
    "__main__": {"commands"},
}
BELOW_IN_BACKENDS: dict[str, set[str]] = {
    "affinity": set(),
    "base": set(),
    "child": set(),
    "duty": set(),
    "kept": set(),
    "private": set(),
    "rates": set(),
    "rectangle": {"base"},
    "registry": {"base"},
    "threaded": {"base"},
    "kernels": {"base", "private"},
    "testing": {"base", "threaded"},
    "asic": {"affinity", "base", "kernels", "rectangle"},
    "cpu": {"base", "child", "duty", "kept", "kernels", "rates", "rectangle", "threaded"},
    "opencl": {"base", "child", "duty", "kept", "kernels", "private", "rates", "rectangle", "threaded"},
}
BELOW_IN_SOURCES: dict[str, set[str]] = {
    "base": set(),
    "scratch": set(),
    "solo": set(),
    "consensus": {"base", "scratch"},
    "embedded": {"base", "consensus", "solo"},
    "net": {"base"},
    "node": {"base", "solo"},
    "stratum": {"base", "net"},
    "synthetic": {"base"},
}
# The guard is a process of its own. Its program parses flags as `miner off` does, so it stands as high as a command.
PROGRAMS = {"miner.rig.guard_process": "commands", "miner.rig.guard_duties": "commands"}
ROOMS = {"miner": BELOW_IN_MINER, "backends": BELOW_IN_BACKENDS, "miner.sources": BELOW_IN_SOURCES}
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


def imports(name: str, path: Path) -> Iterator[str]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
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


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_a_module_imports_only_what_is_below_it(name: str, path: Path) -> None:
    floor = name.split(".", maxsplit=1)[0]
    for target in imports(name, path):
        target_floor = target.split(".")[0]
        if target_floor in PACKAGES and target_floor != floor:
            assert target_floor in BELOW[floor], f"{name} reaches up to {target}"


def room_of(module: str, floor: str) -> str | None:
    """The room of `floor` that a module lies in; None for a module elsewhere and for the floor itself."""
    if floor == "miner" and (program := next((x for x in PROGRAMS if f"{module}.".startswith(f"{x}.")), None)):
        return PROGRAMS[program]
    return module.removeprefix(f"{floor}.").split(".")[0] if module.startswith(f"{floor}.") else None


@pytest.mark.parametrize("floor", ROOMS)
def test_a_room_imports_only_the_rooms_its_rule_names(floor: str) -> None:
    seen: set[str] = set()
    for name, path in MODULES:
        room = room_of(name, floor)
        if room is None:
            continue
        assert room in ROOMS[floor], f"{name} lies in a room without a rule"
        seen.add(room)
        for target in imports(name, path):
            other = room_of(target, floor)
            if other in ROOMS[floor] and other != room:
                assert other in ROOMS[floor][room], f"{name} reaches across to {target}"
    assert seen == set(ROOMS[floor]), "a rule names a room that is gone"


@pytest.mark.parametrize("floor", ROOMS)
def test_the_rooms_of_a_floor_have_an_order(floor: str) -> None:
    order = list(TopologicalSorter(ROOMS[floor]).static_order())  # CycleError names the circle
    assert set(order) == set(ROOMS[floor]), "a rule allows a room that has no rule"


def behind_the_face(path: Path) -> Iterator[str]:
    """What a file imports, or names to import it later, of native/ but the names that native/__init__ gives away."""
    modules = {name for name, _ in MODULES if name.startswith("native.")}
    for node in ast.walk(ast.parse(path.read_text())):
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
        for node in ast.walk(ast.parse(path.read_text())):
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
