"""The command `miner` where no script of that name is on the path: `python -m miner`."""

from __future__ import annotations

import sys

from miner.cli import main

if __name__ == "__main__":
    sys.exit(main())
