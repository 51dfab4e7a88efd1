"""From a share to the fields of mining.submit, and the proof that those fields give its hash.

The proof shares nothing with the way the share was found: it starts from the text of the notify and from the text that
is about to leave, and needs hashlib and struct only. A share that fails it stays here: sending it would only teach the
pool that we are broken.
"""

from __future__ import annotations

import hashlib
import struct
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from miner.sources.stratum.errors import ShareUnsound
from miner.sources.stratum.job import Announced
from miner.sources.stratum.rolling import Style, bits
from miner.work.share import Share

ANSWER_S = 120.0  # a share without an answer for so long will get none


@dataclass(frozen=True, slots=True)
class Submission:
    """The parameters of one mining.submit, and how its version bits are meant."""

    share: Share
    params: tuple[str | int, ...]
    style: Style
    ambiguous: bool  # the job's version has bits under the mask: pools differ


class VersionNotCovered(ShareUnsound):
    """The share rolled bits that the pool has withdrawn since: there is no way to tell it."""


def compose(share: Share, user: str, mask: int | None, style: Style) -> Submission:
    """What to submit under the mask now granted (None: no version rolling); raises ShareUnsound."""
    announced = share.job.payload
    if not isinstance(announced, Announced):
        raise ShareUnsound("the share is not of a job of this pool")
    job_version = share.job.version
    params: tuple[str | int, ...] = (
        user,
        announced.notify.job_id,
        share.extranonce2.hex(),
        f"{share.ntime:08x}",
        f"{share.nonce:08x}",
    )
    if (share.version ^ job_version) & ~(mask or 0):
        raise VersionNotCovered(f"version {share.version:08x} is not the job's under the mask {mask or 0:08x}")
    if mask is not None:
        params += (f"{bits(style, version=share.version, job_version=job_version, mask=mask):08x}",)
    return Submission(share, params, style, ambiguous=bool(mask and job_version & mask))


def prove(submission: Submission, mask: int | None) -> None:
    """Compute the hash from the raw message and the very fields; raises ShareUnsound if it is another or too high."""
    share = submission.share
    job = share.job
    announced: Announced = job.payload
    header = header_of(announced, submission.params, mask, submission.style)
    number = int.from_bytes(_sha256d(header), "little")
    if number != share.hash:
        raise ShareUnsound(f"found {share.hash:064x}, but {header.hex()} gives {number:064x}")
    limit = max(job.share_target, job.network_target)
    if number > limit:
        raise ShareUnsound(f"{number:064x} is above the target {limit:064x}")
    size = announced.under.extranonce2_size
    if len(share.extranonce2) != size:
        raise ShareUnsound(f"an extranonce2 of {len(share.extranonce2)} bytes where {size} belong")
    if share.ntime < job.ntime:
        raise ShareUnsound(f"ntime {share.ntime} is before the job's {job.ntime}")


def header_of(announced: Announced, params: tuple[str | int, ...], mask: int | None, style: Style) -> bytes:
    """The 80 bytes that a pool puts together from a submit."""
    notify = announced.notify
    _, _, extranonce2, ntime, nonce, *rolled = [str(param) for param in params]
    coinbase = f"{notify.coinbase1_hex}{announced.under.extranonce1.hex()}{extranonce2}{notify.coinbase2_hex}"
    root = _sha256d(bytes.fromhex(coinbase))
    for sibling in notify.branch_hex:
        root = _sha256d(root + bytes.fromhex(sibling))
    version = int(notify.version_hex, 16)
    if rolled:
        sent = int(rolled[0], 16)
        version = version ^ sent if style is Style.DIFFERENCE else (version & ~(mask or 0)) | sent
    words = struct.unpack(">8I", bytes.fromhex(notify.prev_hash_hex))
    tail = struct.pack("<3I", int(ntime, 16), int(notify.nbits_hex, 16), int(nonce, 16))
    return struct.pack("<I8I", version, *words) + root + tail


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@dataclass(frozen=True, slots=True)
class Sent:
    """A submission on its way, `at` seconds on the monotonic clock."""

    submission: Submission
    at: float


class InFlight:
    """What was sent and is not answered yet, by request id, oldest first; outlives a connection until it is resumed."""

    def __init__(self) -> None:
        self._sent: OrderedDict[str, Sent] = OrderedDict()

    def __len__(self) -> int:
        return len(self._sent)

    def __iter__(self) -> Iterator[Sent]:
        return iter(self._sent.values())

    def add(self, request: str, submission: Submission, now: float) -> None:
        self._sent[request] = Sent(submission, now)

    def take(self, request: str) -> Sent | None:
        """The submission of a request that was answered; None where nothing is waited for under that id."""
        return self._sent.pop(request, None)

    def overdue(self, now: float) -> list[Submission]:
        """What waited too long; it is forgotten here. Blocks wait as long as the connection lasts."""
        late = [
            request
            for request, sent in self._sent.items()
            if now - sent.at >= ANSWER_S and not sent.submission.share.block
        ]
        return [self._sent.pop(request).submission for request in late]

    def clear(self) -> list[Submission]:
        """Everything, forgotten here."""
        all_ = [sent.submission for sent in self._sent.values()]
        self._sent.clear()
        return all_
