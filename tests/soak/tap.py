"""The miner as it is, with a tap at its devices: every valid hit is written down before anybody else sees it.

    python -m tests.soak.tap HITS BREAK ARGUMENTS...

What the pools never see is known only from here. BREAK plants a defect, so that the soak can be seen to find it:
`none`, `lose` (every third share), `spoil` (the nonce of every third share, after its proof), `leak` (memory).
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from backends.base import Hit, Verdict
from miner.commands.cli import main
from miner.sources.stratum import delivery
from miner.work.feed import DeviceFeed

EVERY = 3
_leaked: list[bytearray] = []


def tap(path: Path) -> None:
    """Write each hit that meets its target, and what the feed thought of it."""
    file = path.open("w", buffering=1)
    judge = DeviceFeed.found

    def found(feed: DeviceFeed, hit: Hit, ticket: int = 0) -> Verdict:
        issued = feed._works.get(hit.work.id)
        at = time.monotonic()
        verdict = judge(feed, hit, ticket)
        if issued is not None and verdict in {Verdict.GOOD, Verdict.STALE}:
            told = {
                "at": at,
                "header": hit.work.header(hit.nonce, hit.version, hit.ntime).hex(),
                "extranonce2": issued.extranonce2.hex(),
                "target": f"{issued.job.share_target:x}",
            }
            file.write(json.dumps(told) + "\n")
        return verdict

    DeviceFeed.found = found  # type: ignore[method-assign]


def lose() -> None:
    submit, count = delivery.Delivery.submit, 0

    def forgetful(self: Any, share: Any, *rest: Any) -> Any:
        nonlocal count
        count += 1
        return [] if count % EVERY == 0 else submit(self, share, *rest)

    delivery.Delivery.submit = forgetful  # type: ignore[method-assign]


def spoil() -> None:
    compose, count = delivery.compose, 0

    def careless(*arguments: Any) -> Any:
        nonlocal count
        count += 1
        submission = compose(*arguments)
        if count % EVERY:
            return submission
        *rest, nonce = submission.params[:5]
        params = (*rest, f"{int(nonce, 16) ^ 1:08x}", *submission.params[5:])
        return replace(submission, params=params)

    delivery.compose = careless
    delivery.prove = lambda *_: None


def leak() -> None:
    submit = delivery.Delivery.submit

    def hoarding(self: Any, *arguments: Any) -> Any:
        _leaked.append(bytearray(b"x" * (1 << 20)))
        return submit(self, *arguments)

    delivery.Delivery.submit = hoarding  # type: ignore[method-assign]


BREAKS: dict[str, Callable[[], None]] = {"none": lambda: None, "lose": lose, "spoil": spoil, "leak": leak}

if __name__ == "__main__":
    tap(Path(sys.argv[1]))
    BREAKS[sys.argv[2]]()
    sys.exit(main(sys.argv[3:]))
