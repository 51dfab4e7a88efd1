from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.opencl import protocol
from backends.opencl.protocol import (
    LINE_MAX,
    Doing,
    Done,
    Drop,
    Dropped,
    Failed,
    Lines,
    Open,
    PowerSet,
    ProtocolError,
    Ready,
    Sensed,
    Set,
    Stretch,
    Temperature,
)
from tests.backends.opencl.fakes import CARD

ORDERS = [
    Open(identity=CARD, launch_s=0.05, state_dir="/tmp"),
    Set(duty=0.5, power_w=120.0),
    Stretch(id=1, header76="00" * 76, versions=(1, 2), target="ff", start=5, count=1 << 32),
    Drop(token=3),
]
REPORTS = [
    Doing(text="building"),
    Ready(name="uint8", midstates=4),
    Done(stretch=1, start=0, count=10, hits=((3, 1), (4, 2)), took_s=0.05),
    Dropped(token=3),
    Sensed(temperatures=(Temperature(sensor="edge", celsius=60.0),), power_w=100.0),
    PowerSet(refused="only root may"),
    Failed(reason="gone", for_good=True),
]


def test_messages_arrive_as_they_were_sent() -> None:
    assert [protocol.order(protocol.encode(x).strip()) for x in ORDERS] == ORDERS
    assert [protocol.report(protocol.encode(x).strip()) for x in REPORTS] == REPORTS


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"kind":"done","stretch":1,"start":-1,"count":1}',
        b'{"kind":"done","stretch":1,"start":0,"count":0}',
        b'{"kind":"done","stretch":1,"start":0,"count":1,"hits":[[1,4294967296]]}',
        b'{"kind":"done","stretch":1,"start":0,"count":1,"took_s":1e-300}',
        b'{"kind":"done","stretch":1,"start":0,"count":1,"took_s":-1.0}',
        b'{"kind":"ready","name":"x","midstates":0}',
        b'{"kind":"sensed","temperatures":[{"sensor":"edge","celsius":1e9}]}',
        b'{"kind":"dropped","token":1,"more":2}',
        b'{"kind":"open"}',
    ],
)
def test_what_is_no_report_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError, match="is no message"):
        protocol.report(line)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_report_or_refused(piece: bytes) -> None:
    for line in Lines().feed(piece + b"\n"):
        with pytest.raises(ProtocolError):
            protocol.report(line)


@given(st.lists(st.binary(max_size=20)))
def test_lines_do_not_depend_on_how_a_pipe_cuts_them(pieces: list[bytes]) -> None:
    lines = Lines()
    cut = [line for piece in pieces for line in lines.feed(piece)]
    assert cut == b"".join(pieces).split(b"\n")[:-1]


def test_a_line_without_an_end_is_not_kept_for_ever() -> None:
    lines = Lines()
    lines.feed(b"x" * LINE_MAX)
    with pytest.raises(ProtocolError, match="a line of more than"):
        lines.feed(b"x")
