from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from miner.assembly.sources import build_source, build_sources, build_strategy, weights
from miner.books.learnt import Learnt
from miner.chain.header import ROLLABLE
from miner.config import ConfigError, Configuration, load
from miner.sources.base import SourceMisconfigured
from miner.sources.embedded import EmbeddedSource
from miner.sources.node.rpc import Cookie, Password
from miner.sources.node.source import NodeOptions, NodeSource
from miner.sources.stratum.effects import Learnt as Told
from miner.sources.stratum.options import Worker
from miner.sources.stratum.rolling import Style
from miner.sources.stratum.source import StratumSource
from miner.sources.synthetic import SyntheticSource
from miner.work.strategy import Failover, Quota, Rotate
from tests.virtual.pool_tls import Authority

REGTEST = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
SIGNET = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
MAINNET = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


def configuration(folder: Path, text: str = "", **flags: Any) -> Configuration:
    (folder / "miner.toml").write_text(text)
    (folder / "miner.toml").chmod(0o600)
    return load(flags, {"HOME": "/home/op"}, folder).configuration


def source(configured: Configuration) -> object:
    return build_source(configured.pools[0], configured, journal_folder=None, rate=lambda: None)


def options(configured: Configuration) -> NodeOptions:
    built = source(configured)
    assert isinstance(built, NodeSource)
    return built._options


def test_without_a_pool_it_is_the_embedded_chain(tmp_path: Path) -> None:
    assert isinstance(source(configuration(tmp_path)), EmbeddedSource)


def test_synthetic_work_is_built_when_named(tmp_path: Path) -> None:
    assert isinstance(source(configuration(tmp_path, pool=["synthetic:"])), SyntheticSource)


def test_a_node_is_asked_at_its_networks_port_with_the_cookie_of_its_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/op")
    node = options(configuration(tmp_path, pool=["rpc+http://127.0.0.1"], address=REGTEST)).node
    assert node.endpoint.port == 18443
    assert node.login == Cookie(Path("/home/op/.bitcoin/regtest/.cookie"))


def test_a_mainnet_address_means_mainnet(tmp_path: Path) -> None:
    assert options(configuration(tmp_path, pool=["rpc+http://h"], address=MAINNET)).node.endpoint.port == 8332


def test_user_and_password_are_used_where_given(tmp_path: Path) -> None:
    configured = configuration(tmp_path, pool=["rpc+http://me:p%40ss@h:1"], address=REGTEST)
    assert options(configured).node.login == Password("me", "p@ss")


def test_a_cookie_file_is_relative_to_where_it_is_named(tmp_path: Path) -> None:
    text = f'[[pool]]\nurl = "rpc+http://h"\naddress = "{REGTEST}"\ncookie_file = "node/.cookie"\n'
    assert options(configuration(tmp_path, text)).node.login == Cookie(tmp_path / "node/.cookie")


def test_tls_is_verified_and_the_path_is_kept(tmp_path: Path) -> None:
    endpoint = options(configuration(tmp_path, pool=["rpc+https://h:1/wallet"], address=REGTEST)).node.endpoint
    assert endpoint.path == "/wallet"
    assert endpoint.tls is not None
    assert endpoint.tls.check_hostname


def test_further_nodes_get_found_blocks_with_logins_of_their_own(tmp_path: Path) -> None:
    configured = configuration(
        tmp_path,
        pool=["rpc+http://h"],
        address=REGTEST,
        also_submit=["rpc+http://a:secret-a@one", "rpc+http://b:secret-b@two:2"],
    )
    first, second = options(configured).also_submit
    assert (first.endpoint.host, first.login) == ("one", Password("a", "secret-a"))
    assert (second.endpoint.port, second.login) == (2, Password("b", "secret-b"))
    assert {"secret-a", "secret-b"} <= set(configured.secrets)
    assert "secret" not in repr(configured)


