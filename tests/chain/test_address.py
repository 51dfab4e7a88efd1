from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain import AddressError, AddressKind, Network, parse_address, payout_script, sha256d

NETWORKS = list(Network)
# Vectors of Core that no curve point belongs to: valid as addresses, unspendable as payouts.
OFF_CURVE = {
    "core-bcrt1p3xat2ryu22v2",
    "core-bc1ps8cndas60cjzkc",
    "core2-bc1pve739yap4uw9fd",
    "core2-bcrt1p39a4s4vd2kxy",
}
MAINNET_KEYS = (
    "5JuW2AMDYu4xVwRG9DZW18VbzQrGcd5RCgb99sS6ehJsNQXu5b9",
    "L5nJeqKmpHp4P7F8ZYyjwc5a7P4d8EabuGAzfGJk7yC1BJyzNaEd",
)
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58check(payload: bytes) -> str:
    raw = payload + sha256d(payload)[:4]
    number, text = int.from_bytes(raw, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = BASE58[digit] + text
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + text


def segwit_address(hrp: str, values: list[int], constant: int) -> str:
    """Any 5-bit values under a right checksum, however wrong they are otherwise."""

    def remainder(stream: list[int]) -> int:
        state = 1
        for value in stream:
            top, state = state >> 25, (state & 0x1FFFFFF) << 5 ^ value
            for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                state ^= generator * (top >> bit & 1)
        return state

    expanded = [ord(each) >> 5 for each in hrp] + [0] + [ord(each) & 31 for each in hrp]
    checksum = remainder(expanded + values + [0] * 6) ^ constant
    everything = values + [checksum >> 5 * (5 - place) & 31 for place in range(6)]
    return hrp + "1" + "".join("qpzry9x8gf2tvdw0s3jn54khce6mua7l"[value] for value in everything)


@pytest.mark.golden("addresses_valid")
def test_valid_addresses_of_every_type_and_network_give_their_script(vector: dict[str, Any]) -> None:
    network = Network.from_chain(vector["network"])
    address = parse_address(vector["address"], network)
    assert address.script_pubkey.hex() == vector["script_pubkey"]
    assert address.kind is AddressKind(vector["type"])
    assert address.network is network
    assert address.text == vector["address"]


@pytest.mark.golden("addresses_valid", where=lambda entry: entry["payout_safe"] and entry["id"] not in OFF_CURVE)
def test_a_safe_address_is_paid(vector: dict[str, Any]) -> None:
    script = payout_script(vector["address"], Network.from_chain(vector["network"]))
    assert script.hex() == vector["script_pubkey"]


@pytest.mark.golden("addresses_valid", where=lambda entry: not entry["payout_safe"])
def test_an_address_that_anyone_may_spend_is_not_paid(vector: dict[str, Any]) -> None:
    with pytest.raises(AddressError, match="anyone could take"):
        payout_script(vector["address"], Network.from_chain(vector["network"]))


@pytest.mark.golden("addresses_valid", where=lambda entry: entry["id"] in OFF_CURVE)
def test_a_taproot_address_off_the_curve_is_not_paid(vector: dict[str, Any]) -> None:
    with pytest.raises(AddressError, match="nobody could ever spend"):
        payout_script(vector["address"], Network.from_chain(vector["network"]))


@pytest.mark.golden("addresses_invalid")
def test_what_core_and_the_bips_call_invalid_is_refused(vector: dict[str, Any]) -> None:
    networks = [Network.from_chain(vector["network"])] if "network" in vector else NETWORKS
    for network in networks:
        with pytest.raises(AddressError):
            parse_address(vector["address"], network)
        with pytest.raises(AddressError):
            payout_script(vector["address"], network)


@pytest.mark.parametrize(
    ("text", "network", "owners"),
    [
        ("mzK2FFDEhxqHcmrJw1ysqFkVyhUULo45hZ", Network.MAIN, "testnet3 or testnet4 or signet or regtest, but"),
        ("2NC2hEhe28ULKAJkW5MjZ3jtTMJdvXmByvK", Network.MAIN, "testnet3 or testnet4 or signet or regtest, but"),
        ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", Network.REGTEST, "mainnet, but this is regtest"),
        (
            "tb1qcrh3yqn4nlleplcez2yndq2ry8h9ncg3qh7n54",
            Network.MAIN,
            "testnet3 or testnet4 or signet, but this is mainnet",
        ),
        ("bcrt1qdavt4j2sd7dlhqsavtnfxvzppw6k7qy97tmnu9", Network.SIGNET, "regtest, but this is signet"),
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", Network.TESTNET4, "mainnet, but this is testnet4"),
    ],
)
def test_an_address_of_another_network_is_refused_by_the_name_of_that_network(
    text: str, network: Network, owners: str
) -> None:
    with pytest.raises(AddressError, match=owners):
        parse_address(text, network)


def test_testnets_and_signet_share_their_addresses() -> None:
    scripts = {
        payout_script("tb1qcrh3yqn4nlleplcez2yndq2ry8h9ncg3qh7n54", network)
        for network in (Network.TESTNET3, Network.TESTNET4, Network.SIGNET)
    }
    assert len(scripts) == 1


@pytest.mark.parametrize("key", MAINNET_KEYS)
@pytest.mark.parametrize("network", NETWORKS)
def test_a_private_key_is_called_one_and_not_repeated(key: str, network: Network) -> None:
    with pytest.raises(AddressError, match="PRIVATE KEY") as refusal:
        payout_script(key, network)
    assert key[:8] not in str(refusal.value)


@pytest.mark.parametrize("compressed", [b"", b"\x01"])
def test_a_private_key_of_a_test_network_is_called_one(compressed: bytes) -> None:
    with pytest.raises(AddressError, match="PRIVATE KEY"):
        payout_script(base58check(b"\xef" + b"\x07" * 32 + compressed), Network.MAIN)


@pytest.mark.parametrize("key", MAINNET_KEYS)
@pytest.mark.parametrize("where", [0, 1, 20, -1])
def test_a_mistyped_private_key_is_not_repeated_either(key: str, where: int) -> None:
    typed = list(key)
    typed[where] = "3" if typed[where] != "3" else "4"
    mistyped = "".join(typed)
    with pytest.raises(AddressError, match="checksum") as refusal:
        payout_script(mistyped, Network.MAIN)
    assert mistyped[2:10] not in str(refusal.value)


@pytest.mark.parametrize("version", ["0488b21e", "0488ade4", "043587cf"])
def test_an_extended_key_is_called_one(version: str) -> None:
    text = base58check(bytes.fromhex(version) + bytes(74))
    with pytest.raises(AddressError, match="extended key") as refusal:
        payout_script(text, Network.MAIN)
    assert text not in str(refusal.value)


@pytest.mark.parametrize("prefix", ["sp1q", "tsp1q", "SP1Q"])
def test_a_silent_payment_address_is_called_one(prefix: str) -> None:
    with pytest.raises(AddressError, match="silent payment"):
        payout_script(prefix + "q" * 100, Network.MAIN)


def test_an_address_of_another_currency_is_refused_by_its_version() -> None:
    with pytest.raises(AddressError, match=r"another currency.*30"):
        parse_address(base58check(b"\x30" + bytes(20)), Network.MAIN)


@pytest.mark.parametrize("size", [0, 19, 21, 40])
def test_base58_of_another_length_is_no_address(size: int) -> None:
    with pytest.raises(AddressError, match=f"base58 of {1 + size} bytes"):
        parse_address(base58check(b"\x00" + b"\x01" * size), Network.MAIN)


@given(st.binary(min_size=20, max_size=20), st.sampled_from(NETWORKS))
def test_every_hash_has_a_base58_address_on_every_network(hash160: bytes, network: Network) -> None:
    p2pkh = base58check(bytes([network.p2pkh_version]) + hash160)
    p2sh = base58check(bytes([network.p2sh_version]) + hash160)
    assert payout_script(p2pkh, network) == bytes.fromhex("76a914") + hash160 + bytes.fromhex("88ac")
    assert payout_script(p2sh, network) == bytes.fromhex("a914") + hash160 + bytes.fromhex("87")


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("size", [0, 1, 2, 19, 20, 21, 31, 32, 33, 40, 41])
def test_programs_have_2_to_40_bytes_and_20_or_32_in_version_0(size: int, network: Network) -> None:
    values = [0] * -(-8 * size // 5)
    for version, constant, sizes in ((0, 1, {20, 32}), (1, 0x2BC830A3, range(2, 41)), (16, 0x2BC830A3, range(2, 41))):
        text = segwit_address(network.hrp, [version, *values], constant)
        if size in sizes:
            opcode = 0x50 + version if version else 0
            assert parse_address(text, network).script_pubkey == bytes([opcode, size]) + bytes(size)
        else:
            with pytest.raises(AddressError, match=f"{size} bytes"):
                parse_address(text, network)


@pytest.mark.parametrize("characters", [6, 9, 14, 17, 25])
def test_a_superfluous_character_of_padding_is_refused(characters: int) -> None:
    text = segwit_address("bc", [1] + [0] * characters, 0x2BC830A3)
    with pytest.raises(AddressError, match="more than 4 bits"):
        parse_address(text, Network.MAIN)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh", "other kind of checksum"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf", "more than 4 bits"),
        ("tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j", "padding is not zero"),
        ("BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R", "version 17 does not exist"),
        ("BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P", "version 0 has 20 or 32"),
        ("bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav", "41 bytes"),
        ("bc1gmk9yu", "nothing between"),
        ("bc1", "at least 6"),
        ("bc1qb08d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "'b'"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "checksum is wrong"),
        ("bc1qW508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "mixes upper and lower"),
        ("bc1" + "q" * 88, "91 characters"),
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7\u212aV8F3T4", "outside ASCII"),  # lower() makes the Kelvin sign a k
        ("bc1q1508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "of the form bc1"),
    ],
)
def test_the_fault_of_a_segwit_address_is_named(text: str, reason: str) -> None:
    with pytest.raises(AddressError, match=reason):
        parse_address(text, Network.MAIN)


@pytest.mark.parametrize(
    "text",
    ["", " ", "1", "1111", "bc", "0", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb", "1" * 129, "\u00df", "bc1\u017f"],
    ids=repr,
)
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        payout_script(text, Network.MAIN)


@pytest.mark.golden("addresses_valid")
def test_blanks_around_an_address_are_not_guessed_away(vector: dict[str, Any]) -> None:
    for text in (" " + vector["address"], vector["address"] + "\n"):
        with pytest.raises(AddressError):
            parse_address(text, Network.from_chain(vector["network"]))


@given(st.integers(0, 41), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_wrong_character_never_gives_another_address(where: int, character: str) -> None:
    good = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    changed = good[:where] + character + good[where + 1 :]
    if changed != good:
        with pytest.raises(AddressError):
            parse_address(changed, Network.MAIN)


@given(st.one_of(st.text(max_size=100), st.text("bc1tqpr023456789", max_size=60).map("bc1".__add__)))
def test_arbitrary_text_raises_nothing_but_an_address_error(text: str) -> None:
    for network in NETWORKS:
        with suppress(AddressError):
            payout_script(text, network)
