from __future__ import annotations

from miner.sources.stratum.rolling import REJECTS, Style, VersionBits


def refuse(bits: VersionBits, times: int) -> list[bool]:
    return [bits.answered(bits.style, accepted=False, low=True) for _ in range(times)]


def test_only_a_few_are_under_way_at_first() -> None:
    bits = VersionBits()
    for _ in range(REJECTS):
        assert bits.may_send
        bits.sent()
    assert not bits.may_send
    bits.answered(Style.DIFFERENCE, accepted=True, low=False)
    for _ in range(2):  # the one that was answered, and one more
        assert bits.may_send
        bits.sent()
    assert not bits.may_send
    for _ in range(100):
        bits.answered(Style.DIFFERENCE, accepted=True, low=False)
    for _ in range(100):
        assert bits.may_send
        bits.sent()


def test_a_change_over_costs_at_most_eight_even_with_the_window_full() -> None:
    bits, cost, under_way = VersionBits(), 0, 0
    while bits.style is Style.DIFFERENCE:
        while bits.may_send:
            bits.sent()
            under_way += 1
        under_way -= 1
        cost += 1
        bits.answered(Style.DIFFERENCE, accepted=False, low=True)
    assert cost + under_way <= 8
    assert not any(bits.answered(Style.DIFFERENCE, accepted=False, low=True) for _ in range(under_way))
    assert bits.style is Style.REPLACE


def test_other_refusals_and_single_ones_change_nothing() -> None:
    bits = VersionBits()
    for _ in range(50):
        assert not any(refuse(bits, REJECTS - 1))
        bits.answered(bits.style, accepted=True, low=False)
        assert not bits.answered(bits.style, accepted=False, low=False)
    assert bits.style is Style.DIFFERENCE


def test_a_pool_that_likes_neither_is_tried_with_both() -> None:
    bits = VersionBits()
    assert refuse(bits, 2 * REJECTS).count(True) == 2
    assert bits.style is Style.DIFFERENCE


def test_what_was_decided_by_hand_stays() -> None:
    bits = VersionBits(Style.REPLACE)
    assert bits.may_send
    assert not any(refuse(bits, 20))
    assert bits.style is Style.REPLACE


def test_a_lost_connection_frees_the_window() -> None:
    bits = VersionBits()
    for _ in range(REJECTS):
        bits.sent()
    bits.forget_under_way()
    assert bits.may_send
