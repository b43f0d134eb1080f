"""`tester logs`: what servers said, chosen, side by side, in colour, and as a stream."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from labrpc.errors import UsageError
from labrpc.journal import Annotated, AnnotationEnded, Booted, Delivered, Journal, Printed, Reported, Stopped
from tester import logs

MS = 1_000_000
EVENTS = [
    *(Booted(0, host, 1, 0, 0) for host in ("0", "1", "2", "c0", "c1")),
    Printed(100 * MS, "2", "main", "standing for election"),
    Annotated(100 * MS, "2", "election", "term 3", 1, True),
    Delivered(101 * MS, 1),
    Annotated(110 * MS, "0", "vote", "for 2 in term 3", 1),
    Printed(111 * MS, "0", "Raft.request_vote", "my log is not longer than that of the candidate"),
    AnnotationEnded(112_300_000, "2", 1),
    Annotated(120 * MS, "1", "commit", "index 7", 1, True),
    Annotated(121 * MS, "c0", "put", "k"),
    Stopped(140 * MS, "1", 1, "crash"),
    Reported(150 * MS, "0", "died", "thread main died: KeyError: 7", "raft/raft.py:12", "Traceback"),
    Reported(160 * MS, "", "stuck", "nothing happens any more", "", ""),
]


@pytest.fixture
def show(tmp_path: Path) -> Any:
    """What `tester logs` prints of a journal of these events, and on stderr."""

    def run(events: list[Any], *, width: int = 80, terminal: bool = True, colour: bool = False, **options: Any) -> Any:
        path = tmp_path / "x.journal"
        journal = Journal()
        for event in events:
            journal.append(event)
        with path.open("wb") as file:
            journal.write(file)
        out, err = (
            Console(
                file=io.StringIO(),
                width=width,
                force_terminal=on,
                color_system="standard" if colour else None,
                no_color=not colour,
                _environ={},
            )
            for on in (terminal, False)
        )
        assert logs.show_logs(out, err, run=str(path), root=tmp_path, **options) == 0
        return out.file.getvalue(), err.file.getvalue()

    return run


def test_lines_are_in_order_with_their_server_topic_and_duration(show):
    out, err = show(EVENTS)
    assert (
        out
        == """\
    time  on  topic              text
  0.1000  2   main               standing for election
  0.1000  2   [election]         term 3 (12.3 ms)
  0.1100  0   [vote]             for 2 in term 3
  0.1110  0   Raft.request_vote  my log is not longer than that of the candidate
  0.1200  1   [commit]           index 7 (20 ms, to the crash)
  0.1210  c0  [put]              k
  0.1500  0   ! died             thread main died: KeyError: 7 at
                                 raft/raft.py:12
  0.1600      ! stuck            nothing happens any more
"""
    )
    assert err == ""


def test_a_narrow_terminal_has_the_topic_before_the_text(show):
    out, _ = show(EVENTS, width=40)
    assert (
        out
        == """\
    time  on  text
  0.1000  2   main: standing for
              election
  0.1000  2   [election] term 3 (12.3
              ms)
  0.1100  0   [vote] for 2 in term 3
  0.1110  0   Raft.request_vote: my log
              is not longer than that of
              the candidate
  0.1200  1   [commit] index 7 (20 ms,
              to the crash)
  0.1210  c0  [put] k
  0.1500  0   ! died: thread main died:
              KeyError: 7 at
              raft/raft.py:12
  0.1600      ! stuck: nothing happens
              any more
"""
    )


def test_a_column_a_server(show):
    out, err = show(EVENTS, columns=True)
    assert (
        out
        == """\
    time │ server 0        │ server 1        │ server 2        │ clerk 0
  0.1000 │                 │                 │ standing for    │
         │                 │                 │ election        │
  0.1000 │                 │                 │ [election] term │
         │                 │                 │ 3 (12.3 ms)     │
  0.1100 │ [vote] for 2 in │                 │                 │
         │ term 3          │                 │                 │
  0.1110 │ my log is not   │                 │                 │
         │ longer than     │                 │                 │
         │ that of the     │                 │                 │
         │ candidate       │                 │                 │
  0.1200 │                 │ [commit] index  │                 │
         │                 │ 7 (20 ms, to    │                 │
         │                 │ the crash)      │                 │
  0.1210 │                 │                 │                 │ [put] k
  0.1500 │ ! died: thread  │                 │                 │
         │ main died:      │                 │                 │
         │ KeyError: 7 at  │                 │                 │
         │ raft/raft.py:12 │                 │                 │
  0.1600  ! stuck: nothing happens any more
