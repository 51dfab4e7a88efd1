"""Imports inside functions, which any thread may carry out, at the same time as another one.

A package whose `__init__` imports its own modules has two doors: the package, and each of its modules. A thread that
imports the package and a thread that imports a module of it wait for each other. Python then gives one of them a half
imported module: "most likely due to a circular import".
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.test_house import MODULES

ALONE = {"backends.asic.virtual"}  # imported while the configuration is read, before there is a second thread
FILES = dict(MODULES)
MARK = "PLC0415"  # the rule of ruff that each import inside a function has to be excused from
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def targets(name: str, path: Path, nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules of ours that these statements import."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in nodes:
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            anchor = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*anchor, *([node.module] if node.module else [])])
            found = [base, *(f"{base}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (target for target in found if target in FILES)


def has_two_doors(package: str) -> bool:
    path = FILES[package]
    at_once = ast.parse(path.read_text()).body if path.name == "__init__.py" else []
    return any(target.startswith(f"{package}.") for target in targets(package, path, at_once))


TWO_DOORS = {name for name in FILES if has_two_doors(name)} - ALONE


def test_no_function_of_a_backend_enters_a_package_that_has_two_doors() -> None:
    assert "backends.kernels" in TWO_DOORS
    entered = set()
    for name, path in MODULES:
        text = path.read_text() if name.startswith(("native", "backends")) else ""
        if MARK not in text:
            continue
        functions = (node for node in ast.walk(ast.parse(text)) if isinstance(node, FUNCTIONS))
        for target in targets(name, path, (node for function in functions for node in ast.walk(function))):
            doors = {door for door in TWO_DOORS if f"{target}.".startswith(f"{door}.")}
            entered |= {(name, door) for door in doors if not f"{name}.".startswith(f"{door}.")}
    assert not entered
