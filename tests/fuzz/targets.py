"""What untrusted bytes reach, one function for each parser: whatever the bytes, nothing but what is promised comes out.

Each takes bytes and asserts; an exception that escapes is a finding. SEEDS are what a fuzzer begins with.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miner.chain.network import Network
from miner.config.pool_url import PoolUrl, PoolUrlError, without_credentials
from miner.power import reading
from miner.power.digest import Challenge, Login
from miner.power.energy import MOST_W
from miner.power.errors import PowerError
from miner.power.mqtt import Value
from miner.power.reading import Sample
from miner.power.shelly import Shelly
from miner.power.tasmota import Tasmota
from miner.power.web import Web
from miner.sources.base import SourceMisbehaved, SourceMisconfigured
from miner.sources.node.template import TemplateReader
from miner.sources.stratum.coinbase import PoolCoinbase, read_coinbase
from miner.sources.stratum.effects import Leave, Say
from miner.sources.stratum.errors import BadLine, OddCoinbase
from miner.sources.stratum.lines import MAX_OWN_LINE, decode
from miner.sources.stratum.redirect import MAX_WAIT_S, Redirect, Redirector
from miner.work.events import NewJob
from miner.work.share import Share
from tests.sources.node.templates import core, transaction
from tests.sources.stratum.talk import Table, easy, line, notice, notify, share_of
from tests.virtual.pool_faults import BAD_DIFFICULTIES, GARBAGE, HOSTILE_RECONNECTS
from tests.virtual.pool_work import PAYOUT_SCRIPT, Chain, Layout

VECTORS = Path(__file__).resolve().parents[1] / "vectors" / "protocol.json"
CONVERSATIONS = VECTORS.with_name("pools.json")
SECRET = "hunter-two-of-nine"  # nothing may repeat it
HELD = 2 << 20  # bytes of a conversation that may wait in memory


def conversation(data: bytes) -> None:
    """A pool's bytes in any pieces, before or after the handshake (by the first byte; the second says which pieces)."""
    state, piece, data = data[:1], (data[1:2] or b"\0")[0] + 1, data[2:]
    table = Table()
    if state < b"\x80":
        table.join()
    else:
        table.connect()
    for start in range(0, len(data), piece):
        table.say(data[start : start + piece])
        _check_words(table)
        if table.left is not None:
            break
    table.tick(1.0)
    table.tick(400.0)
    _check_words(table)
    for effect in table.effects:
        if isinstance(effect, NewJob):
            _check_job(effect)
        elif isinstance(effect, Say):
            assert _is_tame(effect.fields), effect
        elif isinstance(effect, Leave):
            assert effect.text.isprintable(), effect
    assert len(table.effects) <= 64 + 8 * data.count(b"\n")


def _check_words(table: Table) -> None:
    """What we say is one object a line, short, and answered to no one but the pool; memory stays bounded."""
    connection = table.pool._connection
    assert connection is None or connection.client.held < HELD
    for text in table.pool.data_to_send().splitlines(keepends=True):
        assert len(text) <= MAX_OWN_LINE
        assert isinstance(json.loads(text), dict)


def _check_job(effect: NewJob) -> None:
    job = effect.job
    assert job.version & job.version_mask == 0
    assert job.ntime <= job.ntime_limit < 1 << 32
    assert 0 < job.share_target < 1 << 256
    assert 0 < job.network_target < 1 << 256
    assert len(job.prev_hash) == 32
    assert job.key.isprintable()


def _is_tame(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_is_tame, value.values()))
    return not isinstance(value, str) or (value.isprintable() and len(value) <= 4096)


_FOUND: list[Share] = []  # looked for once


def answers(data: bytes) -> None:
    """The answer to a share, without its id: the share is answered once, now or when it is given up."""
    table = Table()
    table.join()
    job = easy(table)
    if not _FOUND:
        _FOUND.append(share_of(job))
    (found,) = _FOUND
    share = Share(
        found.id, job, "cpu", found.extranonce2, found.nonce, version=found.version, ntime=found.ntime, hash=found.hash,
        block=False, stale=False, found_at=0.0,
    )  # fmt: skip
    (request,) = table.submit(share)
    table.say(b'{"id":%d,' % request["id"] + data.replace(b"\n", b" ") + b"}\n")
    assert len(table.answers) <= 1
    table.tick(130.0)
    table.hang_up()
    table.join(session=None)
    assert len(table.answers) == 1
    assert table.answers[0].share_id == share.id
    assert table.answers[0].text.isprintable()
    assert len(table.answers[0].text) <= 1024


