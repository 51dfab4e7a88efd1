from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backends.base import NONCES
from backends.cpu.choice.race import CHUNK_S, MIDSTATES, TURNS, race
from native import NonceRange


class Track:
    """Searches that share a clock: each knows how long its hashes take, and a neighbour who steals from most chunks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.chunks: list[tuple[float, float]] = []  # hashes a second, seconds
        self.busy = False

    def search(self, hps: float, gain: float = 1.0) -> Any:
        return Fake(self, hps, gain)


class Fake:
    name, midstates = "fake", 16

    def __init__(self, track: Track, hps: float, gain: float) -> None:
        self.track, self.hps, self.gain = track, hps, gain

    def prepare(self, header76: bytes, versions: list[int], target: int) -> Any:
        assert len(header76) == 76 and len(set(versions)) == len(versions) and 0 < target < 1 << 256
        return np.zeros((len(versions), 1), np.uint32)

    def scan(self, nonces: NonceRange) -> tuple[int, int]:
        count, rows = nonces.count, len(nonces.params)
        assert nonces.start == 0 and 0 < count <= NONCES and len(nonces.hits) >= rows
        assert nonces.cancel[0] == nonces.epoch
        seconds = count * rows / (self.hps * (self.gain if rows > 1 else 1.0))
        if self.track.busy and len(self.track.chunks) % 7:
            seconds *= 2.3
        self.track.now += seconds
        self.track.chunks.append((self.hps, seconds))
        return count, 0


@pytest.mark.parametrize("busy", [False, True])
def test_the_best_chunk_is_what_the_processor_can_do_whatever_the_neighbours(*, busy: bool) -> None:
    track = Track()
    track.busy = busy
    rates = race({"a": track.search(5e7, gain=1.1), "b": track.search(4e7)}, lambda: track.now)
    assert rates["a"] == pytest.approx({1: 5e7, **dict.fromkeys(MIDSTATES[1:], 5.5e7)})
    assert rates["b"] == pytest.approx(dict.fromkeys(MIDSTATES, 4e7))


def test_kernels_take_turns_and_chunks_are_short_for_slow_and_fast_alike() -> None:
    track = Track()
    race({"fast": track.search(6e7), "crawling": track.search(3e5)}, lambda: track.now)
    raced = track.chunks[-2 * len(MIDSTATES) * TURNS :]
    speeds = [hps for hps, _ in raced]
    assert speeds == ([6e7] * len(MIDSTATES) + [3e5] * len(MIDSTATES)) * TURNS
    assert max(seconds for hps, seconds in raced if hps == 6e7) < 2 * CHUNK_S
    assert track.now < 2.0
