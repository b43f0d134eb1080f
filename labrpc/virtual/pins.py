"""Stalls that are pinned to threads: how a recorded or a shrunk run says where a thread was stalled.

    host/1/2/stall/Raft.request_vote#7.0, number 41, value 3100000
    server 1, incarnation 2: its 8th thread of that name, before it first blocks, is stalled 41 steps on, for 3.1 ms

A run draws its stalls some steps apart, whatever these steps are. In a run from which anything was taken away, the same
count of steps would be elsewhere in the code; the same step of the same thread's life mostly is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from labrpc.streams import Streams

if TYPE_CHECKING:
    from labrpc.virtual.scheduler import GreenThread

__all__ = ["StallPins", "pin_of"]

_FAR = 1 << 30


def pin_of(streams: Streams, thread: GreenThread) -> str:
    """The full name of the stream of `thread`'s stalls until it blocks next; the step in it is the number."""
    return f"{streams.path}/stall/{thread.anchor}.{thread.parks}"


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
