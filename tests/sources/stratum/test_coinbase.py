"""A pool's coinbase: what is read of it, wherever its extranonces lie, and what proves that it pays."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.sources.stratum.coinbase import SCRIPT_START, PoolCoinbase, read_coinbase
from miner.sources.stratum.errors import OddCoinbase
from tests.sources.stratum.talk import COINBASE1, COINBASE2, PAID
from tests.virtual.pool_work import Chain, Layout

PLAIN = bytes.fromhex(COINBASE1 + "08000002" + "00" * 4 + COINBASE2)
SCRIPT_END = SCRIPT_START + 25
OUTPUT = SCRIPT_END + 4 + 1  # where its only output begins, which pays PAID
SIZES = {Layout.SEQUENCE: 9, Layout.OUTPUT: 12}


def laid_out(layout: Layout, payout_script: bytes = PAID) -> tuple[bytes, int, int]:
    """A coinbase of this layout, and where its extranonces lie."""
    size = SIZES.get(layout, 8)
    template = Chain().template(
        clean=True, ntime=1, version=2, nbits=0, branches=0, payout_script=payout_script, layout=layout
    )
    before, after = (bytes.fromhex(part) for part in template.params(size)[2:4])
    return before + bytes(size) + after, len(before), len(before) + size


def oddity_of(raw: bytes, start: int = 0, end: int = 0) -> str:
    with pytest.raises(OddCoinbase) as error:
        read_coinbase(raw, start, end)
    return str(error.value)


@pytest.mark.parametrize("layout", [Layout.SCRIPT, Layout.SEQUENCE, Layout.OUTPUT, Layout.LAST])
def test_height_and_payout_are_found_wherever_the_extranonces_lie(layout: Layout) -> None:
    coinbase = read_coinbase(*laid_out(layout))
    assert coinbase.height == 840_001
    assert coinbase.pays(PAID)
    assert not coinbase.pays(PAID[:-1] + b"\0")
    assert coinbase.oddity == ""


@pytest.mark.parametrize("layout", [Layout.TIMED, Layout.WITNESS, Layout.NONSENSE])
def test_what_no_node_of_bitcoin_would_read_as_a_coinbase_is_odd(layout: Layout) -> None:
    assert oddity_of(*laid_out(layout))


def test_an_output_in_which_the_extranonces_lie_pays_nobody() -> None:
    """Each share would pay another script: that of the share read here is no proof."""
    script = b"\x00\x20" + bytes(32)
    raw, start, end = laid_out(Layout.SCRIPT, script)
    assert read_coinbase(raw, start, end).pays(script)
    at = raw.index(script) + 2
    assert not read_coinbase(raw, at, at + 8).pays(script)
    assert not read_coinbase(raw, at + 24, at + 32).pays(script)


@pytest.mark.parametrize(
    "place",
    [
        (0, 4),  # the version
        (8, 16),  # what the input spends
        (SCRIPT_START - 1, SCRIPT_START + 7),  # the length of the script, and on
        (SCRIPT_END, OUTPUT),  # the sequence and the number of outputs
        (SCRIPT_END + 4, OUTPUT),  # the number of outputs
        (OUTPUT, OUTPUT + 8),  # a value
        (OUTPUT + 8, OUTPUT + 9),  # the length of an output's script
        (OUTPUT + 7, OUTPUT + 11),  # from a value over a length into a script
        (len(PLAIN) - 8, len(PLAIN) - 2),  # from a script into the locktime
        (len(PLAIN) - 4, len(PLAIN)),  # the locktime
    ],
)
def test_extranonces_that_change_how_the_rest_reads_prove_no_payout(place: tuple[int, int]) -> None:
    """With zeros in their place this coinbase pays PAID; a share may write what hides that output."""
    assert read_coinbase(PLAIN).pays(PAID)
    assert oddity_of(PLAIN, *place) == "its extranonces do not lie in one script"


def test_a_length_under_the_extranonces_cannot_hide_where_the_payout_went() -> None:
    """The attack: zeros end the first script at once, so that a payout seems to follow; other bytes swallow it."""
    payout = struct.pack("<q", 5_000_000_000) + bytes([len(PAID)]) + PAID
    before = PLAIN[: SCRIPT_END + 4] + b"\x02" + bytes(8)
    raw = before + b"\x00" + payout + bytes(4)
    assert read_coinbase(raw).pays(PAID)
    assert oddity_of(raw, len(before), len(before) + 1)


def test_an_output_of_253_bytes_and_more_may_hold_the_extranonces() -> None:
    long = b"\x6a\x4d\xfc\x01" + bytes(508)
    outputs = bytes(8) + b"\xfd" + struct.pack("<H", len(long)) + long + PLAIN[OUTPUT:-4]
    raw = PLAIN[: SCRIPT_END + 4] + b"\x02" + outputs + PLAIN[-4:]
    at = OUTPUT + 11
    assert read_coinbase(raw, at + 500, at + len(long)).pays(PAID)
    assert oddity_of(raw, at - 1, at + 3)
    assert oddity_of(raw, at + 508, at + len(long) + 1)


def test_a_height_that_the_extranonces_cover_is_unknown() -> None:
    assert read_coinbase(PLAIN).height == 2442185
    assert read_coinbase(PLAIN, SCRIPT_START + 4, SCRIPT_START + 12).height == 2442185
    assert read_coinbase(PLAIN, SCRIPT_START + 3, SCRIPT_START + 11).height is None
    assert read_coinbase(PLAIN, SCRIPT_START, SCRIPT_START + 8).height is None


@pytest.mark.parametrize(
    ("script", "height"), [("0100", 0), ("51ff", 1), ("6000", 16), ("03ffffff", None), ("05000000000000", None)]
)
def test_a_script_that_begins_with_no_height_has_none(script: str, height: int | None) -> None:
    raw = PLAIN[: SCRIPT_START - 1] + bytes([len(script) // 2]) + bytes.fromhex(script) + PLAIN[SCRIPT_END:]
    assert read_coinbase(raw).height == height


@given(st.binary(max_size=400) | st.binary(max_size=200).map(lambda tail: PLAIN[:OUTPUT] + tail), st.data())
def test_any_bytes_are_read_or_odd(raw: bytes, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(raw)))
    with contextlib.suppress(OddCoinbase):
        read_coinbase(raw, start, data.draw(st.integers(start, len(raw))))


@given(st.sampled_from([Layout.SCRIPT, Layout.SEQUENCE, Layout.OUTPUT, Layout.LAST]), st.data())
def test_what_counts_as_paid_is_paid_by_every_share(layout: Layout, data: st.DataObject) -> None:
    """Any place for the extranonces, and any bytes in them: a payout that was found stays one."""
    raw, _, _ = laid_out(layout)
    start = data.draw(st.integers(0, len(raw) - 1))
    end = data.draw(st.integers(start + 1, min(start + 24, len(raw))))
    zeros = raw[:start] + bytes(end - start) + raw[end:]
    share = raw[:start] + data.draw(st.binary(min_size=end - start, max_size=end - start)) + raw[end:]

    def read(of: bytes) -> PoolCoinbase:
        try:
            return read_coinbase(of, start, end)
        except OddCoinbase as error:
            return PoolCoinbase(oddity=str(error))

    if read(zeros).pays(PAID):
        assert read_coinbase(share).pays(PAID)
        assert read(share).height == read(zeros).height
