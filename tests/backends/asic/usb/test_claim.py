from __future__ import annotations

import errno
import threading
import time

import pytest

from backends.asic.errors import BridgeStalled, NotPermitted, Taken
from backends.asic.usb.claim import RETRIES, Claim, device_node
from backends.asic.usb.request import Request
from backends.base import BackendError, DeviceFault, DeviceGone, Misuse
from tests.backends.asic.usb.plugged import Plugged, compac_a1, compac_f, gamma, usb_error

VENDOR_OUT = Request(0x40, 0)


def claimed(device: Plugged) -> Claim:
    claim = device.claim()
    claim.take([0])
    return claim


def test_the_kernel_driver_steps_aside_and_comes_back() -> None:
    stick = compac_f()
    claim = claimed(stick)
    assert stick.kernel == {}
    claim.close()
    assert stick.kernel == {0: "back"}
    assert stick.names() == [("detach", 0), ("claim", 0), ("release", 0), ("attach", 0), ("close",)]
    assert stick.opened == 0


def test_a_driver_that_was_not_there_is_not_brought_in() -> None:
    stick = compac_f()
    stick.kernel.clear()
    claimed(stick).close()
    assert ("attach", 0) not in stick.calls


def test_a_cdc_driver_gives_up_both_interfaces_before_either_is_claimed_and_gets_both_back() -> None:
    board = gamma()
    claim = board.claim()
    claim.take([0, 1])
    assert board.claimed == {0, 1}
    assert set(board.kernel) == {2, 3}, "the other port stays with the kernel"
    claim.close()
    assert board.kernel == {0: "back", 1: "back", 2: "cdc_acm", 3: "cdc_acm"}


def test_a_claim_that_fails_halfway_gives_back_what_it_had() -> None:
    board = gamma()
    claim = board.claim()
    board.failing["claim"] = usb_error(errno.EBUSY)
    with pytest.raises(Taken, match="1-3"):
        claim.take([0, 1])
    assert board.claimed == set()
    assert set(board.kernel) == {0, 1, 2, 3}


def test_a_system_without_kernel_drivers_is_no_obstacle() -> None:
    stick = compac_f()
    stick.kernel.clear()
    stick.failing["active"] = NotImplementedError("said libusb")  # type: ignore[assignment]
    claimed(stick).close()
    assert ("claim", 0) in stick.calls


def test_a_driver_that_cannot_come_back_is_told_of() -> None:
    told: list[tuple[str, dict[str, object]]] = []
    stick = compac_f()
    claim = stick.claim(log=lambda event, **values: told.append((event, values)))
    claim.take([0])
    stick.failing["attach"] = usb_error(errno.EPERM)
    claim.close()
    assert told == [("usb_driver_not_returned", {"device": "1-1", "interface": 0, "reason": "[Errno 1] said libusb"})]
    assert stick.opened == 0


def test_closing_twice_or_after_an_unplug_is_quiet() -> None:
    told: list[str] = []
    stick = compac_f()
    claim = stick.claim(log=lambda event, **_: told.append(event))
    claim.take([0])
    stick.is_plugged = False
    claim.close()
    claim.close()
    assert told == []
    assert stick.opened == 0
    with pytest.raises(Misuse, match="closed"):
        claim.control(VENDOR_OUT)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EACCES, NotPermitted),
        (errno.EPERM, NotPermitted),
        (errno.EBUSY, Taken),
        (errno.ENODEV, DeviceGone),
        (errno.ENOENT, DeviceGone),
        (errno.EIO, DeviceGone),
        (errno.EPIPE, BridgeStalled),
        (errno.ETIMEDOUT, BridgeStalled),
        (errno.ENOMEM, BridgeStalled),
        (errno.EOVERFLOW, DeviceFault),
        (None, BridgeStalled),
    ],
)
def test_what_libusb_says_becomes_what_a_person_can_act_on(code: int | None, kind: type[BackendError]) -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.failing["control"] = usb_error(code)
    with pytest.raises(kind, match="1-1") as caught:
        claim.control(VENDOR_OUT)
    assert type(caught.value) is kind


def test_no_permission_names_the_rule_that_gives_it() -> None:
    stick = compac_f()
    stick.failing["open"] = usb_error(errno.EACCES)
    with pytest.raises(
        NotPermitted, match=r'70-angara-miner.rules.*ATTR\{product\}=="CompacF Bitcoin Miner"'
    ) as caught:
        stick.claim().layout()
    assert str(device_node(1, 2)) in str(caught.value)


def test_nothing_is_asked_of_a_device_that_is_gone() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.is_plugged = False
    with pytest.raises(DeviceGone, match="unplugged"):
        claim.read(0x81, 64, 0.1)
    stick.is_plugged = True
    stick.calls.clear()
    for act in (lambda: claim.read(0x81, 64, 0.1), lambda: claim.write(0x02, b"x"), lambda: claim.control(VENDOR_OUT)):
        with pytest.raises(DeviceGone, match="unplugged"):
            act()
    assert stick.calls == []


