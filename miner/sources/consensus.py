"""Bitcoin Core's own consensus engine as the judge of blocks: the one module that knows py-bitcoinkernel.

    Judge(Network.REGTEST)    a chain of its own, from genesis, in memory but for block files in a temporary folder
      .tip                    where the chain stands
      .submit(block)          put a block to the rules; a Ruling says whether it became the tip, and if not why
      .close()                frees the engine and removes the folder

The library is alpha and tells reasons in its log only; what it does (0.1.0a5, Core 31.99) was found by trial:

- A block that breaks a rule of its own raises without a word; one that only fails to connect (it pays too much, say)
  counts as processed. Hence accepted means: the tip is this block, and was not before.
- The log, process-wide, says `BlockChecked: block hash=... state=...`, and only if a validation interface is set.
- A block beside the chain with no more work is stored unchecked: "inconclusive", as BIP 22 calls it.
- The engine measures "too far in the future" with the system's clock and cannot be told another.
- Its own failures, a full disk for one, come as INTERNAL_ERROR in the same state. Those are no ruling.
"""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Self

import pbk

from miner.chain.hashes import from_display, sha256d
from miner.chain.header import HEADER_SIZE, Header
from miner.chain.network import Network
from miner.chain.transaction import MAX_WEIGHT

from .base import SourceError
from .scratch import scratch_folder

DISTRIBUTION = "py-bitcoinkernel"

_CHAIN_TYPES = {
    Network.MAIN: pbk.ChainType.MAINNET,
    Network.TESTNET3: pbk.ChainType.TESTNET,
    Network.TESTNET4: pbk.ChainType.TESTNET_4,
    Network.SIGNET: pbk.ChainType.SIGNET,  # with the public signet's challenge
    Network.REGTEST: pbk.ChainType.REGTEST,
}
_MEDIAN_SPAN = 11  # blocks over which median time past is taken, by consensus
_CHECKED = re.compile(r"BlockChecked: block hash=([0-9a-f]{64}) state=(?!Valid$)(.*)", re.MULTILINE)
_TEXT_LIMIT = 200  # characters of the engine's words that are kept


class JudgeMisused(SourceError):
    """Local: called from another thread than the one that made it, or after close()."""


class EngineFailed(SourceError):
    """The engine cannot work here: no room or no right to write, or its library does not fit this system."""


@dataclass(frozen=True, slots=True)
class Tip:
    """The last block of the best chain."""

    hash: bytes  # 32, header order
    height: int
    ntime: int  # seconds since 1970
    median_time_past: int  # a next block must be later than this


@dataclass(frozen=True, slots=True)
class Ruling:
    """What became of a block. `reason` is None exactly when it was accepted."""

    reason: str | None = None  # Core's name for the broken rule; or duplicate, inconclusive, undecodable
    detail: str = ""  # Core's explanation, where it gives one

    @property
    def accepted(self) -> bool:
        """Whether the block has become the tip."""
        return self.reason is None


ACCEPTED = Ruling()


