"""`tester check-history`: verdicts, exit codes, and one sentence for each mistake."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tester import cli

DATA = Path(__file__).parent / "data"


@pytest.fixture
def tester(monkeypatch, capsys):
    """Runs `tester check-history`; (exit code, stdout, stderr)."""

    def run(*arguments: object, stdin: bytes = b"") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tester", "check-history", *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return run


def hard_history() -> bytes:
    """Forty appends at once, of many lengths, and a get that saw half of it all: which ones? And then a letter that
    nobody wrote."""
    lines = ['{"format": "raftlab-history", "version": 1, "model": "string-kv"}']

    def add(client: int, call: int, back: int, input: dict[str, str], output: dict[str, str]) -> None:
        fields = {"client": client, "call": call, "return": back, "input": input, "output": output}
        lines.append(json.dumps(fields))

    values = ["a" * (2 ** (number % 9) + 1) for number in range(40)]
    for number, value in enumerate(values):
        add(number, 0, 10, {"op": "append", "key": "x", "value": value}, {})
    whole = sum(map(len, values))
    add(99, 20, 21, {"op": "get", "key": "x"}, {"value": "a" * (whole // 2)})
    add(99, 22, 23, {"op": "get", "key": "x"}, {"value": "a" * (whole - 1) + "b"})
    return "\n".join(lines).encode()


def test_a_legal_history_ends_with_0(tester):
    code, out, err = tester(DATA / "kv.jsonl")
    assert (code, err) == (0, "")
    assert out.startswith("OK: the history is linearizable\n6 operations of 3 clients on 2 keys, checked as kv in 0.0")


def test_an_illegal_history_ends_with_1_and_the_reason(tester):
    code, out, err = tester(DATA / "kv-stale-read.jsonl")
    assert (code, err) == (1, "")
    headline, explanation, counts, hint = out.splitlines()
    assert headline == "ILLEGAL: the history is not linearizable"
    assert "client 1's get('x') -> 'old' (version 1)" in explanation
    assert counts.startswith("6 operations of 3 clients on 2 keys, checked as kv in ")
    assert hint == "To look at it, add: --html history.html"


SAMPLES = {
    "log": ("jepsen-register.log", "cas-register", 0),
    "illegal log": ("jepsen-register-illegal.log", "cas-register", 1),
    "EDN": ("jepsen-history.edn", "cas-register", 0),
    "EDN of strings": ("jepsen-strings.edn", "string-kv", 0),
}


@pytest.mark.parametrize(("name", "model", "expected"), SAMPLES.values(), ids=SAMPLES.keys())
@pytest.mark.parametrize("file_format", ["auto", "edn"])
def test_jepsens_histories_are_checked(tester, name, model, expected, file_format):
    code, out, err = tester(DATA / name, "--model", model, "--format", file_format)
    assert (code, err) == (expected, "")
    assert f"checked as {model}" in out


@pytest.mark.parametrize("file_format", ["auto", "jsonl"])
def test_stdin_is_a_dash(tester, file_format):
    code, out, _ = tester("-", "--format", file_format, stdin=b"\n" + (DATA / "kv.jsonl").read_bytes())
    assert code == 0
    assert out.startswith("OK")


def test_a_model_may_be_named_that_the_file_names_too(tester):
    assert tester(DATA / "kv.jsonl", "--model", "kv")[0] == 0


def test_json_is_one_line_for_programs(tester):
    code, out, err = tester(DATA / "kv-stale-read.jsonl", "--json")
    assert (code, err) == (1, "")
    assert out.count("\n") == 1
    answer = json.loads(out)
    assert answer["verdict"] == "illegal"
    assert answer["culprit"] == {
        "client": 1,
        "call": 7000000,
        "return": 9000000,
        "description": "get('x') -> 'old' (version 1)",
    }
    assert {name: answer[name] for name in ("model", "operations", "clients", "keys", "html")} == {
        "model": "kv",
        "operations": 6,
        "clients": 3,
        "keys": 2,
        "html": None,
    }
    assert json.loads(tester(DATA / "kv.jsonl", "--json")[1])["culprit"] is None


def test_the_page_is_written(tester, tmp_path):
    code, out, _ = tester(DATA / "kv-stale-read.jsonl", "--html", tmp_path / "page.html")
    assert code == 1
    assert out.endswith(f"The history as a page: {tmp_path / 'page.html'}\n")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "'old' (version 1)" in text
    assert '"time_unit":"ns"' in text


def test_no_verdict_in_time_ends_with_2_and_says_so(tester):
    code, out, err = tester("-", "--timeout", 0.05, stdin=hard_history())
    assert (code, err) == (2, "")
    assert out.startswith("UNKNOWN: no verdict within 0.05 s; give it longer with --timeout, or 0 for no limit\n")


def test_a_history_of_nothing_is_linearizable(tester):
    head = b'{"format": "raftlab-history", "version": 1, "model": "register"}'
    code, out, _ = tester("-", stdin=head)
    assert code == 0
    assert "0 operations of 0 clients, checked as register" in out


MISTAKES = {
    "no file": (["nowhere.jsonl"], b"", "cannot read nowhere.jsonl: No such file or directory"),
    "a folder": (["."], b"", "cannot read .: Is a directory"),
    "an empty file": (["-"], b"\n\n", "stdin: there is nothing in it"),
    "no text": (["-"], b"\x89PNG\xff", "stdin: line 1: byte 1 is not UTF-8; is this a text file?"),
    "a malformed line": (
        ["-", "--model", "register"],
        b'{"format": "raftlab-history", "version": 1}\n{"client": 0}',
        'stdin: line 2: an operation without "call", "return", "input", "output"; if it never returned',
    ),
    "a malformed log": (["-", "--model", "register"], b"0 :invoke", "stdin: line 1: nil where the operation's name"),
    "a text of another kind": (["-", "--model", "kv"], b"hello", "stdin: line 1: not a line of Jepsen's log"),
    "a log without clients": (
        ["-", "--model", "kv"],
        b"INFO  jepsen.core - hello",
        "stdin: no client's operation is in it; is this a history of Jepsen's?",
    ),
    "no model, JSON": (
        ["-"],
        b'{"format": "raftlab-history", "version": 1}',
        "stdin: its first line names no model; say which one with --model kv|register|cas-register|string-kv",
    ),
    "no model, EDN": (["-"], b"0 :invoke :read nil", "stdin: Jepsen's histories name no model; say which one with"),
    "an unknown model": (["-", "--model", "queue"], b"", "no model 'queue'; there are kv, register"),
    "an unknown format": (["-", "--format", "xml"], b"", "no format 'xml'; there are auto, jsonl, edn"),
    "a negative timeout": (["-", "--timeout", "-1"], b"", "timeout -1.0 is negative; give seconds, or 0 for no limit"),
    "a timeout that is none": (["-", "--timeout", "nan"], b"", "timeout nan is negative"),
    "a client with two operations at once": (
        ["-"],
        b'{"format": "raftlab-history", "version": 1, "model": "register"}\n'
        b'{"client": 7, "call": 0, "return": 9, "input": {"op": "write", "value": 1}, "output": {}}\n'
        b'{"client": 7, "call": 5, "return": 8, "input": {"op": "write", "value": 2}, "output": {}}\n',
        "stdin: ",
    ),
}


@pytest.mark.parametrize(("arguments", "stdin", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_ends_with_2_and_one_sentence(tester, arguments, stdin, message):
    code, out, err = tester(*arguments, stdin=stdin)
    assert (code, out) == (2, "")
    assert err.startswith(f"tester: {message}")
    assert err.count("\n") == 1


def test_a_page_that_cannot_be_written_is_a_mistake(tester, tmp_path):
    code, _, err = tester(DATA / "kv.jsonl", "--html", tmp_path / "no" / "page.html")
    assert code == 2
    assert err.startswith(f"tester: cannot write {tmp_path / 'no' / 'page.html'}: No such file")


def test_the_help_teaches(tester, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "dumb")
    code, out, _ = tester("--help")
    assert code == 0
    assert "tester check-history jepsen.log --model cas-register --html history.html" in " ".join(out.split())
    assert '"format": "raftlab-history"' in out
    assert "Exit codes" in out


def test_colour_is_for_terminals_and_not_with_no_color(tester, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[1;31m" in tester(DATA / "kv-stale-read.jsonl")[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in tester(DATA / "kv-stale-read.jsonl")[1]
    monkeypatch.delenv("FORCE_COLOR")
    assert "\x1b" not in tester(DATA / "kv-stale-read.jsonl")[1]


def test_the_command_runs_as_a_program():
    command = [sys.executable, "-m", "tester", "check-history", str(DATA / "kv.jsonl"), "--json"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0
    assert json.loads(run.stdout)["verdict"] == "ok"
