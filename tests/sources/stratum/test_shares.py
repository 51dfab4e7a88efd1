from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from miner.chain.header import Header
from miner.sources.stratum import messages
from miner.sources.stratum.errors import ShareUnsound
from miner.sources.stratum.job import Announced, Circumstances
from miner.sources.stratum.messages import Notify
from miner.sources.stratum.rolling import Style, bits
from miner.sources.stratum.shares import ANSWER_S, InFlight, Submission, VersionNotCovered, compose, header_of, prove
from miner.work.share import Share
from tests.sources.stratum.talk import Table, easy, notify, share_of


@pytest.mark.golden("stratum_v1_shares")
@pytest.mark.parametrize("style", Style)
def test_recorded_submits_give_the_recorded_headers(vector: dict[str, Any], style: Style) -> None:
    message = messages.read({"method": "mining.notify", "params": vector["notify_params"]})
    assert isinstance(message, Notify)
    under = Circumstances(bytes.fromhex(vector["extranonce1"]), vector["extranonce2_size"], 1.0, 0)
    submit = vector["submit"]
    rolled = [submit["version_bits"]] if submit["version_bits"] else []
    params = ("user", message.job_id, submit["extranonce2"], submit["ntime"], submit["nonce"], *rolled)
    mask = int(vector["version_mask"], 16) if vector["version_mask"] else None
    assert header_of(Announced(message, under), params, mask, style).hex() == vector["header_hex"]


def conversation(vector: dict[str, Any]) -> bool:
    return vector.get("conversation") is not None


@pytest.mark.golden("stratum_v1_shares", where=conversation)
def test_each_recorded_conversation_gives_the_exact_submit(vector: dict[str, Any]) -> None:
    """Our side is played by the client, told only what the pool said and which header a device found."""
    recorded = [message for side, message in vector["conversation"] if side == "C"]
    authorize = next(message for message in recorded if message["method"] == "mining.authorize")
    submit = next(message for message in recorded if message["method"] == "mining.submit")
    table = Table(mask=vector["version_mask"])
    table.options = replace(table.options, user=authorize["params"][0], password=authorize["params"][1])
    table.__post_init__()
    table.join(extranonce1=vector["extranonce1"], size=vector["extranonce2_size"])
    for side, message in vector["conversation"]:
        if side == "S" and "method" in message:
            table.say(json.dumps(message).encode() + b"\n")
    (job,) = table.jobs
    header = Header.unpack(bytes.fromhex(vector["header_hex"]))
    share = Share(
        1,
        job,
        "asic",
        bytes.fromhex(vector["submit"]["extranonce2"]),
        header.nonce,
        version=header.version,
        ntime=header.ntime,
        hash=int.from_bytes(header.hash, "little"),
        block=vector["is_block"],
        stale=False,
        found_at=0.0,
    )
    (sent,) = table.submit(share)
    assert sent["method"] == "mining.submit"
    assert sent["params"] == submit["params"]
    table.answer(sent, vector["conversation"][-1][1]["result"])
    assert [answer.accepted for answer in table.answers] == [True]


@pytest.mark.golden("version_rolling", where=lambda vector: vector["valid"])
def test_recorded_version_bits(vector: dict[str, Any]) -> None:
    job, mask, header = (int(vector[key], 16) for key in ("job_version", "mask", "header_version"))
    got = bits(Style.REPLACE, version=header, job_version=job, mask=mask)
    assert f"{got:08x}" == vector["version_bits"]
    difference = bits(Style.DIFFERENCE, version=header, job_version=job, mask=mask)
    assert job ^ difference == header
    if not job & mask:
        assert difference == got


@pytest.fixture
def share() -> Share:
    table = Table()
    table.join()
    return share_of(easy(table, notify(version=0x20000000)), version=0x20006000)


def test_a_share_that_is_right_is_proved(share: Share) -> None:
    submission = compose(share, "me", 0x1FFFE000, Style.DIFFERENCE)
    assert submission.params[0] == "me"
    assert submission.params[5] == "00006000"
    prove(submission, 0x1FFFE000)


@pytest.mark.parametrize("index", [2, 3, 4, 5])
def test_a_single_wrong_digit_is_noticed(share: Share, index: int) -> None:
    good = compose(share, "me", 0x1FFFE000, Style.DIFFERENCE)
    text = str(good.params[index])
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    params = (*good.params[:index], wrong, *good.params[index + 1 :])
    with pytest.raises(ShareUnsound):
        prove(Submission(share, params, good.style, ambiguous=False), 0x1FFFE000)


def test_a_share_with_another_hash_than_its_header_has_stays_here(share: Share) -> None:
    """Also where both hashes meet the target."""
    other = replace(share, hash=share.hash ^ 1)
    with pytest.raises(ShareUnsound, match=f"found {other.hash:064x}"):
        prove(compose(other, "me", 0x1FFFE000, Style.DIFFERENCE), 0x1FFFE000)


def test_what_does_not_meet_the_target_stays_here(share: Share) -> None:
    harder = replace(share, job=replace(share.job, share_target=share.hash - 1))
    with pytest.raises(ShareUnsound, match="above the target"):
        prove(compose(harder, "me", 0x1FFFE000, Style.DIFFERENCE), 0x1FFFE000)


def test_a_time_before_the_jobs_stays_here(share: Share) -> None:
    later = replace(share, job=replace(share.job, ntime=share.ntime + 1))
    with pytest.raises(ShareUnsound, match="before the job"):
        prove(compose(later, "me", 0x1FFFE000, Style.DIFFERENCE), 0x1FFFE000)


@pytest.mark.parametrize("mask", [None, 0, 0x1FFF8000])
def test_bits_that_were_withdrawn_cannot_be_told(share: Share, mask: int | None) -> None:
    with pytest.raises(VersionNotCovered):
        compose(share, "me", mask, Style.DIFFERENCE)


def test_the_sixth_field_is_there_if_and_only_if_rolling_was_granted(share: Share) -> None:
    still = replace(share, version=share.job.version)
    assert len(compose(still, "me", None, Style.DIFFERENCE).params) == 5
    assert compose(still, "me", 0, Style.DIFFERENCE).params[5] == "00000000"


def test_what_is_never_answered_is_given_up_but_a_block_is_not(share: Share) -> None:
    in_flight = InFlight()
    in_flight.add("1", compose(share, "me", 0x1FFFE000, Style.DIFFERENCE), 0.0)
    in_flight.add("2", compose(replace(share, block=True), "me", 0x1FFFE000, Style.DIFFERENCE), 0.0)
    assert in_flight.overdue(ANSWER_S - 1) == []
    assert [submission.share.block for submission in in_flight.overdue(ANSWER_S)] == [False]
    assert len(in_flight) == 1
    assert in_flight.take("1") is None
