"""Stalls and turns that are pinned to threads: how a recorded or a shrunk run says what befell which thread.

    host/1/2/stall/Raft.request_vote#7.0, number 41, value 3100000
    server 1, incarnation 2: its 8th thread of that name, before it first blocks, is stalled 41 steps on, for 3.1 ms

    host/1/2/turn/ticker#0.5, number 1, value 2
    the 1st thread named ticker, when it first becomes ready after it has blocked 5 times, goes ahead of 2 that wait

A run draws its stalls some steps apart, whatever these steps are. In a run from which anything was taken away, the same
count of steps would be elsewhere in the code; the same step of the same thread's life mostly is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from labrpc.streams import Streams

if TYPE_CHECKING:
    from labrpc.virtual.scheduler import GreenThread

__all__ = ["StallPins", "TurnPins", "pin_of", "turn_of"]

_FAR = 1 << 30


def pin_of(streams: Streams, thread: GreenThread) -> str:
    """The full name of the stream of `thread`'s stalls until it blocks next; the step in it is the number."""
    return f"{streams.path}/stall/{thread.anchor}.{thread.parks}"


def turn_of(streams: Streams, thread: GreenThread) -> str:
    """The full name of the stream of `thread`'s turns until it blocks next; `thread.turns` is the number."""
    return f"{streams.path}/turn/{thread.anchor}.{thread.parks}"


class TurnPins:
    """Who goes ahead of whom on a host in a run that is calm but for its overrides: elsewhere first come, first served.

    Args:
        streams: the host's.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._pins = {
            (stream, number): count
            for stream, number, count in streams.overrides()
            if stream.startswith(f"{streams.path}/turn/") and count > 0
        }

    def __bool__(self) -> bool:
        return bool(self._pins)

    def overtaken(self, thread: GreenThread, ready: Sequence[GreenThread]) -> int:
        """How many of those that are ready, counted from the last, `thread` goes ahead of."""
        wanted = self._pins.get((turn_of(self._streams, thread), thread.turns), 0)
        count = 0
        while count < min(wanted, len(ready)) and not ready[-1 - count].atomic:
            count += 1
        return count


class StallPins:
    """The stalls of a host in a run that is calm but for its overrides.

    Args:
        streams: the host's.
    """

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._pins: dict[str, dict[int, int]] = {}
        for stream, step, length in streams.overrides():
            if stream.startswith(f"{streams.path}/stall/") and length > 0:
                self._pins.setdefault(stream, {})[step] = length

    def steps_to_next(self, thread: GreenThread | None) -> int:
        """Step points that `thread` may pass before the next one is to stall it."""
        pins = self._of(thread)
        return max(0, min(pins) - thread.cpu_steps - 1) if pins and thread is not None else _FAR

    def take(self, thread: GreenThread) -> int:
        """For how many ns `thread` is to be stalled where it is, 0: not at all. Each stall happens once."""
        pins = self._of(thread)
        if not pins or (step := min(pins)) > thread.cpu_steps:
            return 0
        return pins.pop(step)

    def _of(self, thread: GreenThread | None) -> dict[int, int] | None:
        return self._pins.get(pin_of(self._streams, thread)) if self._pins and thread is not None else None
