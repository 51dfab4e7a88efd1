"""Every device a worker of its own, on one connection."""

from __future__ import annotations

from typing import Any

import pytest

from miner.sources.base import SourceMisconfigured
from miner.sources.stratum.delivery import WORKER_S
from miner.sources.stratum.options import worker_name
from miner.work.share import Reason
from tests.sources.stratum.talk import Table, easy, methods, options, share_of

USER = "account.rig-{device}"


def joined(**changes: Any) -> Table:
    table = Table(options(user=USER, password="d={device}", first_device="cpu:0", **changes))
    table.join()
    return table


def submitted(table: Table) -> list[str]:
    return [request["params"][0] for request in table.requests if request["method"] == "mining.submit"]


def test_the_connection_begins_as_the_first_device() -> None:
    table = joined()
    assert table.last("mining.authorize")["params"] == ["account.rig-cpu-0", "d=cpu-0"]
    (request,) = table.submit(share_of(easy(table), device="cpu:0"))
    assert request["params"][0] == "account.rig-cpu-0"


def test_another_device_is_authorized_with_its_first_share_and_hands_in_as_itself() -> None:
    table = joined()
    job = easy(table)
    (ask,) = table.submit(share_of(job, device="usb 1/2"))
    assert (ask["method"], ask["params"]) == ("mining.authorize", ["account.rig-usb-1-2", "d=usb-1-2"])
    assert not table.submit(share_of(job, b"\2\0\0\0", device="usb 1/2")), "it is asked once"
    table.answer(ask, True)
    table.hear()
    assert submitted(table) == ["account.rig-usb-1-2"] * 2


@pytest.mark.parametrize("says", ["no", "an error", "nothing"])
def test_where_it_is_not_taken_its_shares_are_handed_in_as_the_first(says: str) -> None:
    table = joined()
    (ask,) = table.submit(share_of(easy(table), device="usb"))
    if says == "nothing":
        table.tick(WORKER_S)
    else:
        table.answer(ask, False if says == "no" else None, [20, "one worker a connection"] if says != "no" else None)
    table.hear()
    assert submitted(table) == ["account.rig-cpu-0"]
    assert table.said == ["worker_refused"]
    assert table.left is None


def test_a_share_refused_for_its_worker_ends_neither_the_connection_nor_the_mining() -> None:
    table = joined()
    job = easy(table)
    (ask,) = table.submit(share_of(job, device="usb"))
    table.answer(ask, True)
    (request,) = table.hear()
    table.answer(request, None, [20, "Worker mismatch", None])
    assert table.answers[0].reason is Reason.UNAUTHORIZED
    assert (table.said, table.left) == (["worker_refused"], None)
    (again,) = table.submit(share_of(job, b"\2\0\0\0", device="usb"))
    assert again["params"][0] == "account.rig-cpu-0"


def test_a_block_does_not_wait_for_its_worker() -> None:
    table = joined()
    requests = table.submit(share_of(easy(table), device="usb", block=True))
    assert methods(requests) == ["mining.authorize", "mining.submit"]
    assert submitted(table) == ["account.rig-cpu-0"]


def test_a_new_connection_authorizes_anew() -> None:
    table = joined()
    (ask,) = table.submit(share_of(easy(table), device="usb"))
    table.answer(ask, True)
    table.hang_up()
    table.join()
    asked = [request["params"][0] for request in table.requests if request["method"] == "mining.authorize"]
    assert asked == ["account.rig-cpu-0", "account.rig-usb"] * 2


def test_without_the_template_nothing_more_is_authorized() -> None:
    table = Table()
    table.join()
    assert methods(table.submit(share_of(easy(table), device="usb"))) == ["mining.submit"]


def test_a_name_is_made_of_what_every_pool_takes_in_a_workers() -> None:
    assert worker_name("opencl:GeForce RTX 3080/0") == "opencl-GeForce-RTX-3080-0"
    assert worker_name("...") == "miner"
    assert len(worker_name("x" * 500)) == 64


@pytest.mark.parametrize(
    "changes", [{"user": "account", "password": "{device}"}, {"user": "u" * 240 + "{device}"}], ids=str
)
def test_what_cannot_be_a_worker_is_refused_before_anything_is_sent(changes: dict[str, Any]) -> None:
    with pytest.raises(SourceMisconfigured):
        options(**changes)
