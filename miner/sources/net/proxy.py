"""Through a SOCKS5 or HTTP CONNECT proxy, with python-socks: an optional library, loaded when a proxy is asked for.

The proxy looks the pool's name up, so that a pool behind Tor can be reached and no name leaks.
"""

from __future__ import annotations

import importlib
import socket
from typing import Any

from miner.printable import printable
from miner.sources.base import SourceMisconfigured, SourceUnreachable
from miner.sources.net.connection import Dial

SCHEMES = ("socks5", "http")


def dialler(url: str) -> Dial:
    """Connects through the proxy of this URL; raises SourceMisconfigured, without repeating credentials."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise SourceMisconfigured("a proxy is written socks5://HOST:PORT or http://HOST:PORT")
    try:
        library: Any = importlib.import_module("python_socks")
        proxies: Any = importlib.import_module("python_socks.async_.asyncio")
    except ImportError as error:
        raise SourceMisconfigured('a proxy needs python-socks: pip install "python-socks>=2.4"') from error
    try:
        proxies.Proxy.from_url(url, rdns=True)
    except ValueError as error:
        raise SourceMisconfigured(f"the {scheme} proxy's URL is not usable") from error
    failures = (library.ProxyError, library.ProxyConnectionError, library.ProxyTimeoutError)

    async def dial(host: str, port: int, timeout: float) -> socket.socket:
        try:
            connected: socket.socket = await proxies.Proxy.from_url(url, rdns=True).connect(host, port, timeout=timeout)
        except failures as error:
            raise SourceUnreachable(f"the proxy: {printable(str(error)[:200])}") from error
        return connected

    return dial
