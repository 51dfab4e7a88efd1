"""Messages in, samples out, over a client that only looks like paho's."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from miner.power.digest import Login
from miner.power.errors import Nonsense, Unreadable
from miner.power.mqtt import Broker, Mqtt, Value
from miner.power.reading import ANSWER_MAX, Counter, Sample


class Client:
    """What the meter uses of paho's client; `reason` is what the broker answers to a connection."""

    made: list[Client]

    def __init__(self, *_: Any, protocol: Any, **__: Any) -> None:
        self.protocol = protocol
        self.calls: list[tuple[Any, ...]] = []
        self.on_connect: Any = None
        self.on_message: Any = None
        self.connected = False
        type(self).made.append(self)

    def username_pw_set(self, user: str, password: str) -> None:
        self.calls.append(("login", user, password))

    def tls_set(self, ca_certs: str | None) -> None:
        self.calls.append(("tls", ca_certs))

    def reconnect_delay_set(self, least: int, most: int) -> None:
        assert least < most

    def connect_async(self, host: str, port: int, keepalive: int, **more: Any) -> None:
        self.calls.append(("connect", host, port, more))

    def loop_start(self) -> None:
        self.calls.append(("start",))

    def subscribe(self, topic: str) -> None:
        self.calls.append(("subscribe", topic))

    def is_connected(self) -> bool:
        return self.connected

    def disconnect(self) -> None:
        self.connected = False
        self.calls.append(("disconnect",))

    def loop_stop(self) -> None:
        self.calls.append(("stop",))

    def accepts(self) -> None:
        self.connected = True
        self.on_connect(self, None, None, SimpleNamespace(is_failure=False, value=0), None)

    def refuses(self, value: int) -> None:
        reason = SimpleNamespace(is_failure=True, value=value)
        self.on_connect(self, None, None, reason, None)

    def publishes(self, payload: bytes, *, retain: bool = False) -> None:
        self.on_message(self, None, SimpleNamespace(payload=payload, retain=retain))


@pytest.fixture
def clients() -> list[Client]:
    Client.made = []
    return Client.made


def meter(power: Value | None = None, energy: Value | None = None, **broker: Any) -> Mqtt:
    where = Broker("broker.example", 1883, "tele/shelf/SENSOR", **broker)
    return Mqtt("shelf", where, power=power, energy=energy, clock=lambda: 7.0, make_client=Client)


def opened(reading: Mqtt, clients: list[Client]) -> Client:
    with pytest.raises(Unreadable):
        reading.read(0.0)
    reading.close()
    with pytest.raises(Unreadable):
        reading.read(0.0)
    reading._client = reading._connect()  # type: ignore[assignment]
    clients[-1].accepts()
    return clients[-1]


SAID = json.dumps({"ENERGY": {"Power": 62.5, "Total": 2.0}, "phases": [{"w": 1}, {"w": 2.5}]}).encode()


def test_numbers_are_found_in_json_at_their_path(clients: list[Client]) -> None:
    reading = meter(Value("ENERGY.Power"), Value("ENERGY.Total", 3.6e6))
    client = opened(reading, clients)
    assert ("subscribe", "tele/shelf/SENSOR") in client.calls
    client.publishes(SAID)
    assert reading.read(0.0) == Sample(7.0, 62.5, (Counter(7.2e6, step_j=3.6e6),))


@pytest.mark.parametrize(
    ("path", "scale", "payload", "watts"), [("phases.1.w", 1000.0, SAID, 2500.0), ("", 1.0, b" 61.5\n", 61.5)]
)
def test_a_path_goes_through_lists_and_may_be_empty(
    clients: list[Client], path: str, scale: float, payload: bytes, watts: float
) -> None:
    reading = meter(Value(path, scale))
    opened(reading, clients).publishes(payload)
    assert reading.read(0.0).watts == watts


