"""One target under atheris, until libFuzzer's own limits end it: `python -m tests.fuzz.harness NAME CORPUS OPTION..`"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["miner"]):
    from tests.fuzz.targets import TARGETS


def main(name: str, corpus: str, *options: str) -> None:
    target, folder = TARGETS[name], Path(corpus)
    for number, seed in enumerate(target.seeds):
        folder.joinpath(f"seed-{number}").write_bytes(seed)
    if target.words:  # libFuzzer refuses an empty dictionary
        words = folder.parent / f"{name}.words"
        words.write_text("".join(f'"{word.replace(chr(34), chr(92) + chr(34))}"\n' for word in target.words))
        options = (f"-dict={words}", *options)
    atheris.Setup([sys.argv[0], *options, corpus], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
