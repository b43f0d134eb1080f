"""What a node tells of itself to those who watch it: metrics, status pages, tests of faults.

    node.listeners.append(MyListener())

Every method is called on the node's event loop, in the order of events, and must return at once. An exception in one is
logged, and does the node no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = ["Listener", "Listeners"]

log = logging.getLogger("kvraft")


class Listener:
    """Does nothing; a subclass overrides what it wants to hear of."""

    def role_changed(self, role: str, term: int, leader: int | None) -> None:
        """The node's role ("follower", "candidate", "leader"), its term, or the leader it knows of is another."""

    def committed(self, index: int) -> None:
        """All up to `index` is committed, as far as this node knows."""

    def applied(self, index: int, operations: int) -> None:
        """The store has applied all up to `index`; the last entry held so many operations."""

    def saved(self, saves: int, size: int, seconds: float) -> None:
        """One fsync has made `saves` saves durable, `size` bytes in all."""

    def request_sent(self, peer: int, request: Any, size: int) -> None:
        """A request of Raft's (a message of raft/messages.py) goes to `peer`, encoded in `size` bytes."""

    def reply_received(self, peer: int, size: int) -> None:
        """`peer` has answered."""

    def request_received(self, peer: int, request: Any, size: int) -> None:
        """A request of Raft's has come from `peer`."""

    def peer_connected(self, peer: int, is_connected: bool) -> None:
        """The stream to `peer` is there, or is gone."""

    def operation_done(self, kind: str, err: str, seconds: float) -> None:
        """A client's "get" or "put" is answered with `err`, after so many seconds on this node."""

    def snapshot_taken(self, index: int, size: int, seconds: float) -> None:
        """The store up to `index` is on the disk, in `size` bytes, and the log is cut."""

    def snapshot_installed(self, index: int, size: int) -> None:
        """The leader's snapshot has taken the place of what this node had."""

    def client_connected(self, streams: int) -> None:
        """So many clients' streams are open now."""

    def failed(self, error: BaseException) -> None:
        """The node cannot go on, and stops."""


class Listeners:
    """Those who listen to one node. What nobody wants to hear of costs a look into a table."""

    def __init__(self, listeners: Iterable[Any] = ()) -> None:
        self._listeners: list[Any] = list(listeners)
        # The methods to call, by event; those of `Listener` itself do nothing, and are left out.
        self._methods: dict[str, list[Callable[..., object]]] = {}

    def __iter__(self) -> Iterator[Any]:
        return iter(tuple(self._listeners))

    def __len__(self) -> int:
        return len(self._listeners)

    def append(self, listener: Any) -> None:
        """From now on `listener` hears of what happens."""
        self._listeners.append(listener)
        self._methods.clear()

    def remove(self, listener: Any) -> None:
        """`listener` hears no more. Raises: ValueError: it did not listen."""
        self._listeners.remove(listener)
        self._methods.clear()

    def hear(self, event: str) -> list[Callable[..., object]]:
        """The methods that want to be told of `event`."""
        methods = self._methods.get(event)
        if methods is None:
            found = [getattr(listener, event) for listener in self._listeners]
            nothing = getattr(Listener, event)
            methods = [method for method in found if getattr(method, "__func__", None) is not nothing]
            self._methods[event] = methods
        return methods

    def tell(self, event: str, *arguments: Any) -> None:
        """Calls method `event` of each."""
        for method in self.hear(event):
            try:
                method(*arguments)
            except Exception:
                log.exception("a listener failed at %s", event)
