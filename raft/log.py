"""The log: entries by index, the oldest of them replaced by a snapshot (Fig. 2, log[]; §7).

    index       0 … last_included_index | first_index …             last_index
                in the snapshot         | entries, each with a term

Pure: no lock, no clock. Appending, cutting and compacting cost time in proportion to the entries they touch, whatever
the log's length. Each entry is encoded once, when it comes in, so that saving a long log is only copying.
"""

from __future__ import annotations

from collections.abc import Sequence

from labrpc import decode, encode
from raft.messages import LogEntry

__all__ = ["Log"]

_COMPACTED = LogEntry(0, None)


class Log:
    """Entries after `last_included_index`, which with its term stands for all that a snapshot has replaced.

    Index 0 stands before the first entry and has term 0.
    """

    def __init__(self, last_included_index: int = 0, last_included_term: int = 0) -> None:
        self.last_included_index = last_included_index
        self.last_included_term = last_included_term
        # The entry at `index` is _entries[index - _base]. Slots below last_included_index + 1 hold nothing, and are cut
        # off when they are half of the list: so compaction costs what it removes, and memory is freed at once.
        # Invariant: _base <= last_included_index + 1, and the two lists have equal lengths.
        self._base = last_included_index + 1
        self._entries: list[LogEntry] = []
        self._encoded: list[bytes] = []

    @classmethod
    def from_encoded(cls, last_included_index: int, last_included_term: int, encoded: Sequence[bytes]) -> Log:
        """The log that had these `encoded()` entries."""
        log = cls(last_included_index, last_included_term)
        log._entries = [decode(data) for data in encoded]
        log._encoded = list(encoded)
        return log

    @property
    def first_index(self) -> int:
        """Index of the first entry that is still there, if there is any."""
        return self.last_included_index + 1

    @property
    def last_index(self) -> int:
        """Index of the last entry, snapshot included; 0 if there never was one."""
        return self._base + len(self._entries) - 1

    @property
    def last_term(self) -> int:
        """Term of the last entry, snapshot included; 0 if there never was one."""
        return self.term_at(self.last_index)

    def __len__(self) -> int:
        return self.last_index - self.last_included_index

    def term_at(self, index: int) -> int:
        """Term of the entry at `index`, from last_included_index to last_index.

        Raises:
            IndexError: that term is not known here.
        """
        if index == self.last_included_index:
            return self.last_included_term
        return self.entry(index).term

    def entry(self, index: int) -> LogEntry:
        """The entry at `index`.

        Raises:
            IndexError: it is in the snapshot, or beyond the end.
        """
        if not self.first_index <= index <= self.last_index:
            raise IndexError(f"index {index} is not in {self.first_index}..{self.last_index}")
        return self._entries[index - self._base]

    def entries(self, first: int, limit: int) -> list[LogEntry]:
        """Up to `limit` entries from index `first` on, which must not be in the snapshot."""
        assert first >= self.first_index, f"index {first} is in the snapshot up to {self.last_included_index}"
        position = first - self._base
        return self._entries[position : position + limit]

    def encoded(self) -> list[bytes]:
        """All entries, encoded, for stable storage."""
        return self._encoded[self.first_index - self._base :]

    def append(self, entry: LogEntry) -> int:
        """Adds `entry` at the end; its index.

        Raises:
            CodecError: its command cannot be encoded; the log is unchanged.
        """
        data = encode(entry)
        self._entries.append(entry)
        self._encoded.append(data)
        return self.last_index

    def truncate(self, index: int) -> None:
        """Removes the entry at `index` and all that follow it (Fig. 2, AppendEntries receiver 3)."""
        assert index > self.last_included_index, f"index {index} is in the snapshot up to {self.last_included_index}"
        del self._entries[index - self._base :]
        del self._encoded[index - self._base :]

    def compact(self, index: int) -> None:
        """Replaces everything up to `index` by a snapshot (§7)."""
        term = self.term_at(index)
        start, count = self.first_index - self._base, index + 1 - self.first_index
        self._entries[start : start + count] = [_COMPACTED] * count
        self._encoded[start : start + count] = [b""] * count
        self.last_included_index, self.last_included_term = index, term
        empty = self.first_index - self._base
        if 2 * empty >= len(self._entries):
            del self._entries[:empty]
            del self._encoded[:empty]
            self._base = self.first_index

    def first_index_of_term_at(self, index: int) -> int:
        """The lowest index from which all entries up to `index` have its term. Terms never fall along a log."""
        term = self.term_at(index)
        low, high = self.first_index, index
        while low < high:
            middle = (low + high) // 2
            if self.term_at(middle) < term:
                low = middle + 1
            else:
                high = middle
        return low

    def last_index_of_term(self, term: int) -> int | None:
        """The highest index of an entry of `term`, None if there is none."""
        low, high = self.last_included_index, self.last_index
        while low < high:
            middle = (low + high + 1) // 2
            if self.term_at(middle) <= term:
                low = middle
            else:
                high = middle - 1
        return low if self.term_at(low) == term and low > 0 else None
