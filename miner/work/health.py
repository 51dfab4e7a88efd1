"""The health target: easy enough that a device shows about 2-4 hits a second, far too easy for any pool.

Hits below the share target cost a hash each and prove that a device works, how fast, and how often it errs.
"""

from __future__ import annotations

from backends.base import DeviceInfo, Kind

_HASHES_PER_HIT_LOG2 = 10  # at least 1024 hashes a hit: a hit must stay cheap beside the work it proves
_GUESS_HPS = {Kind.CPU: 1e7, Kind.GPU: 1e9, Kind.ASIC: 1e11}  # for the first lease of a device that does not say


def health_target(info: DeviceInfo, measured_hps: float | None) -> int:
    """A target that a device with this rate (else its expected, else a guess) meets 2 to 4 times a second.

    One less than a power of two, so that it changes seldom. A device too slow for that meets it every 1024 hashes.
    """
    hps = measured_hps or info.expected_hps or _GUESS_HPS[info.kind]
    bits = max(int(hps / 2).bit_length() - 1, _HASHES_PER_HIT_LOG2)
    return (1 << max(256 - bits, 1)) - 1