def coinbase(data: bytes) -> None:
    """A pool's coinbase behind the place of its extranonces: two bytes of where they begin, one of their length.

    A payout that counts is there whatever a share writes into the extranonces.
    """
    start, size, raw = int.from_bytes(data[:2], "big"), (data[2:3] or b"\0")[0], data[3:]
    end = start + size
    if end > len(raw):
        return
    told = _coinbase_with(raw, start, bytes(size))
    other = _coinbase_with(raw, start, b"\xff" * size)
    for value, script in told.outputs if told is not None else ():
        if value:
            assert other is not None
            assert other.pays(script)
            assert other.height == told.height


def _coinbase_with(raw: bytes, start: int, extranonces: bytes) -> PoolCoinbase | None:
    end = start + len(extranonces)
    try:
        return read_coinbase(raw[:start] + extranonces + raw[end:], start, end)
    except OddCoinbase:
        return None


def template(data: bytes) -> None:
    """A node's answer to getblocktemplate."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return
    reader = TemplateReader(Network.REGTEST)
    try:
        read = reader.read(answer)
        reader.audit(read)
    except (SourceMisbehaved, SourceMisconfigured):
        return
    assert len(read.prev_hash) == 32
    assert read.height >= 0


def urls(data: bytes) -> None:
    """An operator's URL, and a pool's wish to be reached elsewhere."""
    text = data.decode(errors="surrogateescape")
    try:
        url = PoolUrl.parse(text)
        told = f"{url} {url!r}"
    except PoolUrlError as error:
        told = str(error)
    before, _, after = text.partition(SECRET)
    if ":" in before and "@" in after and SECRET not in after:  # elsewhere it stands for a scheme or a host
        assert SECRET not in told
    if SECRET not in text:
        assert SECRET not in without_credentials(f"stratum+tcp://user:{SECRET}@{text}")
    try:
        message = decode(b'{"params":' + data + b"}")
    except BadLine:
        return
    decision = Redirector("pool.example.com", 3333).judge(message.get("params"), 3333, 0.0)
    if isinstance(decision, Redirect):
        assert decision.host == "pool.example.com" or decision.host.endswith(".pool.example.com")
        assert 0 < decision.port < 1 << 16
        assert 0 <= decision.wait_s <= MAX_WAIT_S
    else:
        assert decision.text.isprintable()


class _Told(Web):
    """A meter's web page that says what the fuzzer says."""

    def __init__(self, *pages: bytes) -> None:
        super().__init__("desk", "127.0.0.1", 1, None)
        self._pages = list(pages)

    def get(self, path: str, deadline: float) -> Any:
        del path, deadline
        return reading.decoded(self._pages.pop(0), self.who)


def meters(data: bytes) -> None:
    """What a wall meter answers, and how it asks for a password."""

    def published() -> Sample:
        said = reading.decoded(data, "shelf")
        return Sample(0.0, reading.watts(Value("ENERGY.Power").found_in(said, "shelf"), "shelf"))

    for read in (
        lambda: Shelly(_Told(b'{"gen": 2}', data), None).read(1.0),
        lambda: Shelly(_Told(b'{"type": "SHEM-3"}', data), 1).read(1.0),
        lambda: Tasmota(_Told(data), None, None).read(1.0),
        published,
    ):
        try:
            sample = read()
        except PowerError as error:
            told = str(error)
        else:
            told = "desk"
            assert sample.watts is not None
            assert 0 <= sample.watts <= 64 * MOST_W
            assert all(counter.joules >= 0 for counter in sample.counters)
        assert told.isprintable()
        assert len(told) < 200
    try:
        answer = Challenge.parse(data.decode("latin-1")).answer(Login("admin", SECRET), "/status", count=1, cnonce="c")
    except PowerError:
        return
    assert SECRET not in answer
    assert "\n" not in answer


@dataclass(frozen=True, slots=True)
class Target:
    """One parser, what to begin with, and words that random bytes would not find."""

    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[str, ...]


