"""Which kind of pool the virtual pool is: every choice that real pools make differently, as frozen values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Self

from tests.virtual.pool_judge import Reason, Rolling
from tests.virtual.pool_work import PAYOUT_SCRIPT, UNREACHABLE_NBITS, Layout

BIP320_MASK = 0x1FFFE000
EASY = 2.0**-24  # 256 hashes a share


class Reask(Enum):
    """What a second mining.configure meets."""

    HONOUR = auto()  # the mask asked for, narrowed by the pool's own
    SAME = auto()  # answered as the first was, whatever it asks for: ckpool
    REFUSE = auto()  # an error
    SILENCE = auto()


class ErrorShape(Enum):
    """How a pool says no."""

    LIST = auto()  # result null, error [code, text, null]
    OBJECT = auto()  # JSON-RPC 2: error {code, message, data}, no result at all
    STRING = auto()  # result false, error "text"
    REASON = auto()  # ckpool: result false, error null, reject-reason "text"
    BARE = auto()  # result false, error null, nothing else

    def answer(self, identity: object, code: int, text: str) -> dict[str, Any]:
        match self:
            case ErrorShape.LIST:
                return {"id": identity, "result": None, "error": [code, text, None]}
            case ErrorShape.OBJECT:
                error = {"code": code, "message": text, "data": None}
                return {"jsonrpc": "2.0", "id": identity, "error": error}
            case ErrorShape.STRING:
                return {"id": identity, "result": False, "error": text}
            case ErrorShape.REASON:
                return {"reject-reason": text, "result": False, "error": None, "id": identity}
            case ErrorShape.BARE:
                return {"id": identity, "result": False, "error": None}


class Ids(Enum):
    """What becomes of a request's id in its answer."""

    AS_SENT = auto()
    TEXT = auto()
    FLOAT = auto()

    def __call__(self, identity: Any) -> Any:
        if type(identity) is not int or self is Ids.AS_SENT:
            return identity
        return str(identity) if self is Ids.TEXT else float(identity)


class Resume(Enum):
    """What subscribing with an earlier session's id brings."""

    SAME_EXTRANONCE = auto()
    NEW_EXTRANONCE = auto()  # as if there had been no id
    REFUSE = auto()  # an error: one parameter only


class Suggested(Enum):
    """What mining.suggest_difficulty brings."""

    HONOUR = auto()
    IGNORE = auto()  # true, and nothing happens
    COMPLAIN = auto()  # an error with id null


class WorkFrom(Enum):
    """The answer around which difficulty and first job come."""

    BEFORE_SUBSCRIBED = auto()  # both arrive before the answer to subscribe
    SUBSCRIBED = auto()
    AUTHORIZED = auto()


@dataclass(frozen=True, slots=True)
class Vardiff:
    """A difficulty for each client that brings a share every `interval_s` in the mean of `window` shares."""

    interval_s: float = 1.0
    window: int = 8
    minimum: float = 2.0**-32
    maximum: float = 2.0**20
    step: float = 4.0  # the most by which one change multiplies or divides


@dataclass(frozen=True, slots=True)
class Delivery:
    """How lines get onto the wire."""

    piece: int | None = None  # so many bytes to a write, the event loop turning between two
    gather: int = 1  # so many lines in one write; a lone line waits `gather_s` for company
    gather_s: float = 0.02
    line_end: bytes = b"\n"
    ids: Ids = Ids.AS_SENT
    version2: bool = False  # "jsonrpc": "2.0" in every message

    def line(self, message: Mapping[str, Any]) -> bytes:
        whole = {"jsonrpc": "2.0", **message} if self.version2 else message
        return json.dumps(whole).encode() + self.line_end  # NaN and Infinity come out as such


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A pool's habits; what is here by default every client should find easy."""

    # Version rolling
    rolling: Rolling | None = Rolling.REPLACE  # None: an extension the pool does not know
    mask: int = BIP320_MASK
    reask: Reask = Reask.HONOUR
    # Sessions
    users: Mapping[str, str] | None = None  # user: password; None: anybody
    null_authorized: bool = False  # p2pool: result null, error null
    extranonce1_size: int = 4
    extranonce2_size: int = 4
    flat_subscriptions: bool = False  # p2pool: one pair in the place of a list of pairs
    resume: Resume = Resume.SAME_EXTRANONCE
    work_from: WorkFrom = WorkFrom.AUTHORIZED
    line_limit: int = 1024  # ckpool drops who sends a longer one
    # Difficulty
    difficulty: float = EASY
    vardiff: Vardiff | None = None
    suggested: Suggested = Suggested.HONOUR
    applies_at_once: bool = False  # a new difficulty judges shares of old jobs too
    # Work
    version: int = 0x20000000
    nbits: int = UNREACHABLE_NBITS
    branches: int = 3
    payout_script: bytes = PAYOUT_SCRIPT
    layout: Layout = Layout.SCRIPT
    notify_params: int = 9  # 8: no flag; 10: ntime twice
    ntime_ahead_s: int = 7000  # how far before the pool's clock ntime may be: ckpool's figure
    every_s: float | None = None  # a job so often; None: only on the test's word
    clean_every: int = 4  # of those, each fourth has a new parent
    # Words
    error_shape: ErrorShape = ErrorShape.LIST
    no_error: Any = None  # what stands in the error field of a good answer
    delivery: Delivery = Delivery()

    @classmethod
    def of_layout(cls, layout: Layout, **changes: Any) -> Self:
        """A pool of this layout, with extranonces of the sizes that the pools named there use."""
        sizes = {Layout.SEQUENCE: (1, 8), Layout.OUTPUT: (4, 8), Layout.LAST: (0, 8)}
        extranonce1_size, extranonce2_size = sizes.get(layout, (4, 4))
        return cls(layout=layout, extranonce1_size=extranonce1_size, extranonce2_size=extranonce2_size, **changes)

    def refusal(self, identity: object, reason: Reason) -> dict[str, Any]:
        return self.error_shape.answer(identity, reason.code, reason.text)

    def notify(self, params: list[Any]) -> list[Any]:
        match self.notify_params:
            case 8:
                return params[:8]
            case 10:
                return [*params[:8], params[7], params[8]]
            case _:
                return params
