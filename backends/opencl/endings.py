"""How a process ended, in words."""

from __future__ import annotations

import signal

_LAST_MAX = 300  # characters


def ended(status: int, complaints: bytes) -> str:
    """An exit status and what was last on standard error, for people: "crashed with SIGSEGV: ..."."""
    last = (complaints.decode(errors="replace").strip().splitlines() or [""])[-1].strip()[:_LAST_MAX]
    if status == -signal.SIGKILL:
        how = "was killed (SIGKILL), by somebody or because memory ran out"
    elif status >= 0:
        how = f"ended with status {status}"
    elif -status in set(signal.Signals):
        how = f"crashed with {signal.Signals(-status).name}"
    else:
        how = f"crashed with signal {-status}"
    return f"{how}: {last}" if last else how
