"""The target that a device reports at: enough hits to measure its rate, and not more than the event loop can take.

too few   the health target, far too easy for any pool, gives about 2-4 hits a second: they cost a hash each, and
          prove that a device works, how fast, and how often it errs
too many  a target that is met hundreds of times a second (every other hash, on regtest) is made harder: work whose
          every hash wins would drown the host in hits of which it needs one
"""

from __future__ import annotations

from backends.base import DeviceInfo, Kind

_HASHES_PER_HIT_LOG2 = 10  # at least 1024 hashes a hit: a hit must stay cheap beside the work it proves
_FLOOD_HZ = 256  # hits a second that are always taken in
_GUESS_HPS = {Kind.CPU: 1e7, Kind.GPU: 1e9, Kind.ASIC: 1e11}  # for the first lease of a device that does not say


def report_target(info: DeviceInfo, measured_hps: float | None, wanted: int) -> int:
    """The report target of work whose shares or blocks begin at the target `wanted`."""
    easy = max(wanted, health_target(info, measured_hps))
    bits = int(_rate(info, measured_hps) / _FLOOD_HZ).bit_length() - 1
    return min(easy, (1 << 256 - max(bits, 0)) - 1)


def health_target(info: DeviceInfo, measured_hps: float | None) -> int:
    """A target that a device with this rate (else its expected, else a guess) meets 2 to 4 times a second.

    One less than a power of two, so that it changes seldom. A device too slow for that meets it every 1024 hashes.
    """
    bits = max(int(_rate(info, measured_hps) / 2).bit_length() - 1, _HASHES_PER_HIT_LOG2)
    return (1 << max(256 - bits, 1)) - 1


def _rate(info: DeviceInfo, measured_hps: float | None) -> float:
    return measured_hps or info.expected_hps or _GUESS_HPS[info.kind]
