"""What a pool says, read into frozen values that are valid by construction.

`read` takes a decoded line and gives an Answer, a Request or a notice; BadMessage says what is wrong with the rest.
Nothing here knows what came before. Facts: protocols.md B.3 to B.5, BIP 310; quirks in docs/quirks.md.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from miner.chain.hashes import HASH_SIZE
from miner.printable import printable
from miner.sources.stratum.errors import BadMessage
from miner.sources.stratum.lines import UNREADABLE, spelt

MAX_TEXT = 256  # characters of what a pool says that we repeat
MAX_EXTRANONCE1 = 32  # bytes; seen: 0 to 9
MAX_EXTRANONCE2 = 16
MAX_BRANCH = 32  # 2**32 transactions
MAX_COINBASE = 100_000  # bytes
MAX_JOB_ID = 128  # bytes in a line of ours, where one character may take twelve; seen: up to 40
MAX_SESSION_ID = 128  # likewise

_MASK = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,8})")


# ---- values


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The result of mining.subscribe."""

    session_id: str | None  # what to resume with
    extranonce1: bytes
    extranonce2_size: int


@dataclass(frozen=True, slots=True)
class Configured:
    """The result of mining.configure; what was not granted is 0 or False."""

    mask: int
    version_rolling: bool
    minimum_difficulty: bool
    subscribe_extranonce: bool


@dataclass(frozen=True, slots=True)
class Notify:
    """One job as announced: the fields as text, for whoever computes from the raw message, and their values."""

    job_id: str | int  # goes back as it came
    prev_hash_hex: str  # words swapped
    coinbase1_hex: str
    coinbase2_hex: str
    branch_hex: tuple[str, ...]
    version_hex: str
    nbits_hex: str
    ntime_hex: str
    clean: bool

    @property
    def prev_hash(self) -> bytes:
        """Header order: the bytes of each of the eight words turned round."""
        return struct.pack("<8I", *struct.unpack(">8I", bytes.fromhex(self.prev_hash_hex)))


@dataclass(frozen=True, slots=True)
class SetDifficulty:
    """For the jobs that follow."""

    difficulty: float


@dataclass(frozen=True, slots=True)
class SetExtranonce:
    """For the jobs that follow, even one with an id that was there before."""

    extranonce1: bytes
    extranonce2_size: int


@dataclass(frozen=True, slots=True)
class SetVersionMask:
    """At once, for the current job too."""

    mask: int


@dataclass(frozen=True, slots=True)
class ReconnectAsked:
    """client.reconnect; `redirect` judges its parameters."""

    params: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ShowMessage:
    """Text for the operator, harmless to print."""

    text: str


@dataclass(frozen=True, slots=True)
class Complaint:
    """An error without an id, hence about no request in particular; its words are harmless to print."""

    code: int | None
    text: str


@dataclass(frozen=True, slots=True)
class VersionAsked:
    """client.get_version: `id` wants an answer."""

    id: Any


@dataclass(frozen=True, slots=True)
class Ping:
    """mining.ping: `id` wants an answer, unless it is None."""

    id: Any


