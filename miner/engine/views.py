"""How a snapshot shows one device and one source."""

from __future__ import annotations

from backends.base import Verdict
from miner.chain.target import Target
from miner.engine.keeper import Keeper
from miner.telemetry.snapshot import WINDOWS_S, DeviceView, SourceView
from miner.work.manager import Standing

_SHOWN_APART = (Verdict.GOOD, Verdict.WRONG)


def device_view(keeper: Keeper, shares: int) -> DeviceView:
    """The view of this keeper's device. `shares`: how many of its hits were worth sending."""
    counts = keeper.feed.counts()
    measured = keeper.feed.measured()
    return DeviceView(
        info=keeper.info,
        telemetry=keeper.telemetry,
        hashes=counts.hashes,
        rate_hps={window: keeper.feed.rate(window) for window in WINDOWS_S},
        measured_hps=measured.hps if measured else None,
        hits=counts.of(Verdict.GOOD),
        hardware_errors=counts.of(Verdict.WRONG),
        faults={verdict.value: n for verdict, n in counts.verdicts.items() if verdict not in _SHOWN_APART},
        shares=shares,
        restarts=keeper.restarts,
        hits_due=counts.due,
    )


def source_view(priority: int, standing: Standing, now: float) -> SourceView:
    """The view of a source. `priority`: its place in the configured order."""
    account, job = standing.account, standing.job
    return SourceView(
        name=standing.name,
        connected=standing.connected,
        active=standing.active,
        priority=priority,
        failed=standing.failed,
        submitted=account.submitted,
        accepted=account.accepted,
        rejected={reason.value: count for reason, count in account.rejected.items()},
        stale=account.stale,
        blocks_accepted=account.blocks_accepted,
        blocks_rejected=account.blocks_rejected,
        accepted_difficulty=account.accepted_difficulty,
        difficulty=Target(job.share_target).difficulty if job else None,
        hashes=account.hashes,
        latency_s=account.latency_s,
        sending_s=account.sending_s,
        answering_s=account.answering_s,
        latencies=account.latencies,
        reconnects=account.reconnects,
        job_age_s=now - job.arrived if job else None,
        behind=standing.behind,
        present=standing.present,
        distrusted=standing.distrusted,
    )
