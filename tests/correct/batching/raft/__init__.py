"""A correct Raft that does everything in batches: saves, appends and answers."""

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
