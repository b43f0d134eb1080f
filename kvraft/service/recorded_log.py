"""The log of a service node: Raft's `Log`, which also knows what of it has not been handed to the disk.

Commands are bytes, or None for the entry with which a leader begins its term. Nothing is encoded or copied here.
"""

from __future__ import annotations

from labrpc.codec import CodecError
from raft.log import Log
from raft.messages import LogEntry

__all__ = ["RecordedLog"]

_ENTRY_BYTES = 16
"""What an entry takes on the disk besides its command, about."""


class RecordedLog(Log):
    """A `Log` whose entries are saved by what has been appended and cut since the last save."""

    def __init__(self, last_included_index: int = 0, last_included_term: int = 0) -> None:
        super().__init__(last_included_index, last_included_term)
        self.size = 0
        """Bytes of the entries that are there, about as on the disk."""
        self.cuts = 0
        """How often entries have been removed from the end."""
        # The lowest index that may differ from what was handed to the disk.
        self._unsaved_from = self.first_index

    @classmethod
    def from_saved(
        cls, last_included_index: int, last_included_term: int, entries: list[tuple[int, bytes | None]]
    ) -> RecordedLog:
        """The log with these (term, command) entries, which are on the disk."""
        log = cls(last_included_index, last_included_term)
        log._entries = [LogEntry(term, command) for term, command in entries]
        log._encoded = [command or b"" for _, command in entries]
        log.size = sum(map(len, log._encoded)) + _ENTRY_BYTES * len(entries)
        log._unsaved_from = log.last_index + 1
        return log

    def append(self, entry: LogEntry) -> int:
        if entry.command is not None and type(entry.command) is not bytes:
            raise CodecError(f"a command of this log is bytes or None, not {type(entry.command).__name__}")
        self._entries.append(entry)
        self._encoded.append(entry.command or b"")  # the same object: it costs no memory
        self.size += len(self._encoded[-1]) + _ENTRY_BYTES
        return self.last_index

    def truncate(self, index: int) -> None:
        self.size -= self._bytes_between(index, self.last_index)
        super().truncate(index)
        self._unsaved_from = min(self._unsaved_from, index)
        self.cuts += 1

    def compact(self, index: int) -> None:
        self.size -= self._bytes_between(self.first_index, index)
        super().compact(index)
        self._unsaved_from = max(self._unsaved_from, self.first_index)

    def entries_up_to(self, first: int, limit: int, most_bytes: int) -> list[LogEntry]:
        """As `entries`, but the first one and those after it that fit into `most_bytes`."""
        found = self.entries(first, limit)
        total = 0
        for count, entry in enumerate(found):
            total += len(entry.command or b"") + _ENTRY_BYTES
            if total > most_bytes and count:
                return found[:count]
        return found

    def take_unsaved(self) -> tuple[int, list[tuple[int, bytes | None]]]:
        """(the first index that the disk does not have as it is, all entries from there on); they count as saved."""
        first = max(self._unsaved_from, self.first_index)
        self._unsaved_from = self.last_index + 1
        return first, self.saved_form(first)

    def saved_form(self, first: int) -> list[tuple[int, bytes | None]]:
        """The entries from `first` on, as `from_saved` takes them."""
        return [(entry.term, entry.command) for entry in self.entries(first, len(self._entries))]

    def _bytes_between(self, first: int, last: int) -> int:
        encoded = self._encoded[first - self._base : last + 1 - self._base]
        return sum(map(len, encoded)) + _ENTRY_BYTES * len(encoded)
