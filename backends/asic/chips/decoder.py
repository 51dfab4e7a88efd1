"""What chips answer, cut out of a stream of bytes that may have lost some and gained others.

    AA 55  value 4  address  register  [2 unknown]  T           type 0: a register
    AA 55  nonce 4  excess   job       [version 2]  T           type 4: a nonce

T holds the type in its top three bits, then the CRC-5 of all after the preamble. Replies have 9 bytes (BM1397, and any
chip before its version rolling is switched on) or 11; the BM1387 before them sent 7 without a preamble.
Source: 256foundation/mujina bm13xx REFERENCE.md, GPTechinno/bm13xx-rs response.rs, kanoi/cgminer driver-gekko.c.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.asic.chips.crc import crc5

PREAMBLE = b"\xaa\x55"
LENGTHS = (7, 9, 11)

_REGISTER, _NONCE = 0, 4


@dataclass(frozen=True, slots=True)
class RegisterReply:
    """A register's value, from the chip at `address`."""

    value: int
    address: int
    register: int


@dataclass(frozen=True, slots=True)
class NonceReply:
    """A result. `counter`: the nonce as the search counts, its high bits naming core and chip."""

    counter: int
    tag: int  # the byte with the job id
    version_bits: int | None  # what was rolled, 16 bits; None from a chip that rolls nothing

    @property
    def nonce(self) -> int:
        """The header's value: the same four bytes, read the other way round."""
        return int.from_bytes(self.counter.to_bytes(4, "big"), "little")


@dataclass(frozen=True, slots=True)
class Broken:
    """A preamble with something else behind it than a reply: a frame was damaged, or lost its end."""


@dataclass(frozen=True, slots=True)
class Noise:
    """Bytes that belong to no frame."""

    size: int


Reply = RegisterReply | NonceReply
Item = Reply | Broken | Noise


class Decoder:
    """Bytes in, replies out. Holds less than one frame between calls; whatever comes, it finds the next good frame.

    length: of a reply in bytes; may be changed between calls, when the chips were told to answer differently.
    """

    def __init__(self, length: int) -> None:
        if length not in LENGTHS:
            raise ValueError(f"replies have {LENGTHS} bytes, not {length}")
        self.length = length
        self._buffer = b""
        self._owed = 0  # bytes of a broken frame that are still to be passed over

    def clear(self) -> None:
        """Forget what has come of a frame: the bytes behind it will not."""
        self._buffer, self._owed = b"", 0

    def feed(self, data: bytes) -> list[Item]:
        """Everything that is now complete, in its order."""
        view, preamble = self._buffer + data, PREAMBLE if self.length > 7 else b""
        items: list[Item] = []
        at = skipped = 0
        while len(view) - at >= self.length:
            reply, here = None, view.startswith(preamble, at)
            if here:
                reply = _parse(view[at + len(preamble) : at + self.length])
            if reply is not None:
                if skipped:
                    items.append(Noise(skipped))
                items.append(reply)
                at, skipped, self._owed = at + self.length, 0, 0
                continue
            if here and preamble:
                if skipped:
                    items.append(Noise(skipped))
                items.append(Broken())
                skipped, self._owed = 0, self.length
            start = _find(view, preamble, at + 1)
            forgiven = min(start - at, self._owed)
            self._owed -= forgiven
            skipped += start - at - forgiven
            at = start
        if skipped:
            items.append(Noise(skipped))
        self._buffer = view[at:]
        return items


def _find(view: bytes, preamble: bytes, at: int) -> int:
    """Where the next preamble may begin: at its whole, or at the end with its first byte."""
    start = view.find(preamble, at)
    return start if start >= 0 else max(len(view) - view.endswith(PREAMBLE[:1]), at)


def _parse(body: bytes) -> Reply | None:
    """A reply from the bytes behind its preamble; None for anything else."""
    kind, head = body[-1] >> 5, int.from_bytes(body[:4], "big")
    if kind not in {_REGISTER, _NONCE} or crc5(body):
        return None
    if kind == _REGISTER:
        return RegisterReply(head, body[4], body[5])
    return NonceReply(head, body[5], int.from_bytes(body[6:8], "big") if len(body) > 7 else None)
