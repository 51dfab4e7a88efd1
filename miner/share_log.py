"""`--share-log FILE`: a line of JSON for each share that was handed to a source, written when its answer is there.

{"time": Unix time of the answer, "source": ..., "job": the source's id for it, "device": ..., "extranonce2": hex,
 "ntime": hex, "nonce": hex, "version": hex, "hash": hex as displayed, "target": hex as displayed, "difficulty": what it
 counts for, "block": whether it solves one, "verdict": "accepted", a reason, or "unanswered", "text": its words,
 "found_to_sent_s": ..., "sent_to_answered_s": ...}

null is unknown; a share that never left has no time of sending. Users and passwords are not in it. The file is only
appended to, and opened anew by `reopen`, so that logrotate can move it away.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import structlog

from miner.chain.target import Target
from miner.printable import printable
from miner.work.share import Answer, Reason, Share

log = structlog.get_logger(__name__)

OPEN_SHARES = 4096  # waited for; as many as the work manager


class ShareLogError(Exception):
    """The file cannot be written; the message is for the operator."""


class ShareLog:
    """Appends to one file, from one thread."""

    def __init__(
        self, path: Path, clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time
    ) -> None:
        """`clock`: the engine's. Raises ShareLogError."""
        self._path = path
        self._clock = clock
        self._wall = wall
        self._open: OrderedDict[int, Share] = OrderedDict()
        self._ailing = False
        try:
            self._file: TextIO | None = path.open("a", encoding="ascii")
        except OSError as error:
            raise ShareLogError(f"the share log {path} cannot be written: {error.strerror}") from error

    def sent(self, share: Share) -> None:
        """The share was handed to its source."""
        self._open[share.id] = share
        if len(self._open) > OPEN_SHARES:
            _, oldest = self._open.popitem(last=False)
            self._write(oldest, None)

    def answered(self, answer: Answer) -> None:
        """The source has answered; a second answer changes nothing."""
        share = self._open.pop(answer.share_id, None)
        if share is not None:
            self._write(share, answer)

    def reopen(self) -> None:
        """Go on in a file of this name, which may be another one by now; if there can be none, in the old one."""
        try:
            fresh = self._path.open("a", encoding="ascii")
        except OSError as error:
            log.error("share_log_not_reopened", file=str(self._path), text=error.strerror)  # noqa: TRY400
            return
        if self._file is not None:
            self._file.close()
        self._file = fresh

    def close(self) -> None:
        """Write down what was never answered."""
        for share in self._open.values():
            self._write(share, None)
        self._open.clear()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, share: Share, answer: Answer | None) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(self._line(share, answer)) + "\n")
            self._file.flush()
        except OSError as error:
            if not self._ailing:
                log.error("share_log_not_written", file=str(self._path), text=error.strerror)  # noqa: TRY400
            self._ailing = True
        else:
            self._ailing = False

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


def _verdict(answer: Answer | None) -> str:
    if answer is None:
        return Reason.UNANSWERED
    return "accepted" if answer.accepted else answer.reason or Reason.OTHER
