"""`--share-log FILE`: a line of JSON for each share that was handed to a source, written when its answer is there.

{"time": Unix time of the answer, "source": ..., "job": the source's id for it, "device": ..., "extranonce2": hex,
 "ntime": hex, "nonce": hex, "version": hex, "hash": hex as displayed, "target": hex as displayed, "difficulty": what it
 counts for, "block": whether it solves one, "verdict": "accepted", a reason, or "unanswered", "text": its words,
 "found_to_sent_s": ..., "sent_to_answered_s": ...}

null is unknown; a share that never left has no time of sending. Users and passwords are not in it. The file is only
appended to, and opened anew by `reopen`, so that logrotate can move it away. A line that cannot be written is lost and
counted, since mining matters more; one that a full disk cut short stays a line of its own.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import OrderedDict
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Any

import structlog

from miner.books.scribe import Do, at_once
from miner.chain.target import Target
from miner.printable import printable
from miner.work.share import Answer, Reason, Share

log = structlog.get_logger(__name__)

OPEN_SHARES = 4096  # waited for; as many as the work manager


class ShareLogError(Exception):
    """The file cannot be written; the message is for the operator."""


class ShareLog:
    """Appends to one file; used from one thread, while the file belongs to the one that `do` works in."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        do: Do = at_once,
    ) -> None:
        """`clock`: the engine's. `do`: how the file is written. Raises ShareLogError."""
        self._path = path
        self._clock = clock
        self._wall = wall
        self._do = do
        self._open: OrderedDict[int, Share] = OrderedDict()
        self._dropped = 0  # lines that were not even taken
        self._lost = 0  # lines that could not be written
        self._torn = False  # the last one ends in its middle
        try:
            self._file = _appended_to(path)
        except OSError as error:
            raise ShareLogError(f"the share log {path} cannot be written: {error.strerror}") from error

    def sent(self, share: Share) -> None:
        """Note that the share was passed to its source."""
        self._open[share.id] = share
        if len(self._open) > OPEN_SHARES:
            _, oldest = self._open.popitem(last=False)
            self._write(oldest, None)

    def answered(self, answer: Answer) -> None:
        """Write the line of an answered share. A second answer changes nothing."""
        share = self._open.pop(answer.share_id, None)
        if share is not None:
            self._write(share, answer)

    def reopen(self) -> None:
        """Open the file of this name again, after a rotation. If that fails, go on with the old file."""
        self._do(self._open_anew)

    def close(self) -> None:
        """Write the lines of shares that were never answered."""
        for share in self._open.values():
            self._write(share, None)
        self._open.clear()
        self._do(self._file.close)

    def _write(self, share: Share, answer: Answer | None) -> None:
        line = json.dumps(self._line(share, answer)).encode("ascii") + b"\n"
        dropped = self._dropped
        self._dropped = 0 if self._do(lambda: self._append(line, dropped)) else dropped + 1

    # ---- in the thread that writes

    def _append(self, line: bytes, dropped: int) -> None:
        """Write a line. `dropped`: lines that were dropped before it."""
        rest = b"\n" + line if self._torn else line
        whole = len(rest)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            if not self._lost:
                log.error("share_log_not_written", file=str(self._path), text=error.strerror)  # noqa: TRY400
            self._torn = self._torn or len(rest) < whole
            self._lost += dropped + 1
        else:
            if self._lost + dropped:
                log.warning("share_log_lost_lines", file=str(self._path), lines=self._lost + dropped)
            self._torn, self._lost = False, 0

    def _open_anew(self) -> None:
        try:
            fresh = _appended_to(self._path)
        except OSError as error:
            log.error("share_log_not_reopened", file=str(self._path), text=error.strerror)  # noqa: TRY400
            return
        old, self._file, self._torn = self._file, fresh, False
        with contextlib.suppress(OSError):  # nothing is left in it: it has no buffer
            old.close()

    # ---- a line

    def _line(self, share: Share, answer: Answer | None) -> dict[str, Any]:
        target = max(share.job.share_target, share.job.network_target)
        sent_at = answer.sent_at if answer else None
        counts_for = answer.difficulty if answer else None
        return {
            "time": round(self._wall(), 3),
            "source": share.job.source,
            "job": printable(share.job.key),
            "device": share.device,
            "extranonce2": share.extranonce2.hex(),
            "ntime": f"{share.ntime:08x}",
            "nonce": f"{share.nonce:08x}",
            "version": f"{share.version:08x}",
            "hash": f"{share.hash:064x}",
            "target": f"{target:064x}",
            "difficulty": Target(target).difficulty if counts_for is None else counts_for,
            "block": share.block,
            "verdict": _verdict(answer),
            "text": printable(answer.text) if answer else "",
            "found_to_sent_s": None if sent_at is None else round(sent_at - share.found_at, 6),
            "sent_to_answered_s": None if sent_at is None else round(self._clock() - sent_at, 6),
        }


def _appended_to(path: Path) -> FileIO:
    return path.open("ab", buffering=0)


def _verdict(answer: Answer | None) -> str:
    if answer is None:
        return Reason.UNANSWERED
    return "accepted" if answer.accepted else answer.reason or Reason.OTHER
