"""Tuning: what is tried and in which order, what is remembered, and what a crashing compiler costs."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from backends.opencl.errors import OpenclError
from backends.opencl.runtime import Identity
from backends.opencl.worker import tune
from backends.opencl.worker.pace import Pace
from backends.opencl.worker.program import open_folder
from backends.opencl.worker.source import PAIRS, Form
from backends.opencl.worker.tune import Trial, Tuned, recall, settle, starter, untuned

CARD = Identity(
    platform="ACME OpenCL",
    platform_version="OpenCL 3.0",
    index=0,
    name="Rocket 9000",
    vendor="ACME",
    driver="1.2.3",
    type="gpu",
    pci="0000:01:00.0",
    units=64,
    clock_hz=2e9,
    vector_width=1,
    work_group=256,
)
PROCESSOR = replace(CARD, type="cpu", vector_width=16, work_group=4096)


def rated(rates: Callable[[Form], float | None], tried: list[Form]) -> Callable[[Identity, Form, Path | None], Trial]:
    def attempt(identity: Identity, form: Form, folder: Path | None) -> Trial:
        tried.append(form)
        rate = rates(form)
        return Trial(form=form, rate_hps=rate) if rate else Trial(form=form, refused="crashed with SIGSEGV")

    return attempt


def likes(best: Form) -> Callable[[Form], float]:
    """A device that is faster the nearer a form comes to this one."""

    def rate(form: Form) -> float:
        return 1e6 + 1e5 * sum(getattr(form, name) == getattr(best, name) for name in Form.__slots__)

    return rate


@pytest.mark.parametrize("identity", [CARD, PROCESSOR], ids=["card", "processor"])
@pytest.mark.parametrize(
    "best",
    [
        Form(4, 4, "shifts", "function", 128, 16),
        Form(1, 1, "function", "logic", 64, 1),
        Form(4, 2, "shifts", "logic", 256, 4),
    ],
    ids=lambda form: form.name,
)
def test_the_best_form_is_found_in_a_few_trials(identity: Identity, best: Form) -> None:
    tried: list[Form] = []
    tuned = settle(identity, None, attempt=rated(likes(best), tried))
    assert tuned.several == best
    assert tuned.single.midstates == 1
    assert len(tried) == len(set(tried)) <= 16


def test_noise_does_not_make_it_go_round_in_circles() -> None:
    tried: list[Form] = []
    noise = random.Random(1)
    settle(PROCESSOR, None, attempt=rated(lambda _: noise.uniform(1e6, 3e6), tried))
    assert len(tried) == len(set(tried)) <= 16


def test_forms_that_crash_are_passed_over() -> None:
    tuned = settle(PROCESSOR, None, attempt=rated(lambda form: None if form.width > 4 else 1e6 * form.width, []))
    assert tuned.single.width == 4
    assert any(trial.refused for trial in tuned.trials)


def test_a_device_on_which_nothing_works_is_given_its_usual_form_and_the_reasons() -> None:
    tuned = settle(CARD, None, attempt=rated(lambda _: None, []))
    assert tuned.forms == untuned(CARD).forms
    assert {trial.refused for trial in tuned.trials} == {"crashed with SIGSEGV"}


def test_a_processor_begins_with_the_widest_vectors_that_no_runtime_crashes_on() -> None:
    assert starter(PROCESSOR).width == 8
    assert starter(replace(PROCESSOR, vector_width=4)).width == 4
    assert starter(CARD).width == 1


def test_what_was_measured_is_remembered_until_it_is_asked_for_again(tmp_path: Path) -> None:
    tried: list[Form] = []
    attempt = rated(likes(Form(2, 2)), tried)
    first = settle(CARD, tmp_path, attempt=attempt)
    trials = len(tried)
    assert settle(CARD, tmp_path, attempt=attempt) == first
    assert len(tried) == trials
    settle(CARD, tmp_path, again=True, attempt=attempt)
    assert len(tried) == 2 * trials


@pytest.mark.parametrize("damage", [b"", b"[{", b"[]", b'[{"form": {"width": 3}}]', b"\xff" * 99])
def test_a_damaged_memory_is_measured_anew(tmp_path: Path, damage: bytes) -> None:
    first = settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), []))
    (tmp_path / "tuned.json").write_bytes(damage)
    assert recall(CARD, tmp_path) is None
    assert settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), [])) == first == recall(CARD, tmp_path)


@pytest.mark.parametrize("damage", [b"[{", b'{"version": 9, "content": []}'])
def test_why_a_memory_cannot_be_used_is_told(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "tuned.json").write_bytes(damage)
    told: list[str] = []
    assert recall(CARD, tmp_path, told.append) is None
    settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), []), tell=told.append)
    assert told[0] == told[1] and "what was measured cannot be used: " in told[0] and "tuned.json" in told[0]
    kept = (tmp_path / "tuned.json").read_bytes()
    assert (kept == damage) == (b"version" in damage)


def test_a_memory_from_before_formats_had_versions_is_read(tmp_path: Path) -> None:
    first = settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), []))
    content = json.loads((tmp_path / "tuned.json").read_bytes())["content"]
    (tmp_path / "tuned.json").write_text(json.dumps(content))
    assert recall(CARD, tmp_path) == first


def test_a_tuning_that_was_cut_short_goes_on_where_it_was(tmp_path: Path) -> None:
    whole: list[Form] = []
    expected = settle(CARD, None, attempt=rated(likes(Form(2, 2)), whole))
    tried: list[Form] = []
    rate = rated(likes(Form(2, 2)), tried)

    def attempt(identity: Identity, form: Form, folder: Path | None) -> Trial:
        trial = rate(identity, form, folder)
        return trial if len(tried) <= 5 else ended(identity, form, folder)

    with pytest.raises(KeyboardInterrupt):
        settle(CARD, tmp_path, attempt=attempt)
    assert recall(CARD, tmp_path) is None  # not to be mined with yet
    told: list[str] = []
    assert settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), tried), tell=told.append) == expected
    assert tried == [*whole[:6], *whole[5:]]
    assert f"number 6, {whole[5].name}" in told[0] and "at best so far" in told[0]


def test_asked_to_measure_again_it_forgets_what_it_measured_before_the_first_trial(tmp_path: Path) -> None:
    settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), []))
    with pytest.raises(KeyboardInterrupt):
        settle(CARD, tmp_path, again=True, attempt=ended)
    tried: list[Form] = []
    settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), tried))
    assert len(tried) > 5


def ended(identity: Identity, form: Form, folder: Path | None) -> Trial:
    raise KeyboardInterrupt


def test_when_no_form_works_all_are_tried_again_at_the_next_start(tmp_path: Path) -> None:
    tried: list[Form] = []
    for _ in range(2):
        settle(CARD, tmp_path, attempt=rated(lambda _: None, tried))
    assert len(tried) == 2 * len(set(tried))


def test_a_full_disk_keeps_nobody_from_tuning(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "tuned.json").mkdir()  # cannot be written over
    assert settle(CARD, tmp_path, attempt=rated(likes(Form(2, 2)), []), tell=told.append).several == Form(2, 2)
    assert any("cannot be kept" in text for text in told)


def test_programs_of_forms_that_lost_are_not_kept(tmp_path: Path) -> None:
    def attempt(identity: Identity, form: Form, folder: Path | None) -> Trial:
        (tmp_path / f"{form.name}.bin").touch()
        return Trial(form=form, rate_hps=likes(Form(2, 2))(form))

    tuned = settle(CARD, tmp_path, attempt=attempt)
    assert {file.stem for file in tmp_path.glob("*.bin")} == {form.name for form in tuned.forms}


@pytest.mark.parametrize("change", ["platform", "platform_version", "name", "driver"])
def test_another_device_or_driver_has_a_folder_of_its_own(tmp_path: Path, change: str) -> None:
    here, why_not = open_folder(tmp_path, CARD)
    there, _ = open_folder(tmp_path, replace(CARD, **{change: "another"}))
    assert here and there and here != there and why_not is None
    assert open_folder(tmp_path, replace(CARD, index=1)) == (here, None)  # its twin


def test_programs_are_not_loaded_from_where_others_can_write(tmp_path: Path) -> None:
    folder, _ = open_folder(tmp_path, CARD)
    assert folder
    folder.chmod(0o777)
    folder, why_not = open_folder(tmp_path, CARD)
    assert folder is None and why_not and "chmod 700" in why_not


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("sys.exit('no such register')", "failed: no such register"),
        ("print('a driver was here')", "failed: no reason given"),
        ("time.sleep(60)", "took more than 1 s"),
    ],
)
def test_a_trial_that_ends_badly_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str, reason: str
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\nsys.stdin.read()\n{script}\n")
    stand_in.chmod(0o700)
    monkeypatch.setattr(tune.sys, "executable", str(stand_in))
    monkeypatch.setattr(tune, "PATIENCE_S", 1.0 if "sleep" in script else 60.0)
    assert tune.try_elsewhere(CARD, Form(), None) == Trial(form=Form(), refused=reason)


def test_a_trial_that_is_ended_with_the_machine_says_nothing_of_its_form(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in = tmp_path / "python"
    stand_in.write_text("#!/bin/sh\nkill -TERM $$\n")
    stand_in.chmod(0o700)
    monkeypatch.setattr(tune.sys, "executable", str(stand_in))
    with pytest.raises(OpenclError, match="ended by SIGTERM"):
        tune.try_elsewhere(CARD, Form(), None)


def test_a_trial_of_a_device_that_is_not_there_says_so() -> None:
    trial = tune.try_elsewhere(CARD, Form(), None)
    assert trial.refused is not None and "Rocket 9000" in trial.refused


def test_both_forms_are_named_once_when_they_are_one() -> None:
    assert Tuned(Form(), Form()).forms == (Form(),)


def test_launches_come_to_the_wanted_time_and_follow_the_device() -> None:
    pace = Pace(0.05, 256)
    for rate in (1e9, 1e6):
        for _ in range(20):
            pace.took(pace.nonces, pace.nonces / rate)
        assert pace.nonces == pytest.approx(0.05 * rate, rel=0.01)
        assert pace.nonces % 256 == 0


@pytest.mark.parametrize("seconds", [None, 0.0, -1.0])
def test_a_clock_that_stands_still_teaches_nothing(seconds: float | None) -> None:
    pace = Pace(0.05, 256, 1024)
    pace.took(1024, seconds)
    assert pace.nonces == 1024 and pace.expected_s(1024) == 0


def test_one_launch_that_hung_shortens_the_next_by_a_step_only() -> None:
    pace = Pace(0.05, 256, 1 << 20)
    pace.took(1 << 20, 100.0)
    assert pace.nonces == 1 << 18
    assert pace.expected_s(1 << 18) <= 0.05


def test_an_easy_target_makes_launches_short_enough_for_their_hits() -> None:
    pace = Pace(0.05, 256, 1 << 28)
    assert pace.for_target(1, 1 << 200) == 1 << 28
    assert pace.for_target(4, 1 << 240) * 4 / (1 << 16) <= PAIRS / 2
    assert pace.for_target(1, (1 << 256) - 1) == 256
