from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miner.power.digest import Login
from miner.power.errors import Nonsense, PowerError
from miner.power.reading import Counter, Sample
from miner.power.shelly import Shelly
from miner.power.tasmota import Tasmota
from miner.power.web import Web

from .conftest import MeterServer

Serve = Callable[..., MeterServer]
GEN1 = {"type": "SHPLG-S", "mac": "AABBCCDDEEFF", "auth": True, "fw": "20230913", "num_outputs": 1, "num_meters": 1}
GEN2 = {"id": "shellyplusplugs-aabbcc", "model": "SNPL-00112EU", "gen": 2, "app": "PlusPlugS", "auth_en": True}
PLUG_S = {"meters": [{"power": 62.35, "overpower": 0, "is_valid": True, "counters": [1, 2, 3], "total": 23105}]}
EM3 = {
    "emeters": [
        {"power": 100.0, "pf": 0.9, "is_valid": True, "total": 1000.0},
        {"power": 200.5, "pf": 0.9, "is_valid": True, "total": 2000.0},
        {"power": 300.0, "pf": 0.9, "is_valid": False, "total": 3000.0},
    ]
}
PLUS_PLUG = {
    "ble": {},
    "switch:0": {
        "id": 0,
        "output": True,
        "apower": 8.9,
        "voltage": 237.5,
        "aenergy": {"total": 6.532, "by_minute": []},
    },
    "sys": {"uptime": 5},
}
PRO_3EM = {
    "em:0": {"id": 0, "a_act_power": 1.0, "total_act_power": 2413.825},
    "emdata:0": {"id": 0, "total_act": 100.25},
}
PRO_EM = {
    "em1:0": {"act_power": 10.5},
    "em1:1": {"act_power": 20.5},
    "em1data:0": {"total_act_energy": 1.0},
    "em1data:1": {"total_act_energy": 2.0},
}


def shelly(server: MeterServer, channel: int | None = None, login: Login | None = None) -> Shelly:
    return Shelly(Web("desk", "127.0.0.1", server.port, login), channel, clock=lambda: 7.0)


def first(status: Any) -> dict[str, Any]:
    return {"/shelly": GEN1, "/status": status}


def later(status: Any) -> dict[str, Any]:
    return {"/shelly": GEN2, "/rpc/Shelly.GetStatus": status}


@pytest.mark.parametrize(
    ("pages", "channel", "watts", "joules"),
    [
        (first(PLUG_S), None, 62.35, 23105 * 60.0),
        (first(EM3), None, 300.5, 3000 * 3600.0),
        (first(EM3), 1, 200.5, 2000 * 3600.0),
        (later(PLUS_PLUG), None, 8.9, 6.532 * 3600),
        (later(PRO_3EM), 0, 2413.825, 100.25 * 3600),
        (later(PRO_EM), None, 31.0, 3 * 3600.0),
        (later(PRO_EM), 1, 20.5, 2 * 3600.0),
    ],
    ids=["plug-s", "3em", "3em-phase", "plus-plug", "pro-3em", "pro-em", "pro-em-second"],
)
def test_watts_and_joules_of_every_generation(
    serve: Serve, pages: dict[str, Any], channel: int | None, watts: float, joules: float
) -> None:
    sample = shelly(serve(pages), channel).read(20.0)
    assert sample.at == 7.0
    assert sample.watts == pytest.approx(watts)
    assert sum(one.joules for one in sample.counters) == pytest.approx(joules)


@pytest.mark.parametrize(("pages", "kind"), [(first(PLUG_S), "basic"), (later(PLUS_PLUG), "digest")])
def test_with_a_password_it_is_read_as_admin(serve: Serve, pages: dict[str, Any], kind: str) -> None:
    meter = shelly(serve(pages, login=(kind, "admin", "hunter22")), login=Login("admin", "hunter22"))
    assert meter.read(20.0).watts == meter.read(20.0).watts is not None


def test_what_it_is_is_asked_once(serve: Serve) -> None:
    server = serve(first(PLUG_S))
    meter = shelly(server)
    meter.read(20.0)
    meter.read(20.0)
    assert server.asked == ["/shelly", "/status", "/status"]


def test_without_a_counter_watts_alone_are_told(serve: Serve) -> None:
    status = {"switch:0": {"apower": 5.0}, "switch:1": {"apower": 6.0, "aenergy": {"total": 1.0}}}
    assert shelly(serve(later(status))).read(20.0) == Sample(7.0, 11.0)


