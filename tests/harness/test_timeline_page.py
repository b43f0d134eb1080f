"""The page of a run: all of the run is in it, nothing is loaded from elsewhere, and a browser shows it."""

from __future__ import annotations

import base64
import itertools
import json
import re
import statistics
import zlib
from importlib import resources
from random import Random
from typing import Any

import pytest

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
from tester.kv_traffic import run_traffic
from tester.porcupine import KvInput, KvOutput, Operation, check_operations_verbose, kv_model
from tester.run import Run
from tester.service_cluster import ReplicatedKVCluster
from tester.timeline.page import page_html, write_page
from tester.timeline.page_words import fields_of, label_of, words
from tester.timeline.reading import Message, Note, Progress, Reading, RoleSpan, read
from tests.harness.pages import HOSTILE, IN_LIGHT_AND_DARK, Page, assert_loads_nothing

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


def data_of(page: str) -> dict[str, Any]:
    (text,) = [text for attributes, text in Page(page).scripts if attributes.get("id") == "run"]
    return json.loads(zlib.decompress(base64.b64decode(text)))


def host_names(data: dict[str, Any], column: list[int]) -> list[str]:
    return [data["hosts"][number] if number >= 0 else "" for number in column]


def texts_of(data: dict[str, Any], column: list[int]) -> list[str]:
    return [data["texts"][number] for number in column]


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


# -------------------------------------------------------------- what is in it


def test_the_page_loads_nothing():
    text = page_html(read(journal()), title="a run")
    assert_loads_nothing(text)
    assert "{{" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_texts_are_data_and_nothing_else(value):
    text = page_html(read(journal(value)), title=value, verdict=value, facts={value: value})
    text.encode("utf-8")
    page = Page(text)
    assert page.tags.count("script") == len(page.scripts) == 2
    assert "b" not in page.tags
    shown = re.sub("[\ud800\x00]", "\N{REPLACEMENT CHARACTER}", value)
    assert page.texts.count(shown) == 5  # the title twice, the verdict, a fact and its name
    data = data_of(text)
    assert texts_of(data, data["notes"]["text"]).count(value) == 2


def test_every_message_is_in_it_with_its_fields_and_its_fate():
    data = data_of(page_html(read(journal()), title="a run"))
    columns = data["messages"]
    assert list(itertools.accumulate(columns["sent"])) == [at * MS for at in (100, 100, 111, 120, 140, 153, 161, 173)]
    assert columns["took"] == [at * MS for at in (10, 0, 8, 10, 10, 7, 9, 7)]
    assert texts_of(data, columns["lost"]) == ["", "lost", *[""] * 6]
    assert host_names(data, columns["from"]) == ["2", "2", "0", "2", "c0", "2", "0", "2"]
    assert host_names(data, columns["to"]) == ["0", "1", "2", "0", "2", "0", "2", "c0"]
    assert [data["message_kinds"][kind] for kind in columns["kind"]] == [
        "vote", "vote", "vote", "heartbeat", "client", "append", "append", "client",
    ]  # fmt: skip
    assert columns["request"] == [0, 0, 2, 0, 0, 0, 1, 3]
    assert columns["again"] == [[6, 11 * MS]]
    assert texts_of(data, columns["label"]) == [
        "vote?, term 1",
        "vote?, term 1",
        "vote yes, term 1",
        "heartbeat, term 1",
        "put 'x'",
        "append 1, term 1",
        "ok, term 1",
        "OK",
    ]
    shape, *values = data["bodies"][columns["body"][5]]
    type_name, names = data["shapes"][shape]
    assert type_name == "Message"
    assert dict(zip(names, values, strict=True)) == {
        "term": 1,
        "leader_id": 2,
        "prev_log_index": 0,
        "prev_log_term": 0,
        "entries": "1: term 1, 'put x'",
        "leader_commit": 0,
    }


