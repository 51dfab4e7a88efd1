"""A day of three sources and four devices in one thread: faults everywhere, and nothing lost that could be had.

Hashes are real (hashlib) and few, targets easy; time is a number. The same seed replays the same day.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from dataclasses import dataclass, field
from hashlib import sha256

import pytest

from backends.base import Capability, Hit, State, Verdict, Work
from miner.sources.synthetic import SyntheticChain, SyntheticOptions
from miner.work.events import (
    Answered,
    Effect,
    Event,
    Found,
    MiningBegan,
    Retire,
    Serve,
    SourceDown,
    SourceUp,
    Submit,
    Tick,
)
from miner.work.feed import DEAD_JOBS, LIVE_WORKS, DeviceFeed
from miner.work.lease import Leases
from miner.work.manager import LIVE_JOBS, Manager
from miner.work.outbox import PENDING_SHARES
from miner.work.share import Reason, Share
from miner.work.watch import DeviceWatch, Disable, Observation, Restart
from tests.work.making import a_device

STEP_S = 10
HASHES = 8  # of one device in one step
RATE_HPS = 2.0  # what sources set their targets by
LEASE = 64  # hashes until a device asks for another lease


@dataclass
class Peer:
    """A source as seen from the world: a chain behind a line that fails."""

    chain: SyntheticChain
    name: str
    up: bool = False
    session: int = 0
    next_job_at: float = 0.0
    turn_at: float = 0.0  # when the line fails, or mends
    mail: deque[tuple[float, Share]] = field(default_factory=deque)  # due for an answer
    lost: int = 0


class Machine:
    """A device that hashes honestly, but for what `fault` makes of it."""

    def __init__(self, feed: DeviceFeed, name: str, luck: random.Random, fault: str) -> None:
        self.feed, self.name, self.luck, self.fault = feed, name, luck, fault
        self.running = True
        self.works: deque[tuple[Work, int]] = deque(maxlen=3)  # and the first nonce not searched
        self.hashes = 0
        self.verdicts: Counter[Verdict] = Counter()

    def step(self, leased: list[Work]) -> None:
        if not self.running:
            return
        if not self.works or self.works[-1][1] >= LEASE or not self.feed.fresh(self.works[-1][0]):
            work = self.feed.take(0.0)
            if work is None:
                return
            leased.append(work)
            self.works.append((work, 0))
        late = len(self.works) > 1 and self.luck.random() < 0.05
        index = 0 if late else -1
        work, start = self.works[index]
        version = work.version | (work.version_mask & self.luck.getrandbits(32))
        ntime = work.ntime + self.luck.randint(0, work.ntime_span)
        prefix = work.header(0, version, ntime)[:76]
        for nonce in range(start, start + HASHES):
            header = prefix + nonce.to_bytes(4, "little")
            if int.from_bytes(sha256(sha256(header).digest()).digest(), "little") <= work.target:
                self.report(Hit(work, nonce, version, ntime))
        self.works[index] = (work, start + HASHES)
        self.hashes += HASHES
        self.feed.worked(work, HASHES)

    def report(self, hit: Hit) -> None:
        self.verdicts[self.feed.found(hit)] += 1
        if self.fault == "repeats":
            self.verdicts[self.feed.found(hit)] += 1
        if self.fault == "strays":
            stray = Hit(hit.work, hit.nonce, hit.version, hit.ntime + hit.work.ntime_span + 1)
            self.verdicts[self.feed.found(stray)] += 1
        if self.fault == "lies":
            wrong = Hit(hit.work, hit.nonce + (1 << 31), hit.version, hit.ntime)
            self.verdicts[self.feed.found(wrong)] += 1


class World:
    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.luck = random.Random(seed)
        self.peers = {
            name: Peer(SyntheticChain(name, options), name)
            for name, options in {
                "first": SyntheticOptions(seed=seed, branch_length=2, shares_per_block=20),
                "second": SyntheticOptions(seed=seed + 1, branch_length=0, shares_per_block=1000, extranonce2_size=1),
                "third": SyntheticOptions(seed=seed + 2, share_interval_s=400.0, replace_ratio=0.5),
            }.items()
        }
        self.manager = Manager(tuple(self.peers))
        self.leases = Leases()
        self.inbox: deque[Found] = deque()
        plans = {
            "honest": (),
            "repeats": (Capability.ROLLS_VERSION,),
            "strays": (Capability.ROLLS_NTIME, Capability.ROLLS_VERSION),
            "lies": (),
            "crashes": (),
        }
        self.machines = [
            Machine(
                DeviceFeed(
                    a_device(fault, *able, expected_hps=1.0), self.leases, self.inbox.append, clock=lambda: self.now
                ),
                fault,
                self.luck,
                fault,
            )
            for fault, able in plans.items()
        ]
        self.watches = {machine.name: DeviceWatch(machine.name) for machine in self.machines}
        self.leased: list[Work] = []
        self.founds: list[Found] = []
        self.jobs = 0
        self.served: set[int] = set()
        self.retired: set[int] = set()
        self.expected: Counter[tuple[int, bytes, int, int, int]] = Counter()
        self.sent: Counter[tuple[int, bytes, int, int, int]] = Counter()
        self.reasons: Counter[Reason | None] = Counter()
        self.journal = sha256()

    def tell(self, event: Event) -> None:
        for effect in self.manager.handle(event, self.now):
            self.journal.update(repr((self.now, type(effect).__name__, self.trace(effect))).encode())
            match effect:
                case Serve(job, replace):
                    if job is not None:
                        self.served.add(job.id)
                    for machine in self.machines:
                        machine.feed.serve(job, replace=replace)
                case Retire(jobs):
                    self.retired.update(jobs)
                    for machine in self.machines:
                        machine.feed.retire(jobs)
                case Submit(share):
                    self.sent[(share.job.id, share.extranonce2, share.nonce, share.version, share.ntime)] += 1
                    self.deliver(self.peers[share.job.source], share)

    @staticmethod
    def trace(effect: Effect) -> tuple[object, ...]:
        """What of an effect is the same in every run: ids are not."""
        match effect:
            case Serve(job, replace):
                return (job and (job.source, job.key), replace)
            case Retire(jobs):
                return (len(jobs),)
            case Submit(share):
                return (share.job.source, share.job.key, share.device, share.hash, share.block, share.stale)
        return ()

    def deliver(self, peer: Peer, share: Share) -> None:
        if peer.up or share.block:  # blocks are kept until the line is back
            peer.mail.append((self.now + self.luck.choice((0, 0, STEP_S, 5 * STEP_S)), share))
        else:
            peer.lost += 1

    def run_peer(self, peer: Peer) -> None:
        if self.now >= peer.turn_at:
            peer.turn_at = self.now + self.luck.expovariate(1 / (3600 if not peer.up else 90))
            if peer.up:
                kept = deque(item for item in peer.mail if item[1].block)
                peer.lost += len(peer.mail) - len(kept)
                peer.up, peer.mail = False, kept
                self.tell(SourceDown(peer.name, "the line is cut"))
            else:
                peer.up = True
                peer.session += not peer.session or self.luck.random() < 0.7  # or resume the session
                peer.next_job_at = self.now
                self.tell(SourceUp(peer.name))
        if not peer.up:
            return
        if self.now >= peer.next_job_at:
            self.jobs += 1
            self.tell(peer.chain.next_job(self.now, rate_hps=RATE_HPS, session=peer.session))
            peer.next_job_at = self.now + self.luck.uniform(10, 70)
        for _ in range(len(peer.mail)):
            due, share = peer.mail.popleft()
            if self.now < due:
                peer.mail.append((due, share))
                continue
            answer = peer.chain.judge(share)
            self.reasons[answer.reason] += 1
            self.tell(Answered(peer.name, answer))

    def read_inbox(self) -> None:
        while self.inbox:
            found = self.inbox.popleft()
            self.founds.append(found)
            job, hit = found.job, found.hit
            alive = job.id not in self.retired
            if found.hash <= job.network_target or (alive and found.hash <= job.share_target):
                self.expected[(job.id, found.extranonce2, hit.nonce, hit.version, hit.ntime)] += 1
            self.tell(found)

    def look_after(self, machine: Machine) -> None:
        if machine.fault == "crashes" and machine.running and self.luck.random() < 1 / 1000:
            machine.running = False
        counts = machine.feed.counts()
        seen = Observation(
            hashes=counts.hashes,
            good=counts.of(Verdict.GOOD),
            wrong=counts.of(Verdict.WRONG),
            has_work=machine.feed.busy,
            state=State.MINING if machine.running else State.DEAD,
        )
        for effect in self.watches[machine.name].handle(seen, self.now):
            if isinstance(effect, Restart):
                machine.running = True
            if isinstance(effect, Disable):
                machine.running = False

    def step(self) -> None:
        self.now += STEP_S
        for peer in self.peers.values():
            self.run_peer(peer)
        for machine in self.machines:
            machine.step(self.leased)
            self.look_after(machine)
        if self.luck.random() < 0.7:  # else the loop is late, and jobs overtake hits
            self.read_inbox()
        self.tell(Tick())

    def run(self, seconds: int) -> None:
        self.tell(MiningBegan())
        for _ in range(seconds // STEP_S):
            self.step()
            self.check_bounds()
        self.read_inbox()

    def check_bounds(self) -> None:
        assert len(self.manager.pending) <= PENDING_SHARES
        for source in self.manager._sources.values():
            assert len(source.live) <= LIVE_JOBS
        for machine in self.machines:
            assert len(machine.feed._works) <= LIVE_WORKS
            assert len(machine.feed._leased) <= DEAD_JOBS + len(self.peers) * LIVE_JOBS
        for standing in self.manager.standings:
            account = standing.account
            waiting = sum(share.job.source == standing.name for share in self.manager.pending.values())
            answered = account.accepted + account.stale + sum(account.rejected.values())
            assert account.submitted == answered + waiting


@pytest.fixture(scope="module", params=[11], ids="seed {}".format)
def day(request: pytest.FixtureRequest) -> World:
    world = World(request.param)
    world.run(86_400)
    return world


def test_the_day_was_a_full_one(day: World) -> None:
    assert day.jobs > 4000 and len(day.leased) > 4000 and sum(day.sent.values()) > 1000
    assert all(standing.account.reconnects > 5 for standing in day.manager.standings)
    assert all(standing.account.accepted > 10 for standing in day.manager.standings[:2])
    assert any(peer.lost for peer in day.peers.values())
    verdicts = sum((machine.verdicts for machine in day.machines), Counter())
    assert all(verdicts[verdict] for verdict in Verdict if verdict is not Verdict.BELOW)


def test_no_header_was_leased_twice(day: World) -> None:
    rectangles = [
        (work.prev_hash, work.merkle_root, ntime)
        for work in day.leased
        for ntime in range(work.ntime, work.ntime + work.ntime_span + 1)
    ]
    assert len(set(rectangles)) == len(rectangles)
    assert len({work.id for work in day.leased}) == len(day.leased)


def test_every_share_of_a_live_job_and_every_block_was_sent_exactly_once(day: World) -> None:
    assert day.sent == day.expected
    assert set(day.sent.values()) == {1}


def test_nothing_was_sent_that_a_second_computation_refuses(day: World) -> None:
    assert set(day.reasons) <= {None, Reason.STALE}


def test_every_share_was_answered_or_given_up(day: World) -> None:
    for standing in day.manager.standings:
        account = standing.account
        assert set(account.rejected) <= {Reason.UNANSWERED}
    for share in day.manager.pending.values():
        assert share.block or day.now - share.found_at < 120
    accepted = sum(standing.account.accepted for standing in day.manager.standings)
    assert accepted == day.reasons[None]  # no answer took as long as ANSWER_S


def test_hashes_and_verdicts_add_up(day: World) -> None:
    for machine in day.machines:
        counts = machine.feed.counts()
        assert counts.hashes == machine.hashes
        assert dict(counts.verdicts) == dict(machine.verdicts)
    good = sum(machine.verdicts[Verdict.GOOD] for machine in day.machines)
    assert good == sum(not found.stale for found in day.founds)
    assert all(found.hash <= found.job.network_target for found in day.founds if found.stale)


def test_what_was_served_is_retired_or_still_alive(day: World) -> None:
    alive = {id_ for source in day.manager._sources.values() for id_ in source.live}
    assert day.served <= day.retired | alive
    assert not day.retired & alive


def test_each_fault_was_met_with_what_it_deserves(day: World) -> None:
    watches = day.watches
    assert watches["lies"].phase.name == "DEAD"
    assert watches["crashes"].restarts > 2
    for honest in ("honest", "repeats", "strays"):
        assert watches[honest].restarts == 0


def test_the_same_seed_replays_the_same_day() -> None:
    first, second, other = World(5), World(5), World(6)
    for world in (first, second, other):
        world.run(1800)
    assert first.journal.digest() == second.journal.digest() != other.journal.digest()
