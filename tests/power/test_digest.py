from __future__ import annotations

import pytest

from miner.power.digest import Challenge, Login
from miner.power.errors import Nonsense

MUFASA = Login("Mufasa", "Circle of Life")
CNONCE = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"
HEADER = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
)


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
    ],
)
def test_the_answers_are_those_of_rfc_7616(algorithm: str, response: str) -> None:
    answer = Challenge.parse(HEADER.format(algorithm)).answer(MUFASA, "/dir/index.html", count=1, cnonce=CNONCE)
    assert f'response="{response}"' in answer
    assert "nc=00000001" in answer and f"algorithm={algorithm}" in answer and "opaque=" in answer


def test_basic_is_base64() -> None:
    answer = Challenge.parse('Basic realm="x"').answer(Login("Aladdin", "open sesame"), "/", count=1, cnonce="")
    assert answer == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer x",
        'Digest nonce="a"',
        'Digest qop="auth"',
        'Digest qop="auth", nonce="a", algorithm=SHA-1',
        "D" * 9999,
    ],
)
def test_what_cannot_be_answered_is_not_answered(header: str) -> None:
    with pytest.raises(Nonsense):
        Challenge.parse(header)


def test_a_login_never_prints_its_password() -> None:
    assert "Circle" not in repr(MUFASA)
