"""The shipped unit, judged by systemd itself."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.real import debian
from tests.real.cache import fetched
from tests.real.conftest import fetch

UNIT = Path(__file__).parents[2] / "configs/angara-miner.service"
MOST = 2.0  # "exposure", 0 to 10; an ordinary service has 9.6


def _analyze_command() -> tuple[str, ...]:
    """This machine's own, or Debian's."""
    if found := shutil.which("systemd-analyze"):
        return (found,)
    root = fetched("systemd", lambda folder: debian.unpack(folder, "systemd"))
    loader = next(root.glob("usr/lib/*/ld-linux*.so.*"))
    libraries = f"{loader.parent}:{loader.parent / 'systemd'}"
    return (str(loader), "--library-path", libraries, str(root / "usr/bin/systemd-analyze"))


@pytest.fixture(scope="module")
def analyze() -> tuple[str, ...]:
    return fetch(_analyze_command)


def test_the_unit_exposes_little(analyze: tuple[str, ...]) -> None:
    done = subprocess.run(
        [*analyze, "security", "--offline=true", "--no-pager", str(UNIT)], capture_output=True, text=True, check=False
    )
    said = re.search(r"Overall exposure level for angara-miner\.service: ([0-9.]+)", done.stdout)
    assert said, done.stdout + done.stderr
    assert float(said[1]) < MOST, done.stdout


def test_systemd_knows_every_word_of_the_unit(analyze: tuple[str, ...], tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/angara/bin/miner", "/bin/true").replace("User=angara", "User=root"))
    done = subprocess.run([*analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    ours = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert not ours
