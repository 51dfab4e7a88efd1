"""A block template, read strictly: what getblocktemplate answered, as a frozen value or a reason not to mine it.

Reading is split in two, because a new tip costs money while it waits. `read` checks every field that a header needs,
sizes and the arithmetic between them. `audit` then parses the transactions themselves. Both remember those of the last
template, since one template is mostly the last one.
Sources: BIP 22 and 23 (fields), BIP 9 (rules, vbavailable), BIP 145 (segwit), BIP 325 (signet).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from miner.chain.commitment import is_commitment, witness_commitment
from miner.chain.errors import ChainError
from miner.chain.hashes import display, from_display
from miner.chain.header import ROLLABLE
from miner.chain.network import Network
from miner.chain.subsidy import MAX_MONEY
from miner.chain.transaction import MAX_WEIGHT, Transaction
from miner.printable import printable
from miner.sources.base import SourceMisbehaved, SourceMisconfigured
from miner.sources.solo import AHEAD_S

KNOWN_RULES = frozenset({"csv", "segwit", "taproot", "signet"})
TIME_DECIDES_BITS = frozenset({Network.TESTNET3, Network.TESTNET4})  # after 20 minutes any difficulty will do
TRANSACTION_WEIGHT_FLOOR = 4 * 60  # no transaction is lighter
_MAX_TRANSACTIONS = MAX_WEIGHT // TRANSACTION_WEIGHT_FLOOR
_MAX_AUX = 60  # bytes: height, extranonce and tag want room in a script of 100
_OP_TRUE = "51"
_LAST_TIME = (1 << 32) - 1
_LAST_HEIGHT = 499_999_999  # above it a coinbase's locktime would be a time
_MAX_NAMES = 64


class TemplateError(SourceMisbehaved):
    """The template contradicts itself or the protocol: it must not be mined."""


class RuleUnknown(SourceMisconfigured):
    """The chain enforces a rule that this miner does not know: its blocks would be refused."""


class TemplateTransaction(NamedTuple):  # thousands at once, and a dataclass takes three times as long
    """One transaction of a template. Only what a header needs is decoded; the rest is as the node spelled it."""

    data: str  # hex, with witness
    txid: bytes  # header order
    wtxid: str  # hex, display order
    weight: int  # at most; exact where the node says it


@dataclass(frozen=True, slots=True)
class Template:
    """What a block on top of `prev_hash` may be. Hashes in header order, times in Unix seconds, values in satoshi."""

    version: int  # 32 raw bits
    version_mask: int  # what may be rolled; version & version_mask == 0
    prev_hash: bytes
    height: int
    nbits: int
    target: int
    curtime: int  # where ntime starts: never before mintime
    ntime_limit: int  # where it ends: what the bits are good for, and no node calls the future
    coinbase_value: int
    aux: bytes
    transactions: tuple[TemplateTransaction, ...]
    segwit: bool  # whether the coinbase carries a commitment and a witness
    commitment: bytes | None  # the node's own, None where it sent none
    weight_limit: int
    longpoll_id: str | None
    can_propose: bool

    def own_commitment(self) -> bytes:
        """The witness commitment as we compute it, to be compared with the node's."""
        return witness_commitment([from_display(entry.wtxid) for entry in self.transactions])


