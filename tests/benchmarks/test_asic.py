from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import pytest
from rich.console import Console

import native
from benchmarks.asic import benchmark as asic
from benchmarks.asic.wire import boards
from native.sha256 import midstate


def slow_midstates(prefix: bytes, versions: Sequence[int], folder: object = None) -> list[list[int]]:
    return [midstate(version.to_bytes(4, "little") + prefix[4:]) for version in versions]


def test_it_loads_the_host_counts_jobs_and_times_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "midstates", slow_midstates)  # the compiled ones take seconds to compile
    parser = argparse.ArgumentParser()
    asic.configure(parser)
    options = parser.parse_args(["--boards", "2", "--seconds", "1.2", "--tips", "3", "--enumerated", "5"])
    result = json.loads(json.dumps(asic.run(options, Console(quiet=True))))
    slow, fast = result["loads"]
    assert slow["jobs_hz"] == pytest.approx(2 * 2, rel=0.5)
    assert 20 < fast["jobs_hz"] < 110
    assert 0 < slow["cores"] < 2
    assert result["nonce_to_share_s"]["samples"] >= 3
    assert 0 < result["nonce_to_share_s"]["min"] < 0.05
    assert result["clean_job_s"]["samples"] == 3
    assert result["enumerated"] == 5
    assert 0 < result["enumerated_s"] < 5


def test_a_write_that_fails_after_it_has_ended_fails_the_benchmark() -> None:
    def write_to_no_endpoint() -> None:
        with boards("compac-f", 1, results=False) as bus:
            handle = bus.backend.open_device(1)
            assert bus.backend.bulk_write(handle, 0x7F, 0, b"nonce", 100) == 5
            bus.backend.close_device(handle)

    with pytest.raises(RuntimeError, match=r"1 writes to the virtual boards were lost; .*Entity not found"):
        write_to_no_endpoint()