class Judge:
    """A validated chain of one network. Every call belongs to the thread that made it. A small block takes 1 ms.

    Raises EngineFailed when the engine cannot be set up.
    """

    def __init__(self, network: Network = Network.REGTEST) -> None:
        self.network = network
        self._thread = threading.get_ident()
        self._awaited = b""  # hash of the block under way
        self._state = ""  # what the log said of it, unless valid
        self._internal_error = False
        with ExitStack() as stack:
            try:
                self._manager = self._open_engine(stack)
            except (OSError, RuntimeError, pbk.KernelException) as error:
                raise EngineFailed(f"Bitcoin Core's consensus engine does not start: {error}") from error
            self._chain = self._manager.get_active_chain()
            self._resources = stack.pop_all()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    @property
    def tip(self) -> Tip:
        """Where the chain stands; genesis at first."""
        self._require_usable()
        height = self._chain.height
        recent = [self._header(at) for at in range(max(0, height - _MEDIAN_SPAN + 1), height + 1)]
        # With an even count, near genesis, Core takes the upper of the two in the middle.
        times = sorted(header.ntime for header in recent)
        return Tip(recent[-1].hash, height, recent[-1].ntime, times[len(times) // 2])

    def submit(self, block: bytes) -> Ruling:
        """Put a serialised block to the rules and, if it holds, on top of the chain.

        Raises EngineFailed when the engine, not the block, is at fault: the chain is of no use after that.
        """
        self._require_usable()
        if not HEADER_SIZE < len(block) <= MAX_WEIGHT:
            return Ruling("undecodable", f"{len(block)} bytes")
        try:
            decoded = pbk.Block(block)
        except RuntimeError:
            return Ruling("undecodable", "not a block")
        if bytes(decoded) != block:  # the engine reads past what stands behind a block
            return Ruling("undecodable", "bytes left over")
        return self._rule(sha256d(block[:HEADER_SIZE]), decoded)

    def close(self) -> None:
        """Free the engine and remove its folder; idempotent."""
        if not self._closed:
            self._require_usable()
            self._closed = True
            self._resources.close()

    def _open_engine(self, stack: ExitStack) -> Any:
        folder = stack.enter_context(scratch_folder())
        pbk.set_log_level_category(pbk.LogCategory.VALIDATION, pbk.LogLevel.DEBUG)
        pbk.enable_log_category(pbk.LogCategory.VALIDATION)
        stack.enter_context(pbk.LoggingConnection(self._hear))
        options = pbk.ContextOptions()
        options.set_chainparams(pbk.ChainParameters(_CHAIN_TYPES[self.network]))
        options.set_validation_interface(pbk.ValidationInterfaceCallbacks(block_checked=self._checked))
        context = stack.enter_context(pbk.Context(options))
        settings = pbk.ChainstateManagerOptions(context, str(folder), str(folder / "blocks"))
        settings.update_block_tree_db_in_memory(True)
        settings.update_chainstate_db_in_memory(True)
        settings.set_worker_threads_num(0)
        manager = stack.enter_context(pbk.ChainstateManager(settings))
        manager.import_blocks([])
        return manager

    def _rule(self, block_hash: bytes, decoded: Any) -> Ruling:
        self._awaited, self._state = block_hash, ""
        failed = False
        try:
            new = self._manager.process_block(decoded)
        except pbk.ProcessBlockException:
            new, failed = True, True
        if self._internal_error:
            raise EngineFailed(f"Bitcoin Core's consensus engine broke down: {self._state or 'it does not say why'}")
        if not new:
            return Ruling("duplicate")
        if self._header(self._chain.height).hash == block_hash:
            return ACCEPTED
        reason, _, detail = self._state.partition(", ")
        return Ruling(reason or ("rejected" if failed else "inconclusive"), detail)

    def _header(self, height: int) -> Header:
        return Header.unpack(bytes(self._chain.block_tree_entries[height].block_header))

    def _hear(self, message: str) -> None:
        """Called by the engine for each line of its log, those of other judges in the process included."""
        found = _CHECKED.search(message)
        if found and from_display(found[1]) == self._awaited:
            self._state = "".join(filter(str.isprintable, found[2]))[:_TEXT_LIMIT]

    def _checked(self, _data: Any, _block: Any, state: Any) -> None:
        if state.validation_mode == pbk.ValidationMode.INTERNAL_ERROR:
            self._internal_error = True

    def _require_usable(self) -> None:
        if threading.get_ident() != self._thread:
            raise JudgeMisused("a judge works only in the thread that made it")
        if self._closed:
            raise JudgeMisused("this judge is closed")


def engine() -> str:
    """What judges, for people: name and version of the library."""
    return f"{DISTRIBUTION} {metadata.version(DISTRIBUTION)}"
