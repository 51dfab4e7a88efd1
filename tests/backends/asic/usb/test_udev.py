from __future__ import annotations

import re
from pathlib import Path

import pytest

from backends.asic.usb import udev
from tests.backends.asic.usb.plugged import COMPAC_A1, COMPAC_F, GAMMA, moved

SHIPPED = Path(udev.FILE)


def test_the_shipped_rules_are_those_that_messages_speak_of() -> None:
    assert SHIPPED.read_text() == udev.rules()
    for device in (COMPAC_F, COMPAC_A1, GAMMA):
        assert udev.granted(device)
        assert udev.rule(device) in SHIPPED.read_text().splitlines()


def test_the_file_is_early_enough_for_uaccess_to_count() -> None:
    assert 50 < int(SHIPPED.name.split("-")[0]) < 73


def test_no_rule_opens_a_generic_bridge_by_its_ids_alone() -> None:
    rules = [line for line in udev.rules().splitlines() if not line.startswith("#")]
    assert rules
    for rule in rules:
        assert re.search(r'ATTR\{product\}=="[^"*?]+"', rule)
        assert re.search(r'ATTR\{manufacturer\}=="[^"*?]+"', rule)


def test_a_device_without_a_shipped_rule_gets_a_rule_of_its_own() -> None:
    adapter = moved(COMPAC_F, product="USB Serial")
    assert not udev.granted(adapter)
    assert 'ATTR{product}=="USB Serial"' in udev.remedy(adapter, None)


@pytest.mark.parametrize("product", [None, "", 'x", RUN+="/bin/sh', "a*", "[!a]", "a\nb", "$(id)", "%k"])
def test_a_devices_own_text_never_becomes_part_of_a_rule(product: str | None) -> None:
    rule = udev.rule(moved(COMPAC_F, product=product))
    assert 'KERNEL=="1-1"' in rule
    assert "product" not in rule
