"""Another miner's benchmark, run beside ours, and the hash rate in what it prints."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
from typing import Any

_PREFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12}
_NUMBER = r"[0-9][0-9,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_WITH_UNIT = re.compile(rf"({_NUMBER})\s*([kmgt]?)(?:h|hash|hashes)/s(?:ec)?\b", re.IGNORECASE)
_BARE = re.compile(rf"\s*({_NUMBER})\s*", re.IGNORECASE)
_TERMINAL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_MERCY_S = 5.0

SHAPES = (
    'a rate with its unit, as "29.8 MH/s" or "29800 kH/s" (the last line that says "total", else the last of all); '
    'JSON with "hashes_per_second", a number or an object with "median"; or a number of hashes per second alone on the '
    "last line"
)


class PeerError(Exception):
    """The command cannot be run, failed, or printed no rate that is understood."""


def rate_in(text: str) -> float:
    """Hashes per second, from what a benchmark printed; PeerError if there is none in any of SHAPES."""
    lines = [line for line in _TERMINAL.sub("", text).splitlines() if line.strip()]
    for candidate in (text, *lines[-1:]):
        if (rate := _in_json(candidate)) is not None:
            return _positive(rate)
    with_unit = [(line, found) for line in lines for found in _WITH_UNIT.finditer(line)]
    totals = [found for line, found in with_unit if "total" in line.lower()]
    if found := (totals or [found for _, found in with_unit])[-1:]:
        return _positive(_number(found[0][1]) * _PREFIXES[found[0][2].lower()])
    if lines and (alone := _BARE.fullmatch(lines[-1])):
        return _positive(_number(alone[1]))
    shown = lines[-1][:120] if lines else "nothing"
    raise PeerError(f"no hash rate in the command's output, whose end is: {shown}; understood are {SHAPES}")


def run(command: str, seconds: float) -> float:
    """Run a shell-like command (no shell) for at most so long; the rate that it printed. Raises PeerError.

    A benchmark that does not end by itself is interrupted, as by Ctrl-C.
    """
    try:
        words = shlex.split(command)
        process = subprocess.Popen(  # noqa: S603 # the operator's own command
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace"
        )
    except (OSError, ValueError, IndexError) as error:
        raise PeerError(f"cannot run {command!r}: {error}") from error
    interrupted = False
    try:
        text, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        interrupted = True
        process.send_signal(signal.SIGINT)
        try:
            text, _ = process.communicate(timeout=_MERCY_S)
        except subprocess.TimeoutExpired:
            process.kill()
            text, _ = process.communicate()
    if process.returncode and not interrupted:
        raise PeerError(f"{command!r} failed with status {process.returncode}: {text[-300:].strip()}")
    return rate_in(text)


def _in_json(text: str) -> float | None:
    try:
        value: Any = json.loads(text)
    except ValueError:
        return None
    rate = value.get("hashes_per_second") if isinstance(value, dict) else None
    if isinstance(rate, dict):
        rate = rate.get("median")
    return float(rate) if isinstance(rate, int | float) and not isinstance(rate, bool) else None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _positive(rate: float) -> float:
    if not 0 < rate < float("inf"):
        raise PeerError(f"the command says that it does {rate} hashes per second")
    return rate
