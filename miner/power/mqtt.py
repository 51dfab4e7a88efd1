"""Meters that publish over MQTT: whatever sends a number, or JSON with numbers in it, to a topic.

paho-mqtt keeps the connection, in a thread of its own; here the newest message waits to be read. MQTT 5 is spoken, so
that the broker can be told how much is too much, and 3.1.1 to a broker that knows nothing newer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from miner.power import reading
from miner.power.digest import Login
from miner.power.errors import MissingLibrary, Nonsense, Unreadable
from miner.power.reading import ANSWER_MAX, Counter, Sample

if TYPE_CHECKING:
    from paho.mqtt.client import Client
    from paho.mqtt.properties import Properties

_KEEPALIVE_S = 30
_VERSION_REFUSED = 132  # MQTT 5, 2.4: "Unsupported Protocol Version"; paho answers it for 3.1.1's code 1, too


@dataclass(frozen=True, slots=True)
class Value:
    """Where a number stands in a message, "ENERGY.Power" or "phases.0.w" ("": it is the message), and its scale."""

    path: str
    scale: float = 1.0

    def found_in(self, message: Any, who: str) -> object:
        """Raises Nonsense where there is nothing."""
        for key in self.path.split(".") if self.path else ():
            if isinstance(message, dict) and key in message:
                message = message[key]
            elif isinstance(message, list) and key.isascii() and key.isdigit() and int(key) < len(message):
                message = message[int(key)]
            else:
                raise Nonsense(f"{who} publishes nothing at {self.path}")
        return message


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to listen. `ca_file`: a certificate to trust instead of the system's, for TLS."""

    host: str
    port: int
    topic: str
    tls: bool = False
    ca_file: str | None = None
    login: Login | None = None


class _Message(NamedTuple):
    at: float
    payload: bytes


class Mqtt:
    """One topic of one broker."""

    def __init__(
        self,
        name: str,
        broker: Broker,
        *,
        power: Value | None = None,
        energy: Value | None = None,
        clock: Callable[[], float] = time.monotonic,
        make_client: Callable[..., Client] | None = None,
    ) -> None:
        """Raises MissingLibrary."""
        self.name = name
        self._broker = broker
        self._power = power
        self._energy = energy
        self._clock = clock
        self._make_client = make_client or _library()
        self._newest = "MQTTv5"
        self._client: Client | None = None
        self._arrived = threading.Condition()
        self._message: _Message | None = None
        self._refused: str | None = None  # what the broker said

    def read(self, timeout_s: float) -> Sample:
        """The newest message that was not read before; waits for one."""
        if self._client is None:
            self._client = self._connect()
        with self._arrived:
            self._arrived.wait_for(lambda: self._message is not None, timeout_s)
            message, self._message = self._message, None
        if message is None:
            raise Unreadable(self._silence())
        at, payload = message
        said = reading.decoded(payload, self.name)
        watts = counters = None
        if self._power is not None:
            number = reading.watts(self._power.found_in(said, self.name), self.name)
            watts = reading.watts(number * self._power.scale, self.name)
        if self._energy is not None:
            count = reading.joules(self._energy.found_in(said, self.name), self.name, self._energy.scale)
            counters = (Counter(count, step_j=self._energy.scale),)
        return Sample(at, watts, counters or ())

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _silence(self) -> str:
        client, refused = self._client, self._refused
        if refused is not None:
            return f"{self.name}: the broker refuses: {refused}"
        if client is None or not client.is_connected():
            self.close()  # and begin anew at the next reading
            return f"{self.name}: the broker cannot be reached"
        return f"{self.name} publishes nothing to {self._broker.topic}"

    # ---- paho's side

    def _connect(self) -> Client:
        from paho.mqtt import client as mqtt  # noqa: PLC0415 - as below
        from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion  # noqa: PLC0415

        broker = self._broker
        version = MQTTProtocolVersion[self._newest]
        client = self._make_client(CallbackAPIVersion.VERSION2, protocol=version, reconnect_on_failure=True)
        if broker.login is not None:
            client.username_pw_set(broker.login.user, broker.login.password)
        if broker.tls:
            try:
                client.tls_set(ca_certs=broker.ca_file)
            except OSError as error:  # ssl.SSLError among them
                raise Unreadable(f"{self.name}: {broker.ca_file} holds no usable certificate") from error
        client.on_connect = self._connected
        client.on_message = self._received
        client.reconnect_delay_set(1, 60)
        try:
            if version is mqtt.MQTTv5:
                properties = _connect_properties()
                client.connect_async(broker.host, broker.port, _KEEPALIVE_S, properties=properties)
            else:
                client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
            client.loop_start()
        except (OSError, ValueError) as error:
            raise Unreadable(f"{self.name}: the broker cannot be reached") from error
        return client

    def _connected(self, client: Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            if reason.value == _VERSION_REFUSED and self._newest == "MQTTv5":
                self._newest = "MQTTv311"
                client.disconnect()  # the next reading finds no connection and begins anew
            else:
                self._refused = str(reason)
            return
        self._refused = None
        client.subscribe(self._broker.topic)

    def _received(self, _client: Client, _data: Any, message: Any) -> None:
        if message.retain:  # the broker repeats what was said before we asked, perhaps days ago
            return
        payload = bytes(message.payload[: ANSWER_MAX + 1])
        with self._arrived:
            self._message = _Message(self._clock(), payload)
            self._arrived.notify()


def _connect_properties() -> Properties:
    from paho.mqtt.packettypes import PacketTypes  # noqa: PLC0415 - as below
    from paho.mqtt.properties import Properties  # noqa: PLC0415

    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = 2 * ANSWER_MAX
    return properties


def _library() -> Callable[..., Client]:
    try:
        from paho.mqtt.client import Client  # noqa: PLC0415 - loaded only where a meter needs it
    except ImportError as error:
        raise MissingLibrary('meters over MQTT need paho-mqtt: pip install "paho-mqtt>=2.1"') from error
    return Client
