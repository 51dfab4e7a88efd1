"""The shipped role, read by Ansible itself, and the configuration that it writes, read by the miner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from miner.config import load
from tests.real import pypi
from tests.real.conftest import fetch

ANSIBLE = Path(__file__).parents[2] / "configs/ansible"
ROLE = ANSIBLE / "roles/angara_miner"
VERSION = "2.19.14"


@pytest.fixture(scope="module")
def packages() -> Path:
    return fetch(lambda: pypi.installed("ansible-core", VERSION))


def playbook(packages: Path, folder: Path, *arguments: str) -> str:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "PYTHONPATH": str(packages), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        [sys.executable, "-m", "ansible", "playbook", "-i", "localhost,", *arguments],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_ansible_finds_nothing_wrong_with_the_play(packages: Path, tmp_path: Path) -> None:
    playbook(packages, tmp_path, "--syntax-check", str(ANSIBLE / "site.yml"))
    assert "angara_miner : The program" in playbook(packages, tmp_path, "--list-tasks", str(ANSIBLE / "site.yml"))


def test_the_miner_understands_the_configuration_that_the_role_writes(packages: Path, tmp_path: Path) -> None:
    play: list[dict[str, Any]] = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars_files": [str(ROLE / "defaults/main.yml")],
            "vars": {"ansible_python_interpreter": sys.executable},
            "tasks": [
                {
                    "ansible.builtin.template": {
                        "src": str(ROLE / "templates/miner.toml.j2"),
                        "dest": str(tmp_path / "miner.toml"),
                        "mode": "0600",
                    }
                }
            ],
        }
    ]
    (tmp_path / "play.yml").write_text(json.dumps(play))  # JSON is YAML
    pools = [{"url": "stratum+tls://pool.example:3334", "user": 'a "b" {host}', "require_payout": False, "quota": 2.5}]
    more = {"angara_pools": pools, "angara_options": {"network": "mainnet", "strategy": "quota"}}
    playbook(packages, tmp_path, "-e", json.dumps(more), str(tmp_path / "play.yml"))
    loaded = load({}, {}, tmp_path)
    (pool,) = loaded.configuration.pool
    assert (str(pool.url), pool.user, pool.quota) == ("stratum+tls://pool.example:3334", 'a "b" {host}', 2.5)
    assert str(loaded.configuration.metrics) == "127.0.0.1:9332"
    assert loaded.configuration.strategy == "quota"
