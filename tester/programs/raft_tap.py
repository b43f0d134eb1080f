"""For services that build their own Raft: shows it to the program, and the judge what it puts into `apply_ch`."""

from __future__ import annotations

import functools
import inspect
import queue
from typing import Any

from labrpc import UsageError
from labrpc.program import ProgramHost
from raft import Raft

__all__ = ["RaftTap"]


class RaftTap:
    """Put in place before the service is built. The class `Raft` is this incarnation's own, so changing it is safe.

    Args:
        host: where the service runs.
    """

    def __init__(self, host: ProgramHost) -> None:
        self._raft: Raft | None = None
        raft_class: Any = Raft
        construct = raft_class.__init__

        signature = inspect.signature(construct)

        @functools.wraps(construct)
        def observed(raft: Raft, *args: Any, **kwargs: Any) -> None:
            self._raft = raft
            tapped = signature.bind(raft, *args, **kwargs).arguments.get("apply_ch")
            if not isinstance(tapped, queue.Queue):
                raise UsageError(f"Raft's apply_ch must be a queue.Queue, not {type(tapped).__name__}")
            put = tapped._put  # the queue calls it with its mutex held: the judge sees the queue's own order

            def reported(message: Any) -> None:
                put(message)
                host.apply(message)

            tapped._put = reported  # type: ignore[method-assign, assignment]
            construct(raft, *args, **kwargs)

        raft_class.__init__ = observed

    @property
    def raft(self) -> Raft:
        """The Raft that the service has built.

        Raises:
            UsageError: it has built none.
        """
        if self._raft is None:
            raise UsageError("the service has built no raft.Raft; build it in the constructor")
        return self._raft