@pytest.mark.parametrize(
    ("pages", "sentence"),
    [
        ({"/shelly": {"product": "toaster"}}, "is no Shelly"),
        ({"/shelly": []}, "is no Shelly"),
        (first([]), "tells no status"),
        (first({}), "has no meter"),
        (first({"meters": [None, 3]}), "has no meter"),
        (later({"switch:0": {"output": True}}), "has no meter"),
        (later({"switch:0": {"apower": None}}), "where its power should be"),
        (later({"switch:0": {"apower": True}}), "where its power should be"),
        (later({"switch:0": {"apower": "5"}}), "where its power should be"),
        (later({"switch:0": {"apower": 1e9}}), "where its power should be"),
        (later({"switch:0": {"apower": -120.5}}), "the other way"),
        (later({"switch:0": {"apower": 5, "aenergy": {"total": -1}}}), "where its energy should be"),
        (later({"switch:0": {"apower": 10**400}}), "where its power should be"),
        (later(json.dumps({"switch:0": {"apower": float("nan")}}).encode()), "where its power should be"),
    ],
)
def test_what_no_meter_means_is_a_sentence(serve: Serve, pages: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Nonsense, match=sentence):
        shelly(serve(pages)).read(20.0)


def test_a_channel_that_it_has_not_is_named(serve: Serve) -> None:
    with pytest.raises(Nonsense, match="channel 3"):
        shelly(serve(later(PRO_EM)), 3).read(20.0)


ENERGY = {"Total": 0.042, "Power": 22, "ApparentPower": 34, "Voltage": 232, "Current": 0.145}
PATH = "/cm?cmnd=Status+8"


def tasmota(server: MeterServer, channel: int | None = None, login: Login | None = None) -> Tasmota:
    return Tasmota(Web("desk", "127.0.0.1", server.port, None), channel, login, clock=lambda: 7.0)


def told(energy: Any) -> dict[str, Any]:
    return {PATH: {"StatusSNS": {"Time": "2026-11-22T06:00:00", "ENERGY": energy}}}


def test_tasmota_tells_watts_and_kilowatt_hours(serve: Serve) -> None:
    assert tasmota(serve(told(ENERGY))).read(20.0) == Sample(
        7.0, 22.0, (Counter(pytest.approx(0.042 * 3.6e6), step_j=3600.0),)
    )


def test_tasmota_with_channels_is_read_as_a_whole_or_in_part(serve: Serve) -> None:
    server = serve(told({"Total": [1.0, 2.0], "Power": [10, 20]}))
    assert tasmota(server).read(20.0).watts == 30
    assert tasmota(server, 1).read(20.0).counters == (Counter(2 * 3.6e6, step_j=3600.0),)
    shared = serve(told({"Total": 3.0, "Power": [10, 20]}))
    assert tasmota(shared, 1).read(20.0) == Sample(7.0, 20.0)


def test_tasmotas_password_stands_in_the_query_and_nowhere_else(serve: Serve) -> None:
    server = serve({"/cm?user=admin&password=hunter%2622&cmnd=Status+8": told(ENERGY)[PATH]})
    assert tasmota(server, login=Login("admin", "hunter&22")).read(20.0).watts == 22
    refused = serve({PATH: {"WARNING": "Need user=<username>&password=<password>"}})
    with pytest.raises(PowerError, match="password_file"):
        tasmota(refused).read(20.0)


@pytest.mark.parametrize("answer", [[], {}, {"StatusSNS": {"Time": 1}}, {"StatusSNS": {"ENERGY": {"Power": []}}}])
def test_a_tasmota_that_measures_nothing_is_said_to(serve: Serve, answer: Any) -> None:
    with pytest.raises(Nonsense):
        tasmota(serve({PATH: answer}), 0).read(20.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["meters", "emeters", "power", "total", "is_valid", "em:0", "emdata:0", "apower", "aenergy"]
            )
            | st.sampled_from(["total_act_power", "total_act", "switch:0", "StatusSNS", "ENERGY", "Power", "Total"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


class Oracle(Web):
    """A web that answers anything."""

    def __init__(self, answers: list[Any]) -> None:
        super().__init__("desk", "127.0.0.1", 1, None)
        self._answers = answers

    def get(self, path: str, deadline: float) -> Any:
        return self._answers.pop(0)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=150)
@given(about=st.sampled_from([GEN1, GEN2]), status=JSON)
def test_whatever_json_comes_there_is_a_sample_or_a_sentence(about: Any, status: Any) -> None:
    for read in (
        lambda: Shelly(Oracle([about, status]), None).read(1.0),
        lambda: Tasmota(Oracle([status]), None, None).read(1.0),
    ):
        with contextlib.suppress(PowerError):
            watts = read().watts
            assert watts is not None and watts >= 0
