"""Blocks on disk before they are sent, and there until they are answered.

    folder/HASH.block      found, not yet answered: handed in again at the next start
    folder/HASH.settled    answered; the last hundred are kept for the operator

A file is complete or absent: written aside, flushed to the disk with its folder, then renamed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from miner.chain.block import Block
from miner.chain.errors import ChainError
from miner.chain.hashes import display

KEPT = 100
_SIZE_LIMIT = 10 << 20  # bytes; a block of 4 MB in hex, and what is said about it
_NAME = re.compile(r"[0-9a-f]{64}")


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
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._write(f"{block.hash}.block", content)
        except OSError as error:
            raise JournalError(f"cannot write the block down in {self._folder}: {error}") from error

    def settle(self, block: FoundBlock, answers: dict[str, str]) -> None:
        """The block was answered (`answers`: node to its words): it need not be handed in again."""
        try:
            content = {"hash": block.hash, "height": block.height, "chain": block.chain, "answers": answers}
            self._write(f"{block.hash}.settled", content | {"found_at": block.found_at, "block": block.raw.hex()})
            (self._folder / f"{block.hash}.block").unlink(missing_ok=True)
            self._sync_folder()
            self._prune()
        except OSError as error:
            raise JournalError(f"cannot settle block {block.hash} in {self._folder}: {error}") from error

    def pending(self) -> Iterator[FoundBlock | JournalError]:
        """Every block that was never answered, oldest first; a file that cannot be read as the error it causes."""
        try:
            files = sorted(self._folder.glob("*.block"), key=lambda path: path.stat().st_mtime)
        except OSError as error:
            yield JournalError(f"cannot list {self._folder}: {error}")
            return
        for path in files:
            try:
                yield _read(path)
            except JournalError as error:
                yield error

    def _write(self, name: str, content: dict[str, Any]) -> None:
        aside = self._folder / f".{name}.{os.getpid()}"
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123  from a descriptor
            json.dump(content, file)
            file.flush()
            os.fsync(descriptor)
        aside.replace(self._folder / name)
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _prune(self) -> None:
        settled = sorted(self._folder.glob("*.settled"), key=lambda path: path.stat().st_mtime)
        for path in settled[:-KEPT]:
            path.unlink(missing_ok=True)


def _read(path: Path) -> FoundBlock:
    try:
        if not _NAME.fullmatch(path.stem) or path.stat().st_size > _SIZE_LIMIT:
            raise JournalError(f"{path} is not a block of ours")
        content = json.loads(path.read_text(encoding="ascii"))
        raw = bytes.fromhex(content["block"])
        found = FoundBlock(
            hash=content["hash"],
            height=int(content["height"]),
            chain=str(content["chain"]),
            found_at=float(content["found_at"]),
            raw=raw,
        )
        if display(Block.parse(raw).header.hash) != path.stem or found.hash != path.stem:
            raise JournalError(f"{path} does not hold the block that it is named after")
    except (OSError, ValueError, TypeError, KeyError, RecursionError, ChainError) as error:
        raise JournalError(f"cannot read {path}: {str(error)[:200]}") from error
    return found
