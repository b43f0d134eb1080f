"""A correct Raft without a lock: one thread owns the state, and everything else sends it events."""

from raft.messages import (
    AppendEntriesArgs,
    AppendEntriesReply,
    ApplyMsg,
    InstallSnapshotArgs,
    InstallSnapshotReply,
    LogEntry,
    RequestVoteArgs,
    RequestVoteReply,
    StartResult,
)
from raft.raft import Raft

__all__ = [
    "AppendEntriesArgs",
    "AppendEntriesReply",
    "ApplyMsg",
    "InstallSnapshotArgs",
    "InstallSnapshotReply",
    "LogEntry",
    "Raft",
    "RequestVoteArgs",
    "RequestVoteReply",
    "StartResult",
]
