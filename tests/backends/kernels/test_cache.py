from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import native
from backends import kernels
from backends.kernels import cache as cache_module
from backends.kernels.cache import find_cache

FEATURES = native.Features("x86_64", "x86-64", frozenset())

LOAD = """
import sys, native
from backends import kernels
from pathlib import Path
cache = kernels.open_cache(Path(sys.argv[1]), native.host_features())
assert cache.unusable is None
from native import object_code
object_code._object_code = None
kernels.load(next(x for x in kernels.candidates() if x.name == sys.argv[2]), cache)
"""


def folder_of(state: Path, features: native.Features = FEATURES) -> Path:
    opened = kernels.open_cache(state, features)
    assert opened.unusable is None
    assert opened.folder is not None
    return opened.folder


def refused(state: Path) -> str:
    opened = kernels.open_cache(state, FEATURES)
    assert opened.folder is None
    assert opened.folder_for("scalar") is None
    assert not opened.holds("scalar")
    return opened.unusable or ""


def test_a_second_process_compiles_nothing(quick: native.Kernel, cache: kernels.KernelCache, state: Path) -> None:
    assert cache.folder is not None
    assert cache.holds(quick.name)
    subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD, str(state), quick.name],
        check=True,
        env={"PYTHONPATH": str(Path(native.__file__).parents[1])},
    )


def test_the_folder_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "state")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert folder_of(tmp_path / "state") == folder


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o755])
@pytest.mark.parametrize("level", ["kernels", "digest"])
def test_a_folder_open_to_others_is_not_used(tmp_path: Path, mode: int, level: str) -> None:
    folder = folder_of(tmp_path)
    (folder if level == "digest" else folder.parent).chmod(mode)
    assert "chmod 700" in refused(tmp_path)


def test_a_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder_of(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    assert "belongs to user" in refused(tmp_path)


def test_a_link_to_a_folder_is_not_used(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "elsewhere")
    (tmp_path / "kernels").symlink_to(folder.parent)
    assert "not a folder" in refused(tmp_path)


def test_a_place_that_cannot_be_written_only_loses_the_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be kept" in refused(tmp_path / "file" / "state")


def test_what_was_compiled_and_not_examined_is_not_held(tmp_path: Path) -> None:
    opened = kernels.KernelCache(tmp_path)
    (tmp_path / "scalar").mkdir()
    (tmp_path / "scalar" / "scan.o").touch()
    assert not opened.holds("scalar")
    opened.vouch("scalar")
    assert opened.holds("scalar")
    opened.forget("scalar")
    assert not opened.holds("scalar")


def test_a_cache_is_found_only_where_one_was_opened_and_nobody_else_can_write(tmp_path: Path) -> None:
    assert find_cache(tmp_path / "state", FEATURES).folder is None
    assert not list(tmp_path.iterdir())
    folder = folder_of(tmp_path / "state")
    assert find_cache(tmp_path / "state", FEATURES).folder == folder
    folder.chmod(0o770)
    assert "chmod 700" in (find_cache(tmp_path / "state", FEATURES).unusable or "")


def test_a_damaged_file_only_loses_the_cache(quick: native.Kernel, cache: kernels.KernelCache, tmp_path: Path) -> None:
    assert cache.folder is not None
    shutil.copytree(cache.folder / quick.name, tmp_path / quick.name)
    for file in (tmp_path / quick.name).glob("*.o"):
        file.write_bytes(b"torn")
    candidate = next(x for x in kernels.candidates() if x.name == quick.name)
    assert kernels.load(candidate, kernels.KernelCache(tmp_path)).name == quick.name


@pytest.mark.parametrize(("module", "name"), [(native, "vector.py"), (cache_module, "candidates.py")])
def test_a_change_of_the_code_leaves_its_kernels_behind(
    module: ModuleType, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "code"
    shutil.copytree(Path(module.__file__ or "").parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(module, "__file__", str(package / "code.py"))
    before = folder_of(tmp_path)
    source = package / name
    stamp = source.stat().st_mtime_ns
    source.write_bytes(source.read_bytes().replace(b"e", b"f", 1))
    os.utime(source, ns=(stamp, stamp))
    assert folder_of(tmp_path) != before


def test_another_processor_has_another_folder(tmp_path: Path) -> None:
    assert folder_of(tmp_path) != folder_of(tmp_path, native.Features("x86_64", "x86-64-v3", frozenset()))


def test_the_digests_longest_out_of_use_are_removed(tmp_path: Path) -> None:
    for age in range(6):
        stale = tmp_path / "kernels" / f"digest{age}"
        stale.mkdir(parents=True, mode=0o700)
        stale.parent.chmod(0o700)
        os.utime(stale, (1e9 - age, 1e9 - age))
    current = folder_of(tmp_path)
    assert {x.name for x in current.parent.iterdir()} == {current.name, "digest0", "digest1", "digest2"}
