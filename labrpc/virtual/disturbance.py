"""How rough a run is on its hosts: preemption and slow disks, drawn from the seed."""

from __future__ import annotations

from labrpc.streams import Streams

__all__ = ["Disturbance"]


class Disturbance:
    """How much a run preempts its hosts, and how slow their disks are: drawn, so that seeds differ in character.

    Args:
        streams: the run's streams; this uses `run/…` only.
        stalls: False switches preemption off.
    """

    # A race is found in proportion to length / gap: at 20 steps and 5 ms the lock that is missing in a vote handler
    # shows in every third seed, at 1000 steps in hardly one.
    _GAPS = (0, 1_000, 200, 80, 40, 20)
    _LENGTHS = (1_000_000, 5_000_000)
    _SAVES = (0, 500_000, 5_000_000)

    def __init__(self, streams: Streams, *, stalls: bool = True) -> None:
        draws = streams.sub("run")
        self.mean_gap_steps = self._GAPS[draws.stream("stall-gap").at(0, len(self._GAPS))] if stalls else 0
        self.longest_stall_ns = self._LENGTHS[draws.stream("stall-length").at(0, len(self._LENGTHS))]
        self.longest_async_save_ns = self._SAVES[draws.stream("async-save").at(0, len(self._SAVES))]
