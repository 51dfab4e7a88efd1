"""How the virtual pool judges a share: hashlib and struct alone, over what was sent and what came back.

Nothing here is shared with the miner, so that both can be wrong only separately. Ways in which pools combine the
submitted version bits with the job's version: BIP 310 replaces, ckpool ORs, public-pool XORs.
"""

from __future__ import annotations

import hashlib
import math
import re
import struct
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fractions import Fraction
from typing import Any

DIFFICULTY_ONE = 0xFFFF << 208
NO_BITS = 0
KEPT_SHARES = 1 << 16

_WORD = re.compile(r"[0-9a-f]{8}")
_BYTES = re.compile(r"(?:[0-9a-f]{2})*")


class Rolling(Enum):
    """What becomes of a job's version and the bits submitted for it."""

    REPLACE = "replace"
    OR = "or"
    XOR = "xor"

    def version(self, job: int, bits: int, mask: int) -> int:
        match self:
            case Rolling.REPLACE:
                return (job & ~mask) | (bits & mask)
            case Rolling.OR:
                return job | bits
            case Rolling.XOR:
                return job ^ bits


class Reason(Enum):
    """Why a share does not count: the code and the words that pools answer with."""

    MALFORMED = (20, "Malformed share")
    EXTRANONCE2_SIZE = (20, "Invalid nonce2 length")
    NTIME = (20, "Ntime out of range")
    VERSION = (20, "Invalid version mask")
    UNKNOWN_JOB = (21, "Job not found")
    STALE = (21, "Stale")
    DUPLICATE = (22, "Duplicate share")
    LOW_DIFFICULTY = (23, "Low difficulty share")
    UNAUTHORIZED = (24, "Unauthorized worker")
    NOT_SUBSCRIBED = (25, "Not subscribed")

    @property
    def code(self) -> int:
        return self.value[0]

    @property
    def text(self) -> str:
        return self.value[1]


@dataclass(frozen=True, slots=True)
class SentJob:
    """A job as one client has it: the notify parameters, and what held when they were sent."""

    params: Sequence[Any]
    extranonce1: str
    extranonce2_size: int
    difficulty: float
    generation: int  # rises with every job that makes the others stale
    sent_at: float

    @property
    def id(self) -> str:
        return str(self.params[0])

    @property
    def version(self) -> int:
        return int(self.params[5], 16)

    @property
    def network_target(self) -> int:
        nbits = int(self.params[6], 16)
        size, word = nbits >> 24, nbits & 0x7FFFFF
        return word << 8 * (size - 3) if size > 3 else word >> 8 * (3 - size)

    @property
    def ntime(self) -> int:
        return int(self.params[7], 16)

    def coinbase(self, extranonce2: str) -> bytes:
        return bytes.fromhex(self.params[2] + self.extranonce1 + extranonce2 + self.params[3])

    def merkle_root(self, extranonce2: str) -> bytes:
        root = sha256d(self.coinbase(extranonce2))
        for branch in self.params[4]:
            root = sha256d(root + bytes.fromhex(branch))
        return root

    def header(self, extranonce2: str, ntime: int, nonce: int, version: int) -> bytes:
        swapped = bytes.fromhex(self.params[1])
        previous = b"".join(swapped[start : start + 4][::-1] for start in range(0, 32, 4))
        tail = struct.pack("<III", ntime, int(self.params[6], 16), nonce)
        return struct.pack("<I", version) + previous + self.merkle_root(extranonce2) + tail