def test_everything_else_that_happened_is_in_it():
    run = read(journal())
    data = data_of(page_html(run, title="a run", verdict="it failed", verdict_at=250 * MS))
    assert data["hosts"] == ["0", "1", "2", "c0"]
    assert data["servers"] == 3
    assert (data["events"], data["end"], data["verdict_at"]) == (len(journal()), 250 * MS, 250 * MS)
    notes = data["notes"]
    assert [
        (at, data["note_kinds"][kind], host, text, topic)
        for at, kind, host, text, topic in zip(
            itertools.accumulate(notes["at"]),
            notes["kind"],
            host_names(data, notes["host"]),
            texts_of(data, notes["text"]),
            texts_of(data, notes["topic"]),
            strict=True,
        )
    ] == [(note.at, note.kind, note.host, note.text, note.topic) for note in run.notes]
    calls = data["calls"]
    assert texts_of(data, calls["text"]) == ["put('x', '1', 0)", "get_state()", "get('x')"]
    assert texts_of(data, calls["result"]) == ["'OK'", "(1, False)", ""]
    assert calls["took"] == [40 * MS, 1 * MS, None]
    assert [(role, term) for role, term in zip(data["roles"]["role"], data["roles"]["term"], strict=True)] == [
        (span.role, span.term) for span in run.roles
    ]
    assert data["progress"]["applied_index"] == [step.applied_index for step in run.progress]
    assert [(band["kind"], band["hosts"], band["groups"]) for band in data["bands"]] == [
        ("partition", [], [[0, 1], [2, 3]]),
        ("disconnected", [1], []),
    ]


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


def test_intervals_are_in_it_with_their_ends_and_what_ended_them():
    data = data_of(page_html(read(lasting()), title="a run"))
    columns = data["intervals"]
    assert list(itertools.accumulate(columns["start"])) == [at * MS for at in (201, 202, 203, 223)]
    assert columns["took"] == [at * MS for at in (5, 20, 47, 7)]
    assert host_names(data, columns["host"]) == ["2", "2", "1", "2"]
    assert texts_of(data, columns["topic"]) == ["commit", "commit", "hold", "commit"]
    assert texts_of(data, columns["text"]) == ["index 1", "index 2", "the lock", "index 3"]
    assert columns["by"] == ["code", "code", "run", "crash"]


def test_a_failed_runs_verdict_is_at_its_end_unless_it_is_said_where():
    run = read(journal())
    assert data_of(page_html(run, title="a run"))["verdict_at"] is None
    assert data_of(page_html(run, title="a run", verdict="wrong"))["verdict_at"] == run.end
    assert data_of(page_html(run, title="a run", verdict="wrong", verdict_at=7))["verdict_at"] == 7
    with pytest.raises(ValueError, match=r"verdict_at -1 is not in 0\.\.250000000"):
        page_html(run, title="a run", verdict="wrong", verdict_at=-1)


def test_the_order_of_the_operations_is_in_it():
    info = check_operations_verbose(kv_model(), OPERATIONS)[1]
    order = data_of(page_html(read(journal()), title="a run", operations_verdict=(kv_model(), info)))["order"]
    assert order["call"] == [0, 2]
    assert order["place"][0] == 1
    assert 140 * MS < order["point"][0] < 180 * MS
    assert order["partitions"] == ["key 'x'"]
    assert order["culprit"] is None


def test_the_culprit_and_the_explanation_are_in_it_with_times_as_the_page_gives_them():
    unwritten = Operation("c0", KvInput("get", "x"), 240 * MS, KvOutput("OK", "7", 3), 250 * MS)
    info = check_operations_verbose(kv_model(), [OPERATIONS[0], unwritten])[1]
    order = data_of(page_html(read(journal()), title="a run", operations_verdict=(kv_model(), info)))["order"]
    assert order["culprit"] == 2
    assert order["place"] == [1, 0]
    assert order["explanation"]
    assert "called at 0.240000000 s, returned at 0.250000000 s" in order["explanation"]


def test_a_run_of_nothing_has_a_page_too():
    data = data_of(page_html(Reading(), title="nothing"))
    assert data["hosts"] == []
    assert data["messages"]["sent"] == []


# -------------------------------------------------------------- words


def said(method: str, reply_to: int = 0, kind: str = "other", **fields: Any) -> str:
    body = Record("Message", fields)
    return label_of(Message(1, reply_to, "0", "1", method, 0, 0, body), kind)