class TemplateReader:
    """Reads one answer of getblocktemplate after another from one node.

    Keeps the transactions of the last template only, so memory stays that of a few templates however long the miner
    runs. `read` and `audit` may run in different threads.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._known: Mapping[tuple[str, str], TemplateTransaction] = {}
        self._sound: frozenset[TemplateTransaction] = frozenset()

    def read(self, answer: object) -> Template:
        """Check one answer's fields.

        Raises TemplateError for what breaks the protocol or contradicts itself, RuleUnknown for a rule unknown here.
        """
        fields = _Fields(answer)
        rules = fields.names("rules")
        _refuse_unknown(rules, fields)
        nbits = int.from_bytes(fields.hex("bits", 4), "big")
        try:
            target = self._network.block_target(nbits).value
            prev_hash = from_display(fields.text("previousblockhash", 64))
        except ChainError as error:
            raise TemplateError(f"template: {error}") from error
        if fields.has("target") and int.from_bytes(fields.hex("target", 32), "big") != target:
            raise TemplateError(f"template: target is not what bits {nbits:08x} stand for")
        curtime = fields.integer("curtime", 1, _LAST_TIME)
        mintime = fields.integer("mintime", 0, _LAST_TIME) if fields.has("mintime") else curtime
        if mintime > curtime:
            raise TemplateError(f"template: mintime {mintime} lies after curtime {curtime}")
        version = fields.integer("version", -(1 << 31), _LAST_TIME) & 0xFFFFFFFF
        weight_limit = fields.integer("weightlimit", 4000, MAX_WEIGHT) if fields.has("weightlimit") else MAX_WEIGHT
        segwit = any(rule.lstrip("!") == "segwit" for rule in rules)
        commitment = None
        if segwit and fields.has("default_witness_commitment"):
            commitment = fields.hex("default_witness_commitment")
            if not is_commitment(commitment):
                raise TemplateError("template: default_witness_commitment is no commitment")
        return Template(
            version=version,
            version_mask=ROLLABLE & ~version & ~_signalling(fields),
            prev_hash=prev_hash,
            height=fields.integer("height", 1, _LAST_HEIGHT),
            nbits=nbits,
            target=target,
            curtime=curtime,
            ntime_limit=curtime if self._network in TIME_DECIDES_BITS else min(curtime + AHEAD_S, _LAST_TIME),
            coinbase_value=fields.integer("coinbasevalue", 0, MAX_MONEY),
            aux=_auxiliary(fields),
            transactions=self._transactions(fields, weight_limit),
            segwit=segwit,
            commitment=commitment,
            weight_limit=weight_limit,
            longpoll_id=fields.text("longpollid", 256) if fields.has("longpollid") else None,
            can_propose="proposal" in fields.names("capabilities"),
        )

    def audit(self, template: Template) -> None:
        """Parse what is new since the last call; raises TemplateError for what is not as the node says."""
        try:
            for entry in template.transactions:
                if entry not in self._sound:
                    _check_transaction(entry, segwit=template.segwit)
            if template.commitment not in (None, template.own_commitment()):
                raise TemplateError("template: default_witness_commitment does not commit to its transactions")
        except SourceMisbehaved:
            self._known = {}  # the node may send the same ids with other data next
            raise
        except ChainError as error:
            raise TemplateError(f"template: {error}") from error
        self._sound = frozenset(template.transactions)

    def _transactions(self, fields: _Fields, weight_limit: int) -> tuple[TemplateTransaction, ...]:
        entries = fields.raw("transactions")
        if not isinstance(entries, list) or len(entries) > _MAX_TRANSACTIONS:
            raise TemplateError(f"template: transactions is not a list of at most {_MAX_TRANSACTIONS}")
        known, now_known = self._known, {}
        for entry in entries:
            if not isinstance(entry, dict):
                raise TemplateError("template: a transaction is not an object")
            txid, wtxid = entry.get("txid"), entry.get("hash")
            if not isinstance(txid, str) or not isinstance(wtxid, str):
                raise TemplateError("template: a transaction without txid and hash")
            # What we decoded last time is as good as what the node would have us decode again.
            now_known[txid, wtxid] = known.get((txid, wtxid)) or _transaction(entry, txid, wtxid)
        if len(now_known) != len(entries):
            raise TemplateError("template: a transaction stands in it twice")
        transactions = tuple(now_known.values())
        weight = sum(entry.weight for entry in transactions)
        if weight >= weight_limit:
            raise TemplateError(f"template: its transactions weigh {weight}, a block may weigh {weight_limit}")
        self._known = now_known
        return transactions


def _check_transaction(entry: TemplateTransaction, *, segwit: bool) -> None:
    try:
        parsed = Transaction.parse(_hex(entry.data, f"data of {display(entry.txid)}"))
    except ChainError as error:
        raise TemplateError(f"template: transaction {display(entry.txid)}: {error}") from error
    if (parsed.txid, parsed.wtxid) != (entry.txid, from_display(entry.wtxid)):
        raise TemplateError(f"template: the data of {display(entry.txid)} hashes to something else")
    if parsed.has_witness and not segwit:
        raise TemplateError(f"template: {display(entry.txid)} has a witness, but segwit is not among the rules")
    if parsed.weight > entry.weight:
        raise TemplateError(f"template: {display(entry.txid)} weighs {parsed.weight}, not {entry.weight}")


class _Fields:
    """The answer's fields, each asked for with its type and bounds."""

    def __init__(self, answer: object) -> None:
        if not isinstance(answer, dict):
            raise TemplateError("template: not an object")
        self._values: Mapping[str, Any] = answer

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def raw(self, name: str) -> Any:
        if not self.has(name):
            raise TemplateError(f"template: {name} is missing")
        return self._values[name]

    def integer(self, name: str, least: int, most: int) -> int:
        return _integer(self.raw(name), name, least, most)

    def text(self, name: str, most: int) -> str:
        value = self.raw(name)
        if not isinstance(value, str) or len(value) > most:
            raise TemplateError(f"template: {name} is not a text of at most {most} characters")
        return value

    def hex(self, name: str, size: int | None = None) -> bytes:
        return _hex(self.raw(name), name, size)

    def names(self, name: str) -> list[str]:
        value = self.raw(name) if self.has(name) else []
        if not isinstance(value, list) or len(value) > _MAX_NAMES:
            raise TemplateError(f"template: {name} is not a short list")
        if not all(isinstance(entry, str) and len(entry) <= 64 for entry in value):
            raise TemplateError(f"template: {name} holds something else than names")
        return value


