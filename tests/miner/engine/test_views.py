from __future__ import annotations

from backends.base import Device, Hit, Verdict
from miner.engine.keeper import Keeper
from miner.engine.views import device_view, source_view
from miner.work.account import Account
from miner.work.feed import DeviceFeed
from miner.work.lease import Leases
from miner.work.manager import Standing
from miner.work.share import Answer, Reason
from tests.work.making import EASY, a_device, a_job, hits


def never() -> Device:
    raise AssertionError("it is not started")


def test_a_device_is_shown_with_what_its_feed_counted() -> None:
    feed = DeviceFeed(a_device(), Leases(), lambda _: None, clock=lambda: 0.0)
    feed.serve(a_job(), replace=True)
    work = feed.take(0.0)
    assert work is not None
    hit = hits(work, EASY)[0]
    verdicts = [feed.found(each) for each in (hit, hit, Hit(work, 0, work.version, work.ntime + 1))]
    assert verdicts == [Verdict.GOOD, Verdict.DUPLICATE, Verdict.OUTSIDE]
    feed.worked(work, 48)
    view = device_view(Keeper(a_device(), never, feed), shares=1)
    assert (view.hashes, view.hits, view.hardware_errors, view.shares, view.restarts) == (48, 1, 0, 1, 0)
    assert view.faults == {"duplicate": 1, "outside": 1}
    assert view.hits_due == feed.counts().due > 0


def test_a_source_is_shown_with_its_account_and_the_age_of_its_job() -> None:
    refused = Answer(1, accepted=False, block=False, reason=Reason.LOW_DIFFICULTY, sent_at=1.0)
    account = Account().sent().sent().answered(refused, 1.0, 0.0, 3.0)
    job = a_job(arrived=10.0)
    view = source_view(2, Standing("pool", True, True, None, job, False, account), now=14.5)
    assert (view.name, view.priority, view.connected, view.active, view.failed) == ("pool", 2, True, True, None)
    assert (view.submitted, view.accepted, view.rejected) == (2, 0, {"low-difficulty": 1})
    assert (view.latency_s, view.sending_s, view.answering_s, view.job_age_s) == (3.0, 1.0, 2.0, 4.5)
    idle = source_view(0, Standing("pool", False, False, "gone", None, True, Account()), now=14.5)
    assert (idle.failed, idle.behind, idle.difficulty, idle.job_age_s) == ("gone", True, None, None)
    gone = source_view(1, Standing("pool", False, False, None, None, False, account, present=False), now=14.5)
    assert not gone.present and idle.present and gone.submitted == 2
