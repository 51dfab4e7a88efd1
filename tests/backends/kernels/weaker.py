"""A kernel on a machine that has fewer instructions than this one: loaded and proven in a process that is told so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import native
from native.features import VARIABLE

_LOAD = """
import sys, native
from backends import kernels
from pathlib import Path
cache = kernels.open_cache(Path(sys.argv[1]), native.host_features())
print(kernels.load(next(x for x in kernels.candidates() if x.name == sys.argv[2]), cache).name)
"""


def load(features: str, name: str, state: Path) -> None:
    """Fail unless the kernel is compiled for these features alone and gives the known answers."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", _LOAD, str(state), name],
        env={VARIABLE: features, "PYTHONPATH": str(Path(native.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout.split(), run.stderr) == ([name], "")