def _integer(value: object, name: str, least: int, most: int) -> int:
    # bool is an int to Python, and 1e400 or NaN arrive as Decimal or float: none of them is an integer of JSON.
    if type(value) is not int or not least <= value <= most:
        shown = str(value) if type(value) is int and value.bit_length() < 128 else f"a {type(value).__name__}"
        raise TemplateError(f"template: {name} is {shown}, not an integer from {least} to {most}")
    return value


def _hex(value: object, name: str, size: int | None = None) -> bytes:
    if not isinstance(value, str) or len(value) > 2 * MAX_WEIGHT:
        raise TemplateError(f"template: {name} is not hex")
    try:
        decoded = bytes.fromhex(value)
    except ValueError as error:
        raise TemplateError(f"template: {name} is not hex") from error
    if 2 * len(decoded) != len(value) or (size is not None and len(decoded) != size):
        raise TemplateError(f"template: {name} has {len(value)} hex digits, not {2 * (size or len(decoded))}")
    return decoded


def _refuse_unknown(rules: list[str], fields: _Fields) -> None:
    unknown = sorted(rule for rule in rules if rule.startswith("!") and rule[1:] not in KNOWN_RULES)
    if unknown:
        raise RuleUnknown(unknown_rule(printable(", ".join(unknown))))
    if fields.has("signet_challenge") and fields.text("signet_challenge", 20_000) != _OP_TRUE:
        raise RuleUnknown(
            "blocks of this signet must be signed, and no signer is configured: only its signers can mine it"
        )


def unknown_rule(names: str) -> str:
    """The sentence for an operator whose chain has moved on."""
    return f"the node's chain enforces {names}, which this miner does not know: update it, or mine elsewhere"


def _signalling(fields: _Fields) -> int:
    """Version bits that deployments use or ask for (BIP 9): not ours to roll."""
    bits = fields.integer("vbrequired", 0, _LAST_TIME) if fields.has("vbrequired") else 0
    if fields.has("vbavailable"):
        available = fields.raw("vbavailable")
        if not isinstance(available, dict) or len(available) > 32:
            raise TemplateError("template: vbavailable is not a short object")
        for bit in available.values():
            bits |= 1 << _integer(bit, "a bit of vbavailable", 0, 28)
    return bits


def _auxiliary(fields: _Fields) -> bytes:
    if not fields.has("coinbaseaux"):
        return b""
    values = fields.raw("coinbaseaux")
    if not isinstance(values, dict) or len(values) > 16:
        raise TemplateError("template: coinbaseaux is not a short object")
    joined = b"".join(_hex(value, f"coinbaseaux {str(name)[:20]!r}") for name, value in values.items())
    if len(joined) > _MAX_AUX:
        raise TemplateError(f"template: coinbaseaux has {len(joined)} bytes, the coinbase has room for {_MAX_AUX}")
    return joined


def _transaction(entry: Mapping[str, Any], txid: str, wtxid: str) -> TemplateTransaction:
    data, weight = entry.get("data"), entry.get("weight")
    if not isinstance(data, str):
        raise TemplateError("template: a transaction without data")
    if weight is None:
        weight = 2 * len(data)  # if all of it were stripped
    elif type(weight) is not int or not 0 < weight <= MAX_WEIGHT:
        raise TemplateError(f"template: the weight of a transaction is not an integer from 1 to {MAX_WEIGHT}")
    try:
        return TemplateTransaction(data, from_display(txid), wtxid, weight)
    except ChainError as error:
        raise TemplateError(f"template: a transaction without a sound txid: {error}") from error