def test_labels_say_what_a_message_wants_or_answers():
    append = {"kind": "append", "term": 3, "prev_log_index": 4}
    assert said("Raft.append_entries", **append, entries=[1]) == "append 5, term 3"
    assert said("Raft.append_entries", **append, entries=[1, 2, 3]) == "append 5-7, term 3"
    assert said("Raft.install_snapshot", kind="snapshot", term=3, last_included_index=40) == "snapshot up to 40, term 3"
    assert said("Raft.append_entries", 1, "append", term=3, success=False) == "refused, term 3"
    assert said("Raft.request_vote", 1, "vote", term=3, vote_granted=False) == "vote no, term 3"
    assert said("KV.get", 1, "client", err="NO_KEY", value="") == "NO_KEY"
    assert said("Mine.do", what="x" * 500).endswith("…")
    assert label_of(Message(1, 0, "0", "1", "Mine.do", 0, 0, None), "other") == "do"


def test_values_are_shortened():
    assert words(b"x" * 1000) == f"1000 bytes: {b'x' * 16!r}…"
    assert words(list(range(9))) == "[0, 1, 2, 3, 4, 5, … 3 more]"
    assert words((1,)) == "(1,)"
    assert len(words({"k": "v" * 9000})) == 160
    entries = [Record("LogEntry", {"term": 2, "command": index}) for index in range(9)]
    body = Record("Args", {"prev_log_index": 4, "entries": entries, "huge": 2**60})
    type_name, names, values = fields_of(Message(1, 0, "0", "1", "Raft.append_entries", 0, 0, body))
    assert (type_name, names) == ("Args", ("prev_log_index", "entries", "huge"))
    assert values[1].splitlines()[0] == "5: term 2, 0"
    assert values[1].splitlines()[-1] == "… 3 more, up to 13"
    assert values[2] == str(2**60)
    assert fields_of(Message(1, 0, "0", "1", "x", 0, 0, None)) == ("", (), ())
    assert fields_of(Message(1, 0, "0", "1", "x", 0, 0, 7)) == ("int", ("value",), ("7",))


# -------------------------------------------------------------- sizes


def test_a_typical_run_is_a_small_page():
    run = Run(1)
    with ReplicatedKVCluster(run, 5) as cluster:
        run_traffic(cluster, 5, partitions=True)
        reading = read(cluster.journal)
        info = check_operations_verbose(kv_model(), cluster.clerks.history)[1]
    text = page_html(reading, title="a run", operations_verdict=(kv_model(), info))
    data = data_of(text)
    assert sum(row >= 0 for row in data["order"]["call"]) == len(data["order"]["call"]) > 20
    assert len(text) < 1_000_000
    assert len(text) < 100_000 + 40 * reading.events


def test_a_long_run_is_a_page_of_a_few_megabytes():
    reading = synthetic(100_000)
    assert len(page_html(reading, title="a long run")) < 5_000_000


def test_it_is_written_to_a_path(tmp_path):
    run = read(journal("\ud800"))
    write_page(run, tmp_path / "page.html", title="a run", verdict="wrong", facts={"seed": "7"})
    expected = page_html(run, title="a run", verdict="wrong", facts={"seed": "7"})
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == expected


def test_the_parts_of_the_page_are_packaged_and_short():
    pyproject = resources.files("tester").joinpath("..", "pyproject.toml").read_text(encoding="utf-8")
    assert '"tester.timeline" = ["page/*"]' in pyproject
    for part in resources.files("tester.timeline").joinpath("page").iterdir():
        assert len(part.read_text(encoding="utf-8").splitlines()) < 500, part.name


# -------------------------------------------------------------- in a browser


@pytest.fixture
def show(open_in_browser, tmp_path) -> Any:
    """Opens the page of a run."""
    count = itertools.count()

    def open_page(reading: Reading, link: str = "", **said: Any) -> Any:
        path = tmp_path / f"page{next(count)}.html"
        write_page(reading, path, title="a run", **said)
        page = open_in_browser(path, link)
        page.wait_for_function("document.documentElement.dataset.ready === 'true'")
        settle(page)
        return page

    return open_page


def settle(page: Any) -> None:
    """Until what was changed is drawn, and in the address."""
    page.wait_for_timeout(250)


HOVER = """(text) => {
    const chart = document.getElementById("chart");
    const tip = document.getElementById("tip");
    const { left, top, width, height } = chart.getBoundingClientRect();
    for (let y = 30; y < height; y += 7) {
        for (let x = 116; x < width; x += 5) {
            chart.dispatchEvent(new PointerEvent("pointermove", { clientX: left + x, clientY: top + y }));
            if (!tip.hidden && tip.querySelector("strong").textContent.startsWith(text)) return [left + x, top + y];
        }
    }
    return null;
}"""