@dataclass(frozen=True, slots=True)
class Submission:
    """The parameters of mining.submit once they have the right form; numbers as in the header."""

    user: str
    job: str
    extranonce2: str
    ntime: int
    nonce: int
    bits: int | None

    @classmethod
    def read(cls, params: object) -> Submission | None:
        """None when it is not five or six strings, hex where hex belongs, lower case and of full length."""
        if not isinstance(params, list) or len(params) not in (5, 6) or not all(type(each) is str for each in params):
            return None
        user, job, extranonce2, *words = params
        if not _BYTES.fullmatch(extranonce2) or not all(_WORD.fullmatch(word) for word in words):
            return None
        ntime, nonce, *bits = (int(word, 16) for word in words)
        return cls(user, job, extranonce2, ntime, nonce, bits[0] if bits else None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the pool thinks of one submission."""

    user: str
    job: str
    reason: Reason | None  # None: accepted
    difficulty: Fraction  # credited; 0 for a reject
    header: bytes = b""  # empty when it did not come to a header
    block: bool = False  # meets the network's target, whatever else is wrong with it

    @property
    def accepted(self) -> bool:
        return self.reason is None

    @property
    def hash(self) -> int:
        return int.from_bytes(sha256d(self.header), "little")


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a client at the moment it submits."""

    rolling: Rolling | None  # None: not granted, five parameters
    mask: int
    generation: int
    difficulty: float | None  # in the place of the job's own, for pools that apply a new one at once
    latest_ntime: int
    blocks_count: bool = True  # a block that misses the difficulty is taken: False at public-pool


def judge(share: Submission, job: SentJob | None, rules: Rules, seen: Callable[[bytes], bool]) -> Verdict:
    """The verdict on a share; `seen` remembers a good header and answers whether it was there before."""

    def refused(reason: Reason, header: bytes = b"", *, block: bool = False) -> Verdict:
        return Verdict(share.user, share.job, reason, Fraction(0), header, block)

    if (share.bits is None) != (rules.rolling is None):
        return refused(Reason.MALFORMED)
    if job is None:
        return refused(Reason.UNKNOWN_JOB)
    if len(share.extranonce2) != 2 * job.extranonce2_size:
        return refused(Reason.EXTRANONCE2_SIZE)
    if not job.ntime <= share.ntime <= max(rules.latest_ntime, job.ntime):
        return refused(Reason.NTIME)
    version = job.version
    if rules.rolling is not None:
        bits = share.bits or NO_BITS
        if bits & ~rules.mask:
            return refused(Reason.VERSION)
        version = rules.rolling.version(version, bits, rules.mask)
    header = job.header(share.extranonce2, share.ntime, share.nonce, version)
    value = int.from_bytes(sha256d(header), "little")
    block = value <= job.network_target
    if job.generation != rules.generation:
        return refused(Reason.STALE, header, block=block)
    difficulty = job.difficulty if rules.difficulty is None else rules.difficulty
    if value > target_of(difficulty) and not (block and rules.blocks_count):
        return refused(Reason.LOW_DIFFICULTY, header, block=block)
    if seen(header):
        return refused(Reason.DUPLICATE, header, block=block)
    return Verdict(share.user, share.job, None, Fraction(difficulty), header, block)


def target_of(difficulty: float) -> int:
    """The largest hash that counts at a difficulty, exactly."""
    if not (math.isfinite(difficulty) and difficulty > 0):
        raise ValueError(f"no difficulty: {difficulty}")
    return max(min(int(DIFFICULTY_ONE / Fraction(difficulty)), (1 << 256) - 1), 1)


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@dataclass(slots=True)
class Account:
    """What a user has with the pool."""

    accepted: int = 0
    difficulty: Fraction = Fraction(0)  # the sum over accepted shares of the difficulty each was asked for
    blocks: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)

    @property
    def submitted(self) -> int:
        return self.accepted + self.rejected.total()


@dataclass(slots=True)
class Books:
    """Every verdict, by user and in order (the last ones)."""

    accounts: dict[str, Account] = field(default_factory=dict)
    verdicts: deque[Verdict] = field(default_factory=lambda: deque(maxlen=KEPT_SHARES))

    def enter(self, verdict: Verdict) -> None:
        account = self.accounts.setdefault(verdict.user, Account())
        self.verdicts.append(verdict)
        account.blocks += verdict.block and verdict.accepted
        if verdict.reason is None:
            account.accepted += 1
            account.difficulty += verdict.difficulty
        else:
            account.rejected[verdict.reason] += 1
