from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, SecretStr

from miner.config import SCHEMES, Pool
from miner.config.facts import Only, keys, secrets_in
from miner.config.model import live_keys


class Inner(BaseModel):
    token: SecretStr


class Outer(BaseModel):
    plain: str = "public"
    alone: SecretStr | None = None
    several: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}
    file: Annotated[Path, Only.NODE] | None = None
    folder: Annotated[Path | None, Only.NODE] = None


def test_every_secret_is_found_however_deep() -> None:
    outer = Outer(
        alone=SecretStr("one"),
        several=(Inner(token=SecretStr("two")),),
        by_name={"x": Inner(token=SecretStr("three"))},
    )
    assert [secret.get_secret_value() for secret in secrets_in(outer)] == ["one", "two", "three"]


def test_a_path_is_a_path_whether_or_not_it_may_be_left_out() -> None:
    assert [key.name for key in keys(Outer).values() if key.is_path] == ["file", "folder"]


def test_a_key_says_which_pools_have_it() -> None:
    def having(key: str) -> set[str]:
        only = keys(Pool)[key].only
        return {name for name, scheme in SCHEMES.items() if only is None or only.includes(scheme)}

    assert having("url") == having("quota") == set(SCHEMES)
    assert "embedded" not in having("name") and {"rpc+http", "stratum+tcp"} <= having("name")
    assert having("cookie_file") == {"rpc+http", "rpc+https"}
    assert having("ca_file") == {"rpc+https", "stratum+tls", "stratum+ssl"}
    assert having("share_rate") == {"stratum+tcp", "stratum+tls", "stratum+ssl"}


def test_a_reload_takes_over_the_pools_and_what_is_set_for_all_of_them() -> None:
    shared = {name for name in Pool.model_fields if name in live_keys()}
    assert set(live_keys()) - shared == {"pool", "network"}
    assert {"user", "password", "password_file", "address", "proxy"} <= shared
