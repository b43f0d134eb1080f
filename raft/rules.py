"""The paper's rules that need no server: pure functions."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["committed_index", "is_at_least_as_up_to_date", "majority", "quorum_heard_at"]


def majority(servers: int) -> int:
    """How many of `servers` any two majorities share at least one of (§5.2)."""
    return servers // 2 + 1


def is_at_least_as_up_to_date(
    *, last_log_term: int, last_log_index: int, than_last_log_term: int, than_last_log_index: int
) -> bool:
    """Whether a log that ends in the first pair may lead one that ends in the second (§5.4.1).

    The later last term wins; with equal terms, the longer log. Length alone is not enough: in Figure 8 a long log of
    old entries would overwrite a committed newer one.
    """
    return (last_log_term, last_log_index) >= (than_last_log_term, than_last_log_index)


def quorum_heard_at(heard_at: Sequence[float]) -> float:
    """The latest time by which a majority had been heard from, by when each server last was."""
    return sorted(heard_at, reverse=True)[majority(len(heard_at)) - 1]


def committed_index(match_index: Sequence[int]) -> int:
    """The highest index that a majority of servers has, by each one's highest matching index (Fig. 2, Leaders)."""
    return sorted(match_index)[len(match_index) - majority(len(match_index))]
