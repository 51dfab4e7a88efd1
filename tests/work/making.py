"""Values for the tests of miner.work, each with just enough said about it."""

from __future__ import annotations

from backends.base import Capability, DeviceInfo, Hit, Kind, Work
from miner.work.events import Found
from miner.work.job import CoinbaseParts, Job, ReadyRoot

EASY = (1 << 252) - 1  # one hash in 16
HARD = 1  # nothing meets it
PREV = bytes(range(32))
NTIME = 1_500_000_000


def coinbase(tag: bytes = b"", size: int = 4, levels: int = 2) -> CoinbaseParts:
    branch = tuple(bytes([level]) * 32 for level in range(levels))
    return CoinbaseParts(prefix=b"prefix" + tag, suffix=b"suffix", extranonce2_size=size, branch=branch)


def a_job(
    *,
    source: str = "pool",
    session: int = 1,
    prev_hash: bytes = PREV,
    body: CoinbaseParts | ReadyRoot | None = None,
    share_target: int = EASY,
    network_target: int = HARD,
    ntime: int = NTIME,
    roll: int = 0,
    arrived: float = 0.0,
    version_mask: int = 0x1FFFE000,
) -> Job:
    return Job(
        source=source,
        session=session,
        key="k",
        prev_hash=prev_hash,
        version=0x20000000,
        version_mask=version_mask,
        nbits=0x1D00FFFF,
        ntime=ntime,
        ntime_limit=ntime + roll,
        share_target=share_target,
        network_target=network_target,
        arrived=arrived,
        body=body or coinbase(),
    )


def a_device(
    name: str = "cpu:0",
    *capabilities: Capability,
    expected_hps: float | None = 1e3,  # slow: its health target is far harder than EASY, and EASY floods nobody
) -> DeviceInfo:
    return DeviceInfo(
        id=name,
        backend="made-up",
        kind=Kind.CPU,
        model="abacus",
        expected_hps=expected_hps,
        capabilities=frozenset(capabilities),
    )


def hits(work: Work, at_most: int, above: int = -1, start: int = 0) -> list[Hit]:
    """Search by hashlib until three hits lie in (above, at_most]."""
    found: list[Hit] = []
    for nonce in range(start, start + 500_000):
        hit = Hit(work, nonce, work.version, work.ntime)
        if above < hit.hash() <= at_most:
            found.append(hit)
            if len(found) == 3:
                return found
    raise AssertionError("no such hash in half a million")


def a_found(job: Job, hash_: int, nonce: int = 0, *, stale: bool = False, device: str = "cpu:0") -> Found:
    """What a feed would post; the manager takes the hash as it is given."""
    work = Work(
        id=1,
        epoch=0,
        prev_hash=job.prev_hash,
        merkle_root=bytes(32),
        version=job.version,
        version_mask=0,
        ntime=job.ntime,
        ntime_span=0,
        nbits=job.nbits,
        target=EASY,
    )
    return Found(device, Hit(work, nonce, job.version, job.ntime), job, b"\0\0\0\0", hash_, stale)