def test_an_address_that_several_networks_share_needs_the_network(tmp_path: Path) -> None:
    with pytest.raises(SourceMisconfigured, match="give --network"):
        source(configuration(tmp_path, pool=["rpc+http://h"], address=SIGNET))
    chosen = configuration(tmp_path, pool=["rpc+http://h"], address=SIGNET, network="signet")
    assert options(chosen).node.endpoint.port == 38332


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"also_submit": ["rpc+http://two"]}, "--also-submit: rpc+http://two needs its user and password in the URL"),
        ({"also_submit": ["synthetic:"]}, "it is no node"),
        ({"also_submit": ["rpc+http://u:hidden@ two"]}, "--also-submit"),
        ({"cookie_file": "c", "user": "me"}, "--cookie-file: a cookie_file and a user; keep one of them"),
    ],
)
def test_what_a_node_cannot_have_is_a_sentence(tmp_path: Path, flags: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        configuration(tmp_path, pool=["rpc+http://h"], address=REGTEST, **flags)
    assert sentence in str(refused.value)
    assert "hidden" not in str(refused.value)


def test_a_table_of_another_kind_may_not_name_a_cookie(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cookie_file of \\[\\[pool\\]\\] 1: synthetic: is no node"):
        configuration(tmp_path, '[[pool]]\nurl = "synthetic:"\ncookie_file = "c"\n')


def test_what_is_said_for_all_nodes_does_not_reach_other_pools(tmp_path: Path) -> None:
    configured = configuration(tmp_path, 'cookie_file = "c"\n[[pool]]\nurl = "synthetic:"\n')
    assert configured.pool[0].cookie_file is None


def test_among_both_kinds_a_user_for_all_is_the_pools_and_an_address_for_all_the_nodes(tmp_path: Path) -> None:
    pools = ["stratum+tcp://pool.example:3333", "rpc+http://h"]
    flags = {"user": "account.worker", "address": REGTEST, "cookie_file": "/c"}
    pool, node = configuration(tmp_path, pool=pools, **flags).pool
    assert (pool.user, pool.address) == ("account.worker", None)
    assert (node.user, node.address, node.cookie_file) == (None, REGTEST, Path("/c"))
    held, _ = configuration(tmp_path, pool=pools, require_payout="true", **flags).pool
    assert held.address == REGTEST


def test_a_password_for_all_replaces_nobodys_own(tmp_path: Path) -> None:
    text = '[[pool]]\nurl = "stratum+tcp://me:mine@h:1"\n[[pool]]\nurl = "stratum+tcp://you@i:1"\n'
    first, second = configuration(tmp_path, text, password="everybodys").pool
    assert first.password is not None
    assert second.password is not None
    assert (first.password.get_secret_value(), second.password.get_secret_value()) == ("mine", "everybodys")


def test_two_users_at_one_pool_are_refused_by_name(tmp_path: Path) -> None:
    configured = configuration(tmp_path, pool=["stratum+tcp://a@h:1", "stratum+tcp://b@h:1"])
    with pytest.raises(SourceMisconfigured, match="two pools lead to"):
        build_sources(configured, journal_folder=None, rate=lambda: None)


POOLS = '[[pool]]\nurl = "stratum+tcp://a@h:1"\nquota = {}\n[[pool]]\nurl = "stratum+tcp://b@i:1"\nquota = 1\n'


def test_two_customers_have_the_same_pool_under_names_of_their_own(tmp_path: Path) -> None:
    tables = '[[pool]]\nname = "{}"\nurl = "stratum+tcp://h:1"\nuser = "{}"\n'
    configured = configuration(tmp_path, tables.format("ann", "a") + tables.format("ben", "b"))
    learnt = Learnt(tmp_path / "bits.json")
    learnt.learn("stratum+tcp://h:1", Style.REPLACE)
    built = list(build_sources(configured, journal_folder=None, rate=lambda: None, learnt=learnt).values())
    assert weights(configured, built) == {"ann": 1.0, "ben": 1.0}
    first, second = built
    assert isinstance(first, StratumSource)
    assert isinstance(second, StratumSource)
    assert (first._options.user, second._options.user) == ("a", "b")
    assert first._options.learnt_bits is second._options.learnt_bits is Style.REPLACE


def test_a_node_goes_by_its_name(tmp_path: Path) -> None:
    text = f'[[pool]]\nname = "home"\nurl = "rpc+http://h"\naddress = "{REGTEST}"\n'
    built = source(configuration(tmp_path, text))
    assert isinstance(built, NodeSource)
    assert built.name == "home"


def test_two_pools_of_one_name_are_refused(tmp_path: Path) -> None:
    tables = '[[pool]]\nname = "ann"\nurl = "stratum+tcp://{}:1"\nuser = "a"\n'
    configured = configuration(tmp_path, tables.format("h") + tables.format("i"))
    with pytest.raises(SourceMisconfigured, match="two pools lead to ann: give each a name of its own"):
        build_sources(configured, journal_folder=None, rate=lambda: None)


@pytest.mark.parametrize(
    ("url", "name", "sentence"),
    [
        ("embedded:", "mine", "embedded: is no pool or node and has no name"),
        ("stratum+tcp://u@h:1", "n" * 65, "longer than 64 characters"),
        ("stratum+tcp://u@h:1", "", "must not be empty"),
    ],
)
def test_a_name_that_cannot_be_is_a_sentence(tmp_path: Path, url: str, name: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        configuration(tmp_path, f'[[pool]]\nurl = "{url}"\nname = "{name}"\n')


def test_a_new_quota_is_weighed_by_the_sources_there_are(tmp_path: Path) -> None:
    configured = configuration(tmp_path, 'strategy = "quota"\n' + POOLS.format(2))
    first = build_sources(configured, journal_folder=None, rate=lambda: None)
    strategy = build_strategy(configured, list(first.values()))
    assert strategy == Quota({"stratum+tcp://h:1": 2.0, "stratum+tcp://i:1": 1.0})
    changed = configuration(tmp_path, 'strategy = "quota"\n' + POOLS.format(5))
    again = build_sources(changed, journal_folder=None, rate=lambda: None, before=first)
    assert list(again.values()) == list(first.values())
    assert weights(changed, list(again.values()))["stratum+tcp://h:1"] == 5.0


def test_the_strategy_is_the_one_that_was_asked_for(tmp_path: Path) -> None:
    flags = {"rotate_every": "90", "return_after": "7"}
    for name, strategy in (("failover", Failover(7.0)), ("rotate", Rotate(90.0)), ("quota", Quota({"embedded": 1.0}))):
        configured = configuration(tmp_path, strategy=name, pool=["embedded:"], **flags)
        sources = build_sources(configured, journal_folder=None, rate=lambda: None)
        assert build_strategy(configured, list(sources.values())) == strategy


def test_a_certificate_renewed_under_its_name_is_a_reason_to_connect_anew(tmp_path: Path) -> None:
    file = Authority(tmp_path).ca_file
    configured = configuration(tmp_path, f'ca_file = "{file}"\n[[pool]]\nurl = "stratum+tls://a@h:1"\n')
    first = build_sources(configured, journal_folder=None, rate=lambda: None)
    same = build_sources(configured, journal_folder=None, rate=lambda: None, before=first)
    assert list(same.values()) == list(first.values())
    file.write_bytes(file.read_bytes() + b"\n")
    renewed = build_sources(configured, journal_folder=None, rate=lambda: None, before=first)
    assert list(renewed.values()) != list(first.values())


KNOBS = """\
version_bits = "{}"
minimum_difficulty = 512
follow_redirects = false
share_rate = 5.0
share_burst = 50
"""


@pytest.mark.parametrize(
    ("said", "style", "rolls"),
    [
        ("auto", None, ROLLABLE),
        ("or", Style.DIFFERENCE, ROLLABLE),
        ("xor", Style.DIFFERENCE, ROLLABLE),
        ("replace", Style.REPLACE, ROLLABLE),
        ("off", None, 0),
    ],
)
def test_what_is_said_of_a_stratum_pool_reaches_it(tmp_path: Path, said: str, style: Style | None, rolls: int) -> None:
    built = source(configuration(tmp_path, '[[pool]]\nurl = "stratum+tcp://a@h:1"\n' + KNOBS.format(said)))
    assert isinstance(built, StratumSource)
    options = built._options
    assert (options.version_bits, options.version_mask) == (style, rolls)
    assert (options.minimum_difficulty, options.follow_redirects) == (512, False)
    assert (options.share_rate, options.share_burst) == (5.0, 50)


def test_what_a_pool_taught_is_kept_under_its_url(tmp_path: Path) -> None:
    configured = configuration(tmp_path, pool=["stratum+tcp://a@h:1"])
    learnt = Learnt(tmp_path / "bits")
    for known in (None, Style.REPLACE):
        (built,) = build_sources(configured, journal_folder=None, rate=lambda: None, learnt=learnt).values()
        assert isinstance(built, StratumSource)
        assert built._options.learnt_bits is known
        built._do([Told(Style.REPLACE)])


@pytest.mark.parametrize("line", KNOBS.format("xor").splitlines())
def test_a_node_has_nothing_of_a_stratum_pools(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="is no Stratum pool and has no"):
        configuration(tmp_path, f'[[pool]]\nurl = "rpc+http://u:p@h"\naddress = "{REGTEST}"\n{line}\n')


def test_the_machines_name_and_the_first_devices_stand_in_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "rig7.hall.example")
    text = 'password = "{host}"\n[[pool]]\nurl = "stratum+tcp://h:1"\nuser = "a.{host}-{device}"\n'
    configured = configuration(tmp_path, text)
    (built,) = build_sources(configured, journal_folder=None, rate=lambda: None, first_device="cpu:0").values()
    assert isinstance(built, StratumSource)
    assert built._options.worker() == Worker("a.rig7-cpu-0", "rig7")


@pytest.mark.parametrize(
    ("url", "user", "password", "sentence"),
    [
        ("rpc+http://h", "a{device}", "x", "user of [[pool]] 1: {device} is for Stratum pools; rpc+http://h is none"),
        ("rpc+http://h", "a{host}", "x", "{host} is for Stratum pools"),
        ("stratum+tcp://h:1", "a", "{device}", "{device} also belongs in the user; pools tell workers by that"),
    ],
)
def test_a_template_in_vain_is_a_sentence(tmp_path: Path, url: str, user: str, password: str, sentence: str) -> None:
    text = f'[[pool]]\nurl = "{url}"\nuser = "{user}"\npassword = "{password}"\naddress = "{REGTEST}"\n'
    with pytest.raises(ConfigError) as refused:
        configuration(tmp_path, text)
    assert sentence in str(refused.value)
