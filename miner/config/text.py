"""Kinds of text that several tables hold."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, SecretStr

from miner.printable import has_controls


def from_text(parse: Callable[[str], Any]) -> BeforeValidator:
    """Whatever `parse` makes of text; other values are left to validation."""
    return BeforeValidator(lambda value: parse(value) if isinstance(value, str) else value)


def _clean(text: str) -> str:
    if not text:
        raise ValueError("it must not be empty; leave it out instead")
    if has_controls(text):
        raise ValueError("it contains a control character")
    return text


def _clean_secret(secret: SecretStr) -> SecretStr:
    _clean(secret.get_secret_value())
    return secret


Text = Annotated[str, AfterValidator(_clean)]
Secret = Annotated[SecretStr, AfterValidator(_clean_secret)]
File = Annotated[Path, from_text(_clean)]
