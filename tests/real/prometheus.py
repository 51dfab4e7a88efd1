"""Debian's Prometheus and promtool, unpacked into the cache; a server over a folder of its own on 127.0.0.1."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Self

from tests.real import debian
from tests.real.cache import fetched

PATIENCE_S = 60.0


def commands() -> dict[str, tuple[str, ...]]:
    """The words that start `prometheus` and `promtool`; their own options follow."""
    root = fetched("prometheus", _fill)
    loader = next(root.glob("usr/lib/*/ld-linux*.so.*"))
    start = (str(loader), "--library-path", str(loader.parent))
    return {name: (*start, str(root / "usr/bin" / name)) for name in ("prometheus", "promtool")}


def _fill(root: Path) -> None:
    # sysusers is a dependency with several providers: the small one is named, lest apt choose all of systemd.
    debian.unpack(root, "prometheus", "systemd-standalone-sysusers")


def promtool(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """What promtool says."""
    done = subprocess.run(
        [*commands()["promtool"], *arguments], input=stdin, capture_output=True, timeout=PATIENCE_S, check=False
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


class Prometheus(AbstractContextManager["Prometheus"]):
    """A server that runs with the block, on a port that it chose itself."""

    def __init__(self, config: Path, data: Path) -> None:
        self.log = data.with_suffix(".log")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *commands()["prometheus"],
                    f"--config.file={config}",
                    f"--storage.tsdb.path={data}",
                    "--web.listen-address=127.0.0.1:0",
                    "--log.format=json",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.url = ""

    def __enter__(self) -> Self:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not self._ready():
                assert self._process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def query(self, expression: str, **more: str) -> list[dict[str, Any]]:
        """The vector (or with start, end and step the matrix) of an expression; asserts that it is one."""
        path = "query_range" if "step" in more else "query"
        text = urllib.parse.urlencode({"query": expression, **more})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{text}", timeout=PATIENCE_S) as response:
                answer = json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{expression}: {error.read().decode()}") from error
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def _ready(self) -> bool:
        if not self.url:
            for line in self.log.read_text().splitlines():
                entry = json.loads(line) if line.startswith("{") else {}
                if entry.get("msg") == "Listening on" and "address" in entry:
                    self.url = f"http://{entry['address']}"
            if not self.url:
                return False
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=PATIENCE_S) as response:
                return bool(response.status == 200)
        except OSError:
            return False
