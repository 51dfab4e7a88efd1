"""Templates as nodes send them, and ways to spoil them."""

from __future__ import annotations

import hashlib
import struct
from typing import Any

TIP = "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
NOW = 1_700_000_000


def transaction(number: int, *, segwit: bool = False, size: int = 0) -> dict[str, Any]:
    """A well-formed transaction that spends nothing that exists."""
    head, marker = struct.pack("<i", 2), b"\x00\x01" if segwit else b""
    script = b"\x6a" + bytes(size)
    length = bytes([len(script)]) if len(script) < 0xFD else b"\xfd" + struct.pack("<H", len(script))
    body = b"\x01" + _sha256d(b"%d" % number) + bytes(5) + b"\xff" * 4
    body += b"\x01" + struct.pack("<q", number) + length + script
    witness = b"\x01\x20" + bytes(32) if segwit else b""
    stripped, raw = head + body + bytes(4), head + marker + body + witness + bytes(4)
    return {
        "data": raw.hex(),
        "txid": _sha256d(stripped)[::-1].hex(),
        "hash": _sha256d(raw)[::-1].hex(),
        "depends": [],
        "fee": 100,
        "sigops": 1,
        "weight": 3 * len(stripped) + len(raw),
    }


def core(*transactions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What Bitcoin Core says on regtest, without the commitment to keep tests short."""
    return {
        "capabilities": ["proposal"],
        "version": 0x20000000,
        "rules": ["csv", "!segwit", "taproot"],
        "vbavailable": {},
        "vbrequired": 0,
        "previousblockhash": TIP,
        "transactions": list(transactions),
        "coinbaseaux": {},
        "coinbasevalue": 5_000_000_000,
        "longpollid": TIP + "7",
        "target": "7fffff" + "0" * 58,
        "mintime": NOW - 1000,
        "mutable": ["time", "transactions", "prevblock"],
        "noncerange": "00000000ffffffff",
        "sigoplimit": 80000,
        "sizelimit": 4000000,
        "weightlimit": 4000000,
        "curtime": NOW,
        "bits": "207fffff",
        "height": 101,
    } | changes


def bcoin(*transactions: dict[str, Any], segwit: bool, **changes: Any) -> dict[str, Any]:
    """The shape of bcoin: more keys, flags, and a commitment even where none may be used."""
    return core(
        *transactions,
        rules=["csv", "!segwit"] if segwit else [],
        capabilities=["coinbasetxn", "coinbasevalue", "longpoll", "submitold", "proposal"],
        mutable=["time", "time/increment", "transactions", "prevblock", "coinbase/append"],
        coinbaseaux={"flags": b"mined by bcoin".hex()},
        maxtime=NOW + 7200,
        expires=NOW + 7200,
        submitold=False,
        vbavailable={"deployments": 1},
        default_witness_commitment="6a24aa21a9ed" + "e2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf9",
        **changes,
    )


def without(template: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in template.items() if key != name}


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()