"""
    )
    assert err == ""
    assert "server 1" not in show(EVENTS, columns=True, servers=["2", "0"])[0]


@pytest.mark.parametrize(("width", "servers"), [(40, 3), (79, 3), (80, 9)])
def test_what_has_no_room_side_by_side_is_a_list(show, width, servers):
    events = [*(Booted(0, str(n), 1, 0, 0) for n in range(servers)), *EVENTS[5:8]]
    out, err = show(events, columns=True, width=width)
    assert out == show(events, width=width)[0]
    assert f"{width} columns are too few for {servers} side by side" in err


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("columns", [False, True])
def test_nothing_is_wider_than_the_terminal_and_nothing_is_lost(show, width, columns):
    text = "名前" * 40 + " " + "x" * 150 + " " + "words and more words " * 9
    out, _ = show([*EVENTS[:5], Printed(1, "0", "a thread with a very long name", text)], width=width, columns=columns)
    assert max(map(logs.cell_len, out.splitlines())) <= width
    said = re.sub(r"[│\s]", "", out)
    assert text.replace(" ", "") in said


CHOICES = [
    pytest.param({"servers": ["1"]}, ["index 7"], id="a server"),
    pytest.param({"servers": ["1", "c0"]}, ["index 7", "k"], id="two hosts"),
    pytest.param({"topics": ["election"]}, ["term 3"], id="a topic"),
    pytest.param({"topics": ["vote", "died"]}, ["for 2", "thread"], id="an annotation and a diagnosis"),
    pytest.param({"topics": ["print"]}, ["standing", "my log"], id="printed lines"),
    pytest.param({"grep": r"term \d"}, ["term 3", "for 2"], id="a pattern"),
    pytest.param(
        {"start": 0.1105, "end": 0.1205}, ["term 3", "my log", "index 7"], id="a time, and what lasts into it"
    ),
    pytest.param({"servers": ["0"], "grep": "log", "end": 1}, ["my log"], id="all together"),
]


@pytest.mark.parametrize(("options", "expected"), CHOICES)
def test_lines_are_chosen(show, options, expected):
    lines = show(EVENTS, terminal=False, **options)[0].splitlines()
    assert len(lines) == len(expected)
    assert all(text in line for text, line in zip(expected, lines, strict=True))


def test_topics_are_listed_with_their_counts(show):
    out, _ = show(EVENTS, list_topics=True)
    assert out.splitlines()[0].split() == ["2", "print", "printed", "and", "logged", "lines"]
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [
        ["1", "commit"], ["1", "died"], ["1", "election"], ["1", "put"], ["1", "stuck"], ["1", "vote"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"servers": ["9"]}, "the run has no server '9'; it has 0, 1, 2, c0, c1"),
        (
            {"topics": ["elections"]},
            "no line has topic 'elections'; there are commit, died, election, print, put, stuck",
        ),
        ({"grep": "("}, r"--grep '\(' is no regular expression"),
        ({"start": 2, "end": 1}, "--from 2 is after --to 1"),
    ],
    ids=["server", "topic", "pattern", "time"],
)
def test_mistakes_are_named(show, options, text):
    with pytest.raises(UsageError, match=text):
        show(EVENTS, **options)


def test_a_run_without_lines_says_how_to_get_them(show):
    out, err = show(EVENTS[:5])
    assert out == ""
    for how in ("no lines", "print(...)", "logging", "annotate("):
        assert how in err
    assert "none of the run's 8 lines" in show(EVENTS, grep="no such text")[1]


def test_colours_only_where_they_are_wanted_and_always_the_same(show):
    plain, _ = show(EVENTS)
    coloured, _ = show(EVENTS, colour=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    again, _ = show(EVENTS[:10], colour=True)
    assert coloured.splitlines()[1:2] == again.splitlines()[1:2]
    assert "\x1b" not in show(EVENTS, colour=True, terminal=False)[0]
    side_by_side = show(EVENTS, colour=True, columns=True)[0]
    assert re.sub(r"\x1b\[[0-9;]*m", "", side_by_side) == show(EVENTS, columns=True)[0]


def test_what_a_terminal_would_obey_is_not_passed_on(show):
    out, _ = show([*EVENTS[:5], Printed(1, "0", "main", "\x1b[31mred\x1b[0m\a\tnext\r end\x9b2J\nmore")])
    unseen = "\N{REPLACEMENT CHARACTER}"
    assert out.splitlines()[1].endswith(f"red{unseen}    next{unseen} end{unseen}2J ⏎ more")


def test_the_command_streams_and_ends_with_its_reader(tmp_path):
    journal = Journal()
    journal.append(Booted(0, "0", 1, 0, 0))
    for n in range(30_000):
        journal.append(Printed(n, "0", "main", f"line {n} {'x' * 80}"))
    path = tmp_path / "long.journal"
    with path.open("wb") as file:
        journal.write(file)
    command = [sys.executable, "-m", "tester.cli", "logs", str(path)]
    environment = {**os.environ, "NO_COLOR": "1"}
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert child.stdout is not None
    assert "line 0 " in child.stdout.readline()
    child.stdout.close()
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
    assert child.wait(timeout=60) == 0
    wrong = subprocess.run([*command, "--server", "7"], capture_output=True, text=True, timeout=60, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "the run has no server '7'; it has 0" in wrong.stderr
