from __future__ import annotations

from typing import Any

import pytest

from miner.sources.stratum.redirect import MAX_REDIRECTS, MAX_WAIT_S, WINDOW_S, Redirect, Redirector, Refusal


@pytest.mark.golden("stratum_v1_reconnect")
def test_recorded_redirections(vector: dict[str, Any]) -> None:
    decision = Redirector(vector["configured_host"], 3333).judge(vector["params"], 3333, 0.0)
    assert isinstance(decision, Redirect) is vector["accept"], vector["why"]


@pytest.mark.parametrize(
    ("configured", "asked", "follows"),
    [
        ("pool.example.com", "eu.pool.example.com", True),
        ("pool.example.com", "EU.Pool.Example.com.", True),
        ("pool.example.com.", "pool.example.com", True),
        ("pool.example.com", "example.com", False),
        ("pool.example.com", "other.example.com", False),
        ("pool.example.com", "xpool.example.com", False),
        ("pool.co.uk", "evil.co.uk", False),
        ("pool.example.com", "pool.example.com.evil.org", False),
        ("pool.example.com", "evil.org/.pool.example.com", False),
        ("pool.example.com", "a@evil.org\n.pool.example.com", False),
        ("pool.example.com", "\u0435u.pool.example.com", False),
        ("pool.example.com", ".pool.example.com", False),
        ("pool.example.com", "2130706433", False),
        ("pool.example.com", "::1", False),
        ("localhost", "evil.localhost", False),
        ("192.0.2.10", "0.192.0.2.10", False),
        ("::1", "[0:0::1]", True),
        ("::1", "::2", False),
    ],
)
def test_only_the_configured_host_and_what_is_below_it(configured: str, asked: str, follows: bool) -> None:  # noqa: FBT001
    assert isinstance(Redirector(configured, 3333).judge([asked, 3334], 3333, 0.0), Redirect) is follows


@pytest.mark.parametrize("port", [0, -1, 65536, True, 3333.0, "99999", "0", "12a", [], "\u0663"])
def test_what_is_no_port_is_refused(port: object) -> None:
    assert isinstance(Redirector("a.b", 1).judge(["", port], 1, 0.0), Refusal)


def test_a_wait_is_capped_and_nonsense_is_none() -> None:
    def wait(value: object) -> float:
        decision = Redirector("a.b", 1).judge(["", "2", value], 1, 0.0)
        assert isinstance(decision, Redirect)
        return decision.wait_s

    assert [wait(value) for value in (1e300, 5, "7", -3, True, None, [], float("inf"))] == [
        MAX_WAIT_S, 5, 7, 0, 0, 0, 0, MAX_WAIT_S,
    ]  # fmt: skip


def test_no_host_means_the_port_of_now_and_a_host_its_configured_one() -> None:
    redirector = Redirector("a.b", 3333)
    assert redirector.judge([], 4444, 0.0) == Redirect("a.b", 4444, 0.0)
    assert redirector.judge(["c.a.b"], 4444, 0.0) == Redirect("c.a.b", 3333, 0.0)


def test_a_pool_that_sends_us_round_in_circles_is_not_followed_for_ever() -> None:
    redirector = Redirector("a.b", 1)
    assert all(isinstance(redirector.judge([], 1, float(i)), Redirect) for i in range(MAX_REDIRECTS))
    assert isinstance(redirector.judge([], 1, 10.0), Refusal)
    assert isinstance(redirector.judge([], 1, WINDOW_S), Redirect)


def test_redirections_can_be_switched_off() -> None:
    assert isinstance(Redirector("a.b", 1, enabled=False).judge([], 1, 0.0), Refusal)


@pytest.mark.parametrize("params", ["x", 1, {"host": "a.b"}, [1], [["a.b"]], ["x" * 300]])
def test_parameters_of_no_known_shape_are_refused(params: object) -> None:
    assert isinstance(Redirector("a.b", 1).judge(params, 1, 0.0), Refusal)