def _vectors(section: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(VECTORS.read_text())[section]
    return entries


def _lines() -> tuple[bytes, ...]:
    told = [str(entry["line"]).encode() + b"\n" for entry in _vectors("stratum_v1_messages") if "line" in entry]
    told += [line.encode() + b"\n" for line in _told()]
    told += [*GARBAGE, notify(), notify(clean=True) + notify("2"), line(id=2, result=[[], "08000002", 4], error=None)]
    told += [notice("mining.set_difficulty", each) for each in BAD_DIFFICULTIES]
    told += [notice("client.reconnect", *each) for each in HOSTILE_RECONNECTS]
    told += [notice("mining.set_extranonce", "ab", 4) + notify("3"), notice("mining.set_version_mask", "00006000")]
    return tuple(bytes([state, 250]) + each[:4000] for each in told for state in (0, 255))


def _told() -> list[str]:
    """The lines of large pools."""
    told: list[dict[str, Any]] = json.loads(CONVERSATIONS.read_text("utf-8"))["conversations"]
    return [str(each) for conversation in told for each in conversation["lines"]]


def _coinbases() -> tuple[bytes, ...]:
    """The coinbases of large pools, and those of every layout; a pool's extranonces are taken to have ten bytes."""
    size = 10
    params = [message["params"] for message in map(json.loads, _told()) if message.get("method") == "mining.notify"]
    halves = [(bytes.fromhex(each[2]), bytes.fromhex(each[3])) for each in params]
    for layout in Layout:
        made = Chain().template(
            clean=True, ntime=1, version=2, nbits=0, branches=0, payout_script=PAYOUT_SCRIPT, layout=layout
        )
        halves.append((bytes.fromhex(made.params(size)[2]), bytes.fromhex(made.params(size)[3])))
    return tuple(len(head).to_bytes(2, "big") + bytes([size]) + head + bytes(size) + tail for head, tail in halves)


def _urls() -> tuple[bytes, ...]:
    told = [
        f"stratum+tls://user:{SECRET}@pool.example:3333",
        f"stratum+tls://{SECRET}:3333",
        "rpc+http://[::1]:8332/wallet",
        "embedded:",
        "http://x",
        '["pool.example.s\u07b5m", -1, 5]',
    ]
    told += [json.dumps(entry["params"]) for entry in _vectors("stratum_v1_reconnect") if "params" in entry]
    return tuple(each.encode() for each in told) + tuple(json.dumps(each).encode() for each in HOSTILE_RECONNECTS)


TARGETS: dict[str, Target] = {
    "conversation": Target(
        conversation,
        _lines(),
        ("mining.notify", "mining.set_difficulty", "mining.set_extranonce", "client.reconnect", '"params"', '"method"'),
    ),
    "answers": Target(
        answers,
        (
            b'"result":true,"error":null',
            b'"result":null,"error":[23,"Low difficulty share",null]',
            b'"result":false,"error":null,"reject-reason":"Stale"',
            b'"error":{"code":24,"message":"Unauthorized","data":{}}',
            b'"result":false,"error":"Duplicate share"',
            b'"result":true,"error":[]',
            b'"result":true,"error":{"code":0,"message":""}',
            b'"result":null,"error":[23,"\xd5\x5c",null]',
        ),
        ('"result"', '"error"', '"reject-reason"', '"code"', '"message"', "1e999", "NaN"),
    ),
    "coinbase": Target(coinbase, _coinbases(), ()),
    "template": Target(
        template,
        (
            json.dumps(core()).encode(),
            json.dumps(core(transaction(1), transaction(2, segwit=True))).encode(),
            json.dumps(core(coinbaseaux={"flags": "00"}, rules=["!unheard-of"])).encode(),
        ),
        ('"transactions"', '"default_witness_commitment"', '"coinbasevalue"', '"longpollid"', '"depends"'),
    ),
    "meters": Target(
        meters,
        (
            b'{"switch:0":{"apower":8.9,"aenergy":{"total":6.5}},"em:0":{"total_act_power":1},"emdata:0":{"total_act":2}}',
            b'{"emeters":[{"power":1,"total":2,"is_valid":true},{"power":3,"total":4}],"meters":[{"power":5,"total":6}]}',
            b'{"StatusSNS":{"ENERGY":{"Power":[1,2],"Total":[0.1,2]}},"ENERGY":{"Power":5},"WARNING":"Need user"}',
            b'Digest qop="auth", realm="shelly", nonce="17", algorithm=SHA-256',
        ),
        (
            '"apower"',
            '"aenergy"',
            '"emeters"',
            '"StatusSNS"',
            '"ENERGY"',
            '"Power"',
            "1e999",
            "NaN",
            "Basic ",
            "nonce=",
        ),
    ),
    "urls": Target(
        urls, _urls(), ("stratum+tcp://", "stratum+tls://", "rpc+http://", "pool.example.com", "%2F", "xn--")
    ),
}
