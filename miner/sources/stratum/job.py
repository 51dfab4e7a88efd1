"""From an announcement to a job: the words turned, the coinbase read, difficulty and mask of the moment attached.

What one notify becomes:

    the same id and content, nothing else changed     nothing: pools repeat themselves
    clean, another previous block, a new extranonce1,  replaces all that came before
    or another content under a known id
    anything else                                      an update: older work stays good
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import lru_cache

from miner.chain.errors import ChainError
from miner.chain.hashes import HASH_SIZE, ZERO_HASH
from miner.chain.target import Target
from miner.printable import printable
from miner.sources.stratum.coinbase import PoolCoinbase, read_coinbase
from miner.sources.stratum.errors import BadJob, OddCoinbase
from miner.sources.stratum.messages import MAX_COINBASE, Notify
from miner.work.job import CoinbaseParts, Job

NTIME_AHEAD_S = 600  # how far a job's time may be rolled; pools take up to an hour or two
KNOWN_IDS = 64
CLOCK_OFF_S = 7200  # a job whose time is further from ours than this is worth a word


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was in force when a job was announced."""

    extranonce1: bytes
    extranonce2_size: int
    difficulty: float
    mask: int  # granted; 0: none


@dataclass(frozen=True, slots=True)
class Announced:
    """A job's payload: the raw message and what it meant then. The second computation starts here."""

    notify: Notify
    under: Circumstances


@dataclass(frozen=True, slots=True)
class Made:
    """A job, whether it replaces everything older, and what could be read of its coinbase."""

    job: Job
    replace: bool
    coinbase: PoolCoinbase


class JobMaker:
    """Makes the jobs of one connection; remembers which ids it saw."""

    def __init__(self, source: str, session: int) -> None:
        self._source = source
        self._session = session
        self._known: OrderedDict[str, Announced] = OrderedDict()
        self._last: Announced | None = None

    def make(self, notify: Notify, under: Circumstances, now: float, *, easing: int = 1) -> Made | None:
        """The job of this message; None for a repetition. Raises BadJob.

        `easing`: how many times harder than the pool asks shares must be to be handed in (a cap on their rate).
        """
        announced = Announced(notify, under)
        key = str(notify.job_id)
        known = self._known.get(key)
        if known is not None and _same(known, announced) and self._last is known:
            return None
        job, coinbase = self._read(announced, now, easing)
        last = self._last
        fresh = last is None or (
            last.under.extranonce1 != under.extranonce1 or last.under.extranonce2_size != under.extranonce2_size
        )
        moved = last is not None and last.notify.prev_hash_hex.lower() != notify.prev_hash_hex.lower()
        other = known is not None and not _same_content(known.notify, notify)
        self._known[key] = self._last = announced
        self._known.move_to_end(key)
        if len(self._known) > KNOWN_IDS:
            self._known.popitem(last=False)
        return Made(job, notify.clean or fresh or moved or other, coinbase)

    def again(self, mask: int, now: float, *, easing: int = 1) -> Made | None:
        """The newest job once more under another mask or another local target; None before the first."""
        last = self._last
        if last is None:
            return None
        announced = Announced(last.notify, replace(last.under, mask=mask))
        self._known[str(last.notify.job_id)] = self._last = announced
        job, coinbase = self._read(announced, now, easing)
        return Made(job, bool(last.under.mask & ~mask & ~job.version), coinbase)

    def _read(self, announced: Announced, now: float, easing: int) -> tuple[Job, PoolCoinbase]:
        notify, under = announced.notify, announced.under
        parts = _parts(notify, under)
        coinbase = _coinbase(parts, len(under.extranonce1))
        prev_hash = notify.prev_hash
        if prev_hash == ZERO_HASH:
            raise BadJob("it builds on no block")
        nbits, ntime, version = int(notify.nbits_hex, 16), int(notify.ntime_hex, 16), int(notify.version_hex, 16)
        try:
            network_target, share_target = _network_target(nbits), _share_target(under.difficulty)
        except ChainError as error:
            raise BadJob(str(error)) from error
        job = Job(
            source=self._source,
            session=self._session,
            key=printable(str(notify.job_id)),  # what goes back is in the payload
            prev_hash=prev_hash,
            version=version,
            version_mask=under.mask & ~version,
            nbits=nbits,
            ntime=ntime,
            ntime_limit=min(ntime + NTIME_AHEAD_S, 0xFFFFFFFF),
            share_target=max(share_target // easing, 1),
            network_target=network_target,
            arrived=now,
            body=parts,
            height=coinbase.height,
            payload=announced,
        )
        return job, coinbase

    @property
    def newest(self) -> Announced | None:
        """The last announcement that made a job."""
        return self._last


def coinbase_of(notify: Notify, under: Circumstances) -> PoolCoinbase:
    """What can be read of the coinbase, with an extranonce2 of zeros; raises BadJob if it is too long."""
    return _coinbase(_parts(notify, under), len(under.extranonce1))


def _parts(notify: Notify, under: Circumstances) -> CoinbaseParts:
    branch = bytes.fromhex("".join(notify.branch_hex))
    return CoinbaseParts(
        prefix=bytes.fromhex(notify.coinbase1_hex) + under.extranonce1,
        suffix=bytes.fromhex(notify.coinbase2_hex),
        extranonce2_size=under.extranonce2_size,
        branch=tuple([branch[start : start + HASH_SIZE] for start in range(0, len(branch), HASH_SIZE)]),
    )


def _coinbase(parts: CoinbaseParts, extranonce1_size: int) -> PoolCoinbase:
    """Only the size is judged: what a coinbase looks like is the pool's affair, on any chain."""
    prefix, room = parts.prefix, parts.extranonce2_size
    size = len(prefix) + room + len(parts.suffix)
    if size > MAX_COINBASE:
        raise BadJob(f"a coinbase of {size} bytes")
    start = len(prefix) - extranonce1_size
    try:
        return read_coinbase(prefix + bytes(room) + parts.suffix, start, len(prefix) + room)
    except OddCoinbase as error:
        return PoolCoinbase(oddity=str(error))


@lru_cache(maxsize=64)
def _network_target(nbits: int) -> int:
    """Remembered, as is the next: both change seldom, and new work waits for what is computed here."""
    return Target.from_nbits(nbits).value


@lru_cache(maxsize=64)
def _share_target(difficulty: float) -> int:
    return Target.from_difficulty(difficulty).value


def _same(one: Announced, other: Announced) -> bool:
    return one.under == other.under and _same_content(one.notify, other.notify)


def _same_content(one: Notify, other: Notify) -> bool:
    return replace(one, clean=False) == replace(other, clean=False)