def hover(page: Any, text: str) -> str:
    """Looks for a place on the chart whose tip begins with `text`, and points there; all that the tip says."""
    place = page.evaluate(HOVER, text)
    assert place, f"nothing shows {text}"
    page.mouse.move(0, 0)
    page.mouse.move(*place)
    assert page.locator("#tip strong").inner_text().startswith(text)
    said: str = page.locator("#tip").inner_text()
    return said


def states(page: Any) -> dict[str, list[str]]:
    """What the side panel says of each server."""
    rows = page.locator("#states tbody tr[data-host]")
    return {row.get_attribute("data-host"): row.locator("td").all_inner_texts()[1:] for row in rows.all()}


def picture(page: Any) -> bytes:
    settle(page)
    return page.locator("#chart").screenshot()


@IN_LIGHT_AND_DARK
def test_a_browser_shows_the_verdict_and_opens_before_it(show):
    page = show(read(journal()), verdict="server 2 lost an entry", facts={"seed": "7"})
    assert page.locator("#verdict").inner_text() == "server 2 lost an entry"
    assert "seed" in page.locator("#facts").inner_text()
    assert page.locator("#cursor-time").inner_text() == "0.250000000 s"
    assert "messages in view" in page.locator("#in-view").inner_text()
    assert page.locator("#go-culprit").is_hidden()
    assert page.locator("#printed li").count() == 2
    assert "I lead" in page.locator("#printed").inner_text()


def test_pointing_at_a_message_shows_its_fields_and_its_reply(show):
    page = show(read(journal()))
    shown = hover(page, "2 → 0  append 1, term 1")
    for text in ("prev_log_index\n0", "1: term 1, 'put x'", "leader_commit\n0", "sent\n0.153000000 s", "after 7 ms"):
        assert text in shown.replace("\t", "\n")
    assert "its reply: ok, term 1" in shown
    assert "success" in shown
    lost = hover(page, "2 → 1  vote?, term 1")
    assert "✗ lost" in lost


def test_pointing_at_an_operation_a_role_and_a_fault_shows_them(show):
    info = check_operations_verbose(kv_model(), OPERATIONS)[1]
    page = show(read(journal()), operations_verdict=(kv_model(), info))
    operation = hover(page, "put('x', '1', 0) → 'OK'")
    assert "in the order" in operation
    assert "state after" in operation
    assert "leader of term 1" in hover(page, "server 2: leader")
    assert "the end of the run, 50 ms" in hover(page, "partition 0 1")
    assert "reaches nobody" in hover(page, "server 1: disconnected")


def test_the_state_at_the_cursor_is_that_of_its_time(show):
    page = show(read(journal()), "#t=0.115")
    assert states(page) == {
        "0": ["F", "1", "0 (t0)", "0", "0"],
        "1": ["F", "0", "0 (t0)", "0", "0"],
        "2": ["C", "1", "0 (t0)", "0", "0"],
    }
    page = show(read(journal()), "#t=0.24")
    assert states(page)["0"][0] == "-"
    assert states(page)["2"] == ["L", "1", "1 (t1)", "1", "1"]
    assert page.locator("#states .status").all_inner_texts() == ["⚠ cut off from all others"] * 3
    assert "partition 0 1" in page.locator("#network").inner_text()
    page = show(read(journal()), "#t=0.2005")
    assert page.locator("#states .status").all_inner_texts() == [
        "⚠ cut off from 2",
        "⚠ cut off from 2",
        "⚠ cut off from all others",
    ]


def test_a_link_opens_at_its_time_and_lane_and_the_cursor_writes_it(show):
    page = show(read(journal()), "#t=0.12&server=2&from=0.1&to=0.2")
    assert page.locator("#cursor-time").inner_text() == "0.120000000 s"
    assert page.locator("#in-view").inner_text().startswith("100 ms")
    assert page.locator("#states tr.chosen").get_attribute("data-host") == "2"
    assert page.locator("#events-of").inner_text() == "of server 2"
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.evaluate("location.hash").startswith("#t=0.121&server=2&from=0.1&to=0.2")
    page.evaluate("location.hash = '#t=0.05&clerk=0'")
    settle(page)
    assert page.locator("#cursor-time").inner_text() == "0.050000000 s"
    assert page.locator("#events-of").inner_text() == "of clerk 0"