def test_the_newest_message_is_read_once(clients: list[Client]) -> None:
    reading = meter(Value(""))
    client = opened(reading, clients)
    client.publishes(b"1")
    client.publishes(b"2")
    assert reading.read(0.0).watts == 2
    with pytest.raises(Unreadable, match="publishes nothing to tele/shelf/SENSOR"):
        reading.read(0.0)


def test_a_message_that_comes_later_is_waited_for(clients: list[Client]) -> None:
    reading = meter(Value(""))
    client = opened(reading, clients)
    later = threading.Timer(0.05, client.publishes, [b"3"])
    later.start()
    assert reading.read(20.0).watts == 3
    later.join()


def test_what_the_broker_kept_from_before_is_no_news(clients: list[Client]) -> None:
    reading = meter(Value(""))
    opened(reading, clients).publishes(b"5", retain=True)
    with pytest.raises(Unreadable):
        reading.read(0.0)


@pytest.mark.parametrize(
    "payload",
    [b"", b"on", b"\xff", b"null", b"true", b'"5"', b"-7", b"NaN", b"1e400", b"[" * 50_000, b"1" * (ANSWER_MAX + 1)],
)
def test_what_is_no_power_is_nonsense(clients: list[Client], payload: bytes) -> None:
    reading = meter(Value(""))
    opened(reading, clients).publishes(payload)
    with pytest.raises(Nonsense):
        reading.read(0.0)


@pytest.mark.parametrize("path", ["ENERGY.Watts", "phases.7.w", "phases.x", "ENERGY.Power.deep"])
def test_a_path_that_leads_nowhere_is_named(clients: list[Client], path: str) -> None:
    reading = meter(Value(path))
    opened(reading, clients).publishes(SAID)
    with pytest.raises(Nonsense, match=path):
        reading.read(0.0)


def test_login_and_certificate_are_handed_over(clients: list[Client]) -> None:
    reading = meter(Value(""), login=Login("miner", "hunter22"), tls=True, ca_file="/ca.pem")
    calls = opened(reading, clients).calls
    assert ("login", "miner", "hunter22") in calls and ("tls", "/ca.pem") in calls


def test_a_certificate_that_is_none_is_named(clients: list[Client], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_client: Client, ca_certs: str | None) -> None:
        raise FileNotFoundError(ca_certs)

    monkeypatch.setattr(Client, "tls_set", refuses)
    reading = meter(Value(""), tls=True, ca_file="/ca.pem")
    with pytest.raises(Unreadable, match=r"shelf: /ca\.pem holds no usable certificate"):
        reading.read(0.0)


def test_a_broker_is_told_how_much_is_too_much(clients: list[Client]) -> None:
    client = opened(meter(Value("")), clients)
    (properties,) = [call[3]["properties"] for call in client.calls if call[0] == "connect"]
    assert properties.MaximumPacketSize == 2 * ANSWER_MAX


def test_a_broker_that_knows_only_the_older_protocol_is_spoken_to_in_that(clients: list[Client]) -> None:
    reading = meter(Value(""))
    with pytest.raises(Unreadable):
        reading.read(0.0)
    reading._client = reading._connect()
    clients[-1].refuses(132)
    with pytest.raises(Unreadable, match="cannot be reached"):
        reading.read(0.0)
    reading._client = reading._connect()
    clients[-1].accepts()
    clients[-1].publishes(b"5")
    assert reading.read(0.0).watts == 5
    assert [client.protocol.name for client in clients] == ["MQTTv5", "MQTTv5", "MQTTv311"]


def test_a_refusal_is_told_without_the_password(clients: list[Client]) -> None:
    reading = meter(Value(""), login=Login("miner", "hunter22"))
    client = opened(reading, clients)
    client.connected = False
    client.refuses(134)
    with pytest.raises(Unreadable, match="the broker refuses") as caught:
        reading.read(0.0)
    assert "hunter22" not in str(caught.value)
