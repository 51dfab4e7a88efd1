"""`miner tune`: merge templates for this processor, sought while the operator looks on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from backends.cpu import tuner
from backends.cpu.cores import model
from backends.cpu.templates import Tuned
from miner.exit_codes import ExitCode
from miner.printable import printable
from native import NativeError

SECONDS = 600.0


def tune(state: Path, seconds: float | None, out: TextIO | None = None) -> ExitCode:
    """Seek, keep what was found, and have it measured against everything else that runs here."""
    seconds, out = SECONDS if seconds is None else seconds, out or sys.stdout
    print(printable(f"templates for {model()}: {seconds:g} s, Ctrl-C ends it and keeps the best"), file=out)
    progress = _Progress(out)
    try:
        found = tuner.tune_for_good(state, seconds, progress.show)
        progress.end()
        if found is None:
            print("none is faster than those that every miner has: nothing to keep", file=out)
            return ExitCode.DONE
        print(f"kept as tuned8@{found.tuned.digest}; measuring it against the other kernels ...", file=out, flush=True)
        print(f"from the next start: {tuner.settled(state).name}", file=out)
    except (NativeError, OSError) as error:
        progress.end()
        sys.stderr.write(printable(f"miner: {error}") + "\n")
        return ExitCode.FAILED
    except KeyboardInterrupt:
        print("the next start measures it", file=out)
    return ExitCode.DONE


class _Progress:
    """One line that changes on a terminal; elsewhere a line for each improvement."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._moving = out.isatty()
        self._last: Tuned | None = None

    def show(self, found: tuner.Found) -> None:
        line = (
            f"{found.tried} tried; one version {found.one_hps / 1e6:.2f} MH/s, several {found.many_hps / 1e6:.2f} MH/s"
        )
        if self._moving:
            print(f"\r\x1b[K{line}", end="", file=self._out, flush=True)
        elif found.tuned != self._last:
            print(line, file=self._out, flush=True)
        self._last = found.tuned

    def end(self) -> None:
        if self._moving and self._last:
            print(file=self._out)