def test_search_finds_texts_fields_and_operations(show):
    page = show(read(journal()))
    page.keyboard.press("/")
    for text, hits in (("I LEAD", 2), ("leader_commit=0", 2), ("put x", 2), ("partition", 1), ("no such", 0)):
        page.locator("#search").fill(text)
        found = page.locator("#hits").inner_text()
        assert found == (f"{hits} hit{'s' * (hits > 1)}" if hits else "no hit")
    page.locator("#search").fill("i lead")
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#hits").inner_text() == "1 of 2"
    assert page.locator("#cursor-time").inner_text() == "0.121000000 s"
    assert "I lead" in page.locator("#tip").inner_text()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.keyboard.press("Shift+Enter")
    assert page.locator("#hits").inner_text() == "2 of 2"


def test_filters_and_lanes_hide(show):
    page = show(read(journal()))
    assert page.locator("#in-view").inner_text().endswith("8 messages in view")
    page.keyboard.press("h")
    settle(page)
    assert page.locator("#in-view").inner_text().endswith("7 messages in view")
    assert page.locator("[data-filter=heartbeat]").get_attribute("aria-pressed") == "false"
    for name, left in (("reply", 4), ("lost", 3), ("client", 2), ("append", 1), ("vote", 0)):
        page.locator(f"[data-filter={name}]").click()
        settle(page)
        assert f" {left} message" in page.locator("#in-view").inner_text()
    assert page.locator("[data-filter=snapshot]").count() == 0  # there is none in this run
    page.locator("[data-filter=vote]").click()
    with_lane = picture(page)
    page.locator("#lanes summary").click()
    page.locator("#lane-list input[data-host='0']").uncheck()
    page.keyboard.press("Escape")
    assert picture(page) != with_lane
    assert " 0 messages" in page.locator("#in-view").inner_text()


@IN_LIGHT_AND_DARK
def test_intervals_are_bars_that_say_how_long_they_were(show):
    page = show(read(lasting()), "#t=0.25&from=0.19&to=0.25")
    first = hover(page, "¶ index 1").replace("\t", "\n")
    for text in ("server 2", "tag\ncommit", "lasted\n5 ms", "from\n0.201000000 s", "to\n0.206000000 s"):
        assert text in first
    assert "lasted\n7 ms, to the crash" in hover(page, "¶ index 3").replace("\t", "\n")
    assert "lasted\n47 ms, to the end of the run" in hover(page, "¶ the lock").replace("\t", "\n")
    rows = [page.evaluate(HOVER, f"¶ index {index}")[1] for index in (1, 2)]
    assert rows[0] < rows[1]  # they overlap in time: one below the other


def test_intervals_are_found_filtered_stepped_to_and_listed(show):
    page = show(read(lasting()), "#t=0.2&server=2")
    page.locator("#search").fill("INDEX 2")
    assert page.locator("#hits").inner_text() == "1 hit"
    page.keyboard.press("Enter")
    settle(page)
    assert page.locator("#cursor-time").inner_text() == "0.202000000 s"
    assert "index 2" in page.locator("#tip").inner_text()
    assert page.locator("#printed li span").last.inner_text() == "[commit] index 2 (20 ms)"
    page.keyboard.press("Escape")
    page.keyboard.press("Escape")
    texts = []
    for _ in range(3):
        page.keyboard.press("n")
        settle(page)
        texts.append(page.locator("#events .here span").inner_text())
    assert texts == ["¶ begins commit: index 2", "¶ begins hold: the lock", "¶ ends, after 5 ms, commit: index 1"]
    with_bars = picture(page)
    page.locator("[data-filter=annotate]").click()
    assert picture(page) != with_bars
    assert page.evaluate(HOVER, "¶ index") is None


def test_more_intervals_at_once_than_rows_are_still_reached(show):
    events = [Annotated(n * MS, "0", "many", f"number {n}", n + 1, True) for n in range(10)]
    page = show(read([Booted(0, "0", 1, 0, 0), *events, Stopped(90 * MS, "0", 1, "crash")]))
    for n in (0, 3, 9):
        assert "to the crash" in hover(page, f"¶ number {n}")


