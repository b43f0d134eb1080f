"""A correct Raft, as plain as Figure 2: it looks for the place where logs agree one entry at a time."""

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
