"""The page of a run: all of the run is in it, and nothing is loaded from elsewhere."""

from __future__ import annotations

import base64
import itertools
import json
import re
import zlib
from importlib import resources
from typing import Any

import pytest

from labrpc.codec import Record
from tester.kv_traffic import run_traffic
from tester.porcupine import KvInput, KvOutput, Operation, check_operations_verbose, kv_model
from tester.run import Run
from tester.service_cluster import ReplicatedKVCluster
from tester.timeline.page import page_html, write_page
from tester.timeline.page_words import fields_of, label_of, words
from tester.timeline.reading import Message, Reading, read
from tests.harness.page_runs import MS, OPERATIONS, journal, lasting, synthetic
from tests.harness.pages import HOSTILE, Page, assert_loads_nothing


def data_of(page: str) -> dict[str, Any]:
    (text,) = [text for attributes, text in Page(page).scripts if attributes.get("id") == "run"]
    return json.loads(zlib.decompress(base64.b64decode(text)))


def host_names(data: dict[str, Any], column: list[int]) -> list[str]:
    return [data["hosts"][number] if number >= 0 else "" for number in column]


def texts_of(data: dict[str, Any], column: list[int]) -> list[str]:
    return [data["texts"][number] for number in column]


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
