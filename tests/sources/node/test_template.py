from __future__ import annotations

import gc
import tracemalloc
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.hashes import from_display
from miner.chain.network import Network
from miner.sources.base import SourceError
from miner.sources.node.assembly import assemble
from miner.sources.node.template import RuleUnknown, Template, TemplateError, TemplateReader
from tests.sources.node.templates import NOW, TIP, bcoin, core, transaction, without


def read(answer: object, network: Network = Network.REGTEST) -> Template:
    return TemplateReader(network).read(answer)


def look(answer: object) -> None:
    """Everything that is ever done with an answer."""
    reader = TemplateReader(Network.REGTEST)
    template = reader.read(answer)
    reader.audit(template)
    assemble(template, b"\x51", b"tag").proposal()


def test_what_bitcoin_core_says_is_read_as_it_is_meant() -> None:
    first, second = transaction(1), transaction(2, segwit=True)
    template = read(core(first, second))
    assert template.prev_hash == from_display(TIP)
    assert (template.version, template.version_mask) == (0x20000000, 0x1FFFE000)
    assert (template.height, template.nbits, template.coinbase_value) == (101, 0x207FFFFF, 5_000_000_000)
    assert (template.curtime, template.ntime_limit) == (NOW, NOW + 600)
    assert [each.txid for each in template.transactions] == [from_display(each["txid"]) for each in (first, second)]
    assert template.longpoll_id == TIP + "7"
    assert template.segwit and template.can_propose
    look(core(first, second))


@pytest.mark.golden("gbt")
def test_recorded_templates_are_read_and_found_sound(vector: dict[str, Any]) -> None:
    answer = {"rules": ["csv", "!segwit", "taproot"]} | vector["template"]  # one recording was cut
    reader = TemplateReader(Network.REGTEST)
    template = reader.read(answer)
    reader.audit(template)
    assert template.commitment == template.own_commitment() == bytes.fromhex(vector["witness_commitment_script"])


def test_the_template_of_bcoin_is_read_with_its_flags() -> None:
    template = read(bcoin(segwit=True))
    assert template.aux == b"mined by bcoin"
    assert template.segwit
    assert template.version_mask == 0x1FFFE000
    look(bcoin(segwit=True))


def test_a_commitment_without_the_rule_segwit_is_not_used() -> None:
    template = read(bcoin(segwit=False))
    assert not template.segwit
    assert template.commitment is None
    assert not assemble(template, b"\x51", b"").coinbase.segwit
    look(bcoin(segwit=False))


def test_a_witness_without_the_rule_segwit_is_refused() -> None:
    with pytest.raises(TemplateError, match="segwit is not among the rules"):
        look(bcoin(transaction(1, segwit=True), segwit=False))


def test_bits_that_deployments_signal_with_are_not_rolled() -> None:
    template = read(core(version=0x20002000, vbavailable={"a": 14, "b": 28}, vbrequired=1 << 15))
    assert template.version & template.version_mask == 0
    assert template.version_mask == 0x1FFFE000 & ~(1 << 13 | 1 << 14 | 1 << 15 | 1 << 28)


def test_a_negative_version_is_its_32_bits() -> None:
    assert read(core(version=-1)).version == 0xFFFFFFFF


@pytest.mark.parametrize(("network", "bits"), [(Network.TESTNET3, "1d00ffff"), (Network.TESTNET4, "1d00ffff")])
def test_where_the_time_decides_the_bits_the_time_is_not_rolled(network: Network, bits: str) -> None:
    template = read(without(core(bits=bits), "target"), network)
    assert template.ntime_limit == template.curtime


def test_times_never_run_out_of_32_bits() -> None:
    last = (1 << 32) - 1
    assert read(core(curtime=last)).ntime_limit == last


@pytest.mark.parametrize(
    "name",
    ["target", "mintime", "longpollid", "capabilities", "coinbaseaux", "vbavailable", "vbrequired", "weightlimit"],
)
def test_what_older_nodes_leave_out_may_be_missing(name: str) -> None:
    look(without(core(), name))


