"""Log lines for people or for machines, to stderr: `log.info("share_accepted", pool=..., ms=...)`.

Whatever a value holds, a line stays one line, a terminal is not written to by strangers, and no password leaves.
The standard library's logging and its warnings come the same way.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from miner.printable import printable

Format = Literal["text", "json"]
Level = Literal["debug", "info", "warning", "error"]

_LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_COLOURS = {"debug": "\x1b[2m", "warning": "\x1b[33m", "error": "\x1b[31m", "critical": "\x1b[31m"}
_PLAIN = "\x1b[0m"
_REDACTED = "***"
_SHORTEST_SECRET = 4  # characters; hiding every x would only make a log unreadable
_IN_URL = re.compile(r"(?<=://)[^/\s@]*:[^\s@]*@(?=[^\s@]*)")
_BARE = re.compile(r"[\w.:/@+%\[\]-]+")
_VALUE_LIMIT = 4096  # characters of one value


def configure(
    log_format: Format, log_level: Level, *, secrets: Iterable[str] = (), stream: TextIO | None = None
) -> None:
    """Set up all logging of the process; may be called again. `stream`: stderr if None, coloured on a terminal."""
    target = sys.stderr if stream is None else stream
    level = _LEVELS[log_level]
    people: list[Processor] = [structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False)]
    machines: list[Processor] = [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    render = Text(colour=target.isatty() and not os.environ.get("NO_COLOR")) if log_format == "text" else _json
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            *(people if log_format == "text" else machines),
            structlog.processors.format_exc_info,
            Redaction(secrets),
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _Sink(target),
        cache_logger_on_first_use=False,  # a second call must reach loggers made before it
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Forward)]:
        root.removeHandler(handler)
    root.addHandler(_Forward())
    root.setLevel(max(level, logging.INFO))  # libraries' debugging would drown ours
    logging.captureWarnings(capture=True)


class Redaction:
    """Removes known secrets, and credentials in URLs, from every text of an event, however deep."""

    def __init__(self, secrets: Iterable[str]) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
        spellings = [form for secret in known for form in dict.fromkeys((secret, printable(secret)))]
        self._known = re.compile("|".join(map(re.escape, spellings))) if spellings else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: self.clean(value) for key, value in event.items()}

    def clean(self, value: object) -> Any:
        """The value without secrets. A value that is not plain becomes its repr."""
        match value:
            case None | bool() | int():
                return value
            case float():
                return value if math.isfinite(value) else str(value)  # JSON has no word for the others
            case str():
                text = _IN_URL.sub(f"{_REDACTED}@", value)
                return self._known.sub(_REDACTED, text) if self._known else text
            case Mapping():
                return {self.clean(str(key)): self.clean(item) for key, item in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self.clean(item) for item in value]
            case bytes():
                return value.hex()
            case _:
                return self.clean(_text(value))


class Text:
    """`time level event key=value ...`, one line and the traceback, marked as such, below it."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, _logger: WrappedLogger, method: str, event: EventDict) -> str:
        level = str(event.pop("level", method))
        head = f"{event.pop('timestamp', '')} {level:<7} {printable(str(event.pop('event', '')))}"
        exception = event.pop("exception", None)
        line = " ".join([head, *(f"{printable(key)}={_shown(value)}" for key, value in event.items())])
        if exception:
            line += "".join(f"\n    | {printable(part)}" for part in str(exception).split("\n"))
        tint = _COLOURS.get(level) if self._colour else None
        return f"{tint}{line}{_PLAIN}" if tint else line


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """ASCII only, so that whatever reads it cannot be confused by what a stranger put in."""
    return json.dumps(event, ensure_ascii=True, default=_text)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=_text)
    if len(text) > _VALUE_LIMIT:
        text = text[:_VALUE_LIMIT] + "..."
    if isinstance(value, str) and not _BARE.fullmatch(text):
        text = json.dumps(text, ensure_ascii=False)
    return printable(text)


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  # a log line must not fail for what it is about
        return f"<{type(value).__name__}: {type(error).__name__}>"


class _Sink:
    """Writes finished lines. A reader that went away must not end the mining."""

    _lock = threading.Lock()

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        with self._lock:
            try:
                self._stream.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # a broken pipe, a full disk, a closed stream: nobody is left to tell
                return

    log = debug = info = warning = error = critical = exception = msg


class _Forward(logging.Handler):
    """Hands the standard library's records to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # noqa: BLE001  # a library's wrong format string is not ours to fail for
            text = str(record.msg)
        extra = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger().log(record.levelno, text, logger=record.name, **extra)
