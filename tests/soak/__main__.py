"""The miner for an hour on pools that misbehave at random: `make soak ARGS="--minutes 60 --seed 1"`.

Three pools of different habits on this machine, the whole program on one thread of the processor, failover between the
pools; then the evidence of both sides is compared. Exit status 1 where a rule is broken:

- a share that could be delivered was not; a share was handed in that a good miner would not have;
- the miner failed, said that it was wrong about something, or did not mine for minutes;
- its memory, files or threads grew.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.soak import vitals
from tests.soak.journal import WatchedPool
from tests.soak.judge import Fate, Findings, Hit, examine
from tests.soak.plan import CALM_S, Weather
from tests.soak.tap import BREAKS
from tests.virtual.pool import VirtualPool
from tests.virtual.pool_terms import Delivery, ErrorShape, Ids, Reask, Rolling, Terms
from tests.virtual.pool_tls import Authority

ROOT = Path(__file__).resolve().parents[2]
USER = "account.worker"
LOOK_S = 5.0  # between two looks at the miner
SETTLE_S = 12.0  # all pools behave before the end; in a short run for a third of it
PAUSE_LIMIT_S = 180.0
SHOWN = 60  # samples in the summary
EVILS = ("share_unsound", "source_defect", "source_failed", "device_failed", "cannot_mine")
START_S = 120.0


def terms(difficulty: float) -> dict[str, Terms]:
    """Three pools that have as little as possible in common."""
    common: dict[str, Any] = {"difficulty": difficulty, "every_s": 2.0, "clean_every": 12}
    return {
        "plain": Terms(**common, rolling=Rolling.REPLACE, branches=12),
        "pieces": Terms(
            **common,
            rolling=Rolling.XOR,
            version=0x30000000,  # a bit inside the mask
            extranonce1_size=8,
            error_shape=ErrorShape.OBJECT,
            delivery=Delivery(piece=61, ids=Ids.TEXT, version2=True),
        ),
        "deaf": Terms(
            **common,
            rolling=Rolling.OR,
            version=0x20006000,
            reask=Reask.SAME,
            extranonce1_size=3,
            extranonce2_size=8,
            notify_params=8,
            error_shape=ErrorShape.REASON,
            delivery=Delivery(gather=3, line_end=b"\r\n"),
        ),
    }


@dataclass(slots=True)
class Miner:
    """The program under test."""

    process: subprocess.Popen[bytes]
    folder: Path
    look_s: float = LOOK_S
    samples: list[vitals.Sample] = field(default_factory=list)

    @classmethod
    def start(cls, folder: Path, pools: Sequence[VirtualPool], ca_file: Path, options: argparse.Namespace) -> Miner:
        arguments = [word for pool in pools for word in ("--pool", pool.url)]
        arguments += ["--user", USER, "--ca-file", str(ca_file), "--return-after", "5", "--backend", "cpu"]
        arguments += ["--threads", "1", "--log-format", "json", "--summary", str(folder / "summary.json")]
        state = folder / "state"
        if options.kernels is not None:
            shutil.copytree(options.kernels, state / "kernels")
            state.chmod(0o700)
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MINER_")} | {
            "HOME": str(folder),
            "MINER_STATE_DIR": str(state),
            "MINER_BACKENDS_CPU_DUTY": str(options.duty),
            "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
        }
        command = [sys.executable, "-m", "tests.soak.tap", str(folder / "hits"), options.defect, *arguments]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return cls(process, folder, min(LOOK_S, 60 * options.minutes / SHOWN))

    @property
    def hits(self) -> Path:
        return self.folder / "hits"

    def until_mining(self) -> None:
        deadline = time.monotonic() + START_S
        while not self.hits.exists() or not self.hits.stat().st_size:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the miner does not mine:\n{self.words()[-3000:]}")
            time.sleep(0.1)

    def watch(self, until: float) -> None:
        """Look at it every few seconds; returns early where it ends."""
        while time.monotonic() < until:
            try:
                self.samples.append(vitals.Sample.of(self.process.pid, time.monotonic()))
            except OSError:
                return
            time.sleep(max(0.0, min(self.look_s, until - time.monotonic())))

    def end(self) -> int | None:
        """Its exit status; None where it had to be killed."""
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            return None
        finally:
            self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def words(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    def shares(self) -> dict[str, int]:
        """What its own summary says of them; empty where it wrote none."""
        path = self.folder / "summary.json"
        counted: dict[str, int] = json.loads(path.read_text())["shares"] if path.exists() else {}
        return counted

    def events(self) -> Counter[str]:
        """How often it said what."""
        lines = [json.loads(line) for line in self.words().splitlines() if line.startswith("{")]
        return Counter(str(line.get("event")) for line in lines)


def soak(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run; what is written down of it. "broken" lists the rules that were."""
    settle_s = min(SETTLE_S, 60 * options.minutes / 3)
    authority = Authority(folder)
    models = [WatchedPool.under(each, name) for name, each in terms(options.difficulty).items()]
    secure = [authority.server() if model.name == "pieces" else None for model in models]
    pools = [VirtualPool(model.terms, tls=tls) for model, tls in zip(models, secure, strict=True)]
    with ExitStack() as held:
        for pool, model in zip(pools, models, strict=True):
            pool.model = model
            held.enter_context(pool)
        weathers = [
            Weather(
                pool,
                model,
                [other for other in pools if other is not pool],
                random.Random(f"{options.seed} {model.name}"),
                options.difficulty,
                bad_tls=authority.server("elsewhere.example", expired=True) if pool.tls else None,
                calm_s=(CALM_S[0], min(CALM_S[1], 15 * options.minutes + CALM_S[0])),
            )
            for pool, model in zip(pools, models, strict=True)
        ]
        miner = Miner.start(folder, pools, authority.ca_file, options)
        held.callback(miner.kill)
        miner.until_mining()
        began, began_at = time.monotonic(), datetime.now(UTC)
        for weather in weathers:
            weather.begin()
        try:
            miner.watch(began + 60 * options.minutes - settle_s)
        finally:
            for weather in weathers:
                weather.clear()
        miner.watch(time.monotonic() + settle_s)
        end = time.monotonic()
        status = miner.end()
        for pool in pools:
            pool.stop()
    hits = Hit.read(miner.hits)
    findings = examine(hits, models, end)
    broken = _broken(miner, hits, findings, status)
    facts = {"seed": options.seed, "began": began_at.isoformat(timespec="seconds"), "minutes": (end - began) / 60}
    return facts | _evidence(miner, weathers, hits, findings) | {"broken": broken}


