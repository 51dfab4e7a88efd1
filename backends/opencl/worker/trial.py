"""One form of the search on one device: `python -m backends.opencl.worker.trial PARENT FOLDER`.

Reads the device and the form from its input, a line of JSON each, and answers with a `Trial`. PARENT is the process
that asks: when it ends, so does this one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import TypeAdapter

from backends.base import NONCES
from backends.child import end_with
from backends.opencl.errors import OpenclError
from backends.opencl.runtime import Identity
from backends.opencl.worker.proof import open_search
from backends.opencl.worker.search import IN_FLIGHT, Search, Ticket
from backends.opencl.worker.source import Form
from backends.opencl.worker.tune import Trial

TURNS = 16  # launches whose times count: nothing makes one shorter than it is, so the shortest does
_WARM = 6  # launches that find their length before
_HARD = 1 << 200  # no hits


def rate(search: Search, turns: int = TURNS) -> float:
    """Hashes a second in the best launch, with as many versions as the search takes at once."""
    versions = [1 << 29 | row << 13 for row in range(search.midstates)]
    job = search.prepare(bytes(76), versions, _HARD)
    best, nonce, flying = 0.0, 0, list[Ticket]()
    for turn in range(_WARM + turns + IN_FLIGHT):
        if turn < _WARM + turns:
            count = search.nonces(job)
            nonce = nonce if nonce + count <= NONCES else 0
            flying.append(search.launch(job, nonce, count))
            nonce += count
        if len(flying) == IN_FLIGHT or turn >= _WARM + turns:
            outcome = search.collect(flying.pop(0)) if flying else None
            if outcome and outcome.took_s and turn >= _WARM:
                best = max(best, outcome.hashes / outcome.took_s)
    return best


def carry_out(identity: Identity, form: Form, folder: Path | None) -> Trial:
    """Build, examine and time a form."""
    try:
        search = open_search(identity, [form], folder)
        best = rate(search)
        search.close()
    except OpenclError as error:
        return Trial(form=form, refused=str(error))
    return Trial(form=form, rate_hps=best) if best else Trial(form=form, refused="the device's clock stands still")


def main(parent: str, folder: str) -> None:
    """Do it and say how it went."""
    end_with(int(parent))
    identity = TypeAdapter(Identity).validate_json(sys.stdin.readline())
    form = TypeAdapter(Form).validate_json(sys.stdin.readline())
    answer = carry_out(identity, form, Path(folder) if folder else None)
    sys.stdout.write("\n" + answer.model_dump_json() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
