"""What pools taught us and would have to teach again at each start: how each reads version bits, in one small file."""

from __future__ import annotations

from pathlib import Path

import structlog
from pydantic import TypeAdapter

from backends.kept import Kept
from miner.sources.stratum.rolling import Style

log = structlog.get_logger(__name__)

_POOLS = 256  # remembered, the last that taught something
_MAX_BYTES = 1 << 17
_STYLES = TypeAdapter(dict[str, Style])


class Learnt:
    """Styles by the pool's URL. Nothing here is needed: what cannot be read is learnt again."""

    def __init__(self, path: Path) -> None:
        self._kept = Kept(path, _STYLES, largest=_MAX_BYTES)
        self._styles = _read(self._kept)

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
            self._kept.write(self._styles)
        except OSError as error:
            log.warning("version_bits_not_kept", file=str(self._kept.path), text=error.strerror or str(error))


def _read(kept: Kept[dict[str, Style]]) -> dict[str, Style]:
    try:
        return kept.read() or {}
    except OSError as error:
        log.warning("version_bits_forgotten", file=str(kept.path), text=str(error))
        return {}
