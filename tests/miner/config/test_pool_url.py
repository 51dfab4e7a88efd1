from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.config import SCHEMES, PoolUrl, PoolUrlError
from miner.config.pool_url import without_credentials
from tests.miner.operators import make_built


@pytest.fixture
def _all_built(monkeypatch: pytest.MonkeyPatch) -> None:
    make_built(monkeypatch)


every_scheme_works = pytest.mark.usefixtures("_all_built")


def taken_apart(text: str) -> tuple[str, str | None, int | None, str | None, str | None, str]:
    url = PoolUrl.parse(text)
    return url.scheme, url.host, url.port, url.user, url.password and url.password.get_secret_value(), url.path


@every_scheme_works
@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("embedded:", ("embedded", None, None, None, None, "")),
        ("RPC+HTTP://Node.Example:8332", ("rpc+http", "node.example", 8332, None, None, "")),
        ("rpc+https://u:p@h/wallet/x", ("rpc+https", "h", None, "u", "p", "/wallet/x")),
        ("rpc+http://h/", ("rpc+http", "h", None, None, None, "")),
        ("stratum+tcp://1a.worker:x@127.0.0.1:3333", ("stratum+tcp", "127.0.0.1", 3333, "1a.worker", "x", "")),
        ("stratum+tls://u@[2001:DB8::1]:1", ("stratum+tls", "2001:db8::1", 1, "u", None, "")),
        ("stratum+tls://[fe80::1%25eth0]:65535", ("stratum+tls", "fe80::1%eth0", 65535, None, None, "")),
        ("stratum+ssl://a%40b:c%3Ad%2Fe%25@h.:1", ("stratum+ssl", "h", 1, "a@b", "c:d/e%", "")),
        ("stratum+tcp://u:a@b@h:1", ("stratum+tcp", "h", 1, "u", "a@b", "")),
        ("stratum+tcp://u:a:b@h:1", ("stratum+tcp", "h", 1, "u", "a:b", "")),
        ("stratum2+tcp://h:1/9abc", ("stratum2+tcp", "h", 1, None, None, "/9abc")),
    ],
)
def test_a_url_is_taken_apart(text: str, parts: tuple[object, ...]) -> None:
    assert taken_apart(text) == parts


@every_scheme_works
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "SCHEME://HOST:PORT"),
        ("embedded", "SCHEME://HOST:PORT"),
        ("embedded://", "nothing follows embedded:"),
        ("synthetic:x", "nothing follows synthetic:"),
        ("http://h", 'no scheme "http"; did you mean rpc+http:?'),
        ("stratum+tcp:h:1", "two slashes"),
        ("stratum+tcp://", "no host"),
        ("stratum+tcp://h", "no port, as in stratum+tcp://host.example:3333"),
        ("stratum+tcp://h:", "from 1 to 65535"),
        ("stratum+tcp://h:0", "from 1 to 65535"),
        ("stratum+tcp://h:65536", "from 1 to 65535"),
        ("stratum+tcp://h:+1", "from 1 to 65535"),
        ("stratum+tcp://h:\u0663", "from 1 to 65535"),
        ("stratum+tcp://h:1/x", "no path"),
        ("stratum+tcp://h:1?x", "no ?"),
        ("stratum+tcp://::1:3333", "in brackets"),
        ("stratum+tcp://[::1:3333", "in brackets"),
        ("stratum+tcp://[::1]3333", "in brackets"),
        ("stratum+tcp://[::g]:3333", "no IPv6 address"),
        ("stratum+tcp://256.0.0.1:3333", "256.0.0.1 is no IPv4 address"),
        ("stratum+tcp://b\u00fccher.example:1", "xn--"),
        ("stratum+tcp://a..b:1", "no host name"),
        ("stratum+tcp://-a:1", "no host name"),
        (f"stratum+tcp://{'a.' * 127}a:1", "no host name"),
        ("stratum+tcp://u:p/w@h:1", "written %2F"),
        ("stratum+tcp://u:100%@h:1", "written %25"),
        ("stratum+tcp://u:%ff@h:1", "not UTF-8"),
        ("stratum+tcp://u:%0a@h:1", "control character"),
        ("stratum+tcp://h:1\n", "control character"),
        ("stratum+tcp://h :1", "a space"),
        ("embedded:" + "x" * 3000, "longer than 2048"),
    ],
)
def test_what_is_no_pool_url_is_refused_with_what_would_be(text: str, reason: str) -> None:
    with pytest.raises(PoolUrlError, match=re.escape(reason)):
        PoolUrl.parse(text)


@pytest.mark.parametrize("scheme", [name for name, scheme in SCHEMES.items() if not scheme.built])
def test_a_scheme_to_come_says_so_and_what_exists(scheme: str) -> None:
    with pytest.raises(PoolUrlError, match=r"is not built yet; there are embedded:, synthetic:"):
        PoolUrl.parse(f"{scheme}://h:1")


@every_scheme_works
def test_what_is_shown_has_no_user_password_or_path() -> None:
    url = PoolUrl.parse("rpc+http://alice:hunter22@[::1]:8332/wallet/secret")
    assert str(url) == url.safe == "rpc+http://[::1]:8332"
    assert not any(word in repr(url) for word in ("alice", "hunter22", "wallet"))


@every_scheme_works
@given(user=st.text(min_size=1), password=st.text(min_size=1))
def test_percent_encoded_credentials_survive_or_are_refused_for_control_characters(user: str, password: str) -> None:
    try:
        encoded = f"stratum+tcp://{quote(user, safe='')}:{quote(password, safe='')}@h:1"
        parts = taken_apart(encoded)
    except PoolUrlError as error:
        assert re.search("control character|longer", str(error))  # noqa: PT017
    else:
        assert parts[3:5] == (user, password)


SECRET = "hunter22"


@every_scheme_works
@given(
    before=st.text("htp:/+@%?#[] \n", max_size=12),
    around=st.text("a:/@%?#[]", max_size=6),
    after=st.text("h:1/?#@[]", max_size=12),
)
def test_nothing_that_stands_before_an_at_sign_is_repeated(before: str, around: str, after: str) -> None:
    text = f"{before}u:{around}{SECRET}{around}@{after}"
    assert SECRET not in without_credentials(text)
    try:
        shown = repr(PoolUrl.parse(text))
    except PoolUrlError as error:
        shown = str(error)
    assert SECRET not in shown


@given(st.text())
def test_any_text_is_a_url_or_refused_in_words(text: str) -> None:
    try:
        assert PoolUrl.parse(text).scheme in SCHEMES
    except PoolUrlError as error:
        assert len(str(error)) > 10  # noqa: PT017