@dataclass(frozen=True, slots=True)
class Unknown:
    """A method that nobody told us of; `id` wants to be told so, unless it is None."""

    method: str
    id: Any


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a request of ours, `id` as text; `accepted` is None where neither a result nor an error came."""

    id: str
    result: Any
    accepted: bool | None
    code: int | None = None
    text: str = ""

    @property
    def refused(self) -> bool:
        """Whether it carries an error, of whatever shape."""
        return self.accepted is False


Notice = (
    Notify
    | SetDifficulty
    | SetExtranonce
    | SetVersionMask
    | ReconnectAsked
    | ShowMessage
    | Complaint
    | VersionAsked
    | Ping
    | Unknown
)


# ---- reading


def read(message: Mapping[str, Any]) -> Notice | Answer:
    """What this message is; raises BadMessage."""
    method = message.get("method")
    if method is None:
        return _complaint(message) or _answer(message)
    if not isinstance(method, str):
        raise BadMessage("its method is no text")
    id_ = message.get("id")
    match method:
        case "client.get_version":
            return VersionAsked(id_)
        case "mining.ping":
            return Ping(id_)
        case "client.reconnect":
            params = message.get("params")
            return ReconnectAsked(tuple(params) if isinstance(params, list) else ())
        case _ if method in _READERS:
            params = message.get("params")
            if params is None:
                params = []
            if not isinstance(params, list):
                raise BadMessage(f"{method}: its parameters are no list")
            return _READERS[method](params)
    return Unknown(printable(method[:MAX_TEXT]), id_)


def subscribed(result: object) -> Subscribed:
    """Read the result of mining.subscribe; raises BadMessage."""
    if not isinstance(result, list) or len(result) < 3:
        raise BadMessage("mining.subscribe: its result is no list of three")
    session = _session_id(result[0])
    return Subscribed(session, *_extranonce(result[1], result[2]))


def configured(result: object) -> Configured:
    """Read the result of mining.configure; raises BadMessage. Per extension: true, false, or an error as text."""
    if not isinstance(result, dict):
        raise BadMessage("mining.configure: its result is no object")
    rolls = result.get("version-rolling") is True
    mask = result.get("version-rolling.mask")
    return Configured(
        mask=_mask(mask) if rolls and mask is not None else 0,
        version_rolling=rolls,
        minimum_difficulty=result.get("minimum-difficulty") is True,
        subscribe_extranonce=result.get("subscribe-extranonce") is True,
    )


def _answer(message: Mapping[str, Any]) -> Answer:
    """All the shapes a refusal comes in; see docs/quirks.md."""
    id_ = message.get("id")
    if isinstance(id_, float) and id_.is_integer():
        id_ = int(id_)  # proxies that pass numbers through a double
    if isinstance(id_, bool) or not isinstance(id_, (int, str)):
        raise BadMessage("an answer to nothing we asked")
    name = str(id_)[:32]
    result, error = message.get("result"), message.get("error")
    reason = message.get("reject-reason")
    if _says(error):
        return Answer(name, result, False, *_error(error))
    if reason and isinstance(reason, str) and result is not True:
        return Answer(name, result, False, None, _text(reason))
    if result is False:
        return Answer(name, result, False)
    return Answer(name, result, None if result is None else True)


def _complaint(message: Mapping[str, Any]) -> Complaint | None:
    """The error of a message without an id, None where it has an id or no error."""
    if message.get("id") is not None:
        return None
    error, reason = message.get("error"), message.get("reject-reason")
    if _says(error):
        return Complaint(*_error(error))
    return Complaint(None, _text(reason)) if reason and isinstance(reason, str) else None


def _says(error: object) -> bool:
    """Whether the error field reports one. Null, false, 0 and whatever is empty, or holds only such, do not."""
    if isinstance(error, list):
        return any(error)
    if isinstance(error, dict):
        return any(error.values())
    return bool(error)


def _error(error: object) -> tuple[int | None, str]:
    if isinstance(error, dict):
        return _code(error.get("code")), _text(error.get("message", ""))
    if isinstance(error, list):
        code, text = [*error, None, None][:2]
        if isinstance(code, str) and text is None:
            return None, _text(code)
        return _code(code), _text("" if text is None else text)
    return None, _text(error)


def _code(code: object) -> int | None:
    if isinstance(code, str) and re.fullmatch(r"-?[0-9]{1,6}", code):
        return int(code)
    return code if type(code) is int else None


def _text(text: object) -> str:
    return printable((text if isinstance(text, str) else repr(text))[:MAX_TEXT])


def _session_id(subscriptions: object) -> str | None:
    """The id beside mining.notify, or else the first; there are pairs, one flat pair (p2pool), or nothing."""
    if not isinstance(subscriptions, list):
        return None
    if subscriptions and isinstance(subscriptions[0], str):
        subscriptions = [subscriptions]
    pairs = [pair for pair in subscriptions if isinstance(pair, list) and len(pair) >= 2]
    ids = [pair[1] for pair in pairs if pair[0] == "mining.notify"] + [pair[1] for pair in pairs]
    usable = [id_ for id_ in ids if isinstance(id_, str) and 0 < spelt(id_) <= MAX_SESSION_ID]
    return usable[0] if usable else None


def _extranonce(extranonce1: object, size: object) -> tuple[bytes, int]:
    raw = _hex(extranonce1, "extranonce1", MAX_EXTRANONCE1)
    if isinstance(size, float) and size.is_integer():
        size = int(size)
    if type(size) is not int or not 1 <= size <= MAX_EXTRANONCE2:
        raise BadMessage(f"an extranonce2 has 1 to {MAX_EXTRANONCE2} bytes, not {_text(size)}")
    return bytes.fromhex(raw), size


def _notify(params: list[Any]) -> Notify:
    if len(params) < 8:
        raise BadMessage(f"mining.notify: {len(params)} parameters")
    job_id, prev_hash, coinbase1, coinbase2, branch, version, nbits, ntime = params[:8]
    if isinstance(job_id, bool) or not isinstance(job_id, (str, int)) or spelt(str(job_id)) > MAX_JOB_ID:
        raise BadMessage("mining.notify: its job id is no text of usual length")
    if isinstance(job_id, str) and UNREADABLE in job_id:
        raise BadMessage("mining.notify: its job id is in no encoding that it could be sent back in")
    if branch is None:
        branch = []
    if not isinstance(branch, list) or len(branch) > MAX_BRANCH:
        raise BadMessage(f"mining.notify: its branch is no list of up to {MAX_BRANCH}")
    return Notify(
        job_id=job_id,
        prev_hash_hex=_hex(prev_hash, "previous hash", 32, exact=True),
        coinbase1_hex=_hex(coinbase1, "coinbase", MAX_COINBASE),
        coinbase2_hex=_hex(coinbase2, "coinbase", MAX_COINBASE),
        branch_hex=_branch(branch),
        version_hex=_hex(version, "version", 4, exact=True),
        nbits_hex=_hex(nbits, "nbits", 4, exact=True),
        ntime_hex=_hex(ntime, "ntime", 4, exact=True),
        clean=params[-1] is True,  # the last one, of 8, 9 or 10; where it is no boolean, false
    )


def _set_difficulty(params: list[Any]) -> SetDifficulty:
    value = params[0] if params else None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}(?:\.[0-9]{1,18})?", value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise BadMessage("mining.set_difficulty: not a number above 0")
    return SetDifficulty(float(value))


def _set_extranonce(params: list[Any]) -> SetExtranonce:
    if len(params) < 2:
        raise BadMessage("mining.set_extranonce: two parameters are missing")
    return SetExtranonce(*_extranonce(params[0], params[1]))


def _set_version_mask(params: list[Any]) -> SetVersionMask:
    return SetVersionMask(_mask(params[0] if params else None))


def _show_message(params: list[Any]) -> ShowMessage:
    if not params or not isinstance(params[0], str):
        raise BadMessage("client.show_message: no text")
    return ShowMessage(_text(params[0]))


_READERS: Mapping[str, Callable[[list[Any]], Notice]] = MappingProxyType(
    {
        "mining.notify": _notify,
        "mining.set_difficulty": _set_difficulty,
        "mining.set_extranonce": _set_extranonce,
        "mining.set_version_mask": _set_version_mask,
        "client.show_message": _show_message,
    }
)


def _hex(value: object, what: str, size: int, *, exact: bool = False) -> str:
    """Hex digits for up to `size` bytes, as they came."""
    if not isinstance(value, str) or len(value) > 2 * size or not _is_hex(value):
        raise BadMessage(f"its {what} is no hex of {'' if exact else 'up to '}{size} bytes")
    if exact and len(value) != 2 * size:
        raise BadMessage(f"its {what} has {len(value)} digits, not {2 * size}")
    return value


def _branch(siblings: list[object]) -> tuple[str, ...]:
    """Looked at as one text, for there may be many and new work waits."""
    texts = tuple([sibling for sibling in siblings if isinstance(sibling, str) and len(sibling) == 2 * HASH_SIZE])
    if len(texts) != len(siblings) or not _is_hex("".join(texts)):
        raise BadMessage(f"its branch is no list of hex of {HASH_SIZE} bytes each")
    return texts


def _is_hex(text: str) -> bool:
    """Whether it is whole bytes in hex and nothing else; bytes.fromhex alone would skip blanks."""
    try:
        return 2 * len(bytes.fromhex(text)) == len(text)
    except ValueError:
        return False


def _mask(value: object) -> int:
    match = _MASK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise BadMessage("a version mask is up to 8 hex digits")
    return int(match[1], 16)
