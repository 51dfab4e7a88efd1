"""Every kind of wrong configuration: one clear sentence each, with the place, the key, the value and what is right."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miner.config import ConfigError, Configuration, options
from tests.miner.operators import Operator, PlugInOptions, make_built

MAINNET = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
PRIVATE_KEY = "5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ"


def problems(operator: Operator, *argv: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        operator.starts(*argv)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


# What the file says -> the sentence after "FILE: ".
IN_A_FILE = {
    "wrong type": ('blocks = "three"', 'blocks is "three": it must be a whole number'),
    "a fraction": ("blocks = 1.5", "blocks is 1.5: it must be a whole number"),
    "a truth for a number": ("seconds = true", "seconds is true: it must be a number"),
    "not a number": ("seconds = nan", "seconds is nan: it must be a number"),
    "too small": ("shares = 0", "shares is 0: it must be at least 1"),
    "not above": ("block_interval = 0", "block_interval is 0: it must be more than 0.0"),
    "too large": ("block_interval = 100_000", "block_interval is 100000: it must be at most 86400.0"),
    "huge": ("blocks = 0x" + "f" * 5000, "blocks is a huge number: it must be less than 9223372036854775808"),
    "unquoted for text": ("user = 5", "user is 5: it must be text, in quotation marks"),
    "a table for text": ("user = { a = 1 }", "user is a table: it must be text, in quotation marks"),
    "empty": ('user = ""', 'user is "": it must not be empty; leave it out instead'),
    "an empty path": ('state_dir = ""', 'state_dir is "": it must not be empty; leave it out instead'),
    "a control character": ('user = "a\\u0007"', 'user is "a\\\\x07": it contains a control character'),
    "a choice": ('log_level = "loud"', "log_level is \"loud\": it must be 'debug', 'info', 'warning' or 'error'"),
    "a list's item": ('device = ["cpu:0", 3]', "device is 3: it must be text, in quotation marks"),
    "no list": ('device = "cpu:0"', 'device is "cpu:0": it must be a list'),
    "unknown key": ("block = 3", "block: there is no such key; did you mean blocks?"),
    "a shortcut": ("threads = 3", "threads: it is written threads in the table [backends.cpu]"),
    "network": ('network = "main"', 'network is "main": it is one of mainnet, testnet3, testnet4, signet, regtest'),
    "endpoint": ('metrics = "9332"', 'metrics is "9332": it is written HOST:PORT, as 127.0.0.1:9332'),
    "endpoint's port": ('metrics = "h:65536"', 'metrics is "h:65536": it is written HOST:PORT'),
    "endpoint's IPv6": ('metrics = "[::g]:1"', 'metrics is "[::g]:1": what stands in the brackets is no IPv6 address'),
    "a user of the metrics without a password": (
        'metrics = "127.0.0.1:1"\nmetrics_user = "me"',
        "metrics_user: metrics_password_file is missing beside it",
    ),
    "a certificate of the metrics without its key": (
        'metrics = "127.0.0.1:1"\nmetrics_cert = "c"',
        "metrics_cert: metrics_key is missing beside it",
    ),
    "a colon in the metrics' user": (
        'metrics = "127.0.0.1:1"\nmetrics_user = "a:b"\nmetrics_password_file = "p"',
        'metrics_user is "a:b": it must not contain a colon',
    ),
    "unknown backend": ('backend = "cpus"', 'backend is "cpus": no such backend is installed; did you mean cpu?'),
    "a backend like none": (
        'backend = "abacus"',
        'backend is "abacus": no such backend is installed; what exists: broken, cpu, my-asic',
    ),
    "no table of backends": ("backends = 3", "backends is 3: it must be tables, written [backends.NAME]"),
    "no table of a backend": ("[backends]\ncpu = 3", "backends.cpu is 3: it must be a table"),
    "a backend's option": (
        '[backends.cpu]\nthreads = "8"',
        'backends.cpu.threads is "8": it must be a whole number',
    ),
    "a backend's range": ("[backends.cpu]\nthreads = 0", "backends.cpu.threads is 0: it must be at least 1"),
    "a backend's truth": ("[backends.cpu]\naffinity = 1", "backends.cpu.affinity is 1: it must be true or false"),
    "a backend's unknown key": (
        "[backends.cpu]\nthread = 2",
        "backends.cpu.thread: there is no such key; did you mean threads?",
    ),
    "a backend's deep unknown key": (
        "[backends.my-asic.fan]\nsped = 2",
        "backends.my-asic.fan: there is no such key",
    ),
    "a backend's secret": (
        '[backends.my-asic]\napi_token = "hunter2hunter2"',
        "backends.my-asic.api_token is (hidden): String should have at most 8 characters",
    ),
    "unknown backend's table": (
        "[backends.cpo]\nthreads = 2",
        "backends.cpo: no such backend is installed; did you mean cpu?",
    ),
    "broken backend's table": ("[backends.broken]", "backends.broken: backend 'broken' cannot be imported"),
    "pool in single brackets": (
        '[pool]\nurl = "embedded:"',
        "pool is a table: pools are written with two brackets: [[pool]]",
    ),
    "pool as a number": ("pool = 3", "pool is 3: pools are written with tables, each written [[pool]]"),
    "a pool as a number": ("pool = [3]", "pool is 3: each pool is a table, written [[pool]]"),
    "pool without url": ("[[pool]]", "[[pool]] 1: url is missing"),
    "pool's unknown key": (
        '[[pool]]\nurl = "embedded:"\n[[pool]]\nurl = "synthetic:"\nuri = "x"',
        "uri of [[pool]] 2: there is no such key; did you mean url?",
    ),
    "pool's type": ("[[pool]]\nurl = 3", "url of [[pool]] 1 is 3: it must be text, in quotation marks"),
    "unknown scheme": (
        '[[pool]]\nurl = "stratum://h:1"',
        'url of [[pool]] 1 is "stratum://h:1": there is no scheme "stratum"',
    ),
    "two passwords": (
        'password = "hunter22"\npassword_file = "secret"',
        "password and FILE: password_file: two passwords; keep one of them",
    ),
    "a pool's two passwords": (
        '[[pool]]\nurl = "stratum+tcp://h:1"\nuser = "u"\npassword = "hunter22"\npassword_file = "secret"',
        "[[pool]] 1: there is a password and a password_file; keep one of them",
    ),
    "a pool's password here and there": (
        '[[pool]]\nurl = "stratum+tcp://u:hunter22@h:1"\npassword = "hunter22"',
        "[[pool]] 1: there is a password in its url and another beside it; keep one of them",
    ),
    "a pool's user here and there": (
        '[[pool]]\nurl = "stratum+tcp://u@h:1"\nuser = "u"',
        "[[pool]] 1: there is a user in its url and another beside it; keep one of them",
    ),
    "a password that is none": ("password = 12345678", "password is (hidden): it must be text, in quotation marks"),
    "a password with a control character": (
        'password = "hunter22\\n"',
        "password is (hidden): it contains a control character",
    ),
    "no password file": ('password_file = "gone"', "password_file: DIR/gone: there is no such file"),
    "an empty password file": ('password_file = "empty"', "password_file: DIR/empty: its first line, which should be"),
    "a password file with more": ('password_file = "more"', "password_file: DIR/more: more than one line"),
    "a password file of bytes": ('password_file = "bytes"', "password_file: DIR/bytes: not UTF-8 text"),
    "a password file that is a folder": ('password_file = "."', "password_file: DIR: cannot be read: Is a directory"),
    "a pool's password file": (
        '[[pool]]\nurl = "stratum+tcp://u@h:1"\npassword_file = "gone"',
        "password_file of [[pool]] 1: DIR/gone: there is no such file",
    ),
    "an address that is none": ('address = "bc1qqqq"', "address: 'bc1qqqq' is not an address"),
    "a private key": (f'address = "{PRIVATE_KEY}"', "address: this is a PRIVATE KEY, not an address"),
    "an address of another network": (
        f'address = "{MAINNET}"\nnetwork = "signet"\npool = ["rpc+http://h"]',
        f"address: {MAINNET} is an address of mainnet, but this is signet",
    ),
    "an embedded chain's own foreign address": (
        f'[[pool]]\nurl = "embedded:"\naddress = "{MAINNET}"',
        f"address of [[pool]] 1: {MAINNET} is an address of mainnet, but this is regtest",
    ),
    "a node without address": (
        'pool = ["rpc+http://u:hunter22@h"]',
        "[[pool]] 1: rpc+http://h needs an address to pay to; give --address, MINER_ADDRESS, or address in the file",
    ),
    "a pool without user": (
        'pool = ["stratum+tcp://h:1"]',
        "[[pool]] 1: stratum+tcp://h:1 needs a user; give --user, MINER_USER, or user in the file",
    ),
    "TOML": ("blocks = 3\nshares =\n", "line 2, column 9: not TOML: Invalid value"),
    "unended TOML": ('user = "abc', "line 1, at its end: not TOML: Unterminated string"),
    "a key twice": ("blocks = 1\nblocks = 2", "line 2, at its end: not TOML: Cannot overwrite a value"),
    "endless digits": ("blocks = " + "9" * 5000, "not usable as TOML: Exceeds the limit"),
    "endless brackets": ("blocks = " + "[" * 100_000, "not usable as TOML: "),
}


@pytest.mark.parametrize(("text", "sentence"), IN_A_FILE.values(), ids=IN_A_FILE.keys())
def test_what_is_wrong_in_a_file_is_one_sentence_that_names_file_key_value_and_what_is_right(
    operator: Operator, text: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_built(monkeypatch)
    for name, content in {"secret": b"hunter22", "empty": b"\n", "more": b"a\nb", "bytes": b"\xff"}.items():
        operator.writes(content, name)
    path = operator.writes(text)
    (found,) = problems(operator)
    expected = sentence.replace("FILE", str(path)).replace("DIR", str(path.parent))
    assert found.startswith(f"{path}: {expected}"), found
    assert "\n" not in found and len(found) < 400
    assert "hunter22" not in found and PRIVATE_KEY not in found


IN_A_VARIABLE = {
    "number": ("MINER_BLOCKS", "three", 'MINER_BLOCKS is "three": it must be a whole number'),
    "range": ("MINER_SECONDS", "-1", "MINER_SECONDS is -1: it must be more than 0"),
    "two values": ("MINER_BLOCKS", "1\nshares = 2", 'MINER_BLOCKS is "1\\\\x0ashares = 2": it must be a whole'),
    "threads": ("MINER_THREADS", "all", 'MINER_THREADS is "all": it must be a whole number'),
    "backend's option": ("MINER_BACKENDS_CPU_THREADS", "0", "MINER_BACKENDS_CPU_THREADS is 0: it must be at least 1"),
    "backend's key": (
        "MINER_BACKENDS_CPU_THREAD",
        "1",
        "MINER_BACKENDS_CPU_THREAD: there is no such key; did you mean",
    ),
    "hyphenated": ("MINER_BACKENDS_MY_ASIC_FAN", "1", "MINER_BACKENDS_MY_ASIC_FAN is 1: it must be a table"),
    "pool": ("MINER_POOL", "embedded: http://h", 'MINER_POOL is "http://h": there is no scheme "http"'),
    "device": ("MINER_DEVICE", "a\x1b", 'MINER_DEVICE is "a\\\\x1b": it contains a control character'),
    "text": ("MINER_USER", "a\udcff", "MINER_USER is "),
    "password": ("MINER_PASSWORD", "hunter22\n", "MINER_PASSWORD is (hidden): it contains a control character"),
    "file": ("MINER_CONFIG", "gone.toml", "MINER_CONFIG: DIR/gone.toml: there is no such file"),
    "file with a zero": ("MINER_CONFIG", "a\0b", "MINER_CONFIG: DIR/a\\x00b: cannot be read: not a file name"),
}


@pytest.mark.parametrize(("variable", "value", "sentence"), IN_A_VARIABLE.values(), ids=IN_A_VARIABLE.keys())
def test_what_is_wrong_in_a_variable_names_the_variable(
    operator: Operator, variable: str, value: str, sentence: str
) -> None:
    operator.environ[variable] = value
    (found,) = problems(operator)
    assert found.startswith(sentence.replace("DIR", str(operator.cwd)))
    assert found.isascii() and "\n" not in found and "hunter22" not in found


IN_A_FLAG = {
    "number": (("--blocks", "3x"), '--blocks is "3x": it must be a whole number'),
    "threads": (("--threads", "0"), "--threads is 0: it must be at least 1"),
    "choice": (("--log-format", "xml"), "--log-format is \"xml\": it must be 'text' or 'json'"),
    "backend": (("--backend", "abacus"), '--backend is "abacus": no such backend is installed'),
    "pool": (
        ("--pool", "stratum2+tcp://h:1"),
        '--pool is "stratum2+tcp://h:1": a Stratum V2 pool (stratum2+tcp:) is not built yet',
    ),
    "credentials": (
        ("--pool", "htp://u:hunter22@h:1/?k=hunter22"),
        '--pool is "htp://***@h:1/": there is no scheme "htp"',
    ),
    "state": (("--state-dir", ""), '--state-dir is "": it must not be empty'),
    "no file": (("--config", "gone"), "--config: DIR/gone: there is no such file"),
    "a folder": (("--config", "."), "--config: DIR: cannot be read: Is a directory"),
    "nothing": (("--config", ""), "--config: no file is named"),
    "payout": (("--address", "nonsense"), "--address: neither a base58 nor a segwit address"),
}


@pytest.mark.parametrize(("argv", "sentence"), IN_A_FLAG.values(), ids=IN_A_FLAG.keys())
def test_what_is_wrong_in_a_flag_names_the_flag(operator: Operator, argv: tuple[str, ...], sentence: str) -> None:
    (found,) = problems(operator, *argv)
    assert found.startswith(sentence.replace("DIR", str(operator.cwd)))
    assert "hunter22" not in found


def test_every_problem_is_told_at_once_and_none_twice(operator: Operator) -> None:
    path = operator.writes(
        "blocks = 0\nnonsense = 1\nuser = 5\npool = ['embedded:', 'x:']\n[backends.cpu]\nthreads = 0"
    )
    found = problems(operator, "--seconds", "soon")
    starts = (
        "--seconds is",
        *(f"{path}: {key}" for key in ("backends.cpu.threads", "blocks", "nonsense", "url", "user")),
    )
    assert len(found) == len(starts)
    assert all(any(sentence.startswith(start) for sentence in found) for start in starts), found


def test_a_wrong_value_hides_no_mistake_elsewhere(operator: Operator) -> None:
    path = operator.writes(
        'blocks = 0\nmetrics = "127.0.0.1:1"\nmetrics_cert = "c"\nbackend = "cup"\n'
        '[[pool]]\nurl = "x:"\n[[pool]]\nurl = "stratum+tcp://a:1"\n[[pool]]\nurl = "embedded:"\nshare_burst = 5\n'
    )
    found = problems(operator)
    for sentence in (
        f"{path}: blocks is 0: it must be at least 1",
        f"{path}: metrics_cert: metrics_key is missing beside it",
        f"{path}: url of [[pool]] 1 is",
        f"{path}: [[pool]] 2: stratum+tcp://a:1 needs a user",
        f"{path}: share_burst of [[pool]] 3: embedded: is no Stratum pool and has no share_burst",
    ):
        assert sum(each.startswith(sentence) for each in found) == 1, (sentence, found)
    assert len(found) == 6  # and the backend


@pytest.mark.parametrize(
    "text",
    [
        'metrics = "127.0.0.1:1"\nmetrics_user = "me"\nmetrics_password_file = 5',
        'metrics = "127.0.0.1:1"\nmetrics_user = 5\nmetrics_password_file = "f"',
        f'address = "{MAINNET}"\n[[pool]]\nurl = "x:"',
    ],
)
def test_a_wrong_value_is_not_called_a_missing_one(operator: Operator, text: str) -> None:
    operator.writes(text)
    assert len(problems(operator)) == 1


def test_a_long_value_is_cut(operator: Operator) -> None:
    (found,) = problems(operator, "--blocks", "x" * 10_000)
    assert len(found) < 150


def test_text_that_is_not_utf_8_names_its_line(operator: Operator) -> None:
    path = operator.writes(b"blocks = 1\n\nuser = '\xff'")
    assert problems(operator) == (f"{path}: line 3: not UTF-8 text",)


def test_an_endless_file_is_refused_unread(operator: Operator) -> None:
    with pytest.raises(ConfigError, match=r"--config: /dev/zero: larger than 1048576 bytes"):
        operator.starts("--config", "/dev/zero")


def test_a_file_that_cannot_be_followed_is_not_passed_over(operator: Operator) -> None:
    (operator.cwd / "miner.toml").symlink_to("gone")
    assert problems(operator) == (f"{operator.cwd}/miner.toml: there is no such file",)


# ---- nothing but ConfigError

ATOMS = st.one_of(
    st.booleans(),
    st.integers(-(1 << 300), 1 << 300),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["embedded:", "stratum+tcp://u:p@h:1", "rpc+http://[::1]", "regtest", "1", "x", MAINNET]),
    st.dates(),
)
VALUES = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([*Configuration.model_fields, "threads", "nonsense"])
POOLS = st.lists(
    st.dictionaries(
        st.sampled_from(["url", "user", "password", "password_file", "address", "x"]), ATOMS | VALUES, max_size=4
    ),
    max_size=3,
)
SECTIONS = st.dictionaries(
    st.sampled_from(["cpu", "my-asic", "broken", "opencl", "other"]),
    st.dictionaries(st.sampled_from(["threads", "fan", "api_token", "x"]), VALUES, max_size=3) | VALUES,
    max_size=2,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    table=st.dictionaries(KEYS, VALUES, max_size=4),
    pools=st.none() | POOLS,
    sections=st.none() | SECTIONS,
    built=st.booleans(),
)
def test_whatever_a_file_holds_it_is_taken_or_refused_in_words(
    operator: Operator, table: dict[str, Any], pools: Any, sections: Any, *, built: bool
) -> None:
    table |= {key: value for key, value in (("pool", pools), ("backends", sections)) if value is not None}
    with pytest.MonkeyPatch.context() as patch:
        if built:
            make_built(patch)
        patch.setattr("tomllib.loads", lambda _: table)
        operator.writes("")
        with contextlib.suppress(ConfigError):
            operator.starts()


VARIABLES = [option.variable for option in options()]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    environ=st.dictionaries(
        st.sampled_from([*VARIABLES, "MINER_CONFIG", "MINER_BACKENDS_CPU_THREADS", "MINER_BACKENDS_CPU_"]),
        st.text(st.characters(blacklist_characters="\0"), max_size=30),
        max_size=4,
    ),
    flags=st.dictionaries(
        st.sampled_from([option.flag for option in options() if not option.told.switch]),
        st.text(max_size=30),
        max_size=4,
    ),
)
def test_whatever_variables_and_flags_hold_is_taken_or_refused_in_words(
    operator: Operator, environ: dict[str, str], flags: dict[str, str]
) -> None:
    person = Operator(operator.home, operator.cwd, {**operator.environ, **environ})
    with contextlib.suppress(ConfigError):
        person.starts(*(f"{flag}={value}" for flag, value in flags.items()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_whatever_bytes_a_file_holds_it_is_taken_or_refused_in_words(operator: Operator, content: bytes) -> None:
    path = operator.writes(content, "any.toml")
    with contextlib.suppress(ConfigError):
        operator.starts("--config", str(Path(path)))


def test_a_plug_in_whose_validator_fails_is_a_sentence(operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_table: object) -> None:
        raise KeyError("speed")

    path = operator.writes("blocks = 0\n[backends.my-asic]\nfan = { speed = 1 }")
    monkeypatch.setattr(PlugInOptions, "model_validate", fails)
    found = problems(operator)
    assert f"{path}: backends.my-asic: its options cannot be validated: KeyError: 'speed'" in found
    assert len(found) == 2
