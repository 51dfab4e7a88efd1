"""Captured bytes and facts, by kind; and a lease for any header."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from backends.base import Work

_FILE = Path(__file__).resolve().parents[3] / "vectors" / "usb_asic.json"
VECTORS: list[dict[str, Any]] = json.loads(_FILE.read_text())["vectors"]


def of_kind(kind: str, *chips: str) -> list[dict[str, Any]]:
    found = [vector for vector in VECTORS if vector["kind"] == kind and (not chips or vector["chip"] in chips)]
    assert found
    return found


def lease_of(header: bytes, version_mask: int = 0x1FFFE000, ntime_span: int = 0) -> Work:
    """The lease that this header lies in."""
    version, prev_hash, merkle_root, ntime, nbits = struct.unpack_from("<I32s32sII", header)
    return Work(1, 0, prev_hash, merkle_root, version & ~version_mask, version_mask, ntime, ntime_span, nbits, 1 << 224)