@pytest.mark.parametrize(
    "name", ["version", "previousblockhash", "transactions", "coinbasevalue", "curtime", "bits", "height"]
)
def test_what_a_header_needs_must_be_there(name: str) -> None:
    for answer in (without(core(), name), core(**{name: None})):
        with pytest.raises(TemplateError, match=name):
            read(answer)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"bits": "207ffffe"}, "target is not what bits"),
        ({"target": "0" * 64}, "target"),
        ({"target": "7fffff"}, "target has 6 hex digits, not 64"),
        ({"bits": "20ffffff"}, "negative"),
        ({"bits": "00000000"}, "zero"),
        ({"bits": "ff123456"}, "256 bits"),
        ({"bits": "217fffff"}, "256 bits|easier"),
        ({"bits": "207fff"}, "bits"),
        ({"bits": "207f ff "}, "bits"),
        ({"bits": 0x207FFFFF}, "bits is not hex"),
        ({"bits": "-07fffff"}, "bits is not hex"),
        ({"mintime": NOW + 1}, "mintime"),
        ({"curtime": -1}, "curtime"),
        ({"curtime": 1 << 32}, "curtime"),
        ({"curtime": float("nan")}, "curtime is a float"),
        ({"curtime": Decimal("1.7e9")}, "curtime is a Decimal"),
        ({"curtime": True}, "curtime is a bool"),
        ({"height": 0}, "height"),
        ({"height": 10**400}, "height is a int"),
        ({"height": 500_000_000}, "height"),
        ({"coinbasevalue": -1}, "coinbasevalue"),
        ({"coinbasevalue": 21_000_001 * 100_000_000}, "coinbasevalue"),
        ({"coinbasevalue": "5000000000"}, "coinbasevalue is a str"),
        ({"version": 1 << 32}, "version"),
        ({"version": [[[]]]}, "version is a list"),
        ({"previousblockhash": TIP[:-2]}, "64 hex"),
        ({"previousblockhash": "x" * 64}, "hash"),
        ({"previousblockhash": None}, "missing"),
        ({"longpollid": "x" * 300}, "longpollid"),
        ({"longpollid": 7}, "longpollid"),
        ({"weightlimit": 4_000_001}, "weightlimit"),
        ({"weightlimit": 3999}, "weightlimit"),
        ({"rules": "segwit"}, "rules"),
        ({"rules": ""}, "rules"),
        ({"rules": [5]}, "rules"),
        ({"rules": ["x" * 65]}, "rules"),
        ({"rules": ["x"] * 65}, "rules"),
        ({"vbavailable": {"x": 29}}, "vbavailable"),
        ({"vbavailable": {"x": -1}}, "vbavailable"),
        ({"vbavailable": {"x": "1"}}, "vbavailable"),
        ({"vbavailable": [1]}, "vbavailable"),
        ({"vbrequired": -1}, "vbrequired"),
        ({"coinbaseaux": {"flags": "00" * 61}}, "61 bytes"),
        ({"coinbaseaux": {"flags": "00" * 4_000_000}}, "has room for"),
        ({"coinbaseaux": {"flags": "0" * 8_000_002}}, "not hex"),
        ({"coinbaseaux": {"flags": "0"}}, "not hex"),
        ({"coinbaseaux": {"flags": 0}}, "not hex"),
        ({"coinbaseaux": {str(i): "" for i in range(17)}}, "coinbaseaux"),
        ({"coinbaseaux": ["00"]}, "coinbaseaux"),
        ({"default_witness_commitment": "6a24"}, "no commitment"),
        ({"default_witness_commitment": 5}, "default_witness_commitment"),
        ({"transactions": {}}, "transactions"),
        ({"transactions": [{}] * 16_668}, "transactions is not a list of at most 16666"),
        ({"transactions": [5]}, "not an object"),
        ({"transactions": [{}]}, "txid"),
        ({"transactions": [transaction(1) | {"txid": 5}]}, "txid"),
        ({"transactions": [transaction(1) | {"txid": "00"}]}, "txid"),
        ({"transactions": [transaction(1) | {"hash": None}]}, "hash"),
        ({"transactions": [transaction(1) | {"data": None}]}, "without data"),
        ({"transactions": [transaction(1) | {"weight": -1}]}, "weight"),
        ({"transactions": [transaction(1) | {"weight": 1.5}]}, "weight"),
        ({"transactions": [transaction(1) | {"weight": 10**50}]}, "weight"),
        ({"transactions": [transaction(1), transaction(1)]}, "twice"),
        ({"transactions": [transaction(1), transaction(1) | {"hash": "00" * 32}]}, "twice"),
        ({"transactions": [transaction(i) | {"weight": 1_000_000} for i in range(4)]}, "weigh 4000000"),
        ({"transactions": [transaction(i) | {"weight": 999_900} for i in range(4)]}, "the block would weigh"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_template_that_contradicts_the_protocol_or_itself_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(TemplateError, match=says) as refusal:
        assemble(read(core(**changes)), b"\x51", b"tag")
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data": "zz"}, "not hex"),
        ({"data": "0"}, "not hex"),
        ({"data": ""}, "not a transaction"),
        ({"data": transaction(1)["data"][:-2]}, "not a transaction"),
        ({"data": transaction(1)["data"] + "00"}, "bytes too many"),
        ({"data": transaction(2)["data"]}, "hashes to something else"),
        ({"txid": "00" * 32}, "hashes to something else"),
        ({"hash": "00" * 32}, "hashes to something else"),
        ({"hash": "zz"}, "hash"),
        ({"weight": 4}, "weighs"),
    ],
    ids=str,
)
def test_a_transaction_that_is_not_what_the_node_says_is_found_behind_the_search(
    change: dict[str, Any], says: str
) -> None:
    reader = TemplateReader(Network.REGTEST)
    template = reader.read(core(transaction(1) | change))
    with pytest.raises(TemplateError, match=says):
        reader.audit(template)


