"""Small JSON files that outlive a run: read up to a bound, replaced whole, with the version of their format.

    {"version": 1, "content": ...}      without a version: version 0, the content alone

no file     nothing is kept
older       is read, if need be after `upgrade`
newer       is refused and never written over: another version of the program needs it
spoiled     (torn, or not ours) is refused; the next write puts it aside as NAME.spoiled, for a person to look at
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

T = TypeVar("T")

_LARGEST = 1 << 20  # bytes
_KEYS = {"version", "content"}


class Newer(OSError):
    """A newer version of the program wrote the file."""


class Spoiled(OSError):
    """The file is torn, or was never ours."""


def _unchanged(version: int, content: Any) -> Any:  # noqa: ARG001 # an `upgrade`
    return content


@dataclass(frozen=True, slots=True)
class Kept(Generic[T]):
    """A file, and how its content is read. Not for two writers at a time.

    version: of the format that is written, 1 or more. upgrade: from an older version, and the content it had, to the
    content as it would be written now; raises ValueError, TypeError, LookupError or AttributeError for what it cannot
    use. durable: a write survives a power cut, too.
    """

    path: Path
    adapter: TypeAdapter[T]
    version: int = 1
    upgrade: Callable[[int, Any], Any] = _unchanged
    largest: int = _LARGEST
    durable: bool = False

    def read(self) -> T | None:
        """The content; None without a file. Raises Newer or Spoiled, whose text is for people, or another OSError."""
        try:
            with self.path.open("rb") as file:
                raw = file.read(self.largest + 1)
        except FileNotFoundError:
            return None
        if len(raw) > self.largest:
            raise Spoiled(f"{self.path} is larger than {self.largest} bytes")
        try:
            version, content = _opened(from_json(raw))
            if version < self.version:
                content = self.upgrade(version, content)
            if version <= self.version:
                return self.adapter.validate_python(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise Spoiled(f"{self.path} is not in order: {first['msg']}") from error
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise Spoiled(f"{self.path} is not in order: {error}") from error
        raise Newer(
            f"{self.path} has format {version}, from a newer version of this program, which reads up to {self.version}:"
            " it is left as it is"
        )

    def write(self, content: T) -> None:
        """Put this in the place of what was kept. Raises Newer, or another OSError; the old content stays then."""
        data = b'{"version": %d, "content": %b}\n' % (self.version, self.adapter.dump_json(content, indent=1))
        self._clear()
        replace_whole(self.path, data, durable=self.durable)

    def forget(self) -> None:
        """Remove the file, if there is one. Raises Newer, or another OSError."""
        self._clear()
        self.path.unlink(missing_ok=True)

    def _clear(self) -> None:
        """Put a spoiled file aside. Raises Newer, or another OSError."""
        try:
            self.read()
        except Spoiled:
            self.path.replace(self.path.with_name(f"{self.path.name}.spoiled"))


def replace_whole(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = False) -> None:
    """Put `data` in the place of `path`: whoever reads it sees the old content or the new, also after a kill.

    mode: of the file, as the umask has it. durable: also after a power cut. Raises OSError; the old content stays then.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(draft, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)  # the new name, too
        finally:
            os.close(folder)


def _opened(document: Any) -> tuple[int, Any]:
    """The version of a file, and its content."""
    if isinstance(document, dict) and document.keys() == _KEYS and type(document["version"]) is int:
        return document["version"], document["content"]
    return 0, document
