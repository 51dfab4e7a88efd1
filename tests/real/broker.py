"""A real MQTT broker as a child process: Debian's mosquitto, with its own publisher beside it."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.real import debian
from tests.real.cache import fetched
from tests.real.nodes import free_port, wait_until

START_S = 20.0


def programs() -> Path:
    """Where the programs lie; UnavailableError or FetchError if that cannot be."""
    return fetched("mosquitto", _fill)


def _fill(root: Path) -> None:
    debian.unpack(root, "mosquitto", "mosquitto-clients", "systemd-standalone-sysusers")
    # One library comes without the link that its users ask for: on a system, ldconfig makes it.
    for library in root.glob("usr/lib/*/lib*.so.[0-9]*.[0-9]*"):
        name, _, version = library.name.partition(".so.")
        link = library.with_name(f"{name}.so.{version.split('.')[0]}")
        if not link.exists():
            link.symlink_to(library.name)


class Mosquitto:
    """Runs from `start` to `kill`, on the same port each time; with `login` it takes nobody else."""

    def __init__(self, root: Path, folder: Path, *, login: tuple[str, str] | None = None) -> None:
        self.root = root
        self.login = login
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        self._config = folder / "mosquitto.conf"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence false",
            f"allow_anonymous {str(login is None).lower()}",
        ]
        if login is not None:
            accounts = folder / "accounts"
            self._run("bin/mosquitto_passwd", "-b", "-c", str(accounts), *login)
            accounts.chmod(0o644)  # it may run as another user than root
            folder.chmod(0o755)
            lines.append(f"password_file {accounts}")
        self._config.write_text("\n".join([*lines, "user root", ""]))

    def start(self) -> Self:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command("sbin/mosquitto", "-v", "-c", str(self._config)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        assert wait_until(self._takes_connections, START_S), self.words()
        return self

    def kill(self) -> None:
        """As a power cut does. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def publish(self, topic: str, message: str) -> None:
        login = ["-u", self.login[0], "-P", self.login[1]] if self.login else []
        self._run("bin/mosquitto_pub", "-p", str(self.port), "-h", "127.0.0.1", "-t", topic, "-m", message, *login)

    def words(self) -> str:
        """What it has said."""
        return self.log.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.kill()

    def _command(self, program: str, *arguments: str) -> list[str]:
        loader = next(self.root.glob("usr/lib/*/ld-linux*.so.*"))
        return [str(loader), "--library-path", str(loader.parent), str(self.root / "usr" / program), *arguments]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(self._command(program, *arguments), check=True, timeout=START_S, capture_output=True)

    def _takes_connections(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0
