"""What pools taught us and would have to teach again at each start: how each reads version bits, in one small file."""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from miner import files
from miner.sources.stratum.rolling import Style

log = structlog.get_logger(__name__)

_POOLS = 256  # remembered, the last that taught something
_MAX_BYTES = 1 << 17


class Learnt:
    """Styles by the pool's URL. Nothing here is needed: what cannot be read is learnt again."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._styles = _read(path)

    def style(self, pool: str) -> Style | None:
        """How this pool reads version bits, if it ever told."""
        return self._styles.get(pool)

    def learn(self, pool: str, style: Style) -> None:
        """Remember this over restarts."""
        self._styles.pop(pool, None)
        self._styles[pool] = style
        while len(self._styles) > _POOLS:
            del self._styles[next(iter(self._styles))]
        try:
            files.replace(self._path, json.dumps(self._styles, indent=1).encode() + b"\n")
        except OSError as error:
            log.warning("version_bits_not_kept", file=str(self._path), text=error.strerror)


def _read(path: Path) -> dict[str, Style]:
    try:
        with path.open("rb") as file:
            content = json.loads(file.read(_MAX_BYTES))
        return {str(pool): Style(style) for pool, style in content.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        log.warning("version_bits_forgotten", file=str(path), text=str(error))
        return {}
