"""Which configurations of a search were explored, so that those they dominate need not be."""

from __future__ import annotations

from typing import Any

__all__ = ["Memo"]

_DOMINANCE = 128
"""So many earlier configurations of a stage and state are kept, and compared with a new one."""
_MEMO = 500_000
"""With so many configurations on record the memo is dropped: what was refuted may then be refuted again."""


class Memo:
    """What `tester.porcupine.search` says of dominance, by stage and state; bounded, so it may forget."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, Any], list[tuple[int, int]]] = {}
        self._count = 0

    def admits(self, stage: int, state: Any, used: int, credited: int) -> bool:
        """Whether a configuration must be explored; then it is on record from now on."""
        known = self._known.get((stage, state))
        if known is None:
            self._known[stage, state] = [(used, credited)]
        else:
            for number, (other_used, other_credited) in enumerate(known):
                if not ((other_credited ^ credited) | (other_used ^ used)) & ~other_credited:
                    if number:  # what dominates one dominates more
                        known[number], known[number >> 1] = known[number >> 1], known[number]
                    return False
            if len(known) < _DOMINANCE:
                known.append((used, credited))
            else:
                known[self._count % _DOMINANCE] = (used, credited)
        self._count += 1
        if self._count > _MEMO:
            self.forget()
        return True

    def forget(self) -> bool:
        """Drops everything; False if there was nothing."""
        if not self._count:
            return False
        self._known, self._count = {}, 0
        return True
