"""Log lines that a pool can cause as often as it likes: a few a minute pass, and the rest is counted."""

from __future__ import annotations

from miner.sources.stratum.brake import LINES, WINDOW_S, Brake
from miner.sources.stratum.effects import Learnt, Say
from miner.sources.stratum.pool import MASK_ANSWER_S
from miner.work.share import Reason
from tests.sources.stratum.talk import Table, easy, notice, notify, options, share_of

LOW = [23, "Low difficulty share", None]


def test_the_first_lines_pass_and_the_next_one_after_a_while_says_how_many_did_not() -> None:
    brake = Brake()
    assert [brake.passes("event", float(second)) for second in range(LINES)] == [{}] * LINES
    assert [brake.passes("event", 30.0) for _ in range(5)] == [None] * 5
    assert brake.passes("event", WINDOW_S - 0.1) is None
    assert brake.passes("event", WINDOW_S) == {"left_out": 6}
    assert brake.passes("event", WINDOW_S) is None
    assert brake.passes("event", 3 * WINDOW_S) == {"left_out": 1}


def test_each_event_has_a_brake_of_its_own() -> None:
    brake = Brake()
    for _ in range(LINES):
        brake.passes("event", 0.0)
    assert brake.passes("other", 0.0) == {}


def test_a_pool_that_refuses_every_proved_share_fills_no_log() -> None:
    table = Table()
    table.join()
    job = easy(table)
    for number in range(3 * LINES):
        (request,) = [r for r in table.submit(share_of(job, number.to_bytes(4, "little"))) if "submit" in r["method"]]
        table.answer(request, None, LOW)
    assert [answer.reason for answer in table.answers] == [Reason.LOW_DIFFICULTY] * 3 * LINES
    assert table.said.count("share_refused_though_proved") == LINES
    table.now += WINDOW_S
    (request,) = table.submit(share_of(job, b"\xff\0\0\0"))
    table.answer(request, None, LOW)
    said = [effect for effect in table.effects if isinstance(effect, Say)]
    assert (said[-1].event, said[-1].fields["left_out"]) == ("share_refused_though_proved", 2 * LINES)


def test_the_brake_holds_over_connections() -> None:
    table = Table()
    for _ in range(2):
        table.join()
        table.say(*[notice("client.show_message", "hello")] * LINES)
        table.hang_up()
    assert table.said.count("pool_says") == LINES


def test_a_pool_that_changes_its_mind_about_version_bits_fills_neither_log_nor_state_file() -> None:
    table = Table(options(share_rate=1e6, share_burst=10_000))
    table.join()
    table.say(notice("mining.set_difficulty", 2.0**-28), notify(version=0x30000000))
    table.tick(MASK_ANSWER_S)
    table.hear()
    for number in range(5 * LINES * 4):
        for request in table.submit(share_of(table.jobs[-1], number.to_bytes(4, "little"), version=0x30002000)):
            table.answer(request, None, LOW)
    assert table.said.count("version_bits_changed_over") == LINES
    assert len([effect for effect in table.effects if isinstance(effect, Learnt)]) == LINES


def test_a_worker_that_is_refused_with_each_of_its_shares_is_said_once() -> None:
    table = Table(options(user="me.{device}", first_device="cpu0"))
    table.join()
    job = easy(table)
    (ask,) = table.submit(share_of(job, device="usb0"))
    table.answer(ask, True)
    requests = table.hear()
    for number in range(2, 9):
        requests += table.submit(share_of(job, number.to_bytes(4, "little"), device="usb0"))
    for request in requests:
        table.answer(request, None, [24, "Unauthorized worker", None])
    assert len(table.answers) == 8
    assert table.said == ["worker_refused"]
