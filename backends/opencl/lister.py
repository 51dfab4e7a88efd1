"""The process that loads every driver and lists the devices: `python -m backends.opencl.lister PARENT`.

It answers with a line of JSON, a `listing.Answer`.
"""

from __future__ import annotations

import os
import sys

from backends.child import end_with
from backends.opencl.sensors.sensing import find_sensors, has_screen

from .errors import NoPlatform
from .listing import DEVICES_MAX, Answer, Listed, PowerLimits
from .runtime import Identity, identities


def answer() -> Answer:
    """What this process finds; runs in the one that may crash."""
    try:
        found = identities()
    except NoPlatform as error:
        return Answer(nothing=str(error))
    if not found:
        return Answer(nothing="an OpenCL runtime is installed, and it finds no device: is the card's driver loaded?")
    return Answer(devices=tuple(map(_listed, found[:DEVICES_MAX])))


def _listed(identity: Identity) -> Listed:
    sensors = find_sensors(identity.pci)
    power = sensors.power_range() if sensors else None
    return Listed(
        identity=identity,
        sensors=sensors.source if sensors else None,
        temperature=bool(sensors and sensors.read().temperatures),
        screen=has_screen(identity.pci),
        power=PowerLimits(least_w=power.least_w, most_w=power.most_w, refused=power.refused) if power else None,
    )


def main(parent: int) -> None:
    """Print the answer, on what was standard output before any driver could print there."""
    end_with(parent)
    out = os.dup(1)
    os.dup2(2, 1)
    line = answer().model_dump_json().encode() + b"\n"
    while line:
        line = line[os.write(out, line) :]
    os._exit(0)  # drivers' own ends may crash; the answer is given


if __name__ == "__main__":
    main(int(sys.argv[1]))
