"""What comes from npm: counterparts written by other people in another language."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.real.cache import UnavailableError, fetched, output_of

BCOIN_VERSION = "1.0.2"
FOREIGN_POOL_VERSION = "2.1.3"


def bcoin_folder() -> Path:
    """The folder whose node_modules holds bcoin."""
    return _installed(
        f"bcoin-{BCOIN_VERSION}",
        {
            "dependencies": {"bcoin": BCOIN_VERSION},
            "overrides": {"leveldown": "6.1.1"},  # the version that bcoin asks for does not build on node 20
        },
    )


def foreign_pool_folder() -> Path:
    """The folder whose node_modules holds stratum-pool-sha256."""
    name = "stratum-pool-sha256"
    return _installed(f"{name}-{FOREIGN_POOL_VERSION}", {"dependencies": {name: FOREIGN_POOL_VERSION}})


def _installed(name: str, manifest: dict[str, Any]) -> Path:
    if missing := [tool for tool in ("node", "npm") if shutil.which(tool) is None]:
        raise UnavailableError(f"{' and '.join(missing)} missing. On Debian: sudo apt install nodejs npm")

    def fill(folder: Path) -> None:
        (folder / "package.json").write_text(json.dumps({"private": True, **manifest}, indent=2) + "\n")
        output_of(["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"], cwd=folder)

    return fetched(name, fill)
