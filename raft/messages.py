"""What Raft servers say to each other (Fig. 2, Fig. 13) and to their service. Indices start at 1."""

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
    "PersistentState",
    "RequestVoteArgs",
    "RequestVoteReply",
    "StartResult",
]


@message
@dataclass
class LogEntry:
    """A command for the state machine, and the term in which a leader received it (Fig. 2, log[])."""

    term: int
    command: Any


@message
@dataclass
class RequestVoteArgs:
    """A candidate asks for a vote (Fig. 2, RequestVote RPC)."""

    term: int
    candidate_id: int
    last_log_index: int
    last_log_term: int


@message
@dataclass
class RequestVoteReply:
    """`term` is for the candidate to update itself (Fig. 2)."""

    term: int
    vote_granted: bool


@message
@dataclass
class AppendEntriesArgs:
    """A leader replicates entries; with none it is a heartbeat (Fig. 2, AppendEntries RPC)."""

    term: int
    leader_id: int
    prev_log_index: int
    prev_log_term: int
    entries: list[LogEntry]
    leader_commit: int


@message
@dataclass
class AppendEntriesReply:
    """`success`: the follower had an entry that matches prev_log_index and prev_log_term (Fig. 2).

    If not, the rest says how far back the logs may agree (§5.3, end): `conflict_term` is the term of the follower's
    entry at prev_log_index, 0 if its log is shorter; `conflict_index` is the first index of that term in its log, or
    where its log ends, plus one.
    """

    term: int
    success: bool
    conflict_term: int = 0
    conflict_index: int = 0


@message
@dataclass
class InstallSnapshotArgs:
    """A leader replaces a follower's log prefix by a snapshot (Fig. 13).

    Deviation: it is sent whole, so there are no offset and done.
    """

    term: int
    leader_id: int
    last_included_index: int
    last_included_term: int
    data: bytes


@message
@dataclass
class InstallSnapshotReply:
    """`term` is for the leader to update itself (Fig. 13)."""

    term: int


@message
@dataclass
class PersistentState:
    """What a server must find again after a crash (Fig. 2, "Persistent state on all servers")."""

    current_term: int
    voted_for: int | None
    last_included_index: int
    last_included_term: int
    log: list[bytes]
    """The entries after the snapshot, each encoded."""


@message
@dataclass
class ApplyMsg:
    """What a server hands to its service: a committed command, or a snapshot to start over from."""

    command_valid: bool = False
    command: Any = None
    command_index: int = 0
    snapshot_valid: bool = False
    snapshot: bytes = b""
    snapshot_index: int = 0
    snapshot_term: int = 0


class StartResult(NamedTuple):
    """Where the command will stand in the log if it is ever committed; (-1, term, False) from one that is no leader."""

    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody wants here
    term: int
    is_leader: bool
