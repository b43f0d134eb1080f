"""Threads of a host by random priority: probabilistic concurrency testing (PCT) in virtual time.

After Burckhardt, Kothari, Musuvathi and Nagarakatte, A Randomized Scheduler with Probabilistic Guarantees of Finding
Bugs (ASPLOS 2010): each thread is given a random priority when it is spawned; of those that are ready the one with the
highest runs; at d - 1 step points, drawn beforehand from the k that the run has, the running thread gets the lowest.
A bug that needs d scheduling decisions in the right order then shows with probability 1 / (n k^(d-1)) or better.

What is otherwise here, and why:

- A server's threads are mostly idle: one of lowest priority would go on at once, and nothing would overtake it. So at
  a change point the thread is also stalled for a drawn time, as far as the host can still afford that (a fifth of its
  time, 50 ms in one burst), which leaves a correct Raft its heartbeats.
- A run has no k: it ends when the test does. So a host's life is cut into stretches of k steps, each with d - 1 change
  points.
- A thread that yields, or that runs when a quantum (1 ms of CPU) ends, gets the lowest priority: a busy-wait must not
  starve the others.
- A thread made ready by a message or a timer waits until the running one blocks, stalls or ends its quantum; only one
  that the running thread itself makes ready goes ahead of it at the next step point. A lock goes to who has waited
  longest.

So the bound holds for bugs of d ordered steps among the n threads that one host has at work within one stretch, the
arrival of messages taken as given, if the drawn stall is as long as the bug needs. It holds neither across hosts nor
for a bug whose first and last step lie in different stretches.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from labrpc.streams import Streams

if TYPE_CHECKING:
    from labrpc.virtual.scheduler import GreenThread

__all__ = ["Priorities"]

_PRIORITIES = 1 << 30


class Priorities:
    """The priorities of one host's threads, and where they change.

    Args:
        streams: the host's; `stall/…` is used here.
        stretch_steps: k.
        changes: d - 1, at least 1.
    """

    def __init__(self, streams: Streams, stretch_steps: int, changes: int) -> None:
        self._priority = streams.stream("stall/priority")
        self._change = streams.stream("stall/change")
        self._stretch_steps = stretch_steps
        self._changes = changes
        self._gaps: list[int] = []
        """Steps from one change point to the next, the next last."""
        self._rest = 0
        """Steps from the last change point of the stretch to its end."""
        self._lowest = 0

    def admit(self, thread: GreenThread) -> None:
        """Gives a new thread its priority."""
        thread.priority = 1 + self._priority.draw(_PRIORITIES)

    def demote(self, thread: GreenThread) -> None:
        """Gives `thread` the lowest priority of all."""
        self._lowest -= 1
        thread.priority = self._lowest

    def steps_to_change(self) -> int:
        """Step points from one change point, or the host's start, to the next; at least 1."""
        if not self._gaps:
            points = sorted(self._change.draw(self._stretch_steps) for _ in range(self._changes))
            gaps = [later - earlier for earlier, later in itertools.pairwise([-self._rest, *points])]
            self._gaps = gaps[::-1]
            self._rest = self._stretch_steps - points[-1]
        return max(1, self._gaps.pop())

    def overtaken(self, thread: GreenThread, ready: Sequence[GreenThread]) -> int:
        """How many of those that are ready, counted from the last, `thread` goes ahead of."""
        count = 0
        for other in reversed(ready):
            if other.priority >= thread.priority or other.atomic:
                break
            count += 1
        return count