def test_after_an_unsound_transaction_its_correction_is_read_anew() -> None:
    reader = TemplateReader(Network.REGTEST)
    with pytest.raises(TemplateError):
        reader.audit(reader.read(core(transaction(1) | {"data": transaction(2)["data"]})))
    template = reader.read(core(transaction(1)))
    reader.audit(template)
    assert template.transactions[0].data == transaction(1)["data"]


def test_a_commitment_to_something_else_is_found_behind_the_search() -> None:
    reader = TemplateReader(Network.REGTEST)
    template = reader.read(core(default_witness_commitment="6a24aa21a9ed" + "00" * 32))
    with pytest.raises(TemplateError, match="does not commit"):
        reader.audit(template)


@pytest.mark.parametrize("rule", ["!blake2b", "!x", "!!segwit", "!"])
def test_a_binding_rule_that_is_not_known_is_refused_by_name(rule: str) -> None:
    with pytest.raises(RuleUnknown, match=rule):
        read(core(rules=["csv", "!segwit", rule]))


def test_an_unknown_rule_that_does_not_bind_is_none_of_our_business() -> None:
    read(core(rules=["csv", "!segwit", "taproot", "testdummy"]))


def test_a_rules_name_cannot_forge_a_log_line() -> None:
    with pytest.raises(RuleUnknown) as refusal:
        read(core(rules=["!\x1b[31m\n"]))
    assert str(refusal.value).isprintable()


def test_a_signet_that_wants_signatures_is_refused_and_one_that_does_not_is_mined() -> None:
    fields = {"bits": "1e0377ae", "rules": ["csv", "!segwit", "!signet", "taproot"]}
    answer = without(core(**fields), "target")
    assert read(answer | {"signet_challenge": "51"}, Network.SIGNET).nbits == 0x1E0377AE
    for challenge in ("5121" + "02" * 33 + "51ae", "", "52"):
        with pytest.raises(RuleUnknown, match="signed"):
            read(answer | {"signet_challenge": challenge}, Network.SIGNET)


@pytest.mark.parametrize("answer", [None, [], "template", 5, {}, True])
def test_what_is_no_template_at_all_is_refused(answer: object) -> None:
    with pytest.raises(TemplateError):
        read(answer)


# ---- whatever comes

_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**100), max_value=10**100)
    | st.floats().map(lambda value: Decimal(str(value)))
    | st.text(max_size=80)
    | st.binary(max_size=80).map(bytes.hex),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=20,
)


@given(_JSON)
def test_no_json_raises_anything_but_a_source_error(answer: object) -> None:
    with pytest.raises(SourceError):
        look(answer)


@given(st.dictionaries(st.sampled_from([*core(), "default_witness_commitment", "signet_challenge"]), _JSON, max_size=3))
def test_no_field_raises_anything_but_a_source_error(changes: dict[str, Any]) -> None:
    with suppress(SourceError):
        look(core(transaction(1), transaction(2, segwit=True), **changes))


@given(st.dictionaries(st.sampled_from([*transaction(1)]), _JSON, max_size=3))
def test_no_transaction_raises_anything_but_a_source_error(changes: dict[str, Any]) -> None:
    with suppress(SourceError):
        look(core(transaction(1) | changes, transaction(2)))


# ---- memory


def test_transactions_that_stay_are_kept_once() -> None:
    reader = TemplateReader(Network.REGTEST)
    first, second = reader.read(core(transaction(1), transaction(2))), reader.read(core(transaction(2), transaction(3)))
    assert first.transactions[1] is second.transactions[0]


def test_memory_stays_flat_over_many_large_templates() -> None:
    reader = TemplateReader(Network.REGTEST)
    tracemalloc.start()
    try:
        sizes = []
        for number in range(30):
            fresh = [transaction(n, size=400) for n in range(30 * number, 30 * number + 300)]
            template = reader.read(core(*fresh))
            reader.audit(template)
            assemble(template, b"\x51", b"tag")
            if number % 10 == 9:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert max(sizes) - min(sizes) < 200_000
