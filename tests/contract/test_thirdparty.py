"""The worked example of a backend from outside: built and installed by pip as a package of its own, then used.

It lies in a folder that only its own process looks into, so nothing here can have found it any other way than by its
entry point.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent / "thirdparty"
REPOSITORY = EXAMPLE.parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source") / "thirdparty"  # setuptools writes beside what it builds
    shutil.copytree(EXAMPLE, source)
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
    built = _run([*pip, "--no-index", "--no-deps", "--no-build-isolation", "--target", str(target), str(source)])
    assert built.returncode == 0, built.stdout + built.stderr
    return target


LIST = "import json; from backends import registry; print(json.dumps(registry.names()))"
FIND = "import inspect; from backends import registry; print(inspect.getfile(registry.load('example')))"


def test_it_is_installed_apart_and_found_by_its_entry_point(site: Path) -> None:
    assert "example" not in json.loads(_run([sys.executable, "-c", LIST]).stdout)
    assert {"cpu", "example"} <= set(json.loads(_run([sys.executable, "-c", LIST], site).stdout))
    assert Path(_run([sys.executable, "-c", FIND], site).stdout.strip()).is_relative_to(site)


def test_it_passes_the_contract_suite_as_its_author_would_run_it(site: Path) -> None:
    options = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", f"--rootdir={EXAMPLE}", "--import-mode=importlib"]
    ran = _run([sys.executable, "-m", "pytest", *options, str(EXAMPLE / "tests")], site)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "passed" in ran.stdout and "skipped" not in ran.stdout


def _run(command: list[str], *paths: Path) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = inherited | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False
    )