def test_an_unplug_in_the_middle_of_a_transfer_is_an_unplug() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.incoming[0x81].extend([usb_error(errno.EIO), usb_error(errno.EPROTO), usb_error(errno.ENODEV)])
    with pytest.raises(DeviceGone, match="unplugged"):
        claim.read(0x81, 64, 0.1)


def test_a_stall_is_cleared_and_the_transfer_repeated() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.incoming[0x81].extend([usb_error(errno.EPIPE), usb_error(errno.EPIPE), b"\x01\x60after"])
    assert claim.read(0x81, 64, 0.1) == b"\x01\x60after"
    assert stick.calls.count(("clear_halt", 0x81)) == RETRIES


def test_a_stall_that_stays_is_given_up() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.failing["read"] = usb_error(errno.EPIPE)
    with pytest.raises(BridgeStalled, match="reading"):
        claim.read(0x81, 64, 0.1)
    assert stick.calls.count(("read", 0x81)) == 1 + RETRIES


def test_a_damaged_transfer_is_tried_again() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.incoming[0x81].extend([usb_error(errno.EIO), b"\x01\x60good"])
    assert claim.read(0x81, 64, 0.1) == b"\x01\x60good"


def test_a_damaged_control_request_is_tried_again_and_a_refused_one_is_not() -> None:
    stick = compac_f()
    claim = claimed(stick)
    ends: list[OSError | bytes] = [usb_error(errno.EPROTO), usb_error(errno.EIO), b"\x01\x60"]

    def answer(_: tuple[int, int, int, int]) -> bytes:
        if isinstance(end := ends.pop(0), OSError):
            raise end
        return end

    stick.answer = answer
    assert claim.control(Request(0xC0, 5, length=2)) == b"\x01\x60"
    ends.append(usb_error(errno.EPIPE))
    with pytest.raises(BridgeStalled, match="refused"):
        claim.control(Request(0xC0, 5, length=2))
    assert not ends


def test_over_a_bad_cable_a_board_can_still_be_turned_off() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.failing["read"] = usb_error(errno.EPROTO)
    with pytest.raises(DeviceGone, match="bad cable"):
        claim.read(0x81, 64, 0.1)
    claim.control(VENDOR_OUT)
    assert len(stick.controls) == 1


def test_a_write_goes_out_whole_where_the_device_takes_it_and_in_pieces_where_not() -> None:
    stick = compac_f()
    claim = claimed(stick)
    claim.write(0x02, b"abcdef")
    stick.takes = 4
    claim.write(0x02, b"ghijkl")
    assert [data for _, data in stick.sent] == [b"abcdef", b"ghij", b"kl"]


def test_a_device_that_takes_nothing_is_stalled() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.takes = 0
    with pytest.raises(BridgeStalled, match="0 of 3"):
        claim.write(0x02, b"abc")


def test_an_answer_longer_than_asked_for_is_cut() -> None:
    stick = compac_f()
    stick.answer = lambda _: bytes(100)
    assert len(claimed(stick).control(Request(0xC0, 5, length=2))) == 2


def test_a_port_reset_claims_again_what_was_claimed() -> None:
    stick = compac_a1()
    claim = stick.claim()
    claim.take([0])
    claim.take([1])
    stick.calls.clear()
    claim.port_reset()
    assert ("reset",) in stick.calls
    assert stick.claimed == {0, 1}
    claim.close()
    assert stick.kernel == {0: "back", 1: "back"}


def test_a_device_that_comes_back_as_another_is_gone() -> None:
    stick = compac_f()
    claim = claimed(stick)
    stick.failing["reset"] = usb_error(errno.ENOENT)
    with pytest.raises(DeviceGone):
        claim.port_reset()


def test_closing_waits_for_the_transfer_that_another_thread_is_in() -> None:
    stick = compac_f()
    stick.hold = threading.Event()
    claim = claimed(stick)
    stick.incoming[0x81].append(b"\x01\x60late")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(claim.read(0x81, 64, 0.1)))
    reader.start()
    assert stick.reading.wait(5.0)
    closer = threading.Thread(target=claim.close)
    closer.start()
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:  # until closing has begun: a new transfer is refused
        try:
            claim.control(VENDOR_OUT)
        except Misuse:
            break
    assert ("close",) not in stick.calls, "libusb would lose the handle under the transfer"
    stick.hold.set()
    reader.join(5.0)
    closer.join(5.0)
    assert got == [b"\x01\x60late"]
    assert stick.calls[-1] == ("close",)


def test_control_goes_through_while_another_thread_reads() -> None:
    stick = compac_f()
    stick.hold = threading.Event()
    claim = claimed(stick)
    stick.incoming[0x81].append(b"\x01\x60x")
    reader = threading.Thread(target=claim.read, args=(0x81, 64, 0.1))
    reader.start()
    assert stick.reading.wait(5.0)
    claim.control(VENDOR_OUT)
    assert len(stick.controls) == 1
    stick.hold.set()
    reader.join(5.0)
