"""Change one line of the glue at a time and see that a test fails: `make mutate ARGS="--only keeper"`.

Works on a copy of the tree without the files that git ignores. Prints a line for each mutation, and ends with status 1
when one survives that is not meant to, or is caught although the list says that it survives.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutation.catalogue import ROOT, Mutation, mutations

LONGEST_S = 600.0  # for the tests of one mutation; a hang is a failure, and so is caught
_FAILED = 1  # pytest's status when tests ran and some failed


def copy_of_the_tree(target: Path) -> None:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target / name)


def is_caught(mutation: Mutation, tree: Path) -> bool:
    """Whether the tests fail with the mutation in place. Raises RuntimeError where they could not be run at all."""
    path = tree / mutation.file
    sound = path.read_text()
    path.write_text(mutation.applied(sound))
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *mutation.tests]
    environ = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=tree, env=environ, capture_output=True, text=True, check=False, timeout=LONGEST_S
        )
    except subprocess.TimeoutExpired:
        return True
    finally:
        path.write_text(sound)
    if done.returncode not in (0, _FAILED):
        raise RuntimeError(f"{mutation.name}: pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode == _FAILED


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make mutate", description="Change the glue a line at a time.")
    parser.add_argument("--only", metavar="TEXT", default="", help="mutations whose name or file contains this")
    options = parser.parse_args(arguments)
    chosen = [each for each in mutations() if options.only in each.name or options.only in each.file]
    surprises = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_of_the_tree(tree)
        for mutation in chosen:
            began = time.monotonic()
            caught = is_caught(mutation, tree)
            surprise = caught is (mutation.survives is not None)
            surprises += surprise
            verdict = "caught" if caught else "SURVIVED"
            note = f" (meant to survive: {mutation.survives})" if mutation.survives else ""
            took_s = time.monotonic() - began
            sys.stdout.write(f"{verdict:8} {took_s:5.0f} s  {mutation.file}: {mutation.name}{note}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen)} mutations, {surprises} not as expected\n")
    return 1 if surprises or not chosen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
