"""The messages of Figures 2 and 13, with no field beyond theirs, and what goes to the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from labrpc import message

__all__ = [
    "AppendEntriesArgs",
    "AppendEntriesReply",
    "ApplyMsg",
    "InstallSnapshotArgs",
    "InstallSnapshotReply",
    "LogEntry",
    "RequestVoteArgs",
    "RequestVoteReply",
    "StartResult",
]


@message
@dataclass
class LogEntry:
    term: int
    command: Any


@message
@dataclass
class RequestVoteArgs:
    term: int
    candidate_id: int
    last_log_index: int
    last_log_term: int


@message
@dataclass
class RequestVoteReply:
    term: int
    vote_granted: bool


@message
@dataclass
class AppendEntriesArgs:
    term: int
    leader_id: int
    prev_log_index: int
    prev_log_term: int
    entries: list[LogEntry]
    leader_commit: int


@message
@dataclass
class AppendEntriesReply:
    term: int
    success: bool


@message
@dataclass
class InstallSnapshotArgs:
    term: int
    leader_id: int
    last_included_index: int
    last_included_term: int
    data: bytes


@message
@dataclass
class InstallSnapshotReply:
    term: int


@message
@dataclass
class ApplyMsg:
    command_valid: bool = False
    command: Any = None
    command_index: int = 0
    snapshot_valid: bool = False
    snapshot: bytes = b""
    snapshot_index: int = 0
    snapshot_term: int = 0


class StartResult(NamedTuple):
    index: int  # type: ignore[assignment]  # hides tuple.index
    term: int
    is_leader: bool
