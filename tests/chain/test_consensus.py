"""Bitcoin Core's own engine, in-process, judges blocks made of nothing but this package."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pbk
import pytest

from miner.chain import (
    Block,
    BlockError,
    Header,
    Network,
    Target,
    Transaction,
    TxOut,
    build_coinbase,
    fold,
    from_display,
    merkle_branch,
    payout_script,
    serialise_block,
    sha256d,
    subsidy,
    witness_commitment,
)

REGTEST_GENESIS = from_display("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")
NBITS = Network.REGTEST.pow_limit_nbits
MATURITY = 100  # blocks before a coinbase may be spent
ANYONE = b"\x51"  # OP_TRUE, as a witness script: the shortest thing that needs a witness
ANYONE_P2WSH = b"\x00\x20" + bytes.fromhex("4ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260")


@dataclass
class Judge:
    """A regtest chain in memory, and what a miner has to know about its tip."""

    manager: pbk.ChainstateManager
    now: int = field(default_factory=lambda: int(time.time()) - 1000)
    tip: bytes = REGTEST_GENESIS

    @property
    def height(self) -> int:
        return int(self.manager.get_active_chain().height)

    def mine(
        self, *others: bytes, segwit: bool = True, outputs: Sequence[TxOut] = (), extranonce: bytes = b"\x05" * 8
    ) -> Block:
        """The next block on the tip, with proof of work, checked the way a submission would be."""
        height = self.height + 1
        payout = TxOut(subsidy(height, Network.REGTEST), ANYONE_P2WSH)
        parsed = [Transaction.parse(raw) for raw in others]
        commitment = witness_commitment([each.wtxid for each in parsed]) if segwit else None
        coinbase = build_coinbase(
            height=height,
            outputs=outputs or [payout],
            extranonce_size=len(extranonce),
            tag=b"/angara/",
            commitment=commitment,
        )
        root = fold(merkle_branch([each.txid for each in parsed]), coinbase.txid(extranonce))
        header = proven(Header(0x20000000, self.tip, root, self.now + height, NBITS, 0))
        return Block.parse(serialise_block(header, coinbase.with_witness(extranonce), others))

    def accepts(self, block: Block) -> bool:
        """Whether the chain grew by this block: the engine stores some invalid blocks without a word."""
        before = self.height
        raw = serialise_block(block.header, block.transactions[0].raw, [each.raw for each in block.transactions[1:]])
        try:
            self.manager.process_block(pbk.Block(raw))
        except pbk.ProcessBlockException:
            return False
        if self.height == before:
            return False
        self.tip = block.header.hash
        return True


def proven(header: Header) -> Header:
    target = Target.from_nbits(header.nbits)
    nonces = (replace(header, nonce=nonce) for nonce in range(1 << 32))
    return next(found for found in nonces if target.met_by(found.hash))


def spend(coinbase: Transaction) -> bytes:
    """Pay the first output of a coinbase on, with the witness that it asks for."""
    outpoint = coinbase.txid + bytes(4)
    paid = TxOut(coinbase.outputs[0].value, ANYONE_P2WSH)
    body = b"\x01" + outpoint + b"\x00" + b"\xff" * 4 + b"\x01" + paid.pack()
    return b"\x02\x00\x00\x00" + b"\x00\x01" + body + b"\x01\x01" + ANYONE + bytes(4)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    options = pbk.ContextOptions()
    options.set_chainparams(pbk.ChainParameters(pbk.ChainType.REGTEST))
    settings = pbk.ChainstateManagerOptions(pbk.Context(options), str(tmp_path), str(tmp_path / "blocks"))
    settings.update_block_tree_db_in_memory(True)
    settings.update_chainstate_db_in_memory(True)
    settings.set_worker_threads_num(1)
    manager = pbk.ChainstateManager(settings)
    manager.import_blocks([])
    return Judge(manager)


@pytest.mark.parametrize("segwit", [True, False], ids=["with-commitment", "without"])
def test_blocks_are_accepted_across_the_heights_that_are_pushed_differently(judge: Judge, *, segwit: bool) -> None:
    for height in range(1, 131):  # 16 to 17 and 127 to 128 change the encoding
        block = judge.mine(segwit=segwit)
        block.check()
        assert judge.accepts(block), f"block {height} was refused"
    assert judge.height == 130


def test_the_subsidy_is_all_that_a_block_may_create_before_and_after_a_halving(judge: Judge) -> None:
    for height in range(1, 152):
        if height in (1, 150):
            greedy = [TxOut(subsidy(height, Network.REGTEST) + 1, ANYONE_P2WSH)]
            assert not judge.accepts(judge.mine(outputs=greedy, extranonce=b"\x06" * 8))
        assert judge.accepts(judge.mine())


def test_a_block_of_spends_is_accepted_with_their_commitment_and_not_without(judge: Judge) -> None:
    coinbases = []
    for _ in range(MATURITY + 3):
        block = judge.mine()
        assert judge.accepts(block)
        coinbases.append(block.transactions[0])
    spends = [spend(coinbase) for coinbase in coinbases[:3]]
    assert not judge.accepts(judge.mine(*spends, segwit=False))
    block = judge.mine(*spends)
    block.check()
    assert judge.accepts(block)


def test_a_block_with_a_wrong_merkle_root_is_refused_by_both(judge: Judge) -> None:
    good = judge.mine()
    wrong = Block(proven(replace(good.header, merkle_root=sha256d(b"another root"))), good.transactions)
    with pytest.raises(BlockError, match="merkle root"):
        wrong.check()
    assert not judge.accepts(wrong)
    assert judge.accepts(good)


def test_a_hash_above_the_target_is_refused_by_both(judge: Judge) -> None:
    good = judge.mine()
    nonces = (replace(good.header, nonce=nonce) for nonce in range(1 << 32))
    blocks = (Block(header, good.transactions) for header in nonces)
    unproven = next(block for block in blocks if not Target.from_nbits(NBITS).met_by(block.header.hash))
    assert not judge.accepts(unproven)
    assert judge.accepts(good)


@pytest.mark.parametrize(
    "address",
    [
        "n4fajahJrAuKbN7uNsKjLjQkz9Qn5ewJXQ",
        "2MxFajLApXpYk4VodBSZSt7rw8y4ryABkfA",
        "bcrt1qdavt4j2sd7dlhqsavtnfxvzppw6k7qy97tmnu9",
        "bcrt1pumee3wj80xvyr7wjmj7zsk26x5pn095aegy862yhx6f2j9sgc9hq6cj4cm",
    ],
)
def test_the_reward_goes_to_the_script_of_the_address(judge: Judge, address: str) -> None:
    script = payout_script(address, Network.REGTEST)
    assert judge.accepts(judge.mine(outputs=[TxOut(subsidy(1, Network.REGTEST), script)]))
    entry = judge.manager.get_active_chain().block_tree_entries[1]
    stored = judge.manager.blocks[entry].transactions[0].outputs[0]
    assert bytes(stored.script_pubkey) == script
