"""Programs from Debian's archive, unpacked into a folder of their own on any Debian: bitcoind (Bitcoin Knots) first.

Unstable's binaries need a newer C library than a stable system has, so the whole closure of libraries is unpacked
next to them and the program is started by its own loader. apt works on a private configuration with an empty package
database: nothing of the system changes and no privilege is needed. Mirror, keyring, proxies and credentials are those
of the system's apt.
"""

from __future__ import annotations

import platform
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.real.cache import UnavailableError, fetched, output_of

SUITE = "sid"
# sysusers is a dependency with several providers: the small one is named, lest apt choose all of systemd.
PACKAGES = ("bitcoin-knots", "systemd-standalone-sysusers")
TOOLS = ("apt-get", "apt-config", "dpkg", "dpkg-deb")
ROLLING_NAMES = frozenset({"oldstable", "stable", "testing", "sid", "unstable"})
KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)

_ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>[^#]+)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Source:
    """One line or stanza of apt's sources, as far as it matters here."""

    uris: tuple[str, ...]
    suites: frozenset[str]
    components: frozenset[str]
    signed_by: str | None  # file names, fingerprints or a whole key, as written


def bitcoind_command() -> tuple[str, ...]:
    """The words that start bitcoind; its own options follow."""
    root = fetched("bitcoin-knots", _fill)
    loader = next(root.glob("usr/lib/*/ld-linux*.so.*"))
    program = root / "usr" / "bin" / "bitcoind"
    return (str(loader), "--library-path", str(loader.parent), "--argv0", "bitcoind", str(program))


def one_line_sources(text: str) -> Iterator[Source]:
    """The entries of a sources.list."""
    for line in text.splitlines():
        if entry := _ONE_LINE.match(line.strip()):
            options = dict(option.split("=", 1) for option in (entry["options"] or "").split() if "=" in option)
            yield Source(
                uris=(entry["uri"],),
                suites=frozenset({entry["suite"]}),
                components=frozenset(entry["components"].split()),
                signed_by=options.get("signed-by"),
            )


def deb822_sources(text: str) -> Iterator[Source]:
    """The enabled stanzas of a *.sources file."""
    for stanza in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in stanza.splitlines():
            if line.startswith("#"):
                continue
            if line[:1].isspace() and name:
                fields[name] += "\n" + line
            elif ":" in line:
                name, value = line.split(":", 1)
                name = name.strip().lower()
                fields[name] = value.strip()
        if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
            yield Source(
                uris=tuple(fields.get("uris", "").split()),
                suites=frozenset(fields.get("suites", "").split()),
                components=frozenset(fields.get("components", "").split()),
                signed_by=fields.get("signed-by"),
            )


def archive_of(sources: Iterator[Source], codename: str) -> tuple[str, str | None]:
    """The address of the Debian archive among these sources, and what signs it there."""
    names = ROLLING_NAMES | {codename}
    for source in sources:
        usable = [uri for uri in source.uris if not uri.startswith("cdrom:")]
        if usable and "main" in source.components and source.suites & names:
            return usable[0], source.signed_by
    raise UnavailableError("apt has no source of Debian's main archive on this machine")


def unpack(root: Path, *packages: str, suite: str = SUITE) -> None:
    """Put these packages of that suite, and all they depend on, into the folder as they would lie below /."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        raise UnavailableError(f"{packages[0]} is fetched with Debian's tools, and {', '.join(missing)} is missing")
    system = platform.freedesktop_os_release()
    if system.get("ID") != "debian":
        raise UnavailableError(f"{packages[0]} is fetched from Debian's archive, and this is {system.get('ID')}")
    uri, signed_by = archive_of(_system_sources(), system.get("VERSION_CODENAME", ""))
    apt = root / "apt"
    config = {"APT_CONFIG": str(_write_configuration(apt, uri, signed_by, suite)), "LC_ALL": "C.UTF-8"}
    output_of(["apt-get", "--quiet", "update"], env=config)
    output_of(["apt-get", "--quiet", "--yes", "--download-only", "install", *packages], env=config)
    for package in sorted((apt / "cache" / "archives").glob("*.deb")):
        output_of(["dpkg-deb", "-x", str(package), str(root)])
    shutil.rmtree(apt)


def _fill(root: Path) -> None:
    unpack(root, *PACKAGES)


def _system_sources() -> Iterator[Source]:
    words = shlex.split(output_of(["apt-config", "shell", "file", "Dir::Etc::sourcelist/f"]))
    words += shlex.split(output_of(["apt-config", "shell", "folder", "Dir::Etc::sourceparts/d"]))
    places = dict(word.split("=", 1) for word in words)
    folder = Path(places["folder"])
    for path in [Path(places["file"]), *sorted(folder.glob("*.list")), *sorted(folder.glob("*.sources"))]:
        if path.is_file():
            parse = deb822_sources if path.suffix == ".sources" else one_line_sources
            yield from parse(path.read_text())


def _write_configuration(apt: Path, uri: str, signed_by: str | None, suite: str) -> Path:
    for folder in ("state/lists/partial", "cache/archives/partial", "log", "none"):
        (apt / folder).mkdir(parents=True)
    (apt / "status").touch()
    if signed_by is None:
        signed_by = next((str(path) for path in KEYRINGS if path.exists()), None)
    stanza = {
        "Types": "deb",
        "URIs": uri,
        "Suites": suite,
        "Components": "main",
        "Architectures": output_of(["dpkg", "--print-architecture"]).strip(),
    } | ({"Signed-By": signed_by} if signed_by else {})
    (apt / "archive.sources").write_text("".join(f"{name}: {value}\n" for name, value in stanza.items()))
    # How the system fetches (proxies, retries, certificates) holds here too; its hooks and index targets do not.
    acquire = re.findall(
        r"^Acquire::(?!IndexTargets|Changelogs|Languages)[^\n]*$", output_of(["apt-config", "dump"]), re.MULTILINE
    )
    config = apt / "apt.conf"
    config.write_text(
        "\n".join(
            [
                *acquire,
                'Acquire::Languages "none";',
                'APT::Install-Recommends "false";',
                'APT::Sandbox::User "root";',
                f'Dir::Etc::main "{apt}/none/apt.conf";',
                f'Dir::Etc::parts "{apt}/none";',
                f'Dir::Etc::preferences "{apt}/none/preferences";',
                f'Dir::Etc::preferencesparts "{apt}/none";',
                f'Dir::Etc::sourcelist "{apt}/archive.sources";',
                f'Dir::Etc::sourceparts "{apt}/none";',
                f'Dir::State "{apt}/state";',
                f'Dir::State::status "{apt}/status";',
                f'Dir::Cache "{apt}/cache";',
                f'Dir::Log "{apt}/log";',
                "",
            ]
        )
    )
    return config
