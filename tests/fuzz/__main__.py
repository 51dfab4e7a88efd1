"""Feed every parser with what a fuzzer makes up, guided by coverage: `make fuzz ARGS="--seconds 60"`.

Each target runs in a process of its own, under a limit of memory; findings are left as files. Exit status 1 for any.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("answers", "coinbase", "conversation", "meters", "template", "urls")
MEMORY_MB = 1024
LONGEST = 8192  # bytes of an input
EACH_S = 10  # an input that takes longer is a finding


def fuzz(name: str, seconds: int, corpus: Path) -> int:
    """Run one target for so long; the process's exit status, 0 without a finding."""
    (corpus / name).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.fuzz.harness", name, str(corpus / name), f"-max_total_time={seconds}"]
    command += [f"-rss_limit_mb={MEMORY_MB}", f"-max_len={LONGEST}", f"-timeout={EACH_S}", "-verbosity=1"]
    command += [f"-artifact_prefix={corpus}/found-{name}-", "-print_final_stats=1"]
    return subprocess.run(command, check=False, cwd=ROOT).returncode


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="Feed every parser with what a fuzzer makes up.")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("--target", choices=NAMES, action="append", help="these only")
    parser.add_argument("--corpus", type=Path, help="where inputs are kept; what was found before is begun with")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        corpus = (options.corpus or Path(temporary)).absolute()
        failed = [name for name in options.target or NAMES if fuzz(name, options.seconds, corpus)]
        found = list(corpus.glob("found-*"))
        for path in found:
            sys.stderr.write(f"{path.name}: {path.read_bytes()[:2000]!r}\n")
    if failed:
        sys.stderr.write(f"findings in: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
