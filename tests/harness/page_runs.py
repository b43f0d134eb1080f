"""Runs to make pages of: a short one in which everything happens, and a long one."""

from __future__ import annotations

import itertools
from random import Random
from typing import Any

from labrpc.codec import EnumRecord, Record, encode
from labrpc.journal import (
    Annotated,
    AnnotationEnded,
    Applied,
    Booted,
    Controlled,
    Delivered,
    Dropped,
    Faulted,
    Printed,
    Reported,
    Returned,
    Saved,
    Saving,
    Sent,
    Stopped,
)
from tester.porcupine import KvInput, KvOutput, Operation
from tester.timeline.reading import Message, Note, Progress, Reading, RoleSpan

__all__ = ["MS", "OPERATIONS", "journal", "lasting", "sent", "synthetic"]

MS = 1_000_000


def sent(at: int, number: int, source: str, target: str, method: str, reply_to: int = 0, **fields: Any) -> Sent:
    return Sent(at * MS, number, reply_to, source, 1, target, method, encode(Record("Message", fields)))


def journal(printed: str = "I lead") -> list[Any]:
    """Server 2 is elected in term 1 at 120 ms, replicates an entry for a clerk, and is cut off."""
    entry = Record("LogEntry", {"term": 1, "command": "put x"})
    vote, append = "Raft.request_vote", "Raft.append_entries"
    heard = {"prev_log_index": 0, "prev_log_term": 0}
    return [
        *(Booted(0, host, 1, 0, 0) for host in ("0", "1", "2", "c0")),
        sent(100, 1, "2", "0", vote, term=1, candidate_id=2, last_log_index=0, last_log_term=0),
        sent(100, 2, "2", "1", vote, term=1, candidate_id=2, last_log_index=0, last_log_term=0),
        Dropped(100 * MS, 2, "lost"),
        Delivered(110 * MS, 1),
        sent(111, 3, "0", "2", vote, 1, term=1, vote_granted=True),
        Delivered(119 * MS, 3),
        sent(120, 4, "2", "0", append, term=1, leader_id=2, **heard, entries=[], leader_commit=0),
        Printed(121 * MS, "2", "main", printed),
        Annotated(122 * MS, "2", "elected", printed),
        Delivered(130 * MS, 4),
        Controlled(140 * MS, "c0", 1, "put", encode(("x", "1", 0))),
        sent(140, 5, "c0", "2", "KV.put", key="x", value="1", version=0),
        Delivered(150 * MS, 5),
        Saving(151 * MS, "2", 1, 80, -1, 7),
        Saved(152 * MS, "2", 1),
        sent(153, 6, "2", "0", append, term=1, leader_id=2, **heard, entries=[entry], leader_commit=0),
        Delivered(160 * MS, 6),
        sent(161, 7, "0", "2", append, 6, term=1, success=True),
        Delivered(170 * MS, 7),
        Delivered(172 * MS, 7),
        Applied(
            171 * MS,
            "2",
            encode(Record("ApplyMsg", {"command_valid": True, "command": "put x", "command_index": 1})),
        ),
        sent(173, 8, "2", "c0", "KV.put", 5, err=EnumRecord("Err", "OK")),
        Delivered(180 * MS, 8),
        Returned(180 * MS, "c0", 1, encode("OK")),
        Controlled(182 * MS, "0", 2, "get_state", encode(())),
        Returned(183 * MS, "0", 2, encode((1, False))),
        Faulted(200 * MS, "partition", "0 1 | 2 c0"),
        Faulted(201 * MS, "disconnect", "1"),
        Stopped(230 * MS, "0", 1, "crash"),
        Controlled(240 * MS, "c0", 3, "get", encode(("x",))),
        Reported(250 * MS, "1", "died", "thread x died", "raft.py:3", ""),
    ]


OPERATIONS = [
    Operation("c0", KvInput("put", "x", "1", 0), 140 * MS, KvOutput("OK", "", 0), 180 * MS),
    Operation("c0", KvInput("get", "x"), 240 * MS),
]


def synthetic(events: int) -> Reading:
    """A run of about so many events: five servers, the leader of which sends appends, 100 entries a virtual second."""
    hosts = [str(number) for number in range(5)]
    reading = Reading(servers=hosts, events=events)
    numbers = itertools.count(1)
    random = Random(1)
    at = index = 0
    while 2 * len(reading.messages) + len(reading.notes) < events:
        index += 1
        at += 10 * MS
        entry = Record("LogEntry", {"term": 1 + index // 500, "command": random.getrandbits(40)})
        for follower in hosts[1:]:
            term = 1 + index // 500
            asked = {"term": term, "prev_log_index": index - 1, "prev_log_term": term, "entries": [entry]}
            request = Message(next(numbers), 0, "0", follower, "Raft.append_entries", at, 90, Record("Args", asked))
            request.arrivals = [at + random.randrange(MS, 8 * MS)]
            answer = Record("Reply", {"term": term, "success": True})
            reply = Message(
                next(numbers), request.number, follower, "0", "Raft.append_entries", request.arrivals[0], 30, answer
            )
            if index % 11:
                reply.arrivals = [reply.sent + random.randrange(MS, 8 * MS)]
            else:
                reply.dropped, reply.reason = reply.sent, "lost"
            reading.messages[request.number] = request
            reading.messages[reply.number] = reply
        for host in hosts:
            reading.notes.append(Note(at + 9 * MS, host, "apply", f"applies {index}: {entry.command}", value=index))
            reading.progress.append(Progress(at + 9 * MS, host, index, 1 + index // 500, index, index))
    reading.end = at + 20 * MS
    for host in hosts:
        for start in range(0, reading.end, 5000 * MS):
            end = min(start + 5000 * MS, reading.end)
            reading.roles.append(RoleSpan(host, start, end, "L" if host == "0" else "F", 1 + start // (5000 * MS)))
    return reading


def lasting() -> list[Any]:
    """Server 2 is elected, waits in two places at once, and crashes in one of them; server 0 waits to the end."""
    return [
        *journal()[:-2],
        Annotated(201 * MS, "2", "commit", "index 1", 2, True),
        Annotated(202 * MS, "2", "commit", "index 2", 3, False),
        Annotated(203 * MS, "1", "hold", "the lock", 1, True),
        AnnotationEnded(206 * MS, "2", 2),
        AnnotationEnded(222 * MS, "2", 3),
        Annotated(223 * MS, "2", "commit", "index 3", 4, True),
        Stopped(230 * MS, "2", 1, "crash"),
        *journal()[-2:],
    ]
