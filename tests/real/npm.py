"""bcoin from npm: a second node, written by other people in another language."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.real.cache import UnavailableError, fetched, output_of

BCOIN_VERSION = "1.0.2"
MANIFEST = {
    "private": True,
    "dependencies": {"bcoin": BCOIN_VERSION},
    "overrides": {"leveldown": "6.1.1"},  # the version that bcoin asks for does not build on node 20
}


def bcoin_folder() -> Path:
    """The folder whose node_modules holds bcoin."""
    _require_tools()
    return fetched(f"bcoin-{BCOIN_VERSION}", _fill)


def _require_tools() -> None:
    if missing := [tool for tool in ("node", "npm") if shutil.which(tool) is None]:
        raise UnavailableError(f"{' and '.join(missing)} missing. On Debian: sudo apt install nodejs npm")


def _fill(folder: Path) -> None:
    (folder / "package.json").write_text(json.dumps(MANIFEST, indent=2) + "\n")
    output_of(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"], cwd=folder)
