"""The table `[safety]`: where its path leads, what is wrong with it, and who else may say it."""

from __future__ import annotations

import pytest

from miner.config import ConfigError
from tests.miner.operators import Operator


def test_without_the_table_there_is_no_interlock(operator: Operator) -> None:
    assert operator.starts().configuration.safety.interlock is None
    operator.writes("[safety]\n")
    assert operator.starts().configuration.safety.interlock is None


@pytest.mark.parametrize(
    ("written", "placed"),
    [
        ("/sys/class/gpio/gpio17/value", "/sys/class/gpio/gpio17/value"),
        ("key", "{cwd}/etc/key"),
        ("~/key", "{home}/key"),
    ],
)
def test_its_path_is_placed_as_other_paths_are(operator: Operator, written: str, placed: str) -> None:
    operator.writes(f'[safety]\ninterlock = "{written}"\n', "etc/m.toml")
    path = operator.starts("--config", "etc/m.toml").configuration.safety.interlock
    assert str(path) == placed.format(cwd=operator.cwd, home=operator.home)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[safety]\ninterlok = "key"\n', "safety.interlok: there is no such key; did you mean interlock?"),
        ("[safety]\ninterlock = true\n", "safety.interlock is true"),
        ('[safety]\ninterlock = ""\n', "it must not be empty"),
        ('safety = "key"\n', 'safety is "key"'),
    ],
)
def test_what_is_wrong_is_told_rather_than_mined_without_it(operator: Operator, text: str, problem: str) -> None:
    operator.writes(text)
    with pytest.raises(ConfigError, match=r"miner\.toml") as caught:
        operator.starts()
    assert problem in str(caught.value)


def test_neither_a_flag_nor_a_variable_overrides_it(operator: Operator) -> None:
    operator.writes('[safety]\ninterlock = "key"\n')
    operator.environ |= {"MINER_SAFETY": "{}", "MINER_INTERLOCK": "/dev/null", "MINER_SAFETY_INTERLOCK": "/dev/null"}
    assert operator.starts().configuration.safety.interlock == operator.cwd / "key"


def test_a_reload_leaves_it_as_it_is_and_says_so(operator: Operator) -> None:
    operator.writes('pool = [{ url = "synthetic:" }]\n[safety]\ninterlock = "key"\n')
    first = operator.starts()
    operator.writes('pool = [{ url = "synthetic:" }]\n')
    again = operator.reloads(first)
    assert again.configuration.safety.interlock == operator.cwd / "key"
    assert any(warning.startswith("safety ") and "next start" in warning for warning in again.warnings)
