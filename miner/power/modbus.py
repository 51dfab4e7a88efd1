"""Meters and power strips that speak Modbus TCP: one register for the power, one for the energy.

Which they are stands in each meter's manual. Addresses are those on the wire, from 0; a manual that counts holding
registers from 40001 means 0 by that. pymodbus does the talking; its time-outs begin anew with each packet, so a
timer of ours ends what takes too long.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from miner.power import reading
from miner.power.errors import MissingLibrary, Nonsense, Unreadable
from miner.power.reading import Counter, Sample

if TYPE_CHECKING:
    from pymodbus.client import ModbusTcpClient

Table = Literal["holding", "input"]
RegisterType = Literal["uint16", "int16", "uint32", "int32", "float32", "uint64", "int64", "float64"]
WordOrder = Literal["big", "little"]


@dataclass(frozen=True, slots=True)
class Register:
    """Where a number stands, and what one count of it is in watts or joules."""

    address: int
    type: RegisterType
    scale: float
    table: Table = "holding"
    word_order: WordOrder = "big"

    @property
    def range(self) -> float | None:
        """What an unsigned counter of this size counts up to before it starts again at 0."""
        bits = int(self.type[4:]) if self.type.startswith("uint") else 0
        return float(1 << bits) * self.scale if bits in (16, 32) else None


class _Library(NamedTuple):
    """What is used of pymodbus."""

    error: type[Exception]
    client: Any


class Modbus:
    """One meter behind one address."""

    def __init__(
        self,
        name: str,
        host: str,
        port: int,
        *,
        unit: int = 1,
        power: Register | None = None,
        energy: Register | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises MissingLibrary."""
        self.name = name
        self._address = host, port
        self._unit = unit
        self._power = power
        self._energy = energy
        self._clock = clock
        self._client: ModbusTcpClient | None = None
        _library()

    def read(self, timeout_s: float) -> Sample:
        modbus = _library()
        if self._client is None:
            host, port = self._address
            self._client = modbus.client(host, port=port, timeout=timeout_s / 2, retries=0)
        client = self._client
        late = threading.Timer(timeout_s, _shut, [client])
        late.daemon = True
        late.start()
        try:
            watts = None if self._power is None else reading.watts(self._number(client, self._power), self.name)
            counters = () if self._energy is None else (self._count(client, self._energy),)
        except Unreadable:
            self.close()
            raise
        finally:
            late.cancel()
        return Sample(self._clock(), watts, counters)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()  # type: ignore[no-untyped-call]
            self._client = None

    def _count(self, client: ModbusTcpClient, register: Register) -> Counter:
        count = reading.joules(self._number(client, register), self.name, 1.0)
        return Counter(count, range_j=register.range, step_j=register.scale)

    def _number(self, client: ModbusTcpClient, register: Register) -> float:
        modbus = _library()
        kind = client.DATATYPE[register.type.upper()]
        ask = client.read_holding_registers if register.table == "holding" else client.read_input_registers
        try:
            answer = ask(register.address, count=kind.value[1], device_id=self._unit)
        except (modbus.error, OSError) as error:
            raise Unreadable(f"{self.name} does not answer over Modbus") from error
        if answer.isError():
            refused = getattr(answer, "exception_code", None)
            raise Nonsense(f"{self.name} refuses {register.table} register {register.address} (exception {refused})")
        words: Sequence[int] = answer.registers
        if len(words) != kind.value[1]:
            raise Nonsense(f"{self.name} answers {len(words)} registers instead of {kind.value[1]}")
        value: Any = client.convert_from_registers(list(words), kind, word_order=register.word_order)
        return float(value) * register.scale


def _shut(client: ModbusTcpClient) -> None:
    """Wake the thread that waits for this client."""
    connection = client.socket
    if connection is not None:
        with contextlib.suppress(OSError):  # it ended by itself in the meantime
            connection.shutdown(socket.SHUT_RDWR)


@cache
def _library() -> _Library:
    try:
        from pymodbus import ModbusException  # noqa: PLC0415 - loaded only where a meter needs it
        from pymodbus.client import ModbusTcpClient  # noqa: PLC0415
    except ImportError as error:
        raise MissingLibrary('meters over Modbus need pymodbus: pip install "pymodbus>=3.8"') from error
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL)  # what goes wrong is said here, once
    return _Library(ModbusException, ModbusTcpClient)
