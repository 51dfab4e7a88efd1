"""What the engine logs of a source's events and of alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from miner.engine.refused_shares import RefusedShares
from miner.telemetry.alarm import Alarm, Severity, Stage
from miner.work.events import Answered, Event, SourceDown, SourceFailed, SourceUp
from miner.work.share import Reason, Share

log = structlog.get_logger(__name__)


def tell_event(event: Event, pending: Mapping[int, Share], refused: RefusedShares, now: float) -> None:
    """Log what a source says. `pending`: the shares that wait for an answer, by id.

    `refused` says which refused shares get a line; `now` is its time, seconds.
    """
    match event:
        case Answered(source, answer):
            share = pending.get(answer.share_id)
            height = share.job.height if share else None
            details: dict[str, object] = {"source": source}
            if height is not None:
                details["height"] = height
            if share is not None and (share.block or answer.block):
                details["block"] = f"{share.hash:064x}"
            if answer.accepted:
                log.info("block_accepted" if answer.block else "share_accepted", **details)
                return
            details |= {"reason": answer.reason, "text": answer.text}
            if not answer.block:
                tell_refused(refused.refused(source, answer.reason, details, now))
            elif answer.reason is Reason.STALE:  # another block was faster
                log.warning("block_rejected", **details)
            else:
                log.error("block_rejected", **details)
        case SourceUp(source):
            log.info("source_up", source=source)
        case SourceDown(source, reason):
            log.warning("source_down", source=source, reason=reason)
        case SourceFailed(source, reason):
            log.error("source_failed", source=source, reason=reason)


def tell_refused(lines: Iterable[Mapping[str, Any]]) -> None:
    """Log refused shares, a line for the fields of each."""
    for fields in lines:
        log.warning("share_rejected", **fields)


def tell_alarm(alarm: Alarm) -> None:
    """Log that it was raised, at the level of its severity, or that it is over."""
    if alarm.stage is Stage.RESOLVED:
        log.info("alarm_over", alarm=alarm.rule, subject=alarm.subject)
        return
    level = {Severity.INFO: log.info, Severity.WARNING: log.warning, Severity.CRITICAL: log.error}[alarm.severity]
    level("alarm", alarm=alarm.rule, subject=alarm.subject, text=alarm.detail)
