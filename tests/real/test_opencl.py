"""The OpenCL search gives hashlib's answers through a second compiler, in forms that pip's takes minutes for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from backends.opencl.runtime import Identity
from backends.opencl.worker.source import Form
from backends.opencl.worker.tune import try_elsewhere
from tests.real import pocl
from tests.real.cache import REPOSITORY, UnavailableError

pytestmark = pytest.mark.timeout(400)  # the first test fetches 60 MB

_LIST = """
from pydantic import TypeAdapter
from backends.opencl.runtime import Identity, identities
print(TypeAdapter(list[Identity]).dump_json(identities()).decode())
"""


@pytest.fixture
def processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Identity:
    try:
        environment = pocl.environment(tmp_path)
    except UnavailableError as error:
        pytest.skip(str(error))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-c", _LIST]
    listed = subprocess.run(command, capture_output=True, check=True, cwd=REPOSITORY, timeout=60).stdout
    found = TypeAdapter(list[Identity]).validate_json(listed.splitlines()[-1])
    return next(x for x in found if "debian" in x.driver)


@pytest.mark.parametrize(
    "form",
    [
        Form(1, 1, "shifts", "logic", group=1),
        Form(16, 1, "shifts", "logic"),
        Form(16, 2, "function", "function"),
        Form(8, 4, "shifts", "function", batches=4),
    ],
    ids=lambda form: form.name,
)
def test_wide_vectors_and_several_versions_give_the_known_answers(
    processor: Identity, form: Form, tmp_path: Path
) -> None:
    trial = try_elsewhere(processor, form, tmp_path)
    assert trial.refused is None
    assert trial.rate_hps is not None and trial.rate_hps > 1e5
