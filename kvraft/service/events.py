"""What a node tells of itself to those who watch it: metrics, status pages, tests of faults.

    node.listeners.append(MyListener())

Every method is called on the node's event loop, in the order of events, and must return at once. An exception in one is
logged, and does the node no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

__all__ = ["Listener", "Listeners", "SaveTimes"]

log = logging.getLogger("kvraft")


class SaveTimes(NamedTuple):
    """One turn of a node's disk, in time.monotonic() seconds.

    Attributes:
        handed: when each of its saves was handed over.
        taken: when the disk's thread took them.
        acknowledged: when those who waited for them were told.
        fsync_seconds: what the fsync alone took.
        begins_log: whether a new log was begun, without what a snapshot holds.
    """

    handed: Sequence[float]
    taken: float
    acknowledged: float
    fsync_seconds: float
    begins_log: bool


class Listener:
    """Does nothing; a subclass overrides what it wants to hear of."""

    def role_changed(self, role: str, term: int, leader: int | None) -> None:
        """The node's role ("follower", "candidate", "leader"), its term, or the leader it knows of is another."""

    def committed(self, index: int) -> None:
        """All up to `index` is committed, as far as this node knows."""

    def applied(self, index: int, operations: int) -> None:
        """The store has applied all up to `index`; the last entry held so many operations."""

    def election_started(self, term: int) -> None:
        """The node stands for election in `term`."""

    def election_won(self, term: int, seconds: float, leaderless: float) -> None:
        """It leads in `term`: `seconds` after it began to ask for votes or pre-votes, `leaderless` after it last heard
        from a leader, or led."""

    def batch_proposed(self, index: int, operations: int) -> None:
        """This leader has put so many operations into its log, as entry `index`."""

    def saved(self, saves: int, size: int, seconds: float) -> None:
        """One fsync has made `saves` saves durable, `size` bytes in all."""

    def save_timed(self, times: SaveTimes) -> None:
        """What the saves of the last `saved` waited for."""

    def request_sent(self, peer: int, request: Any, size: int) -> None:
        """A request of Raft's (a message of raft/messages.py) goes to `peer`, encoded in `size` bytes."""

    def reply_received(self, peer: int, size: int) -> None:
        """`peer` has answered."""

    def request_ended(self, peer: int, request: Any, is_answered: bool, seconds: float) -> None:
        """A request to `peer` is answered, or is lost with its stream, so many seconds after it was sent.

        Of a request for votes that is answered after the election nobody hears.
        """

    def request_received(self, peer: int, request: Any, size: int) -> None:
        """A request of Raft's has come from `peer`."""

    def request_handled(self, peer: int, request: Any, size: int, seconds: float) -> None:
        """The reply to it, `size` bytes, may be sent: what it promises is durable, after so many seconds."""

    def peer_connected(self, peer: int, is_connected: bool) -> None:
        """The stream to `peer` is there, or is gone."""

    def operations_done(self, kind: str, err: str, count: int, seconds: float) -> None:
        """So many "get"s or "put"s of a client are answered with `err`, after so many seconds each on this node."""

    def reads_confirmed(self, mode: str, gets: int, seconds: float) -> None:
        """So many gets may be answered: by a round to a majority ("index"), or at once on the lease ("lease")."""

    def snapshot_began(self, kind: str, peer: int | None) -> None:
        """A snapshot is taken ("take"), sent to `peer` ("send") or received from it ("install")."""

    def snapshot_ended(self, kind: str, peer: int | None, size: int, seconds: float) -> None:
        """That is over, done or not; `size` is 0 if it is not known."""

    def snapshot_taken(self, index: int, size: int, seconds: float) -> None:
        """The store up to `index` is on the disk, in `size` bytes, and the log is cut."""

    def snapshot_installed(self, index: int, size: int) -> None:
        """The leader's snapshot has taken the place of what this node had."""

    def client_connected(self, streams: int) -> None:
        """So many clients' streams are open now."""

    def client_bytes(self, received: int, sent: int) -> None:
        """So many bytes of messages have come from a client, or are about to go to one."""

    def call_refused(self, caller: str, code: str) -> None:
        """A "client" or "peer" was turned away, with the name of a gRPC status code."""

    def failed(self, error: BaseException) -> None:
        """The node cannot go on, and stops."""


class Listeners:
    """Those who listen to one node. There are events with every operation: who does not override one is not called."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners = list(listeners)
        # Of each event that there has been, the methods that hear of it.
        self._hear: dict[str, list[Callable[..., None]]] = {}

    def append(self, listener: Listener) -> None:
        """`listener` hears of all that happens from now on."""
        self._listeners.append(listener)
        self._hear = {}

    def remove(self, listener: Listener) -> None:
        """It hears no more. Raises: ValueError: it is none."""
        self._listeners.remove(listener)
        self._hear = {}

    def __iter__(self) -> Iterator[Listener]:
        return iter(self._listeners)

    def __len__(self) -> int:
        return len(self._listeners)

    def hear(self, event: str) -> list[Callable[..., None]]:
        """The methods that hear of `event`; for those who would have to work out what there is to tell."""
        methods = self._hear.get(event)
        if methods is None:
            methods = self._hear[event] = self._that_hear(event)
        return methods

    def tell(self, event: str, *arguments: Any) -> None:
        """Calls method `event` of each."""
        for method in self.hear(event):
            try:
                method(*arguments)
            except Exception:
                log.exception("a listener failed at %s", event)

    def _that_hear(self, event: str) -> list[Callable[..., None]]:
        silent = getattr(Listener, event)
        methods = [getattr(listener, event) for listener in self._listeners]
        return [method for method in methods if getattr(method, "__func__", None) is not silent]
