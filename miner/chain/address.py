"""From an operator's payout address to the script that is paid.

A mistake here sends a block's reward to nobody or to anybody, so every doubt is refused, with the reason:

    parse_address   what is an address, of this network
    payout_script   of those, what only its owner can spend

Sources: BIPs 141, 173, 341, 350 and Bitcoin Core's key_io.cpp; BIP 352 for silent payments.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from miner.chain.base58 import base58check_decode
from miner.chain.bech32 import segwit_decode
from miner.chain.errors import AddressError
from miner.chain.network import Network

_SILENT_PAYMENT_PREFIXES = ("sp1", "tsp1")
_EXTENDED_KEY_SIZE = 78  # bytes; BIP 32
_HASH160_SIZE = 20  # bytes
_FIELD = (1 << 256) - (1 << 32) - 977  # of secp256k1


class AddressKind(Enum):
    """What an address pays to."""

    P2PKH = "p2pkh"
    P2SH = "p2sh"
    P2WPKH = "p2wpkh"
    P2WSH = "p2wsh"
    P2TR = "p2tr"
    WITNESS_UNKNOWN = "witness_unknown"  # valid, with no rules yet: anyone may spend it


@dataclass(frozen=True, slots=True)
class Address:
    """An address of one network, decoded."""

    text: str
    network: Network
    kind: AddressKind
    script_pubkey: bytes


def parse_address(text: str, network: Network) -> Address:
    """Decode an address of this network, of any kind.

    Raises AddressError for what is none, with what it is instead where that can be told: an address of another network,
    a private key, an extended key, a silent payment address. Private keys never appear in the message.
    """
    prefix = text.lower()
    if prefix.startswith(_SILENT_PAYMENT_PREFIXES):
        raise AddressError(
            "a silent payment address cannot be paid by a coinbase: its script depends on the inputs of the payment, "
            "and a coinbase has none; give an address of another kind"
        )
    hrps = {known.hrp for known in Network}
    hrp = next((hrp for hrp in hrps if prefix.startswith(hrp + "1")), None)
    if hrp is not None:
        return _segwit_address(text, hrp, network)
    return _base58_address(text, network)


def payout_script(text: str, network: Network) -> bytes:
    """The script that pays this address, for the outputs of a coinbase.

    Raises AddressError for all that parse_address refuses; for witness versions without rules, whose coins anyone may
    take; and for a taproot address that is no point of the curve, whose coins nobody could ever spend.
    """
    address = parse_address(text, network)
    if address.kind is AddressKind.WITNESS_UNKNOWN:
        raise AddressError(
            f"{text} is valid, but no rule protects its witness version and length yet: anyone could take the coins; "
            "give an address of another kind"
        )
    if address.kind is AddressKind.P2TR and not _is_on_curve(address.script_pubkey[2:]):
        raise AddressError(f"{text} is a taproot address without a public key: nobody could ever spend the coins")
    return address.script_pubkey


def _segwit_address(text: str, hrp: str, network: Network) -> Address:
    try:
        version, program = segwit_decode(text, hrp)
    except AddressError as error:
        raise AddressError(f"{text!r} is not an address: {error}") from error
    if hrp != network.hrp:
        raise _of_other_network(text, [known for known in Network if known.hrp == hrp], network)
    opcode = 0x50 + version if version else 0
    script = bytes([opcode, len(program)]) + program
    return Address(text, network, _witness_kind(version, len(program)), script)


def _witness_kind(version: int, size: int) -> AddressKind:
    if version == 0:
        return AddressKind.P2WPKH if size == 20 else AddressKind.P2WSH
    if version == 1 and size == 32:
        return AddressKind.P2TR
    return AddressKind.WITNESS_UNKNOWN


def _base58_address(text: str, network: Network) -> Address:
    try:
        payload = base58check_decode(text)
    except AddressError as error:
        raise AddressError(f"neither a base58 nor a segwit address of a Bitcoin network: {error}") from error
    version, content = payload[0], payload[1:]
    if len(payload) == _EXTENDED_KEY_SIZE:
        raise AddressError("this is an extended key (xpub, xprv or the like); give one address derived from it")
    if version in {known.wif_version for known in Network} and len(content) in (32, 33):
        raise AddressError(
            "this is a PRIVATE KEY, not an address; whoever has seen it can take its coins: "
            "take it out of the configuration, move the coins, and give the address"
        )
    if len(content) != _HASH160_SIZE:
        raise AddressError(f"base58 of {len(payload)} bytes; an address has {1 + _HASH160_SIZE}")
    if version == network.p2pkh_version:
        script = b"\x76\xa9\x14" + content + b"\x88\xac"
        return Address(text, network, AddressKind.P2PKH, script)
    if version == network.p2sh_version:
        return Address(text, network, AddressKind.P2SH, b"\xa9\x14" + content + b"\x87")
    owners = [known for known in Network if version in (known.p2pkh_version, known.p2sh_version)]
    if owners:
        raise _of_other_network(text, owners, network)
    raise AddressError(f"{text} is an address of another currency (version byte {version:02x})")


def _of_other_network(text: str, owners: list[Network], network: Network) -> AddressError:
    names = " or ".join(owner.label for owner in owners)
    return AddressError(f"{text} is an address of {names}, but this is {network.label}")


def _is_on_curve(x_only: bytes) -> bool:
    """Whether x**3 + 7 has a square root in the field, by Euler's criterion; BIP 340's lift_x."""
    x = int.from_bytes(x_only, "big")
    return x < _FIELD and pow(x**3 + 7, (_FIELD - 1) // 2, _FIELD) == 1
