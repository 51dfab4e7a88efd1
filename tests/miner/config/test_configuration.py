"""Which word counts, what it becomes, and what the operator hears on the way."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from miner.chain.network import Network
from miner.config import ConfigError, Endpoint
from tests.miner.operators import Operator, make_built

REGTEST = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
MAINNET = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"


def test_with_nothing_said_it_mines_the_embedded_chain_without_consent_to_burn_power(operator: Operator) -> None:
    configuration = operator.starts().configuration
    assert [str(pool.url) for pool in configuration.pools] == ["embedded:"]
    assert not configuration.consented
    assert configuration.worthless
    assert (configuration.backend, configuration.block_interval, configuration.blocks) == ("auto", 5.0, None)


def test_the_command_line_is_heard_over_the_environment_over_the_file_over_the_default(operator: Operator) -> None:
    operator.writes("blocks = 1\nshares = 1\nseconds = 1")
    operator.environ |= {"MINER_BLOCKS": "2", "MINER_SHARES": "2"}
    loaded = operator.starts("--blocks", "3")
    configuration = loaded.configuration
    assert (configuration.blocks, configuration.shares, configuration.seconds) == (3, 2, 1)
    assert loaded.origin("blocks") == "--blocks"
    assert loaded.origin("shares") == "MINER_SHARES"
    assert loaded.origin("seconds") == f"{operator.cwd}/miner.toml: seconds"
    assert loaded.origin("log_level") == "default"


def test_every_kind_of_value_is_read_from_text(operator: Operator) -> None:
    operator.environ |= {
        "MINER_BLOCK_INTERVAL": "0.5",
        "MINER_METRICS": "[::1]:9332",
        "MINER_NETWORK": "testnet4",
        "MINER_DEVICE": "cpu:0, Radeon VII",
        "MINER_POOL": "synthetic: embedded:",
        "MINER_SUMMARY": "out/s.json",
        "MINER_STATE_DIR": "~/state",
        "MINER_LOG_FORMAT": "json",
        "MINER_THREADS": "7",
        "MINER_USER": "1e3",
    }
    configuration = operator.starts().configuration
    assert configuration.block_interval == 0.5
    assert configuration.metrics == Endpoint("::1", 9332)
    assert str(configuration.metrics) == "[::1]:9332"
    assert configuration.network is Network.TESTNET4
    assert configuration.device == ("cpu:0", "Radeon VII")
    assert [pool.url.scheme for pool in configuration.pools] == ["synthetic", "embedded"]
    assert configuration.summary == operator.cwd / "out/s.json"
    assert configuration.state_dir == operator.home / "state"
    assert configuration.log_format == "json"
    assert configuration.backends["cpu"].threads == 7
    assert configuration.user == "1e3", "text stays text, even where it looks like a number"


def test_a_variable_that_is_set_to_nothing_counts_as_unset(operator: Operator) -> None:
    operator.writes("blocks = 1")
    operator.environ |= {"MINER_BLOCKS": "", "MINER_CONFIG": ""}
    assert operator.starts().configuration.blocks == 1


@pytest.mark.parametrize("first", range(4))
def test_the_file_is_looked_for_in_order(operator: Operator, first: int) -> None:
    operator.environ["XDG_CONFIG_HOME"] = str(operator.home / "xdg")
    places = ["named.toml", "variable.toml", "miner.toml", "../home/xdg/angara/miner.toml"]
    for number, place in list(enumerate(places))[first:]:
        operator.writes(f"blocks = {number + 1}", place)
    flags = ("--config", "named.toml") if first == 0 else ()
    if first <= 1:
        operator.environ["MINER_CONFIG"] = "variable.toml"
    assert operator.starts(*flags).configuration.blocks == first + 1


def test_without_xdg_the_file_is_found_in_the_home_folder(operator: Operator) -> None:
    path = operator.writes("blocks = 9", "../home/.config/angara/miner.toml")
    loaded = operator.starts()
    assert loaded.configuration.blocks == 9
    assert loaded.file == Path(operator.home, ".config/angara/miner.toml") == path.resolve()


def test_a_path_in_a_file_is_relative_to_the_file_and_a_flag_s_to_where_it_was_given(operator: Operator) -> None:
    operator.writes('summary = "s.json"\nstate_dir = "state"', "etc/m.toml")
    configuration = operator.starts("--config", "etc/m.toml", "--state-dir", "mine").configuration
    assert configuration.summary == operator.cwd / "etc/s.json"
    assert configuration.state_dir == operator.cwd / "mine"


def test_a_backend_validates_its_own_table_and_the_environment_reaches_into_it(operator: Operator) -> None:
    operator.writes("[backends.cpu]\nthreads = 2\naffinity = false\n[backends.my-asic]")
    operator.environ |= {
        "MINER_BACKENDS_CPU_AFFINITY": "true",
        "MINER_BACKENDS_CPU_PRIORITY": "normal",
        "MINER_BACKENDS_MY_ASIC_FAN": "{ speed = 0.75 }",
    }
    loaded = operator.starts("--threads", "3")
    cpu, asic = (loaded.configuration.backends[name] for name in ("cpu", "my-asic"))
    assert (cpu.threads, cpu.affinity, cpu.priority) == (3, True, "normal")
    assert asic.fan.speed == 0.75
    assert loaded.origin("backends", "cpu", "threads") == "--threads"


def test_a_backend_that_was_not_mentioned_gets_its_defaults(operator: Operator) -> None:
    configuration = operator.starts("--threads", "3").configuration
    found = [operator.backends.load(name) for name in ("cpu", "my-asic")]
    assert [configuration.options_of(backend).model_dump() for backend in found] == [
        {"threads": 3, "affinity": True, "priority": "low"},
        {"api_token": "", "fan": {"speed": 0.5}},
    ]


# ---- credentials


def secrets_of(operator: Operator, *argv: str) -> list[tuple[str | None, str | None]]:
    """User and password in force for each pool."""
    return [
        (pool.user, pool.password and pool.password.get_secret_value())
        for pool in operator.starts(*argv).configuration.pools
    ]


@pytest.fixture
def _stratum_works(monkeypatch: pytest.MonkeyPatch) -> None:
    make_built(monkeypatch)


pytestmark = pytest.mark.usefixtures("_stratum_works")

TWO_POOLS = """
user = "all"
password = "all-secret"
[[pool]]
url = "stratum+tcp://one.example:1"
user = "one"
[[pool]]
url = "stratum+tcp://me:in%2Furl@two.example:2"
"""


def test_what_is_said_for_all_pools_is_a_default_for_each(operator: Operator) -> None:
    operator.writes(TWO_POOLS)
    assert secrets_of(operator) == [("one", "all-secret"), ("me", "in/url")]


def test_what_is_said_higher_up_overrides_every_pool_of_the_file(operator: Operator) -> None:
    operator.writes(TWO_POOLS)
    operator.environ["MINER_PASSWORD"] = "from-env"
    assert secrets_of(operator, "--user", "flag") == [("flag", "from-env"), ("flag", "from-env")]


def test_a_password_in_a_file_does_not_travel_to_a_pool_named_elsewhere(operator: Operator) -> None:
    operator.writes(TWO_POOLS)
    loaded = operator.starts("--pool", "stratum+tcp://other.example:3")
    assert loaded.configuration.pools[0].password is None
    assert loaded.configuration.pools[0].user == "all"
    assert any("not sent to stratum+tcp://other.example:3" in warning for warning in loaded.warnings)


def test_a_variable_s_password_goes_to_the_pool_of_the_command_line(operator: Operator) -> None:
    operator.environ["MINER_PASSWORD"] = "hunter22"
    assert secrets_of(operator, "--pool", "stratum+tcp://h.example:3", "--user", "u") == [("u", "hunter22")]


def test_a_password_file_is_read_and_only_its_first_line_counts(operator: Operator) -> None:
    operator.writes("hunter22\n\n", "secret")
    operator.writes(
        '[[pool]]\nurl = "stratum+tcp://h.example:1"\nuser = "u"\npassword_file = "../secret"', "etc/m.toml"
    )
    assert secrets_of(operator, "--config", "etc/m.toml") == [("u", "hunter22")]
    assert secrets_of(operator, "--pool", "stratum+tcp://h.example:1", "--user", "u", "--password-file", "secret") == [
        ("u", "hunter22")
    ]


def test_a_password_silences_a_password_file_below_it_and_the_reverse(operator: Operator) -> None:
    operator.writes("from-file", "secret")
    operator.writes('password_file = "secret"')
    operator.environ |= {"MINER_PASSWORD": "from-env", "MINER_POOL": "stratum+tcp://u@h.example:1"}
    assert secrets_of(operator) == [("u", "from-env")]
    assert secrets_of(operator, "--password-file", "secret") == [("u", "from-file")]


def test_no_password_is_sent_to_what_has_no_login(operator: Operator) -> None:
    operator.environ["MINER_PASSWORD"] = "hunter22"
    assert secrets_of(operator, "--pool", "embedded:") == [(None, None)]


def test_a_configuration_never_shows_a_password(operator: Operator) -> None:
    operator.writes("file-secret", "secret")
    operator.writes(TWO_POOLS + '[[pool]]\nurl = "stratum+tcp://u@h.example:1"\npassword_file = "secret"')
    loaded = operator.starts("--user", "x")
    configuration = loaded.configuration
    assert set(configuration.secrets) == {"all-secret", "in/url", "file-secret"}
    for text in (str(loaded), repr(loaded), str(configuration), repr(configuration), repr(configuration.pools)):
        assert not any(secret in text for secret in (*configuration.secrets, "in%2Furl"))
    assert "secret" not in configuration.model_dump_json(include={"password"})


# ---- payout


def test_an_address_said_once_is_each_pool_s_payout(operator: Operator) -> None:
    assert operator.starts("--address", REGTEST).configuration.pools[0].address == REGTEST
    assert operator.starts("--address", REGTEST, "--pool", "embedded:").configuration.pools[0].address == REGTEST


@pytest.mark.parametrize("flags", [(), ("--pool", "embedded:")])
def test_an_address_of_another_network_does_not_keep_the_embedded_chain_from_starting(
    operator: Operator, flags: tuple[str, ...]
) -> None:
    operator.writes(f'address = "{MAINNET}"')
    loaded = operator.starts(*flags)
    assert loaded.configuration.pools[0].address is None
    assert loaded.warnings == (
        f"{operator.cwd}/miner.toml: address: not an address of embedded:, which pays to a key of its own instead",
    )


# ---- warnings


def test_a_secret_that_others_can_read_is_warned_of(operator: Operator) -> None:
    pool = '[[pool]]\nurl = "stratum+tcp://u:hunter22@h.example:1"'
    for text in (pool, 'password = "hunter22"', '[backends.my-asic]\napi_token = "hunter2"'):
        operator.writes(text, mode=0o644)
        assert any("everybody on this machine can read" in warning for warning in operator.starts().warnings), text
    operator.writes('password_file = "secret"')
    operator.writes("hunter22", "secret", mode=0o644)
    assert any("everybody on this machine can read" in warning for warning in operator.starts().warnings)
    operator.writes("hunter22", "secret", mode=0o600)
    assert operator.starts().warnings == ()


@pytest.mark.parametrize("text", ['password = "x"', "blocks = 1", '[[pool]]\nurl = "stratum+tcp://u:x@h.example:1"'])
def test_a_file_without_secrets_may_be_read_by_all(operator: Operator, text: str) -> None:
    operator.writes(text, mode=0o644)
    assert operator.starts().warnings == ()


def test_a_file_that_everybody_can_change_is_warned_of(operator: Operator) -> None:
    path = operator.writes("blocks = 1", mode=0o602)
    assert stat.S_IMODE(path.stat().st_mode) == 0o602
    assert any("can change it" in warning for warning in operator.starts().warnings)


@pytest.mark.parametrize(
    "flags", [("--password", "hunter22"), ("--pool", "stratum+tcp://u:hunter22@h.example:1")], ids=["flag", "url"]
)
def test_a_password_on_the_command_line_is_warned_of(operator: Operator, flags: tuple[str, ...]) -> None:
    warnings = operator.starts(*flags).warnings
    assert any("(ps)" in warning for warning in warnings)
    assert not any("hunter22" in warning for warning in warnings)


def test_a_variable_that_is_no_option_is_ignored_aloud(operator: Operator) -> None:
    operator.environ |= {"MINER_BLOKS": "3", "MINER_VER": "1.2"}
    assert operator.starts().warnings == (
        "MINER_BLOKS: not an option of this miner, ignored; did you mean MINER_BLOCKS?",
        "MINER_VER: not an option of this miner, ignored",
    )


# ---- reload


def test_a_reload_takes_over_the_pools_and_names_what_waits_for_a_restart(operator: Operator) -> None:
    operator.writes('blocks = 1\n[[pool]]\nurl = "embedded:"')
    before = operator.starts()
    operator.writes('blocks = 2\n[[pool]]\nurl = "synthetic:"')
    after = operator.reloads(before)
    assert after.configuration.pools[0].url.scheme == "synthetic"
    assert after.configuration.blocks == 1
    assert after.warnings == (
        f"blocks ({operator.cwd}/miner.toml: blocks) has changed; that takes effect at the next start",
    )


def test_of_a_backend_a_reload_names_where_it_was_told(operator: Operator) -> None:
    operator.writes('[[pool]]\nurl = "synthetic:"\n[backends.cpu]\nthreads = 1')
    before = operator.starts()
    operator.writes('[[pool]]\nurl = "synthetic:"\n[backends.cpu]\nthreads = 2')
    place = f"{operator.cwd}/miner.toml: backends.cpu.threads"
    assert operator.reloads(before).warnings == (
        f"backends ({place}) has changed; that takes effect at the next start",
    )


def test_a_reload_does_not_fall_back_to_the_embedded_chain(operator: Operator) -> None:
    operator.writes('[[pool]]\nurl = "synthetic:"')
    before = operator.starts()
    operator.writes("")
    with pytest.raises(ConfigError, match="no pool is named any more"):
        operator.reloads(before)


QUOTAS = '[[pool]]\nurl = "stratum+tcp://u@h:1"\n[[pool]]\nurl = "stratum+tcp://u@i:1"\nquota = 3\n'


def test_a_quota_is_said_for_every_pool_or_for_none(operator: Operator) -> None:
    operator.writes('strategy = "quota"\n' + QUOTAS)
    with pytest.raises(ConfigError, match=r"stratum.tcp://h:1 has no quota, and others have"):
        operator.starts()


def test_a_quota_that_counts_for_nothing_is_warned_of(operator: Operator) -> None:
    operator.writes(QUOTAS)
    assert any("counts only with strategy quota" in warning for warning in operator.starts().warnings)


def test_who_may_scrape_the_metrics_is_told_by_files(operator: Operator) -> None:
    operator.writes(
        'metrics = "0.0.0.0:9332"\nmetrics_user = "p"\nmetrics_password_file = "pw"\n'
        'metrics_cert = "c.pem"\nmetrics_key = "k.pem"'
    )
    configuration = operator.starts().configuration
    assert configuration.metrics_password_file == operator.cwd / "pw"
    assert (configuration.metrics_cert, configuration.metrics_key) == (operator.cwd / "c.pem", operator.cwd / "k.pem")
