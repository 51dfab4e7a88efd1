"""Meters over MQTT on a real broker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miner.power.digest import Login
from miner.power.errors import Unreadable
from miner.power.mqtt import Broker, Mqtt, Value
from tests.real.broker import Mosquitto, programs
from tests.real.conftest import fetch

TOPIC = "tele/shelf/SENSOR"
LOGIN = ("miner", "hunter22")


@pytest.fixture(scope="session")
def mosquitto() -> Path:
    return fetch(programs)


def meter(broker: Mosquitto, login: tuple[str, str] | None = None) -> Mqtt:
    where = Broker("127.0.0.1", broker.port, TOPIC, login=Login(*login) if login else None)
    return Mqtt("shelf", where, power=Value("ENERGY.Power"))


@contextmanager
def publishing(broker: Mosquitto, watts: float) -> Iterator[None]:
    """Now and then, as a plug does, until the end."""
    over = threading.Event()

    def publish() -> None:
        while not over.wait(0.1):
            broker.publish(TOPIC, f'{{"ENERGY": {{"Power": {watts}}}}}')

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def patiently(read: Callable[[], float | None]) -> float | None:
    """A connection is made in another thread, so the first readings may come too early."""
    for _ in range(20):
        try:
            return read()
        except Unreadable:
            continue
    return read()


@pytest.mark.parametrize("login", [None, LOGIN])
def test_what_is_published_is_read(mosquitto: Path, tmp_path: Path, login: tuple[str, str] | None) -> None:
    with Mosquitto(mosquitto, tmp_path, login=login) as broker:
        reading = meter(broker, login)
        with publishing(broker, 62.5):
            assert patiently(lambda: reading.read(5.0).watts) == 62.5
        reading.close()
        assert "p5" in broker.words(), "it was spoken to in MQTT 5"


def test_a_broker_that_went_away_and_came_back_is_found_again(mosquitto: Path, tmp_path: Path) -> None:
    broker = Mosquitto(mosquitto, tmp_path).start()
    reading = meter(broker)
    with publishing(broker, 10.0):
        assert patiently(lambda: reading.read(5.0).watts) == 10.0
    broker.kill()
    with contextlib.suppress(Unreadable):
        reading.read(0.0)  # what came before the end
    with pytest.raises(Unreadable):
        reading.read(0.5)
    broker.start()
    with publishing(broker, 20.0):
        assert patiently(lambda: reading.read(5.0).watts) == 20.0
    reading.close()
    broker.kill()


def test_a_wrong_password_is_a_refusal_in_words(mosquitto: Path, tmp_path: Path) -> None:
    with Mosquitto(mosquitto, tmp_path, login=LOGIN) as broker:
        reading = meter(broker, ("miner", "wrong1234"))
        said = set()
        for _ in range(10):
            with pytest.raises(Unreadable) as caught:
                reading.read(0.5)
            said.add(str(caught.value))
            if "refuses" in str(caught.value):
                break
        reading.close()
        assert any("refuses: Not authorized" in sentence for sentence in said), said
        assert not any("wrong1234" in sentence for sentence in said)
