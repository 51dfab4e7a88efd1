"""What comes from PyPI: tools of other people, each in a folder of its own beside the miner's environment."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.real.cache import fetched, output_of


def installed(name: str, version: str) -> Path:
    """The folder to put on PYTHONPATH; its programs are in bin."""

    def fill(folder: Path) -> None:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        output_of([*pip, "--target", str(folder), f"{name}=={version}"])

    return fetched(f"{name}-{version}", fill)
