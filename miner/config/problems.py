"""Wrong configuration in words: where it was said, what was said, and what would be right, in one sentence each."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from miner.printable import printable

from .pool_url import without_credentials

_SHOWN = 60  # characters of a value; enough to recognise it
_HUGE = 1 << 128  # Python refuses to print integers of thousands of digits
_SECRET_WORDS = ("password", "secret", "token", "passphrase", "credential", "auth")


class ConfigError(Exception):
    """The configuration cannot be used. Its text is one sentence a line, without secrets; exit with USAGE."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was said, as an operator would look for it."""

    place: str  # of a file: its path; empty for what names itself, a flag or a variable
    spelled: str  # the key, flag or variable

    def __str__(self) -> str:
        return f"{self.place}: {self.spelled}" if self.place else self.spelled


def said(origin: Origin, value: object, wrong: str, *, secret: bool = False) -> str:
    """The sentence about a value that is wrong."""
    return f"{origin} is {'(hidden)' if secret else shown(value)}: {wrong}"


def shown(value: object) -> str:
    """A value as it could stand in a TOML file, short and harmless whatever it is."""
    match value:
        case bool():
            return str(value).lower()
        case int() if abs(value) >= _HUGE:
            return "a huge number"
        case int() | float():
            return str(value)
        case str():
            text = printable(value)
            return json.dumps(text if len(text) <= _SHOWN else text[:_SHOWN] + "...", ensure_ascii=False)
        case Mapping():
            return "a table"
        case list() | tuple():
            return "a list"
        case _:
            return f"a {type(value).__name__}"


def nearest(word: str, known: Iterable[str], prefix: str = "") -> str | None:
    """The end of a sentence about a word that is not known, if one of those is like it."""
    near = difflib.get_close_matches(word, sorted(known), n=1)
    return f"did you mean {prefix}{near[0]}?" if near else None


def is_secret(key: object) -> bool:
    """Whether values of this key must not be shown, going by its name: plug-ins have keys of their own."""
    return isinstance(key, str) and any(word in key.lower() for word in _SECRET_WORDS) and not key.endswith("_file")


def displayed(keys: Sequence[str], value: object) -> object:
    """The value to show for a key: a URL without its credentials."""
    hides = keys[:1] == ["pool"] or "also_submit" in keys or (keys[:1] == ["meter"] and keys[-1] != "topic")
    return without_credentials(value) if hides and isinstance(value, str) else value


def rightly(error: Mapping[str, Any]) -> str:
    """What would be right, from one of pydantic's errors."""
    context = error.get("ctx", {})
    match error["type"]:
        case "value_error" | "assertion_error":
            return str(context["error"])
        case "int_type" | "int_parsing" | "int_from_float":
            return "it must be a whole number"
        case "float_type" | "float_parsing" | "finite_number":
            return "it must be a number"
        case "bool_type" | "bool_parsing":
            return "it must be true or false"
        case "string_type" | "path_type" | "is_instance_of":
            return "it must be text, in quotation marks"
        case "string_unicode":
            return "it must be readable text"
        case "string_too_short" | "too_short":
            return "it must not be empty; leave it out instead"
        case "tuple_type" | "list_type" | "set_type" | "frozen_set_type":
            return "it must be a list"
        case "dict_type" | "mapping_type" | "model_type" | "model_attributes_type":
            return "it must be a table"
        case "greater_than":
            return f"it must be more than {context['gt']}"
        case "greater_than_equal":
            return f"it must be at least {context['ge']}"
        case "less_than":
            return f"it must be less than {context['lt']}"
        case "less_than_equal":
            return f"it must be at most {context['le']}"
        case "literal_error" | "enum":
            return f"it must be {context['expected']}"
        case _:
            return printable(str(error["msg"]))
