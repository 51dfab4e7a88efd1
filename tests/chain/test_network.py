from __future__ import annotations

import pytest

from miner.chain import ChainError, Network, NetworkError, Target, TargetError, subsidy


@pytest.mark.parametrize(
    ("chain", "network", "port", "nbits"),
    [
        ("main", Network.MAIN, 8332, 0x1D00FFFF),
        ("test", Network.TESTNET3, 18332, 0x1D00FFFF),
        ("testnet4", Network.TESTNET4, 48332, 0x1D00FFFF),
        ("signet", Network.SIGNET, 38332, 0x1E0377AE),
        ("regtest", Network.REGTEST, 18443, 0x207FFFFF),
    ],
)
def test_a_network_goes_by_the_name_its_node_gives(chain: str, network: Network, port: int, nbits: int) -> None:
    assert Network.from_chain(chain) is network
    assert network.value == chain
    assert network.rpc_port == port
    assert network.pow_limit == Target.from_nbits(nbits)


def test_an_unknown_chain_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NetworkError, match=r"'testnet5'.*main, test, testnet4, signet, regtest"):
        Network.from_chain("testnet5")


def test_a_block_target_at_the_limit_is_allowed_and_an_easier_one_is_not() -> None:
    assert Network.SIGNET.block_target(0x1E0377AE) == Network.SIGNET.pow_limit
    with pytest.raises(TargetError, match=r"1e0377af.*signet"):
        Network.SIGNET.block_target(0x1E0377AF)
    with pytest.raises(TargetError, match=r"207fffff.*mainnet"):
        Network.MAIN.block_target(0x207FFFFF)


@pytest.mark.parametrize(
    ("network", "height", "satoshi"),
    [
        (Network.MAIN, 0, 50_0000_0000),
        (Network.MAIN, 209_999, 50_0000_0000),
        (Network.MAIN, 210_000, 25_0000_0000),
        (Network.MAIN, 840_000, 3_1250_0000),
        (Network.TESTNET4, 210_000, 25_0000_0000),
        (Network.MAIN, 32 * 210_000, 1),
        (Network.MAIN, 33 * 210_000, 0),
        (Network.MAIN, 64 * 210_000, 0),
        (Network.REGTEST, 149, 50_0000_0000),
        (Network.REGTEST, 150, 25_0000_0000),
    ],
)
def test_the_subsidy_halves_until_it_is_gone(network: Network, height: int, satoshi: int) -> None:
    assert subsidy(height, network) == satoshi


def test_all_subsidies_of_mainnet_make_just_under_21_million() -> None:
    total = sum(subsidy(epoch * 210_000, Network.MAIN) * 210_000 for epoch in range(64))
    assert total == 20_999_999_9769_0000


def test_no_block_has_a_negative_height() -> None:
    with pytest.raises(ChainError):
        subsidy(-1, Network.MAIN)
