"""Exit statuses of the command, for scripts and service managers."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The process's exit status."""

    DONE = 0
    FAILED = 1  # the operation failed: a pool refused, no device works, another miner holds the lock
    USAGE = 2  # a wrong command line or configuration: trying again cannot help, a service manager should not
