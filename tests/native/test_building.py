"""A kernel is built from its name; whoever builds none carries no compiler."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import native
from native import compiled

FEATURES = native.Features("x86_64", "x86-64", frozenset())


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path | None]:
    """Nothing is compiled; by function and lowering the folders that were named."""
    folders: dict[str, Path | None] = {}

    def compile_(kind: str) -> object:
        def asked(_features: native.Features, *lowering: object) -> str:
            *names, folder = lowering
            assert folder is None or isinstance(folder, Path)
            text = " ".join([kind, *map(str, names)])
            folders[text] = folder
            return text

        return asked

    for kind in ("scan", "midstates", "fill"):
        monkeypatch.setattr(compiled, f"compile_{kind}", compile_(kind))
    return folders


def test_a_kernel_has_a_scan_of_its_own_for_several_versions_where_its_lowering_has_one(
    asked: dict[str, Path | None],
) -> None:
    two = native.build("avx2x8", FEATURES, Path, requires=["avx2"], midstates=16)
    assert (two.run_scan, two.run_several) == ("scan avx2x8", "scan avx2x8+")
    assert (two.name, two.lanes, two.requires, two.midstates) == ("avx2x8", 8, ("avx2",), 16)
    one = native.build("scalar", FEATURES)
    assert one.run_scan == one.run_several == "scan scalar"


def test_the_parts_of_a_kernel_are_the_names_under_which_its_functions_are_kept(asked: dict[str, Path | None]) -> None:
    kernel = native.build("avx2x8", FEATURES, Path)
    assert {str(folder) for folder in asked.values()} == set(kernel.parts)
    assert kernel.parts == ("avx2x8", "avx2x8+", "midstates", "fill-avx2x8")


def test_a_kernel_has_room_for_what_its_lowering_leaves_in_memory(asked: dict[str, Path | None]) -> None:
    lowering = compiled.LOWERINGS["vector4"]
    assert native.build("vector4", FEATURES).scratch_words >= lowering.scratch_words + 64 // 4


@pytest.mark.parametrize(
    ("done", "not_loaded"),
    [
        ("import native, backends.cpu", {"llvmlite"}),
        (
            "from backends import kernels; kernels.candidates()",
            {"native.compiled", "native.object_code", "native.relay_code"},
        ),
    ],
    ids=["importing", "listing"],
)
def test_whoever_builds_no_kernel_carries_no_compiler(done: str, not_loaded: set[str]) -> None:
    script = f"import sys; {done}; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert not not_loaded & set(ran.stdout.split())


def test_the_compiler_can_be_loaded_ahead() -> None:
    script = "import sys, native; native.load_compiler(); print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert {"native.compiled", "native.object_code"} <= set(ran.stdout.split())


def test_what_the_search_is_written_from_are_files_of_the_package() -> None:
    assert [path.name for path in native.DESCRIPTION] == ["sha256.py", "word.py", "symbolic.py"]
    assert all(path.is_file() for path in native.DESCRIPTION)
