from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Iterator

import pytest
import structlog

from miner.logs import output as logs

log = structlog.get_logger()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def json_lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_text_is_one_readable_line_without_colour_on_a_pipe(stream: io.StringIO) -> None:
    logs.configure("text", "info", stream=stream)
    log.info("share_accepted", pool="stratum+tcp://h:1", ms=12.5, note="two words", device=None, tags=["a", 1])
    line = stream.getvalue()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d info    share_accepted pool=.*\n", line)
    assert line.endswith('pool=stratum+tcp://h:1 ms=12.5 note="two words" device=null tags=["a", 1]\n')


def test_only_a_terminal_gets_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    logs.configure("text", "info", stream=terminal)
    log.error("device_dead")
    assert terminal.getvalue().startswith("\x1b[31m")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    logs.configure("text", "info", stream=plain)
    log.error("device_dead")
    assert "\x1b" not in plain.getvalue()


def test_json_is_one_object_a_line_with_the_time_in_utc(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=stream)
    log.warning("share_rejected", reason="stale", ms=float("nan"), raw=b"\x00\xff", nested={"a": (1, 2)})
    (entry,) = json_lines(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", str(entry.pop("timestamp")))
    assert entry == {
        "level": "warning",
        "event": "share_rejected",
        "reason": "stale",
        "ms": "nan",
        "raw": "00ff",
        "nested": {"a": [1, 2]},
    }


def test_levels_below_the_one_asked_for_are_silent_and_a_second_call_changes_it(stream: io.StringIO) -> None:
    logs.configure("json", "warning", stream=stream)
    log.info("no")
    log.warning("yes")
    logs.configure("json", "debug", stream=stream)
    log.debug("now")
    assert [entry["event"] for entry in json_lines(stream)] == ["yes", "now"]


ATTACK = "a\nb\r\x1b]0;owned\x07\u202e\u2028\x9b31m\udc80"


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_value_breaks_a_line_or_reaches_a_terminal(log_format: logs.Format, stream: io.StringIO) -> None:
    logs.configure(log_format, "info", stream=stream)
    log.info(ATTACK, value=ATTACK, deep={ATTACK: [ATTACK]}, **{ATTACK: 1})
    output = stream.getvalue()
    assert output.endswith("\n")
    assert len(output.splitlines()) == 1
    assert output[:-1].isprintable()


def test_a_traceback_cannot_forge_a_line(stream: io.StringIO) -> None:
    logs.configure("text", "info", stream=stream)
    try:
        raise ValueError("x\n2030-01-01 00:00:00 info    block_accepted \x1b[2J")  # noqa: TRY301
    except ValueError:
        log.exception("device_failed")
    first, *rest = stream.getvalue().splitlines()
    assert "device_failed" in first
    assert rest
    assert all(line.startswith("    | ") and line.isprintable() for line in rest)


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_secrets_do_not_leave_however_they_come(log_format: logs.Format, stream: io.StringIO) -> None:
    logs.configure(log_format, "info", secrets=["hunter22", "p\u00e4ss\nword", "x", ""], stream=stream)

    class Pool:
        def __repr__(self) -> str:
            return "Pool(hunter22)"

    try:
        raise ValueError("cannot log in with hunter22")  # noqa: TRY301
    except ValueError:
        log.exception("hunter22", a="-hunter22-", b={"hunter22": ["hunter22"]}, c=Pool(), d="p\u00e4ss\nword")
    log.info("refused", url="rpc+http://me:s3cret@h:1/x", max="x")
    output = stream.getvalue()
    for secret in ("hunter22", "s3cret", "p\u00e4ss", "ss\\nword"):
        assert secret not in output
    assert "rpc+http://***@h:1/x" in output
    assert "max" in output, "a password of one letter is no secret and would hide every such letter"


def test_a_value_that_cannot_be_shown_does_not_stop_the_line(stream: io.StringIO) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError

    logs.configure("text", "info", stream=stream)
    log.info("still_here", value=Broken(), long="y" * 100_000)
    assert 'value="<Broken: RuntimeError>"' in stream.getvalue()
    assert len(stream.getvalue()) < 5_000


def test_the_standard_library_s_records_and_warnings_come_the_same_way(stream: io.StringIO) -> None:
    logs.configure("json", "debug", secrets=["hunter22"], stream=stream)
    logs.configure("json", "debug", secrets=["hunter22"], stream=stream)
    logging.getLogger("asyncio").warning("slow %s\n", "hunter22")
    logging.getLogger("usb").debug("drowning")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    entries = json_lines(stream)
    assert [(entry["logger"], entry["level"]) for entry in entries] == [
        ("asyncio", "warning"),
        ("py.warnings", "warning"),
    ]
    assert entries[0]["event"] == "slow ***\n"


def test_a_library_s_wrong_format_string_does_not_stop_its_line(stream: io.StringIO) -> None:
    logs.configure("json", "info", stream=stream)
    (forward,) = (handler for handler in logging.getLogger().handlers if isinstance(handler, logs._Forward))
    forward.handle(logging.LogRecord("x", logging.ERROR, __file__, 1, "wrong %d", ("format",), None))
    assert json_lines(stream)[0]["event"] == "wrong %d"


def test_a_reader_that_went_away_does_not_stop_the_miner() -> None:
    gone = io.StringIO()
    logs.configure("text", "info", stream=gone)
    gone.close()
    log.info("nobody_listens")
