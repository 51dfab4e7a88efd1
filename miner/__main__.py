"""Where the program starts: the command `miner`, and `python -m miner` where no script of that name is on the path."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    """Load the command, which takes a moment, and run it; Ctrl-C meanwhile is the end, without a traceback."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:  # else it is ignored, as in the background of a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from miner.commands import cli  # noqa: PLC0415

    signal.signal(signal.SIGINT, heard)
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