def test_keys_step_through_the_events_of_the_chosen_lane(show):
    page = show(read(journal()), "#t=0")
    page.keyboard.press("ArrowDown")
    texts = []
    for _ in range(5):
        page.keyboard.press("n")
        settle(page)
        texts.append(page.locator("#events .here span").inner_text())
    assert texts == [
        "▲ starts",
        "← 2 vote?, term 1",
        "F follower of term 1",
        "→ 2 vote yes, term 1",
        "← 2 heartbeat, term 1",
    ]
    assert page.locator("#tip strong").inner_text() == "2 → 0  heartbeat, term 1"
    page.keyboard.press("p")
    settle(page)
    assert page.locator("#cursor-time").inner_text() == "0.111000000 s"
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_keys_zoom_choose_the_theme_and_help(show):
    page = show(read(journal()))
    whole = picture(page)
    page.keyboard.press("+")
    assert picture(page) != whole
    page.keyboard.press("0")
    assert picture(page) == whole
    page.keyboard.press("d")
    assert picture(page) != whole
    page.keyboard.press("d")
    assert picture(page) == whole
    page.keyboard.press("s")
    assert page.locator("#panel").is_hidden()
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#help").is_hidden()


def test_the_pointer_moves_and_boxes(show):
    page = show(read(journal()))
    box = page.locator("#chart").bounding_box()
    middle = box["x"] + 500, box["y"] + 300
    page.mouse.move(*middle)
    page.keyboard.down("Shift")
    page.mouse.down()
    page.mouse.move(middle[0] + 80, middle[1], steps=4)
    page.mouse.up()
    page.keyboard.up("Shift")
    settle(page)
    boxed = page.evaluate("location.hash")
    assert float(page.locator("#in-view").inner_text().split()[0]) < 40  # ms, of 260
    page.mouse.down()
    page.mouse.move(middle[0] - 100, middle[1], steps=4)
    page.mouse.up()
    settle(page)
    assert page.evaluate("location.hash") != boxed
    page.mouse.wheel(0, 2000)
    settle(page)
    assert float(page.locator("#in-view").inner_text().split()[0]) > 200


def test_an_illegal_history_has_its_culprit(show):
    unwritten = Operation("c0", KvInput("get", "x"), 240 * MS, KvOutput("OK", "7", 3), 250 * MS)
    info = check_operations_verbose(kv_model(), [OPERATIONS[0], unwritten])[1]
    page = show(read(journal()), operations_verdict=(kv_model(), info))
    page.keyboard.press("c")
    settle(page)
    assert "✗ the culprit" in page.locator("#tip").inner_text()
    assert "nowhere" in page.locator("#tip").inner_text()
    assert page.locator("#history").inner_text().startswith("The clerks' history is not linearizable: client c0's get")
    page = show(read(journal()), operations_verdict=(kv_model(), info), verdict=f"illegal: {info.explanation}")
    assert page.locator("#history").is_hidden()


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_browser_shows_hostile_texts_as_they_are(show, value):
    page = show(read(journal(value)), verdict=value)
    shown = page.locator("#printed li span").first.evaluate("element => element.textContent")
    assert shown == value


def test_a_run_of_nothing_is_shown(show):
    page = show(Reading())
    page.keyboard.press("n")
    page.keyboard.press("+")
    assert page.locator("#events").inner_text() == "nothing"


FRAMES = """async (frames) => {
    const chart = document.getElementById("chart");
    const frame = () => new Promise((done) => requestAnimationFrame(done));
    const lengths = [];
    await frame();
    let before = performance.now();
    for (let i = 0; i < frames; i++) {
        chart.dispatchEvent(new WheelEvent("wheel", { deltaX: i % 40 < 20 ? 30 : -30, cancelable: true }));
        await frame();
        const now = performance.now();
        lengths.push(now - before);
        before = now;
    }
    return lengths;
}"""


def test_a_run_of_a_hundred_thousand_events_pans(show):
    page = show(synthetic(100_000))
    for span in (0.5, 5, 60, 1000):
        page.evaluate(f"location.hash = '#t=10&from=10&to={10 + span}'")
        settle(page)
        lengths = page.evaluate(FRAMES, 60)
        median = statistics.median(lengths)
        print(f"{span} s in view: median frame {median:.1f} ms, longest {max(lengths):.1f} ms")
        assert median < 100
