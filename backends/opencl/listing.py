"""What OpenCL finds in the machine, asked in a process of its own: listing loads every installed driver.

If that process crashes or hangs, each driver is asked by itself: a broken one costs its own devices, and is named.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backends.child import ask, ended

from .runtime import Identity

VENDORS = Path("/etc/OpenCL/vendors")
PATIENCE_S = 30.0  # a driver that starts its card up takes a few
_ANSWER_MAX = 1 << 20  # bytes
_ICDS_MAX = 64
DEVICES_MAX = 256


class PowerLimits(BaseModel):
    """As sensors.PowerRange."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    least_w: float
    most_w: float
    refused: str | None = None


class Listed(BaseModel):
    """One device. icd: the only driver to load for it, None: all of them; sensors: who tells them, None: nobody."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity: Identity
    icd: str | None = None
    sensors: str | None = None
    temperature: bool = False
    screen: bool = False
    power: PowerLimits | None = None


class Answer(BaseModel):
    """nothing: why there is no device, in a sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: Annotated[tuple[Listed, ...], Field(max_length=DEVICES_MAX)] = ()
    nothing: str | None = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A driver that cannot be asked, and what it did."""

    icd: str
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """All that is there. nothing: why no device is, in a sentence."""

    devices: tuple[Listed, ...]
    broken: tuple[Broken, ...] = ()
    nothing: str | None = None


class _Crashed(Exception):
    """The process that was asked ended otherwise than with an answer."""


def take_listing(command: Sequence[str] = (sys.executable, "-m", "backends.opencl.lister")) -> Listing:
    """Ask all drivers at once, and one by one if that ends badly."""
    installed = icds()
    if not installed and "OPENCL_VENDOR_PATH" not in os.environ:  # a process less at every start of who has no card
        told = os.environ.get("OCL_ICD_VENDORS")
        place = f"in {told}, where OCL_ICD_VENDORS looks for one" if told else f"named in {VENDORS}"
        return Listing((), nothing=f"no OpenCL driver is {place}: docs/howto/opencl.md says which one a card needs")
    try:
        answer = _ask(command, os.environ.get("OCL_ICD_VENDORS"))
        return Listing(answer.devices, nothing=answer.nothing)
    except _Crashed as crashed:
        whole = Broken("all of them", str(crashed))
    devices: list[Listed] = []
    broken = []
    for icd in installed[:_ICDS_MAX]:
        try:
            answer = _ask(command, str(icd))
            devices += [listed.model_copy(update={"icd": str(icd)}) for listed in answer.devices]
        except _Crashed as crashed:
            broken.append(Broken(str(icd), str(crashed)))
    return Listing(tuple(devices), tuple(broken) or (whole,))


def icds() -> list[Path]:
    """The files that name the installed drivers."""
    told = os.environ.get("OCL_ICD_VENDORS")
    if told and not Path(told).is_dir():  # a file, or the bare name of a library
        return [Path(told)] if Path(told).exists() or "/" not in told else []
    folders = [Path(told)] if told else [VENDORS, Path(sys.prefix) / "etc" / "OpenCL" / "vendors"]
    loader = importlib.util.find_spec("pyopencl")
    if loader and loader.origin:
        folders.append(Path(loader.origin).parent / ".libs")  # runtimes that are installed by pip
    return [icd for folder in folders for icd in sorted(folder.glob("*.icd"))]


def _ask(command: Sequence[str], vendors: str | None) -> Answer:
    environ = {"OCL_ICD_VENDORS": vendors} if vendors else {}
    try:
        answered = ask(command, PATIENCE_S, environ=environ)
    except OSError as error:
        raise _Crashed(f"cannot be asked: no process could be started: {error}") from error
    if answered is None:
        raise _Crashed(f"did not answer within {PATIENCE_S:.0f} s when asked for its devices")
    if answered.status:
        raise _Crashed(f"{ended(answered.status, answered.complaints)} when asked for its devices")
    try:
        return Answer.model_validate_json(answered.said.strip().rpartition(b"\n")[2][:_ANSWER_MAX])
    except ValidationError as error:
        raise _Crashed("answered with something else than a list of devices") from error
