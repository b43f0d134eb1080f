"""Raft, after the extended paper (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm").

    start(command) --> leader's log --AppendEntries--> followers' logs --committed--> apply_ch, in order, on each server

    messages.py   what servers say to each other, and ApplyMsg
    rules.py      the paper's rules that are pure functions: majorities, which log is more up to date
    log.py        the log
    raft.py       Raft: roles, elections, replication, persistence, compaction

Read them in this order.
"""

from raft.log import Log
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
from raft.raft import Raft, Role

__all__ = [
    "AppendEntriesArgs",
    "AppendEntriesReply",
    "ApplyMsg",
    "InstallSnapshotArgs",
    "InstallSnapshotReply",
    "Log",
    "LogEntry",
    "Raft",
    "RequestVoteArgs",
    "RequestVoteReply",
    "Role",
    "StartResult",
]
