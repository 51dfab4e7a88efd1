from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.asic.chips.chip import BM1362, BM1366, BM1368, BM1370, BM1397, Chip
from backends.asic.chips.decoder import Decoder, NonceReply
from backends.asic.chips.jobs import (
    KEPT,
    RESULTS_MAX,
    HeaderJobs,
    Jobs,
    MidstateJobs,
    Refusal,
    Result,
    header_job,
    midstate_job,
    version_rolling,
)
from backends.asic.chips.lease import pieces
from backends.base import NONCES, Hit, Misuse, Work
from backends.rectangle import subsets
from native.sha256 import midstate
from tests.backends.asic.chips.golden import lease_of, of_kind

HEADER = bytes.fromhex(of_kind("derived_job_nonce")[0]["header"])


def slow_midstates(prefix: bytes, versions: Any) -> list[list[int]]:
    return [midstate(version.to_bytes(4, "little") + prefix[4:]) for version in versions]


def reply_of(frame: str) -> NonceReply:
    [reply] = Decoder(len(frame) // 2).feed(bytes.fromhex(frame))
    assert isinstance(reply, NonceReply)
    return reply


def send_as(jobs: Jobs, work: Work, number: int) -> None:
    """Send this work until its job has this id."""
    while next(reversed(jobs._sent), None) != number:
        jobs.begin(work)
        jobs.next()


def answer(jobs: Jobs, tag: int, counter: int = 7, bits: int | None = 0) -> Result | Refusal:
    return jobs.match(NonceReply(counter, tag, bits))


@pytest.mark.parametrize("vector", of_kind("job_nonce", "BM1370", "BM1366", "BM1368"), ids=lambda vector: vector["id"])
def test_a_captured_job_is_built_again_and_its_nonce_leads_to_the_captured_hash(vector: dict[str, Any]) -> None:
    chip = {"BM1366": BM1366, "BM1368": BM1368, "BM1370": BM1370}[vector["chip"]]
    header = bytes.fromhex(vector["header"])
    work, number = lease_of(header), int(vector["decoded"]["job_id"], 16)
    sent = work.header(0, work.version, work.ntime)
    assert header_job(number, sent) == bytes.fromhex(vector["job_frame"])

    jobs = HeaderJobs(chip)
    send_as(jobs, work, number)
    result = jobs.match(reply_of(vector["nonce_frame"]))
    assert isinstance(result, Result)
    assert work.header(result.nonce, result.version, result.piece.ntime) == header
    assert f"{Hit(work, result.nonce, result.version, result.piece.ntime).hash():064x}" == vector["hash_display"]
    assert result.core == vector["decoded"]["core"]
    assert jobs.match(reply_of(vector["nonce_frame"])) is Refusal.DUPLICATE


@pytest.mark.parametrize("vector", of_kind("derived_job_nonce"), ids=lambda vector: vector["id"])
def test_public_blocks_become_the_known_jobs_of_both_families(vector: dict[str, Any]) -> None:
    header = bytes.fromhex(vector["header"])
    assert midstate_job(0x14, header, [midstate(header[:64])]) == bytes.fromhex(vector["bm1397_job_1mid"])
    assert header_job(0x18, header, 0x36) == bytes.fromhex(vector["full_job_len36"])


def test_a_captured_job_of_four_midstates_is_built_again() -> None:
    [vector] = of_kind("job_frame")
    frame = bytes.fromhex(vector["frame"])
    header = bytes(64) + frame[18:22] + frame[14:18] + frame[10:14] + bytes(4)
    states = [struct.unpack_from(">8I", frame, 22 + 32 * slot)[::-1] for slot in range(4)]
    assert midstate_job(4, header, states) == frame


def test_a_captured_midstate_result_names_its_slot() -> None:
    [vector] = of_kind("job_nonce", "BM1397")
    number, tag = int(vector["job_id"], 16), int(vector["response_id_byte"], 16)
    jobs = MidstateJobs(BM1397, slow_midstates)
    send_as(jobs, lease_of(HEADER, 0x6000), number)
    result = answer(jobs, tag, bits=None)
    assert isinstance(result, Result)
    assert result.version == result.piece.versions[vector["midstate_index"]]


@given(
    st.integers(0, (1 << 32) - 1),
    st.lists(st.integers(0, 31), max_size=4, unique=True),
    st.integers(0, 3),
    st.sampled_from([1, 4]),
    st.sampled_from([0, 0x1FFFE000]),
)
def test_pieces_cover_a_lease_once_and_nothing_else(
    version: int, bits: list[int], span: int, together: int, rolled: int
) -> None:
    mask = sum(1 << bit for bit in bits)
    header = struct.pack("<I", version) + HEADER[4:]
    work = lease_of(header, mask, span)
    seen = []
    for piece in pieces(work, together, rolled):
        assert len(piece.versions) in {1, together}
        for base in piece.versions:
            seen += [(piece.ntime, base | bits_) for bits_ in subsets(piece.rolled)]
        assert piece.headers == NONCES * len(piece.versions) * len(list(subsets(piece.rolled)))
    assert len(seen) == len(set(seen)) == (span + 1) << len(bits)
    assert all(work.covers(0, version_, ntime) for ntime, version_ in seen)


def jobs_of(chip: Chip) -> Jobs:
    return HeaderJobs(chip) if chip.version_bits else MidstateJobs(chip, slow_midstates)


ALL = pytest.mark.parametrize("chip", [BM1397, BM1362, BM1366, BM1368, BM1370], ids=lambda chip: chip.name)


@ALL
def test_a_lease_goes_on_until_it_is_used_up(chip: Chip) -> None:
    work = lease_of(HEADER, 0x6000, 1)
    jobs = jobs_of(chip)
    assert jobs.next() is None
    jobs.begin(work)
    sent = [jobs.next(), jobs.next()]
    assert [piece.ntime for piece, _ in filter(None, sent)] == [work.ntime, work.ntime + 1]
    assert jobs.next() is None


@ALL
def test_results_of_the_last_jobs_still_count_and_older_ones_do_not(chip: Chip) -> None:
    jobs = jobs_of(chip)
    numbers = []
    for ntime_span in range(KEPT + 1):
        jobs.begin(lease_of(HEADER, 0x6000, ntime_span))
        jobs.next()
        numbers.append(next(reversed(jobs._sent)))
    assert len(set(numbers[1:])) == KEPT
    for age, number in enumerate(reversed(numbers[1:])):
        result = answer(jobs, number << chip.tag_job_shift)
        assert isinstance(result, Result)
        assert result.piece.work.ntime_span == KEPT - age
    if numbers[0] not in numbers[1:]:
        assert answer(jobs, numbers[0] << chip.tag_job_shift) is Refusal.UNKNOWN_JOB


@ALL
def test_an_answer_to_nothing_is_told_apart(chip: Chip) -> None:
    assert answer(jobs_of(chip), 0x10) is Refusal.UNKNOWN_JOB


def test_a_version_that_was_not_to_be_rolled_is_outside() -> None:
    jobs = HeaderJobs(BM1370)
    jobs.begin(lease_of(HEADER, 0x6000))
    jobs.next()
    tag = next(iter(jobs._sent)) << 1
    assert answer(jobs, tag, bits=0b100) is Refusal.OUTSIDE
    assert isinstance(answer(jobs, tag, bits=0b11), Result)


def test_a_midstate_that_was_not_sent_is_outside() -> None:
    jobs = MidstateJobs(BM1397, slow_midstates)
    jobs.begin(lease_of(HEADER, 0))
    jobs.next()
    tag = next(iter(jobs._sent))
    assert answer(jobs, tag | 1, bits=None) is Refusal.OUTSIDE
    assert isinstance(answer(jobs, tag, bits=None), Result)


def test_the_same_nonce_of_another_version_is_another_result() -> None:
    jobs = MidstateJobs(BM1397, slow_midstates)
    jobs.begin(lease_of(HEADER, 0x6000))
    jobs.next()
    tag = next(iter(jobs._sent))
    versions = [answer(jobs, tag | slot, bits=None) for slot in range(4)]
    assert len({result.version for result in versions if isinstance(result, Result)}) == 4
    assert answer(jobs, tag | 3, bits=None) is Refusal.DUPLICATE


def test_a_chip_that_pours_results_fills_no_memory() -> None:
    jobs = HeaderJobs(BM1370)
    jobs.begin(lease_of(HEADER))
    jobs.next()
    tag = next(iter(jobs._sent)) << 1
    taken = sum(isinstance(answer(jobs, tag, counter), Result) for counter in range(RESULTS_MAX + 5))
    assert taken == RESULTS_MAX


def test_the_mask_goes_ahead_of_a_job_when_it_is_another_one() -> None:
    jobs = HeaderJobs(BM1370)
    frames = []
    for mask in (0x1FFFE000, 0x1FFFE000, 0x6000):
        jobs.begin(lease_of(HEADER, mask))
        piece, frame = jobs.next() or (None, b"")
        assert piece is not None
        frames.append(frame)
    masks = [frame[:11] if frame[2] == 0x51 else None for frame in frames]
    assert masks == [bytes.fromhex("55aa510900a49000ffff1c"), None, version_rolling(0x6000)]


def test_bits_that_the_chip_does_not_roll_are_the_hosts() -> None:
    work = lease_of(HEADER, 0x20000000 | 0x6000)
    assert [(piece.versions, piece.rolled) for piece in pieces(work, 1, BM1370.version_bits)] == [
        ((work.version,), 0x6000),
        ((work.version | 0x20000000,), 0x6000),
    ]


def test_a_job_lasts_as_long_as_its_chips_have_nonces() -> None:
    jobs = MidstateJobs(BM1397, slow_midstates)
    [piece] = pieces(lease_of(HEADER, 0x6000), 4)
    assert jobs.seconds(piece, 425e6, 1) == pytest.approx(4 * 2**32 / 285.6e9)
    gamma, [whole] = HeaderJobs(BM1370), pieces(lease_of(HEADER), 1, BM1370.version_bits)
    assert gamma.seconds(whole, 525e6, 1) == pytest.approx(131, abs=1)  # 4096 sweeps of 32 ms
    [single] = pieces(lease_of(HEADER, 0), 1, BM1370.version_bits)
    assert gamma.seconds(single, 525e6, 1) == pytest.approx(0.032, abs=0.001)


def test_a_chip_that_takes_midstates_gets_no_headers() -> None:
    with pytest.raises(Misuse):
        HeaderJobs(BM1397)


def test_work_begun_anew_leaves_the_old_lease() -> None:
    old, new = lease_of(HEADER, 0x6000, 5), replace(lease_of(HEADER, 0x6000), id=2)
    jobs = HeaderJobs(BM1370)
    jobs.begin(old)
    jobs.next()
    jobs.begin(new)
    piece, _ = jobs.next() or (None, b"")
    assert piece is not None and piece.work is new
    assert jobs.next() is None
