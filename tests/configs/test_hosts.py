"""What carries the miner to many hosts starts it as it is, and without privileges."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from miner.commands.arguments import parse
from miner.config import load, options

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
ROLE = CONFIGS / "ansible/roles/angara_miner"
CONTAINERFILE = (CONFIGS / "container/Containerfile").read_text()


def instructions(name: str) -> list[list[str]]:
    joined = CONTAINERFILE.replace("\\\n", " ")
    return [shlex.split(line)[1:] for line in joined.splitlines() if line.startswith(name + " ")]


def kubernetes() -> dict[str, Any]:
    return {item["kind"]: item for item in yaml.safe_load_all((CONFIGS / "kubernetes/miner.yml").read_text())}


def pod() -> Any:
    return kubernetes()["DaemonSet"]["spec"]["template"]["spec"]


def test_the_container_is_built_of_what_there_is_and_runs_the_miner_as_nobody_in_particular() -> None:
    for *sources, _ in (words for words in instructions("COPY") if not words[0].startswith("--from")):
        assert all((ROOT / source).exists() for source in sources)
    packages = re.findall(r'"([a-z]+)\*"', (ROOT / "pyproject.toml").read_text())
    assert set(packages) <= {words[0] for words in instructions("COPY")}
    ((user,),) = instructions("USER")
    assert all(int(number) > 0 for number in user.split(":"))
    assert re.search(r'^ENTRYPOINT \["miner"\]$', CONTAINERFILE, re.MULTILINE)
    known = {option.variable for option in options()}
    assert set(re.findall(r"MINER_\w+", CONTAINERFILE)) <= known


def test_pods_have_no_privileges_and_write_nowhere_but_in_volumes() -> None:
    (container,) = pod()["containers"]
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert pod()["enableServiceLinks"] is False
    assert f"{pod()['securityContext']['runAsUser']}:" in CONTAINERFILE
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod()["volumes"]}
    # The kubelet makes an emptyDir with mode 0777, or 2777 for a group: the miner makes a folder of its own in there.
    (state,) = (Path(entry["value"]) for entry in container["env"] if entry["name"] == "MINER_STATE_DIR")
    assert str(state.parent) in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_pods_are_looked_at_where_their_miner_answers(tmp_path: Path) -> None:
    (container,) = pod()["containers"]
    text = kubernetes()["ConfigMap"]["data"]["miner.toml"].replace("/run/secrets/angara", str(tmp_path))
    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "password").chmod(0o600)
    (tmp_path / "miner.toml").write_text(text)
    arguments = parse(container["args"])
    assert (arguments.command, arguments.config) == ("mine", "/etc/angara/miner.toml")
    user = next(entry for entry in container["env"] if entry["name"] == "MINER_USER")
    loaded = load({}, {"MINER_USER": user["value"].replace("$(NODE)", "node-7")}, tmp_path)
    assert loaded.configuration.metrics is not None
    assert loaded.configuration.metrics.port == container["ports"][0]["containerPort"]
    assert loaded.configuration.pool[0].user == "account.node-7"
    probes = [container[name]["httpGet"] for name in ("startupProbe", "livenessProbe")]
    assert probes == [{"path": "/metrics", "port": container["ports"][0]["name"]}] * 2


def test_the_daemon_set_finds_its_pods_and_its_configuration() -> None:
    spec = kubernetes()["DaemonSet"]["spec"]
    assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    volumes = {volume["name"]: volume for volume in pod()["volumes"]}
    assert volumes["configuration"]["configMap"]["name"] == kubernetes()["ConfigMap"]["metadata"]["name"]


@pytest.mark.parametrize("path", sorted(ROLE.rglob("*.yml")), ids=lambda path: path.parent.name)
def test_every_file_of_the_role_is_a_list_or_a_table(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict if path.parent.name == "defaults" else list)


def test_the_role_copies_what_is_shipped_and_notifies_handlers_that_there_are() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    handlers = {handler["name"] for handler in yaml.safe_load((ROLE / "handlers/main.yml").read_text())}
    assert {task["notify"] for task in tasks if "notify" in task} == handlers
    for name in re.findall(r"role_path }}/\.\./\.\./\.\./([\w.-]+)", (ROLE / "tasks/main.yml").read_text()):
        assert (CONFIGS / name).is_file()
    unit = (CONFIGS / "angara-miner.service").read_text()
    (program,) = (task["ansible.builtin.pip"] for task in tasks if "ansible.builtin.pip" in task)
    assert f"ExecStart={program['virtualenv']}/bin/miner" in unit
    assert "User=angara" in unit


def test_secrets_of_the_role_are_not_logged() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/main.yml").read_text())
    secret = [task for task in tasks if "angara_pool_password }}" in str(task)]
    assert secret
    assert all(task["no_log"] for task in secret)
