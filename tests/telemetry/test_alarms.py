"""Alarms over hand-made snapshots: each is seen to fire and to resolve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Reading, State
from miner.telemetry.alarm_rules import MINER, RULES, Thresholds, rules
from miner.telemetry.alarms import LINGER_S, SUBJECTS_MAX, Alarm, Alarms, Rule, Severity, Stage
from miner.telemetry.snapshot import Basis, Consumption, Snapshot

from .snapshots import device, snapshot, source

POOL = source().name


def told(alarms: Alarms, views: Sequence[tuple[float, Snapshot]]) -> list[tuple[float, str, str, Stage]]:
    """What people hear, and when."""
    return [
        (at, alarm.rule, alarm.subject, alarm.stage)
        for at, view in views
        for alarm in alarms.handle(replace(view, now=at))
    ]


def history(well: Snapshot, ill: Snapshot, ill_from: int, ill_to: int, end: int) -> list[tuple[float, Snapshot]]:
    return [(float(at), ill if ill_from <= at < ill_to else well) for at in range(end)]


def of(name: str) -> Alarms:
    return Alarms([rule for rule in rules(Thresholds(budget_w=100.0)) if rule.name == name])


def drawing(*, wall: float | None = None, devices: float | None = None) -> Snapshot:
    """A miner that draws so much, by the wall's word and by its devices'."""
    known = {Basis.WALL: wall, Basis.DEVICES: devices}
    told = [Consumption(basis, watts, None, None) for basis, watts in known.items() if watts is not None]
    return snapshot(device(power_w=devices), consumption=tuple(told), sources=(source(blocks_accepted=0),))


@pytest.mark.parametrize(
    ("name", "subject", "ill", "fires", "resolves"),
    [
        ("device-sick", "cpu:0", snapshot(device(state=State.SICK)), 130, 659),
        ("device-dead", "cpu:0", snapshot(device(state=State.DEAD)), 105, 600),
        ("device-hot", "cpu:0", snapshot(device(temperatures_c=(Reading("die", 90.1),))), 110, 659),
        ("rate-low", "cpu:0", snapshot(device(rate_hps={60: 7.9e6}, expected_hps=10e6)), 400, 719),
        ("pool-down", POOL, snapshot(sources=(source(connected=False),)), 160, 629),
        ("pool-down", POOL, snapshot(sources=(source(failed="wrong password"),)), 160, 629),
        ("pool-down", POOL, snapshot(sources=(source(job_age_s=None),)), 160, 629),
        ("pool-behind", POOL, snapshot(sources=(source(behind=True),)), 100, 629),
        ("pool-no-credit", POOL, snapshot(sources=(source(distrusted="it answers nothing"),)), 100, 629),
        ("power-over-budget", MINER, drawing(devices=101.0), 130, 659),
        ("power-over-budget", MINER, drawing(wall=101.0, devices=80.0), 130, 659),
        ("meter-disagrees", MINER, drawing(wall=80.0, devices=90.0), 280, 719),
    ],
)
def test_it_fires_after_a_while_and_resolves_after_another(
    name: str, subject: str, ill: Snapshot, fires: int, resolves: int
) -> None:
    assert told(of(name), history(snapshot(), ill, 100, 600, 1000)) == [
        (fires, name, subject, Stage.ACTIVE),
        (resolves, name, subject, Stage.RESOLVED),
    ]


@pytest.mark.parametrize(
    "well",
    [
        snapshot(device(temperatures_c=(Reading("die", 90.0),))),
        snapshot(device(rate_hps={60: 8.1e6}, expected_hps=10e6)),
        snapshot(device(rate_hps={60: 0.0}, expected_hps=10e6, state=State.PAUSED)),
        snapshot(device(rate_hps={60: None}, expected_hps=10e6)),
        drawing(devices=100.0),
        drawing(wall=100.0, devices=109.0),
        snapshot(sources=()),
        snapshot(sources=(source(present=False, connected=False, active=False),)),
    ],
)
def test_what_is_just_right_or_unknown_is_no_alarm(well: Snapshot) -> None:
    calm = replace(well, sources=tuple(replace(x, blocks_accepted=0) for x in well.sources))
    alarms = Alarms(rules(Thresholds(budget_w=100.0, silence=None)))
    assert told(alarms, history(calm, calm, 0, 0, 1000)) == []


def test_refusals_count_over_the_last_quarter_of_an_hour() -> None:
    views, accepted, stale = [], 0, 0
    for at in range(4000):
        accepted, stale = accepted + (at % 5 != 0), stale + (at % 5 == 0 and 1000 <= at < 2000)
        views.append((float(at), snapshot(sources=(source(accepted=accepted, rejected={}, stale=stale),))))
    (fired, resolved) = told(of("rejects-high"), views)
    assert fired[1:] == ("rejects-high", POOL, Stage.ACTIVE) and 1200 < fired[0] < 1500
    assert resolved[1:] == ("rejects-high", POOL, Stage.RESOLVED) and 2500 < resolved[0] < 3000


def test_a_few_refusals_at_the_start_are_no_ratio() -> None:
    views = [(float(at), snapshot(sources=(source(accepted=0, rejected={"other": 19}, stale=0),))) for at in range(500)]
    assert told(of("rejects-high"), views) == []


def test_hashes_that_give_no_hits_are_an_alarm_of_their_device() -> None:
    views = []
    for at in range(3000):
        broken = min(at, 1000) + max(at - 2000, 0)  # it finds nothing for a thousand seconds
        devices = (device("a", hits=broken, hits_due=float(at)), device("b", hits=at, hits_due=float(at)))
        views.append((float(at), snapshot(*devices)))
    fired, resolved = told(of("hits-missing"), views)
    assert fired[1:] == ("hits-missing", "a", Stage.ACTIVE) and 1450 < fired[0] < 1650
    assert resolved[1:] == ("hits-missing", "a", Stage.RESOLVED) and 2200 < resolved[0] < 2700


@pytest.mark.parametrize(("found", "stale", "due"), [(0, 0, 30.0), (50, 0, 100.0), (10, 60, 100.0), (3, 0, 20.0)])
def test_bad_luck_and_hits_that_came_too_late_are_no_missing_hits(found: int, stale: int, due: float) -> None:
    before = snapshot(device(hits=0, hits_due=0.0))
    after = snapshot(device(hits=found, faults={"stale": stale}, hits_due=due))
    assert told(of("hits-missing"), history(before, after, 10, 600, 600)) == []


def test_silence_is_measured_against_luck() -> None:
    usual = snapshot(rate_hps={60: float(1 << 32)}, sources=(source(difficulty=60.0, accepted=5),))
    heard = replace(usual, sources=(source(difficulty=60.0, accepted=6),))
    views = [(0.0, usual), (600.0, usual), (601.0, usual), (602.0, heard)]
    assert told(of("no-share"), views) == [
        (601.0, "no-share", MINER, Stage.ACTIVE),
        (602.0, "no-share", MINER, Stage.RESOLVED),
    ]


def test_a_pool_that_comes_and_goes_without_taking_a_share_is_silent() -> None:
    up = snapshot(rate_hps={60: float(1 << 32)}, sources=(source(difficulty=60.0),))
    away = snapshot(rate_hps={60: float(1 << 32)}, sources=(source(difficulty=None, active=False),))
    views = [(float(at), up if at % 60 else away) for at in range(700)]
    (fired,) = told(of("no-share"), views)
    assert fired[1:] == ("no-share", MINER, Stage.ACTIVE) and 609 < fired[0] < 613


def test_time_without_hashing_is_not_silence() -> None:
    idle = snapshot(rate_hps={60: None})
    assert told(of("no-share"), [(0.0, idle), (9999.0, idle)]) == []


def test_every_block_is_told_but_worthless_ones() -> None:
    def blocks(count: int, *, worthless: bool = False) -> Snapshot:
        return snapshot(sources=(source(blocks_accepted=count),), worthless=worthless)

    views = [(0.0, blocks(0)), (1.0, blocks(1)), (2.0, blocks(1)), (3601.0, blocks(1))]
    assert told(of("block-found"), views) == [
        (1.0, "block-found", MINER, Stage.ACTIVE),
        (3601.0, "block-found", MINER, Stage.RESOLVED),
    ]
    assert told(of("block-found"), [(0.0, blocks(0)), (1.0, blocks(1, worthless=True))]) == []


def test_a_threshold_of_none_switches_its_rule_off() -> None:
    nothing = Thresholds(hot_c=None, rate_ratio=None, reject_ratio=None, silence=None, budget_w=None, meter_ratio=None)
    of_pools = {"pool-down", "pool-behind", "pool-no-credit"}
    assert {rule.name for rule in rules(nothing)} == of_pools | {
        "device-sick",
        "device-dead",
        "hits-missing",
        "block-found",
    }


def seen(subjects: Callable[[Snapshot], dict[str, str]]) -> Alarms:
    return Alarms([Rule("r", Severity.WARNING, subjects, after_s=3, clear_s=3)])


def test_trouble_of_a_moment_is_never_told() -> None:
    alarms = seen(lambda view: {"x": "ill"} if view.now % 4 < 3 else {})
    assert told(alarms, [(float(at), snapshot()) for at in range(100)]) == []


def test_trouble_that_flickers_is_told_once() -> None:
    alarms = seen(lambda view: {"x": "ill"} if view.now < 10 or view.now % 2 else {})
    views = [(float(at), snapshot()) for at in range(100)]
    assert told(alarms, views) == [(3.0, "r", "x", Stage.ACTIVE)]


def test_what_is_over_stays_to_be_seen_for_a_while() -> None:
    alarms = seen(lambda view: {"x": f"ill at {view.now:.0f}"} if view.now < 10 else {})
    told(alarms, [(float(at), snapshot()) for at in range(20)])
    assert alarms.standing() == (Alarm("r", Severity.WARNING, "x", Stage.RESOLVED, 12.0, "ill at 9"),)
    told(alarms, [(12.0 + LINGER_S, snapshot())])
    assert alarms.standing() == ()


def test_what_stands_is_in_order_of_what_needs_a_person_first() -> None:
    alarms = Alarms(
        [
            Rule("pending", Severity.CRITICAL, lambda _: {"x": ""}, after_s=99),
            Rule("warning", Severity.WARNING, lambda _: {"x": ""}),
            Rule("critical", Severity.CRITICAL, lambda _: {"x": ""}),
        ]
    )
    alarms.handle(snapshot())
    assert [alarm.rule for alarm in alarms.standing()] == ["critical", "warning", "pending"]


def test_a_driver_that_names_ever_new_subjects_is_not_followed_for_ever() -> None:
    alarms = seen(lambda view: {f"{view.now}-{number}": "" for number in range(100)})
    told(alarms, [(float(at), snapshot()) for at in range(200)])
    assert len(alarms.standing()) <= SUBJECTS_MAX


@given(st.lists(st.tuples(st.floats(0.1, 5), st.booleans()), max_size=60))
def test_people_hear_of_beginnings_and_ends_in_turn(moments: list[tuple[float, bool]]) -> None:
    ill: dict[str, str] = {}
    alarms, now, stages = seen(lambda _: dict(ill)), 0.0, []
    for step, wrong in moments:
        now += step
        ill.clear()
        if wrong:
            ill["x"] = "ill"
        stages += [alarm.stage for alarm in alarms.handle(replace(snapshot(), now=now))]
    assert stages == [Stage.ACTIVE, Stage.RESOLVED] * (len(stages) // 2) + [Stage.ACTIVE] * (len(stages) % 2)


def disagree(view: Snapshot, thresholds: Thresholds) -> bool:
    (rule,) = (rule for rule in rules(thresholds) if rule.name == "meter-disagrees")
    return bool(rule.look(view))


def test_a_wall_that_gives_more_than_the_devices_draw_is_no_news_until_the_rest_is_known() -> None:
    view = drawing(wall=150.0, devices=90.0)
    assert not disagree(view, Thresholds())
    assert not disagree(view, Thresholds(overhead_w=50.0))
    assert disagree(view, Thresholds(overhead_w=40.0))


def test_nothing_is_compared_while_a_device_or_the_meter_is_not_known() -> None:
    assert not disagree(drawing(devices=90.0), Thresholds(overhead_w=0.0))
    silent = drawing(wall=500.0, devices=90.0)
    silent = replace(silent, devices=(*silent.devices, device("b")))
    assert not disagree(silent, Thresholds(overhead_w=40.0))


def test_a_device_that_rests_after_a_cut_off_is_told_of_and_one_that_was_told_to_pause_is_not() -> None:
    (rule,) = (rule for rule in rules(Thresholds()) if rule.name == "device-sick")
    rests, told_to = device("a", state=State.PAUSED, fault="turned off for safety"), device("b", state=State.PAUSED)
    assert rule.look(snapshot(rests, told_to)) == {"a": "turned off for safety"}


def test_what_nobody_measured_is_marked_in_the_words_of_an_alarm() -> None:
    modelled = replace(
        snapshot(), consumption=(Consumption(Basis.WALL, 80.0, None, None), Consumption(Basis.MODEL, 90.0, None, None))
    )
    thresholds = Thresholds(budget_w=50.0)
    found = {rule.name: rule.look(modelled) for rule in rules(thresholds)}
    assert "90 W (model), and the wall gives 80 W" in found["meter-disagrees"][MINER]
    alone = replace(modelled, consumption=modelled.consumption[1:])
    found = {rule.name: rule.look(alone) for rule in rules(thresholds)}
    assert found["power-over-budget"][MINER].endswith("(model)")


def test_the_wall_is_heard_over_the_devices_about_the_budget() -> None:
    (rule,) = (rule for rule in rules(Thresholds(budget_w=100.0)) if rule.name == "power-over-budget")
    assert not rule.look(drawing(wall=99.0, devices=150.0))


def test_every_rule_can_be_switched_off_by_its_name() -> None:
    everything = Thresholds(budget_w=100.0)
    assert tuple(rule.name for rule in rules(everything)) == RULES
    for name in RULES:
        assert name not in {rule.name for rule in rules(everything, off=[name])}
