"""The command on the runtime that pip installs: what an operator of GPUs lives through, on a processor."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Home, Miner, home, summary_of
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_model import Pool
from tests.virtual.pool_terms import Terms

STEADY = Terms(difficulty=2**-14, every_s=0.5, clean_every=1 << 30)  # 262,144 hashes a share, none ever stale
USER = "account.worker"
PIPS = {"MINER_BACKENDS_OPENCL_TUNE": "false"}


@pytest.fixture
def operator(tmp_path: Path, kernels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Her OpenCL driver is pip's PoCL."""
    loader = importlib.util.find_spec("pyopencl")
    assert loader and loader.origin
    with home(tmp_path, kernels) as opened:
        opened.environ |= PIPS | {"OCL_ICD_VENDORS": str(Path(loader.origin).parent / ".libs" / "pocl.icd")}
        yield opened


def mined(miner: Miner) -> None:
    assert miner.ended() == 0, miner.output()


def workers_of(miner: Miner) -> list[int]:
    """Process ids of the devices' workers."""
    children = Path(f"/proc/{miner.process.pid}/task").glob("*/children")
    pids = [int(pid) for file in children for pid in file.read_text().split()]
    return [pid for pid in pids if b"backends.opencl.worker.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def accepted(pool: VirtualPool) -> int:
    def count(model: Pool) -> int:
        return model.books.accounts[USER].accepted if USER in model.books.accounts else 0

    return pool.do(count)


def more(pool: VirtualPool, shares: int = 3) -> None:
    wanted, give_up = accepted(pool) + shares, time.monotonic() + 90
    while accepted(pool) < wanted:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_it_mines_blocks_on_the_runtime_that_was_asked_for(operator: Home, tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    words = [
        "--backend",
        "opencl",
        "--device",
        "cpu",
        "--pool",
        "embedded:",
        "--blocks",
        "5",
        "--block-interval",
        "0.2",
    ]
    mined(operator.start(*words, "--blocks", "5", "--summary", str(target)))
    summary = summary_of(target)
    assert summary["blocks"]["accepted"] >= 5
    assert summary["hardware_errors"] == 0
    assert [device["backend"] for device in summary["devices"]] == ["opencl"]


def test_without_being_asked_no_runtime_on_the_processor_mines(operator: Home) -> None:
    miner = operator.start("--backend", "opencl", "--pool", "embedded:")
    assert miner.ended() == 1
    assert "name it with --device" in miner.output()


def test_a_killed_worker_costs_one_restart_and_no_share(operator: Home) -> None:
    with VirtualPool(STEADY) as pool:
        url = f"stratum+tcp://127.0.0.1:{pool.port}"
        miner = operator.start("--backend", "opencl", "--device", "cpu", "--pool", url, "--user", USER)
        more(pool)
        (worker,) = workers_of(miner)
        os.kill(worker, signal.SIGKILL)
        more(pool)
        (other,) = workers_of(miner)
        assert other != worker
        miner.signal(signal.SIGINT)
        mined(miner)
        account = pool.account(USER)
    assert not account.rejected
    assert miner.output().count("worker_restarted") == 1
    assert "device_restarted" not in miner.output()


def test_processor_and_card_share_the_work_without_a_repeated_lease(operator: Home, tmp_path: Path) -> None:
    target, log = tmp_path / "s.json", tmp_path / "shares.jsonl"
    operator.environ["MINER_BACKENDS_OPENCL_CPU_RUNTIMES"] = "true"
    with VirtualPool(STEADY) as pool:
        url = f"stratum+tcp://127.0.0.1:{pool.port}"
        words = ["--pool", url, "--user", USER, "--threads", "1", "--summary", str(target), "--share-log", str(log)]
        miner = operator.start(*words)
        give_up = time.monotonic() + 90
        while len(leases(log)) < 2:  # both devices
            assert time.monotonic() < give_up, miner.output()
            time.sleep(0.05)
        more(pool, 10)
        miner.signal(signal.SIGINT)
        mined(miner)
        account, violations = pool.account(USER), pool.violations()
    assert not account.rejected and not violations  # a pool refuses what it was sent before
    devices = {device["backend"]: device["hashes"] for device in summary_of(target)["devices"]}
    assert devices.keys() >= {"cpu", "opencl"} and min(devices["cpu"], devices["opencl"]) > 0
    one, other = leases(log).values()
    assert one and other and not one & other


def leases(log: Path) -> dict[str, set[tuple[str, str]]]:
    """By device: the job and extranonce2 of its shares."""
    found = defaultdict(set)
    for line in log.read_text().splitlines() if log.exists() else []:
        share = json.loads(line)
        found[share["device"]].add((share["job"], share["extranonce2"]))
    return found
