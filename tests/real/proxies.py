"""Real proxies as child processes: microsocks for SOCKS5, tinyproxy for HTTP CONNECT, both from Debian's archive."""

from __future__ import annotations

import socket
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.real import debian
from tests.real.cache import fetched
from tests.real.nodes import free_port, wait_until

START_S = 20.0
_TINYPROXY = """Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 20
Allow 127.0.0.1
DisableViaHeader Yes
"""


def programs() -> Path:
    """Where the programs lie; UnavailableError or FetchError if that cannot be."""
    return fetched("proxies", lambda root: debian.unpack(root, "microsocks", "tinyproxy-bin"))


class Proxy(ABC):
    """Runs from `start` or `with` on, on the same port each time; with `login` it takes nobody else."""

    scheme: str
    program: str

    def __init__(self, root: Path, folder: Path, *, login: tuple[str, str] | None = None) -> None:
        self.root = root
        self.login = login
        self.port = free_port()
        self.log = folder / f"{self.program}.log"
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def arguments(self) -> Sequence[str]: ...

    def words(self) -> str:
        """What it has said; it names whom it connects."""
        return self.log.read_text(errors="replace")

    def start(self) -> Self:
        loader = next(self.root.glob("usr/lib/*/ld-linux*.so.*"))
        command = [str(loader), "--library-path", str(loader.parent), str(self.root / "usr" / "bin" / self.program)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self.arguments()], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        assert wait_until(self._takes_connections, START_S), self.words()
        return self

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _takes_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True


class Microsocks(Proxy):
    scheme, program = "socks5", "microsocks"

    def arguments(self) -> Sequence[str]:
        login = ["-u", self.login[0], "-P", self.login[1]] if self.login else []
        return ["-i", "127.0.0.1", "-p", str(self.port), *login]


class Tinyproxy(Proxy):
    scheme, program = "http", "tinyproxy"

    def arguments(self) -> Sequence[str]:
        text = _TINYPROXY.format(port=self.port)
        if self.login:
            text += f"BasicAuth {self.login[0]} {self.login[1]}\n"
        path = self.folder / "tinyproxy.conf"
        path.write_text(text)
        return ["-d", "-c", str(path)]
