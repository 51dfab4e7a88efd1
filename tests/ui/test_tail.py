from __future__ import annotations

import io

import structlog

from miner.ui.tail import LINE_MAX, LINES_MAX, Tail
from tests.ui.terminal import Terminal


class Plain(io.StringIO):
    """A file or a pipe."""


def test_lines_pass_through_while_nothing_holds_them() -> None:
    stream = Terminal()
    print("hello", file=Tail(stream), flush=True)
    assert stream.getvalue() == "hello\n"


def test_a_held_terminal_gets_nothing_and_the_lines_are_kept() -> None:
    stream = Terminal()
    tail = Tail(stream)
    with tail.held():
        print("one\ntwo", file=tail)
    print("three", file=tail)
    assert stream.getvalue() == "three\n"
    assert tail.lines() == ["one", "two", "three"]


def test_a_file_gets_every_line_even_then() -> None:
    stream = Plain()
    tail = Tail(stream)
    with tail.held():
        print("one", file=tail)
    assert stream.getvalue() == "one\n"
    assert tail.lines() == ["one"]


def test_what_is_kept_is_printable_and_bounded() -> None:
    tail = Tail(Plain())
    tail.write("\x1b[1;32mgreen\x1b[0m \x1b]0;title\x07\n")
    assert tail.lines() == [r"green \x1b]0;title\x07"]
    for _ in range(LINES_MAX + 1):
        tail.write("x" * 10 * LINE_MAX)
        tail.write("y\n")
    assert tail.lines() == ["x" * LINE_MAX] * LINES_MAX


def test_a_line_that_never_ends_is_not_hoarded() -> None:
    tail = Tail(Plain())
    for _ in range(100):
        tail.write("x" * LINE_MAX)
    assert len(tail._partial) <= LINE_MAX


def test_structlog_writes_to_it() -> None:
    tail = Tail(Plain())
    logger = structlog.wrap_logger(
        structlog.PrintLogger(tail), processors=[structlog.processors.KeyValueRenderer(key_order=["event"])]
    )
    logger.info("share_accepted", device="cpu:0")
    assert tail.lines() == ["event='share_accepted' device='cpu:0'"]
