"""Whatever a device says or does: errors of the tree, in bounded time, and the kernel gets its driver back."""

from __future__ import annotations

import errno
from collections import deque
from contextlib import suppress
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.asic.usb.bridge import READ_MAX, Bridge
from backends.asic.usb.device import open_device
from backends.base import BackendError
from tests.backends.asic.usb.plugged import (
    COMPAC_A1,
    COMPAC_F,
    GAMMA,
    FakeBus,
    Plugged,
    compac_a1,
    compac_f,
    endpoint,
    gamma,
    interface,
    usb_error,
)

CALL_S = 1.1  # what any call may take beyond its own time-out
CODES = (errno.ENODEV, errno.EIO, errno.EPIPE, errno.ETIMEDOUT, errno.EOVERFLOW, errno.EBUSY, errno.ENOMEM, None)

anything = st.integers(0, 0xFFFF)
endpoints = st.builds(
    endpoint, st.one_of(st.integers(0, 0xFF), st.sampled_from([0x81, 0x02])), anything | st.just(64), st.integers(0, 3)
)
interfaces = st.builds(
    lambda number, ends, kind, extra: interface(number, *ends, kind=kind, extra=extra),
    st.integers(0, 0xFF),
    st.lists(endpoints, max_size=4),
    st.sampled_from([(0xFF, 0xFF), (2, 2), (10, 0), (3, 1)]),
    st.binary(max_size=40),
)
transfers = st.one_of(st.binary(max_size=200), st.sampled_from(CODES).map(usb_error))
steps = st.lists(st.sampled_from(["read", "write", "baud", "gpio", "reset", "unplug"]), max_size=12)


def take(bridge: Bridge, step: str, device: Plugged) -> None:
    match step:
        case "read":
            assert len(bridge.read(0.5)) <= READ_MAX
        case "write":
            bridge.write(bytes(100))
        case "baud":
            assert bridge.set_baud(115_200) > 0
        case "gpio":
            bridge.gpio(1, 1)
        case "reset":
            bridge.reset()
        case "unplug":
            device.is_plugged = False


@given(st.sampled_from([COMPAC_F, COMPAC_A1, GAMMA]), st.lists(interfaces, max_size=5), st.lists(transfers, max_size=4))
def test_any_descriptors_give_a_bridge_or_an_error_of_the_tree(
    identity: object, layout: list[SimpleNamespace], arriving: list[bytes | OSError]
) -> None:
    device = Plugged(identity, tuple(layout), kernel={0: "theirs"})  # type: ignore[arg-type]
    for each in layout:
        for end in each.endpoints:
            device.incoming[end.bEndpointAddress] = deque(arriving)
    with suppress(BackendError), open_device(FakeBus(device), device.identity, now=device.clock) as opened:
        for port in range(opened.ports):
            bridge = opened.bridge(port)
            take(bridge, "read", device)
    assert device.opened == 0
    assert 0 in device.kernel


@pytest.mark.parametrize("plug", [compac_f, compac_a1, gamma])
@settings(max_examples=50)
@given(todo=steps, arriving=st.lists(transfers, max_size=30), takes=st.sampled_from([None, 0, 1, 64]))
def test_any_bytes_stalls_and_unplugs_end_in_time_and_in_the_tree(
    plug: type[Plugged], todo: list[str], arriving: list[bytes | OSError], takes: int | None
) -> None:
    device = plug()
    with open_device(FakeBus(device), device.identity, now=device.clock) as opened:
        bridge = opened.bridge(0)
        device.takes = takes
        for address in (0x81, 0x82):
            device.incoming[address] = deque(arriving)
        for step in todo:
            started = device.clock.now_s
            with suppress(BackendError):
                take(bridge, step, device)
            assert device.clock.now_s - started < 0.5 + CALL_S
    assert device.opened == 0
    if device.is_plugged:
        assert 0 in device.kernel


@given(raw=st.binary(max_size=600))
def test_every_byte_that_arrives_is_payload_or_status(raw: bytes) -> None:
    device = compac_f()
    bridge = open_device(FakeBus(device), device.identity, now=device.clock).bridge(0)
    chunks = [raw[at : at + 62] for at in range(0, len(raw), 62)]
    device.incoming[0x81] = deque(b"\x01\x60" + chunk for chunk in chunks)
    got = b""
    while data := bridge.read(0.01):
        got += data
    assert got == raw
