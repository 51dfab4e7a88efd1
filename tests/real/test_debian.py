"""The Debian archive is found in whatever form the system's apt has it."""

from __future__ import annotations

import pytest

from tests.real.cache import UnavailableError
from tests.real.debian import archive_of, deb822_sources, one_line_sources


def test_a_line_with_options_gives_address_and_keyring() -> None:
    text = """\
# deb ftp://old.example/d bookworm main
deb [arch=amd64 signed-by=/k.gpg] ftp://a.example/d bookworm main
"""
    assert archive_of(one_line_sources(text), "bookworm") == ("ftp://a.example/d", "/k.gpg")


def test_discs_security_and_sources_of_others_are_not_the_archive() -> None:
    text = """\
deb cdrom:[Disc 1]/ bookworm main
deb-src ftp://sources.example/d bookworm main
deb ftp://security.example/d bookworm-security main
deb ftp://other.example/d other main
deb ftp://a.example/d bookworm contrib main # the one
"""
    assert archive_of(one_line_sources(text), "bookworm") == ("ftp://a.example/d", None)


def test_a_stanza_gives_address_and_keyring() -> None:
    text = """\
Types: deb
URIs: ftp://off.example/d
Suites: trixie
Components: main
Enabled: no

# the one
Types: deb deb-src
URIs: ftp://a.example/d
# a comment inside
Suites: trixie trixie-updates
Components: main
Signed-By:
 -----BEGIN
 .
 -----END
"""
    assert archive_of(deb822_sources(text), "trixie") == ("ftp://a.example/d", "\n -----BEGIN\n .\n -----END")


def test_without_the_archive_nothing_is_guessed() -> None:
    with pytest.raises(UnavailableError):
        archive_of(one_line_sources("deb ftp://a.example/d noble main"), "bookworm")
