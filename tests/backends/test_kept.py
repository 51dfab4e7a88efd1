from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from backends.kept import Kept, Newer, Spoiled, replace_whole

NUMBERS = TypeAdapter(dict[str, int])
OLD, NEW = {"a": 1}, {"b": 2}

in_one_folder = settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


def kept(folder: Path, **changes: Any) -> Kept[dict[str, int]]:
    return Kept(folder / "numbers.json", NUMBERS, **changes)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@in_one_folder
@given(content=st.dictionaries(st.text(), st.integers(-(1 << 63), (1 << 63) - 1)))
def test_what_was_written_is_read(tmp_path: Path, content: dict[str, int]) -> None:
    kept(tmp_path).write(content)
    assert kept(tmp_path).read() == content
    assert names(tmp_path) == {"numbers.json"}


def test_without_a_file_nothing_is_kept(tmp_path: Path) -> None:
    assert kept(tmp_path).read() is None
    kept(tmp_path).forget()
    kept(tmp_path).write(OLD)
    kept(tmp_path).forget()
    assert kept(tmp_path).read() is None


def test_a_file_is_its_owners_alone(tmp_path: Path) -> None:
    kept(tmp_path).write(OLD)
    assert kept(tmp_path).path.stat().st_mode & 0o077 == 0


def test_a_file_from_before_versions_is_read(tmp_path: Path) -> None:
    kept(tmp_path).path.write_text('{"a": 1}')
    assert kept(tmp_path).read() == OLD
    kept(tmp_path).path.write_text('{"version": 7, "a": 1}')
    assert kept(tmp_path).read() == {"version": 7, "a": 1}


def test_an_older_file_is_upgraded_when_it_is_read(tmp_path: Path) -> None:
    kept(tmp_path, version=2).write(OLD)
    upgrades: list[tuple[int, Any]] = []

    def upgrade(version: int, content: Any) -> Any:
        upgrades.append((version, content))
        return {name: 10 * number for name, number in content.items()}

    assert kept(tmp_path, version=3, upgrade=upgrade).read() == {"a": 10}
    assert kept(tmp_path, version=2, upgrade=upgrade).read() == OLD
    assert upgrades == [(2, OLD)]


def test_a_newer_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    old = kept(tmp_path)
    old.path.write_text('{"version": 2, "content": "in a way of tomorrow"}')
    before = old.path.read_bytes()
    for attempt in (old.read, lambda: old.write(NEW), old.forget):
        with pytest.raises(
            Newer, match=r"numbers.json has format 2, from a newer version .* up to 1: .* left as it is"
        ):
            attempt()
    assert old.path.read_bytes() == before
    assert names(tmp_path) == {"numbers.json"}


def test_a_spoiled_file_is_put_aside_by_the_next_write_and_not_by_reading(tmp_path: Path) -> None:
    kept(tmp_path).path.write_text('{"version": 1, "cont')
    for _ in range(2):
        with pytest.raises(Spoiled, match=r"numbers.json is not in order: "):
            kept(tmp_path).read()
    kept(tmp_path).write(NEW)
    assert kept(tmp_path).read() == NEW
    assert (tmp_path / "numbers.json.spoiled").read_text() == '{"version": 1, "cont'


def test_no_more_of_a_file_is_read_than_it_may_have(tmp_path: Path) -> None:
    kept(tmp_path).write(OLD)
    size = kept(tmp_path).path.stat().st_size
    assert kept(tmp_path, largest=size).read() == OLD
    with pytest.raises(Spoiled, match=f"larger than {size - 1} bytes"):
        kept(tmp_path, largest=size - 1).read()


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, AttributeError])
def test_a_file_that_cannot_be_upgraded_is_spoiled(tmp_path: Path, error: type[Exception]) -> None:
    def upgrade(version: int, content: Any) -> Any:
        raise error(f"{content} of {version}")

    kept(tmp_path).path.write_text("[]")
    with pytest.raises(Spoiled):
        kept(tmp_path, upgrade=upgrade).read()


@in_one_folder
@given(raw=st.binary(max_size=200) | documents.map(lambda x: json.dumps(x).encode()) | st.just(b"[" * 100_000))
def test_whatever_bytes_a_file_holds_it_is_read_or_refused(tmp_path: Path, raw: bytes) -> None:
    kept(tmp_path).path.write_bytes(raw)
    try:
        content = kept(tmp_path).read()
    except (Newer, Spoiled):
        return
    assert content is not None and all(type(number) is int for number in content.values())


@in_one_folder
@given(raw=st.binary(max_size=200), cut=st.integers(0, 60))
def test_every_file_can_be_written_over_but_a_newer_one(tmp_path: Path, raw: bytes, cut: int) -> None:
    kept(tmp_path).path.unlink(missing_ok=True)
    kept(tmp_path).write(OLD)
    whole = kept(tmp_path).path.read_bytes()
    kept(tmp_path).path.write_bytes(whole[:cut] + raw)
    try:
        kept(tmp_path).write(NEW)
    except Newer:
        kept(tmp_path).path.unlink()
    else:
        assert kept(tmp_path).read() == NEW


class Killed(BaseException):
    """The process ends here: nothing after it is run."""


def fail_at(patch: pytest.MonkeyPatch, step: int, error: BaseException) -> list[str]:
    """Let the step of this number fail, counted from 0; the list is filled with the steps that were begun."""
    begun: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            begun.append(name)
            if len(begun) == step + 1:
                raise error
            return real(*arguments)

        return call

    for name in ("open", "fsync", "close"):
        patch.setattr(f"backends.kept.os.{name}", counted(name, getattr(os, name)))
    patch.setattr(Path, "replace", counted("replace", Path.replace))
    return begun


@pytest.mark.parametrize("error", [OSError("disk full"), Killed()], ids=["disk full", "killed"])
@pytest.mark.parametrize("step", range(6))
def test_whichever_step_of_a_write_fails_the_old_content_or_the_new_is_kept(
    tmp_path: Path, step: int, error: BaseException
) -> None:
    kept(tmp_path).write(OLD)
    with pytest.MonkeyPatch.context() as patch:
        begun = fail_at(patch, step, error)
        with pytest.raises(type(error)):
            kept(tmp_path, durable=True).write(NEW)
    assert begun[: step + 1] == ["open", "fsync", "replace", "open", "fsync", "close"][: step + 1]
    assert kept(tmp_path).read() == (OLD if step < 3 else NEW)
    if isinstance(error, OSError):
        assert names(tmp_path) == {"numbers.json"}
    kept(tmp_path).write(NEW)
    assert kept(tmp_path).read() == NEW


def test_a_write_that_is_cut_short_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept(tmp_path).write(OLD)
    real: Callable[..., int] = os.open

    def unwritable(name: str, flags: int, mode: int) -> int:
        descriptor = real(name, flags, mode)
        os.close(descriptor)
        return real(name, os.O_RDONLY)

    monkeypatch.setattr("backends.kept.os.open", unwritable)
    with pytest.raises(OSError, match="Bad file descriptor"):
        kept(tmp_path).write(NEW)
    assert kept(tmp_path).read() == OLD
    assert names(tmp_path) == {"numbers.json"}


def test_only_a_durable_write_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr("backends.kept.os.fsync", lambda fd: synced.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    replace_whole(tmp_path / "quick", b"1")
    assert not synced
    replace_whole(tmp_path / "safe", b"1", mode=0o640, durable=True)
    assert (tmp_path / "safe").stat().st_mode & 0o777 == 0o640
    assert Path(synced[0]).name.startswith(".safe.") and synced[1:] == [str(tmp_path)]
