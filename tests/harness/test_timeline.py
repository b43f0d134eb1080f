"""The terminal timeline: what a row says of each event, and how it fits a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from labrpc.codec import Record, encode
from labrpc.journal import Annotated, Booted, Delivered, Dropped, Faulted, Printed, Reported, Sent, Stopped
from tester.raft_cluster import RaftCluster
from tester.run import Run
from tester.timeline.terminal import render, rows_of


def booted(*hosts: str) -> list[Any]:
    return [Booted(0, host, 1, 0, 0) for host in hosts]


def sent(at: int, number: int, source: str, target: str, method: str, reply_to: int = 0, **fields: Any) -> Sent:
    return Sent(at, number, reply_to, source, 1, target, f"Raft.{method}", encode(Record("Message", fields)))


def story(events: list[Any]) -> list[str]:
    return [f"{row.actor} {'; '.join(row.phrases)}".strip() for row in rows_of(events)[1]]


def drawn(events: Any, *, width: int = 80, colour: bool = False, last: int = 24) -> str:
    out = io.StringIO()
    Console(file=out, width=width, force_terminal=colour, no_color=not colour, legacy_windows=False).print(
        render(events, last=last)
    )
    return out.getvalue()


ELECTION = [
    *booted("0", "1", "2"),
    sent(10, 1, "0", "1", "request_vote", term=3, candidate_id=0),
    sent(10, 2, "0", "2", "request_vote", term=3, candidate_id=0),
    Delivered(20, 1),
    sent(21, 3, "1", "0", "request_vote", 1, term=3, vote_granted=True),
    Delivered(30, 3),
    sent(31, 4, "0", "1", "append_entries", term=3, entries=[]),
    sent(131, 5, "0", "1", "append_entries", term=3, entries=[]),
    sent(231, 6, "0", "1", "append_entries", term=3, entries=[]),
]


def test_an_election_reads_as_a_story():
    assert story(ELECTION) == [
        "0 stands for term 3",
        "1 votes for 0, term 3",
        "0 leads term 3",
        "0 heartbeats of term 3",
    ]


def test_lanes_show_role_and_term_and_what_repeats_is_counted():
    lanes, rows = rows_of(ELECTION)
    assert lanes == ["0", "1", "2"]
    assert [row.state for row in rows] == [
        {"0": "C3", "1": "F0", "2": "F0"},
        {"0": "C3", "1": "F3", "2": "F0"},
        {"0": "L3", "1": "F3", "2": "F0"},
        {"0": "L3", "1": "F3", "2": "F0"},
    ]
    assert rows[-1].times == 2


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Stopped(5, "1", 1, "crash"), "1 crashes"),
        (Stopped(5, "1", 1, "shutdown"), "1 is shut down"),
        (Booted(5, "1", 2, 0, 0), "1 restarts (incarnation 2)"),
        (Faulted(5, "partition", "0 | 1 2"), "partition 0 | 1 2"),
        (Printed(5, "1", "main", "hello"), "1 » hello"),
        (Annotated(5, "1", "vote", "granted"), "1 [vote] granted"),
        (Reported(5, "1", "died", "thread x died", "", ""), "1 ! thread x died"),
    ],
    ids=lambda value: value.split()[-1] if isinstance(value, str) else "",
)
def test_every_kind_of_event_has_its_words(event, expected):
    assert story([*booted("0", "1", "2"), event]) == [expected]


def test_a_lost_vote_request_is_told_with_its_reason_once():
    events = [*ELECTION[:5], Dropped(15, 1, "1 is disconnected"), Dropped(16, 2, "1 is disconnected")]
    assert story(events)[1] == "0 vote requests of term 3 are lost: 1 is disconnected"
    assert rows_of(events)[1][1].times == 2


def test_servers_that_are_down_or_cut_off_are_marked():
    lanes = rows_of([*booted("0", "1"), Faulted(1, "disconnect", "0"), Stopped(2, "1", 1, "crash")])[1][-1].state
    assert lanes == {"0": "F0x", "1": "-"}


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal_and_needs_no_colour(width):
    run = Run(3)
    cluster = RaftCluster(run, 7)
    cluster.one_leader()
    cluster.disconnect(0, 1, 2)
    cluster.one_leader()
    plain, whole = drawn(cluster.journal, width=width, last=10), drawn(cluster.journal, width=width, last=1000)
    run.close()
    assert max(map(len, plain.splitlines())) <= width
    assert "\x1b" not in plain
    assert "earlier rows" in plain
    assert "leads term" in whole
    assert "earlier rows" not in whole


def test_colour_adds_to_the_text_and_never_replaces_it():
    assert "\x1b[" in drawn(ELECTION, colour=True)
    assert "L3" in drawn(ELECTION)