def _broken(miner: Miner, hits: Sequence[Hit], findings: Findings, status: int | None) -> list[str]:
    """The rules that were broken, in words."""
    events = miner.events()
    pause_s, counted = _longest_pause_s(hits), miner.shares()
    broken = [f"a share was lost: {text}" for text in findings.lost]
    broken += [f"a share or a rule was wrong: {text}" for text in findings.wrong]
    broken += vitals.complaints(miner.samples)
    broken += [f"the miner said {event}, {events[event]} times" for event in EVILS if events[event]]
    if status != 0:
        broken.append(f"the miner ended with {status}:\n{miner.words()[-2000:]}")
    if "Traceback" in miner.words():
        broken.append("the miner met an exception that it did not expect")
    if pause_s > PAUSE_LIMIT_S:
        broken.append(f"nothing was found for {pause_s:.0f} s")
    if not findings.accepted:
        broken.append("no share was accepted")
    if counted and counted["accepted"] > findings.accepted + findings.rejected["duplicate"]:
        broken.append(f"the miner counts {counted['accepted']} accepted shares, the pools {findings.accepted}")
    return broken


def _evidence(miner: Miner, weathers: Sequence[Weather], hits: Sequence[Hit], findings: Findings) -> dict[str, Any]:
    every = max(1, len(miner.samples) // SHOWN)
    return {
        "python": platform.python_version(),
        "misbehaviours": {
            weather.model.name: dict(sorted(weather.counts.items(), key=lambda item: -item[1])) for weather in weathers
        },
        "connections": {weather.model.name: weather.model.connections for weather in weathers},
        "hits": {str(fate): findings.fates[fate] for fate in Fate},
        "shares": {
            "found": len(hits) - findings.fates[Fate.NO_SHARE],
            "sent": findings.sent,
            "accepted": findings.accepted,
            "accepted_by_pool": dict(findings.by_pool),
            "rejected": dict(findings.rejected),
            "lost": len(findings.lost),
            "wrong": len(findings.wrong),
        },
        "as_the_miner_counts": miner.shares(),
        "longest_pause_s": round(_longest_pause_s(hits), 1),
        "said": dict(miner.events().most_common()),
        "memory": {
            "growth_over_second_half_mib": round(vitals.growth_bytes(miner.samples) / vitals.MIB, 2),
            "samples": [
                {
                    "minute": round((x.at - miner.samples[0].at) / 60, 1),
                    "mib": round(x.resident / vitals.MIB, 1),
                    "files": x.files,
                    "threads": x.threads,
                }
                for x in miner.samples[::every]
            ],
        },
    }


def _longest_pause_s(hits: Sequence[Hit]) -> float:
    return max((after.at - before.at for before, after in itertools.pairwise(hits)), default=0.0)


def main(arguments: Sequence[str]) -> int:
    """1 where a rule was broken."""
    parser = argparse.ArgumentParser(prog="make soak", description="Mine on pools that misbehave at random.")
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what goes wrong (%(default)s)")
    parser.add_argument("--duty", type=float, default=0.5, help="share of one core to hash with (%(default)s)")
    parser.add_argument("--difficulty", type=float, default=2.0**-13, help="of a share (%(default)s)")
    parser.add_argument("--out", type=Path, help="the summary's file (docs/soak/DATE-seed-N.json)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the miner's log and the hits there")
    parser.add_argument("--kernels", type=Path, help="kernels compiled earlier")
    parser.add_argument("--defect", choices=sorted(BREAKS), default="none", help="plant this, to see it found")
    options = parser.parse_args(arguments)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # pools write to clients that they have cut off: that is meant
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        result = soak(options, folder.absolute())
    out = options.out or ROOT / "docs" / "soak" / f"{datetime.now(UTC):%Y-%m-%d}-seed-{options.seed}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2) + "\n")
    shares = result["shares"]
    sys.stdout.write(f"{result['minutes']:.1f} minutes, seed {options.seed}: {shares}; {out}\n")
    sys.stderr.writelines(f"broken: {text}\n" for text in result["broken"][:20])
    return 1 if result["broken"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
