"""The log: entries from index 1 on (Fig. 2, log[])."""

from __future__ import annotations

from collections.abc import Iterable

from raft.messages import LogEntry

__all__ = ["Log"]


class Log:
    """Entries by index. Index 0 stands before the first entry and has term 0."""

    def __init__(self, entries: Iterable[LogEntry] = ()) -> None:
        self.entries = list(entries)

    @property
    def last_index(self) -> int:
        """Index of the last entry, 0 if there is none."""
        return len(self.entries)

    @property
    def last_term(self) -> int:
        """Term of the last entry, 0 if there is none."""
        return self.entries[-1].term if self.entries else 0
