"""The terminal timeline: what a row says of each event, which rows are shown, and how they fit a terminal."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from labrpc.codec import Record, encode
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
from tester.kv_traffic import run_traffic
from tester.raft_cluster import RaftCluster
from tester.run import Run
from tester.service_cluster import ReplicatedKVCluster
from tester.timeline.reading import read
from tester.timeline.rows import KEY, Cited, Gap, between, near, rows_of
from tester.timeline.svg import svg
from tester.timeline.terminal import lines


def booted(*hosts: str) -> list[Any]:
    return [Booted(0, host, 1, 0, 0) for host in hosts]


def sent(at: int, number: int, source: str, target: str, method: str, reply_to: int = 0, **fields: Any) -> Sent:
    return Sent(at, number, reply_to, source, 1, target, f"Raft.{method}", encode(Record("Message", fields)))


def applied(at: int, host: str, index: int, command: Any) -> Applied:
    message = Record("ApplyMsg", {"command_valid": True, "command": command, "command_index": index})
    return Applied(at, host, encode(message))


def story(events: list[Any], **options: Any) -> list[str]:
    return [f"{row.actor} {row.phrase}".strip() for row in between(rows_of(read(events)), **options)]


def drawn(events: Any, *, width: int = 80, colour: bool = False, **options: Any) -> list[str]:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=colour, no_color=not colour, legacy_windows=False)
    for line in lines(read(events), width=width, **options):
        console.print(line, soft_wrap=True)
    return out.getvalue().splitlines()


def table(events: Any, **options: Any) -> list[str]:
    """The lines of rows, without the heading and what explains the marks."""
    return [line for line in drawn(events, **options) if re.match(r"[┏┃┗* ]* +\d+\.\d{4} ", line)]


REFUSAL = sent(0, 91, "2", "1", "request_vote", 90, term=0, vote_granted=False)
"""A message of Raft that changes nothing."""
ENTRY = Record("LogEntry", {"term": 3, "command": "x"})
ELECTION = [
    *booted("0", "1", "2"),
    sent(10, 1, "0", "1", "request_vote", term=3, candidate_id=0),
    sent(10, 2, "0", "2", "request_vote", term=3, candidate_id=0),
    Delivered(20, 1),
    sent(21, 3, "1", "0", "request_vote", 1, term=3, vote_granted=True),
    Delivered(30, 3),
    sent(31, 4, "0", "1", "append_entries", term=3, prev_log_index=0, entries=[]),
    sent(31, 5, "0", "2", "append_entries", term=3, prev_log_index=0, entries=[]),
    Delivered(40, 5),
    sent(131, 6, "0", "1", "append_entries", term=3, prev_log_index=0, entries=[]),
]


def test_an_election_reads_as_a_story():
    assert story(ELECTION) == ["0 stands for term 3", "1 votes for 0, term 3", "0 leads term 3"]


def test_all_of_it_has_what_is_routine_too():
    assert story(ELECTION, full=True) == [
        "0 starts",
        "1 starts",
        "2 starts",
        "0 stands for term 3",
        "0 asks 1, 2 for a vote",
        "1 votes for 0, term 3",
        "0 leads term 3",
        "0 sends a heartbeat to 1, 2 (×2)",
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Stopped(5, "1", 1, "crash"), "1 crashes"),
        (Stopped(5, "1", 1, "shutdown"), "1 is shut down"),
        (Booted(5, "1", 2, 0, 0), "1 restarts (incarnation 2)"),
        (Faulted(5, "partition", "0 | 1 2"), "partition 0 | 1 2"),
        (Faulted(5, "disconnect", "1"), "disconnected 1"),
        (Printed(5, "1", "main", "hello"), "1 » hello"),
        (Annotated(5, "1", "vote", "granted"), "1 [vote] granted"),
        (Reported(5, "1", "died", "thread x died", "", ""), "1 ! thread x died"),
        (applied(5, "1", 7, "y"), "1 applies 7: y"),
        (sent(5, 9, "1", "2", "install_snapshot", last_included_index=4, term=1), "1 sends 2 its snapshot of index 4"),
        (
            sent(5, 9, "1", "2", "append_entries", term=1, prev_log_index=3, entries=[ENTRY] * 2),
            "1 appends index 4–5 (term 3) to 2",
        ),
    ],
    ids=lambda value: value.split()[-1] if isinstance(value, str) else "",
)
def test_every_kind_of_event_has_its_words(event, expected):
    assert story([*booted("0", "1", "2"), event])[-1] == expected


def test_who_stands_though_a_leader_was_heard_is_told_for_how_long_it_was_not():
    append = sent(200_000_000, 7, "0", "2", "append_entries", term=3, prev_log_index=0, entries=[])
    stands = sent(290_000_000, 8, "2", "0", "request_vote", term=4, candidate_id=2)
    events = [*ELECTION[:7], append, Delivered(210_000_000, 7), stands]
    assert story(events)[-1] == "2 stands for term 4, 0.080 s after hearing leader 0"


def test_a_vote_request_that_is_sent_late_makes_no_candidate_of_a_leader_or_of_who_follows_it():
    follows = sent(60, 20, "1", "0", "append_entries", 4, term=3, success=True)
    late = [sent(70, 21, "0", "2", "request_vote", term=3), sent(80, 22, "1", "2", "request_vote", term=3)]
    events = [*ELECTION[:10], Delivered(50, 4), follows, *late]
    assert [text for text in story(events) if "stands" in text or "leads" in text] == [
        "0 stands for term 3",
        "0 leads term 3",
    ]


def test_the_marks_that_a_timeline_has_are_explained_below_it():
    assert drawn(ELECTION)[-1].endswith("0 leads term 3")
    events = [*ELECTION, Faulted(200, "unreliable", ""), Faulted(201, "disconnect", "0")]
    assert drawn(events, verdict="server 1 voted twice in term 3")[-1] == (
        "* is about what the verdict names; x cut off; ┃ a fault of the network lasts"
    )


def test_an_interval_has_a_row_where_it_begins_and_one_where_it_ends():
    events = [
        *booted("0"),
        Annotated(100_000_000, "0", "election", "term 3", 1, lasts=True),
        AnnotationEnded(350_000_000, "0", 1),
    ]
    assert story(events) == ["0 [election] term 3 …", "0 [election] term 3, until now: 0.2500 s"]


def test_saves_are_routine():
    events = [*booted("0"), Saving(5, "0", 1, 80, -1, 7), Saved(6, "0", 1)]
    assert story(events) == []
    assert story(events, full=True)[1:] == ["0 saves 80 bytes", "0 save 1 is durable"]


def test_a_client_is_told_by_whom():
    events = [
        *booted("0", "c0"),
        Controlled(10, "c0", 1, "get", encode(("x",))),
        Sent(11, 1, 0, "c0", 1, "0", "KV.get", encode(Record("GetArgs", {"key": "x"}))),
        Delivered(12, 1),
        Sent(13, 2, 1, "0", 1, "c0", "KV.get", encode(Record("GetReply", {"value": "1"}))),
        Delivered(14, 2),
        Returned(15, "c0", 1, encode(("1", 1, "OK"))),
        Controlled(200, "c0", 2, "put", encode(("x", "2", 1))),
    ]
    assert story(events) == ["c0 get('x') -> ('1', 1, 'OK'), told by 0", "c0 put('x', '2', 1) …"]
    line = table(events)[-1]
    assert line.split()[1] == "c0", "where there is no Raft, there are no roles"


def test_what_follows_at_once_is_one_row():
    events = [
        *booted("0", "1", "2"),
        *(applied(5, "1", index, index * 10) for index in (3, 4, 5)),
        *(sent(6, n, "0", str(n), "append_entries", term=1, prev_log_index=0, entries=[ENTRY]) for n in (1, 2)),
        applied(7, "1", 7, 70),
    ]
    assert story(events) == ["1 applies 3–5", "0 leads term 1", "0 appends index 1 (term 3) to 1, 2", "1 applies 7: 70"]


def test_two_votes_are_two_rows():
    votes = [
        sent(5, 3, "1", "0", "request_vote", 1, term=3, vote_granted=True),
        sent(5, 4, "1", "2", "request_vote", 2, term=3, vote_granted=True),
    ]
    assert story([*booted("0", "1", "2"), *votes]) == [
        "1 votes for 0, term 3",
        "1 votes for 2, term 3, after it voted for 0",
    ]


def test_a_lost_vote_request_is_told_with_its_reason():
    events = [*ELECTION[:5], Dropped(15, 1, "1 is disconnected"), Dropped(16, 2, "1 is disconnected")]
    assert story(events)[1] == "0 loses its vote request to 1, 2 (disconnected)"
    line = table(events)[-1]
    assert "C3┄✕F0┄✕F0" in line


def test_what_a_closed_link_loses_again_and_again_is_told_once_a_term():
    again = sent(60, 7, "0", "1", "request_vote", term=3, candidate_id=0)
    newer = sent(70, 8, "0", "1", "request_vote", term=4, candidate_id=0)
    events = [*ELECTION[:5], Dropped(15, 1, "1 is disconnected"), again, Dropped(60_000_000, 7, "1 is disconnected")]
    events += [newer, Dropped(70_000_000, 8, "1 is disconnected")]
    assert [row for row in story(events) if "loses" in row] == ["0 loses its vote request to 1 (disconnected)"] * 2


def test_a_vote_that_comes_when_its_election_is_over_is_told_where_it_comes():
    newer = sent(25, 7, "0", "1", "request_vote", term=4, candidate_id=0)
    assert story([*ELECTION[:7], newer, Delivered(30, 3)])[-2:] == [
        "0 stands for term 4",
        "0 is told only now: 1 voted for it in term 3",
    ]


def test_an_append_that_comes_twice_is_told_where_it_comes_again():
    append = sent(40, 7, "0", "1", "append_entries", term=3, prev_log_index=3, entries=[ENTRY] * 2)
    assert story([*ELECTION[:7], append, Delivered(50, 7), Delivered(90, 7)])[-2:] == [
        "0 appends index 4–5 to 1",
        "1 gets the append of index 4–5 from 0 once more",
    ]


def test_a_client_s_lost_messages_are_told():
    put = Sent(10, 1, 0, "c0", 1, "0", "KV.put", encode(Record("PutArgs", {"key": "k"})))
    told = Sent(20, 2, 1, "0", 1, "c0", "KV.put", encode(Record("PutReply", {"err": "OK"})))
    assert story([*booted("0"), put, Dropped(15, 1, "lost")]) == ["c0 loses its put to 0"]
    assert story([*booted("0"), put, Delivered(15, 1), told, Dropped(25, 2, "lost")]) == [
        "0 loses its answer to c0's put"
    ]


def test_an_arrow_leads_from_the_sender_over_the_lanes_between_to_the_receiver():
    vote = sent(21, 3, "2", "0", "request_vote", 2, term=3, vote_granted=True)
    line = table([*ELECTION[:5], Delivered(20, 2), vote])[-1]
    assert "C3◄─────F3   2 votes for 0, term 3" in line


def test_servers_that_are_down_or_cut_off_are_marked():
    events = [*booted("0", "1", "2"), REFUSAL, Faulted(1, "disconnect", "0"), Stopped(2, "1", 1, "crash")]
    assert table(events)[-1].split()[1:4] == ["F0x", "-", "F0"]


def test_where_nobody_sends_a_message_of_raft_there_are_no_roles():
    events = [*booted("0", "1"), Faulted(1, "disconnect", "0"), Stopped(2, "1", 1, "crash"), Booted(3, "1", 2, 0, 0)]
    assert [span.role for span in read([*events, REFUSAL]).roles if span.lane == "1"] == ["F", "-", "F"]
    assert [span.role for span in read(events).roles if span.lane == "1"] == ["", "-", ""]
    assert [line.split()[1:3] for line in table(events)[-2:]] == [["x", "-"], ["x", "1"]]


def test_sides_of_a_partition_have_letters_and_a_bracket_spans_it():
    events = [
        *booted("0", "1", "2"),
        REFUSAL,
        Faulted(1, "partition", "0 | 1 2"),
        Stopped(2, "0", 1, "crash"),
        Faulted(3, "heal", ""),
        Stopped(4, "1", 1, "crash"),
    ]
    _, begin, inside, end, after = table(events)
    assert begin.split()[:5] == ["┏", "0.0000", "F0a", "F0b", "F0b"]
    assert inside.split()[:5] == ["┃", "0.0000", "-", "F0b", "F0b"]
    assert end.split()[:5] == ["┗", "0.0000", "-", "F0", "F0"]
    assert after.split()[:4] == ["0.0000", "-", "-", "F0"]


def test_only_what_a_server_did_or_was_sent_and_faults():
    events = [*ELECTION, Faulted(200, "partition", "0 | 1 2")]
    assert story(events, hosts=["1"]) == ["1 votes for 0, term 3", "partition 0 | 1 2"]
    assert story(events, hosts=["2"], full=True)[1:3] == ["0 asks 2 for a vote", "0 sends a heartbeat to 2"]


def test_only_what_happened_in_a_time():
    assert story(ELECTION, start=20, end=30) == ["1 votes for 0, term 3"]


def test_where_nothing_is_worth_a_row_that_is_said():
    assert drawn(booted("0", "1"))[-1] == "nothing but what is routine"


MANY = [*ELECTION, *(Printed(1_000 + number, "1", "main", f"line {number}") for number in range(500))]


def test_by_default_the_end_is_shown_and_before_it_what_is_key():
    shown = drawn(MANY)
    assert len(shown) <= 60
    assert shown[-1].endswith("» line 499")
    assert any("leads term 3" in line for line in shown)
    assert any("rows up to" in line for line in shown)
    assert len(drawn(MANY, full=True)) > 500


def test_long_lines_count_as_what_they_take():
    events = [*ELECTION, *(Printed(1_000 + n, "1", "main", f"{n} " + "word " * 60) for n in range(200))]
    assert len(drawn(events)) <= 60


def test_a_failure_before_the_end_is_shown_where_it_is():
    rows = near(between(rows_of(read(MANY))), most=30, focus=1_100)
    texts = [row.phrase for row in rows if not isinstance(row, Gap)]
    assert "» line 100" in texts
    assert "» line 106" in texts
    assert "» line 107" not in texts
    assert isinstance(rows[-1], Gap)


def test_what_the_verdict_names_is_kept_and_marked():
    cited = Cited.of("server 1 voted for 0 and for 2 in term 3 (§5.2: at most one vote per term) at 3.214 s")
    assert (cited.servers, cited.terms, cited.indices) == ({"1"}, {3}, frozenset())
    kept = near(between(rows_of(read(MANY))), most=12, cited=cited)
    assert [row.phrase for row in kept if not isinstance(row, Gap) and row.cited] == ["votes for 0, term 3"]
    marked = [line for line in table(MANY, verdict="server 1 voted twice in term 3") if line.startswith("*")]
    assert len(marked) == 1


@pytest.mark.parametrize(
    ("verdict", "servers", "indices"),
    [
        ("servers 1 and 6 both lead term 2", {"1", "6"}, set()),
        ("server 0 applied 12 at index 1, where server 2 had applied 11", {"0", "2"}, {1}),
        ("the history is not linearizable", set(), set()),
    ],
)
def test_what_a_verdict_names(verdict, servers, indices):
    cited = Cited.of(verdict)
    assert (cited.servers, cited.indices) == (servers, indices)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_fits_the_terminal_and_needs_no_colour(width):
    run = Run(3)
    cluster = RaftCluster(run, 7)
    cluster.one_leader()
    cluster.disconnect(0, 1, 2)
    cluster.one_leader()
    near_the_end, whole = drawn(cluster.journal, width=width), drawn(cluster.journal, width=width, full=True)
    run.close()
    for line in (*near_the_end, *whole):
        assert cell_len(line) <= width, line
        assert "\x1b" not in line
    assert any("leads term" in line for line in near_the_end)


def test_a_service_under_faults_is_drawn_whole_and_in_part():
    run = Run(5)
    cluster = ReplicatedKVCluster(run, 3, reliable=False, max_raft_state=1000)
    run_traffic(cluster, clients=2, partitions=True, crashes=True)
    reading = read(cluster.journal)
    run.close()
    rows = rows_of(reading)
    assert [row.order for row in rows] == sorted(row.order for row in rows)
    assert {"c0", "0", ""} <= {row.actor for row in rows}
    assert len(list(lines(reading, width=100))) <= 60
    assert len(list(lines(reading, width=100, full=True))) > 200


def test_a_long_run_is_read_at_its_end_with_the_roles_it_has_there():
    events = [*ELECTION, *(Printed(1_000 + number, "1", "main", f"line {number}") for number in range(500))]
    reading = read(events, last=50)
    assert reading.left_out >= 400
    assert reading.events == len(events)
    assert len(reading.notes) <= 100
    assert not reading.messages
    assert "are left out" in reading.what_is_left_out
    shown = [str(line) for line in lines(reading, width=80)]
    assert shown[-1].split()[1:4] == ["L3", "F3", "F3"]
    assert read(events).what_is_left_out == ""


def test_colour_adds_to_the_text_and_never_replaces_it():
    coloured = drawn(ELECTION, colour=True)
    assert any("\x1b[" in line for line in coloured)
    assert "L3" in table(ELECTION)[-1]


def test_key_rows_are_new_leaders_lives_and_faults():
    events = [*ELECTION, Faulted(200, "disconnect", "0"), Stopped(201, "1", 1, "crash")]
    keys = [row.phrase for row in between(rows_of(read(events))) if row.weight == KEY]
    assert keys == ["leads term 3", "disconnected 0", "crashes"]


def test_a_single_row_between_two_that_matter_is_shown():
    events = [*booted("0"), Faulted(1, "disconnect", "1"), Printed(2, "0", "main", "a"), Faulted(3, "connect", "1")]
    events += [Printed(at, "0", "main", str(at)) for at in range(4, 20)]
    shown = near(between(rows_of(read(events))), most=12)
    assert [row.phrase for row in shown[:3] if not isinstance(row, Gap)] == ["disconnected 1", "» a", "connected 1"]


# ------------------------------------------------------------------ as a picture


def test_a_picture_has_each_text_at_its_place_and_loads_nothing():
    picture = svg(lines(read(ELECTION), width=80, verdict="server 0 in term 3"), width=80, title="a < b")
    root = ElementTree.fromstring(picture)
    texts = {text.text: float(text.get("x") or 0) for text in root.iter("{http://www.w3.org/2000/svg}text")}
    column = drawn(ELECTION)[0].index("what happens")
    assert texts["what happens"] == pytest.approx(12 + column * 7.8, abs=0.1)
    assert "leads term 3" in texts
    assert "a &lt; b" in picture
    assert picture.count("http") == 1, "the name of the format alone"
