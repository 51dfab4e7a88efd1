"""Every file that documents and modules name exists, and every link within the documents leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = ("native", "backends", "miner", "benchmarks", "tests", "docs", "configs")
DOCS = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = [path for folder in OURS[:4] for path in sorted((ROOT / folder).rglob("*.py"))]  # tests name imaginary files

QUOTED = re.compile(r"`((?:\w[\w.-]*/)+[\w.-]+\.(?:py|md))`")
PLAIN = re.compile(rf"(?<![\w/.-])((?:{'|'.join(OURS)})/(?:[\w.-]+/)*[\w.-]+\.(?:py|md))(?!\w)")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
HEADING = re.compile(r"(?m)^#+ (.+)$")


def missing_files(text: str) -> set[str]:
    """Paths from the root of the project that `text` names and that do not exist."""
    return {name for name in {*QUOTED.findall(text), *PLAIN.findall(text)} if not (ROOT / name).is_file()}


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a document."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(path.read_text())}


def broken_links(path: Path, text: str) -> Iterator[str]:
    for name, anchor in LINK.findall(text):
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"{name}#{anchor}"


def test_every_file_that_a_document_or_a_module_names_exists() -> None:
    missing = {str(path.relative_to(ROOT)): missing_files(path.read_text()) for path in (*DOCS, *CODE)}
    assert not {path: names for path, names in missing.items() if names}


def test_every_link_within_the_documents_leads_to_a_file_and_a_heading() -> None:
    broken = {str(path.relative_to(ROOT)): list(broken_links(path, path.read_text())) for path in DOCS}
    assert not {path: links for path, links in broken.items() if links}


def test_a_file_that_does_not_exist_and_a_link_that_leads_nowhere_are_found() -> None:
    quoted = "`work/gone.py`, `miner/work/feed.py`, `feed.py`"
    assert missing_files(f"{quoted}, see miner/gone.py and docs/start.md.") == {"work/gone.py", "miner/gone.py"}
    start = ROOT / "docs" / "start.md"
    text = "[a](gone.md) [b](howto/pool.md#tls) [c](#install) [d](#gone) [e](howto/pool.md#gone)"
    assert list(broken_links(start, text)) == ["gone.md#", "#gone", "howto/pool.md#gone"]
