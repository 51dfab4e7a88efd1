from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from miner.config import Configuration
from miner.metrics_guard import guard_of
from miner.telemetry.guard import TelemetryError


def protected(folder: Path, mode: int = 0o600) -> Configuration:
    (folder / "password").write_text("s3cret\n")
    (folder / "password").chmod(mode)
    return Configuration.model_validate({"metrics_user": "p", "metrics_password_file": folder / "password"})


def test_nothing_said_guards_nothing() -> None:
    guard = guard_of(Configuration())
    assert (guard.login, guard.tls) == (None, None)


def test_the_password_is_the_files_line(tmp_path: Path) -> None:
    login = guard_of(protected(tmp_path)).login
    assert login is not None
    assert (login.user, login.password) == ("p", "s3cret")


def test_a_password_file_that_is_not_there_is_a_sentence_that_names_the_key(tmp_path: Path) -> None:
    configuration = protected(tmp_path)
    (tmp_path / "password").unlink()
    with pytest.raises(TelemetryError, match=r"^metrics_password_file: .*password: there is no such file$"):
        guard_of(configuration)


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o644, 1)])
def test_a_password_that_everybody_can_read_is_warned_of_and_not_told(tmp_path: Path, mode: int, warnings: int) -> None:
    with capture_logs() as logs:
        guard_of(protected(tmp_path, mode))
    assert [entry["event"] for entry in logs] == ["secret_open_to_all"] * warnings
    assert "s3cret" not in repr(logs)
