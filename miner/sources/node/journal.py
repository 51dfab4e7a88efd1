"""Blocks on disk before they are sent, and there until they are answered.

    folder/HEIGHT-HASH.block     found, not yet answered: handed in again at the next start
    folder/HEIGHT-HASH.settled   answered; the last hundred are kept, for a node that forgets what it accepted

A file is complete or absent: written aside, flushed to the disk with its folder, then renamed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from miner.chain.block import Block
from miner.chain.errors import ChainError
from miner.chain.hashes import display

KEPT = 100
_SIZE_LIMIT = 10 << 20  # bytes; a block of 4 MB in hex, and what is said about it
_NAME = re.compile(r"(\d{9})-([0-9a-f]{64})")
_ASIDE = re.compile(r"\.\d{9}-[0-9a-f]{64}\.(\d+)")


class JournalError(Exception):
    """A block could not be written down or read back; the message names the file."""


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A solved block and what is needed to hand it in again."""

    hash: str  # display order
    height: int
    chain: str  # as getblockchaininfo names it
    found_at: float  # Unix time
    raw: bytes


class Journal:
    """The folder of found blocks; one process at a time (the state directory's lock sees to that)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, block: FoundBlock) -> None:
        """Return when the block is safe on the disk; raises JournalError."""
        content = {
            "hash": block.hash,
            "height": block.height,
            "chain": block.chain,
            "found_at": block.found_at,
            "block": block.raw.hex(),
        }
        try:
            if not self._folder.is_dir():
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _sync(self._folder.parent)  # or a power cut takes the folder, with the one block of a lifetime in it
            aside = self._folder / f".{_stem(block)}.{os.getpid()}"
            _write_through(aside, json.dumps(content))
            aside.replace(self._path(block, "block"))
            self._sync_folder()
        except OSError as error:
            raise JournalError(f"cannot write the block down in {self._folder}: {error}") from error

    def settle(self, block: FoundBlock) -> None:
        """The block was answered: it need not be handed in again. Raises JournalError."""
        try:
            with contextlib.suppress(FileNotFoundError):  # settled before, or the disk had no room for it
                self._path(block, "block").replace(self._path(block, "settled"))
                self._sync_folder()
            for path in self._files("settled")[:-KEPT]:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise JournalError(f"cannot settle block {block.hash} in {self._folder}: {error}") from error

    def pending(self) -> Iterator[FoundBlock | JournalError]:
        """Every block that was never answered, lowest first; a file that cannot be read as the error it causes."""
        self._remove_leftovers()
        yield from map(_read, self._files("block"))

    def settled_from(self, height: int) -> Iterator[FoundBlock | JournalError]:
        """Those answered blocks that are still kept, from this height on, lowest first."""
        yield from map(_read, (path for path in self._files("settled") if int(path.stem[:9]) >= height))

    def _path(self, block: FoundBlock, suffix: str) -> Path:
        return self._folder / f"{_stem(block)}.{suffix}"

    def _files(self, suffix: str) -> list[Path]:
        # The height has leading zeros: names sort as blocks follow each other.
        return sorted(path for path in self._folder.glob(f"*.{suffix}") if _NAME.fullmatch(path.stem))

    def _remove_leftovers(self) -> None:
        """Files of a process that died before they were complete."""
        for path in self._folder.glob(".*"):
            match = _ASIDE.fullmatch(path.name)
            if match and int(match[1]) != os.getpid():
                with contextlib.suppress(OSError):  # one that cannot be removed does no harm
                    path.unlink()

    def _sync_folder(self) -> None:
        _sync(self._folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _stem(block: FoundBlock) -> str:
    return f"{block.height:09d}-{block.hash}"


def _write_through(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123  from a descriptor
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _read(path: Path) -> FoundBlock | JournalError:
    try:
        if path.stat().st_size > _SIZE_LIMIT:
            return JournalError(f"{path} is larger than any block")
        content = json.loads(path.read_text(encoding="ascii"))
        found = FoundBlock(
            hash=content["hash"],
            height=int(content["height"]),
            chain=str(content["chain"]),
            found_at=float(content["found_at"]),
            raw=bytes.fromhex(content["block"]),
        )
        if display(Block.parse(found.raw).header.hash) != found.hash or _stem(found) != path.stem:
            return JournalError(f"{path} does not hold the block that it is named after")
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError, ChainError) as error:
        return JournalError(f"cannot read {path}: {str(error)[:200]}")
    return found
