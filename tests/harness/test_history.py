"""History files: what is written is read again, and what is malformed is named by its line."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path

import pytest

from labrpc.errors import UsageError
from tester.history import lines_of, load_history, read_history, save_history
from tester.known_models import KNOWN_MODELS
from tester.porcupine.model import Operation
from tester.porcupine.models import KvInput, KvOutput, RegisterInput, RegisterOutput, StringKvInput, StringKvOutput

DATA = Path(__file__).parent / "data"
HEAD = '{"format": "raftlab-history", "version": 1, "model": "register"}'
WRITE = '{"client": 0, "call": 1, "return": 2, "input": {"op": "write", "value": 3}, "output": {}}'

OPERATIONS = {
    "kv": [
        Operation("a", KvInput("put", "x", "é\n</script>\u2028", 3), 10, KvOutput("MAYBE"), 20),
        Operation("a", KvInput("get", "x"), 30, KvOutput("OK", "v", 4), 2**70),
        Operation("b", KvInput("get", ""), 31.5, KvOutput("NO_KEY"), 31.5),
        Operation("b", KvInput("put", "x", "", 0), 40),
    ],
    "register": [
        Operation(0, RegisterInput("write", 3), -5, RegisterOutput(), 0),
        Operation(1, RegisterInput("read", key="x"), 0, RegisterOutput(None), 1),
        Operation(2, RegisterInput("read", key=7), 0, RegisterOutput("three"), 1),
    ],
    "cas-register": [
        Operation(0, RegisterInput("cas", value=4, expected=None), 1, RegisterOutput(ok=False), 2),
        Operation(0, RegisterInput("cas", value=True, expected=0.5), 3, RegisterOutput(ok=True), 4),
        Operation(0, RegisterInput("write", "x"), 5),
    ],
    "string-kv": [
        Operation(0, StringKvInput("append", "x", "a"), 1, StringKvOutput(), 2),
        Operation(0, StringKvInput("put", "x", ""), 3, StringKvOutput(), 4),
        Operation(0, StringKvInput("get", "x"), 5, StringKvOutput("a"), 6),
    ],
}


def test_every_known_model_is_tested():
    assert OPERATIONS.keys() == KNOWN_MODELS.keys()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_saved_is_loaded(tmp_path, name):
    save_history(tmp_path / "history.jsonl", name, OPERATIONS[name])
    assert load_history(tmp_path / "history.jsonl") == (name, OPERATIONS[name])


def test_the_file_is_what_the_documentation_shows(tmp_path):
    operations = [
        Operation(0, RegisterInput("write", 3), 100, None, 250),  # a write needs no output
        Operation(1, RegisterInput("cas", value=4, expected=3), 120),
    ]
    save_history(tmp_path / "history.jsonl", "cas-register", operations)
    assert (tmp_path / "history.jsonl").read_text(encoding="utf-8").splitlines() == [
        '{"format": "raftlab-history", "version": 1, "model": "cas-register", "time_unit": "ns"}',
        '{"client": 0, "call": 100, "return": 250, "input": {"op": "write", "value": 3}, "output": {}}',
        '{"client": 1, "call": 120, "return": null, "input": {"op": "cas", "expected": 3, "value": 4}, "output": null}',
    ]


def test_a_file_made_by_others_is_loaded():
    name, operations = load_history(DATA / "kv.jsonl")
    assert name == "kv"
    assert operations[3] == Operation("a", KvInput("put", "x", "2", 1), 5500000, KvOutput("MAYBE"), 9000000)
    assert operations[4] == Operation("c", KvInput("put", "y", "5", 0), 6000000)


def test_unknown_fields_and_empty_lines_are_passed_over_and_a_byte_order_mark_too():
    line = WRITE.replace('"client"', '"node": "n1", "client"')
    text = f"\ufeff{HEAD.replace('1,', '1, ' + json.dumps('by') + ': 1,')}\r\n\r\n{line}"
    history = read_history(lines_of(io.BytesIO(text.encode())))
    assert history.operations == [Operation(0, RegisterInput("write", 3), 1, RegisterOutput(), 2)]


def test_without_a_model_inputs_and_outputs_are_what_json_says():
    head = '{"format": "raftlab-history", "version": 1}'
    assert read_history([head, WRITE]).operations == [Operation(0, {"op": "write", "value": 3}, 1, {}, 2)]
    assert read_history([head, WRITE], model_name="register").model_name == "register"


HEADS = {
    "empty": ("", "line 1: a history begins with a line such as"),
    "an operation": (WRITE, "line 1: a history begins with a line such as"),
    "no JSON": ("{format", "line 1: no JSON at column 2: expecting property name"),
    "no object": ("[1]", "line 1: a JSON object is expected, not list"),
    "another version": (HEAD.replace("1", "2"), "line 1: version 2 of the format; version 1 is read here"),
    "unknown model": (HEAD.replace("register", "queue"), "line 1: no model 'queue'; there are kv, register, cas-"),
    "model is no string": (HEAD.replace('"register"', "[]"), "line 1: no model []; there are kv"),
    "unit is no string": (HEAD.replace("1,", '1, "time_unit": 9,'), "line 1: time_unit 9 is not a string"),
}


@pytest.mark.parametrize(("head", "message"), HEADS.values(), ids=HEADS.keys())
def test_a_malformed_head_is_refused(head, message):
    with pytest.raises(UsageError) as caught:
        read_history([head, WRITE] if head else [])
    assert str(caught.value).startswith(message)


LINES = {
    "cut off": (WRITE[:-9], "no JSON at column"),
    "not JSON": ("nonsense", "no JSON at column 1: expecting value"),
    "not a number of JSON": (WRITE.replace('"call": 1', '"call": NaN'), "NaN is no number of JSON"),
    "no object": ("3", "a JSON object is expected, not int"),
    "nested": ("[" * 100_000, "JSON nested too deeply"),
    "no return": (WRITE.replace('"return": 2, ', ""), 'an operation without "return"; if it never returned'),
    "a client that is none": (
        WRITE.replace('"client": 0', '"client": [0]'),
        "client [0] is not an integer or a string",
    ),
    "a time that is none": (WRITE.replace('"call": 1', '"call": "1"'), "call '1' is not a finite number"),
    "no call": (WRITE.replace('"call": 1', '"call": null'), "call None is not a finite number"),
    "an endless time": (WRITE.replace('"return": 2', '"return": 1e999'), "return inf is not a finite number"),
    "a return before its call": (WRITE.replace('"return": 2', '"return": 0'), "it returned at 0, before its call at 1"),
    "no output": (WRITE.replace("{}}", "null}"), "it returned, but its output is null; {} is no result"),
    "an output of nothing": (
        WRITE.replace('"return": 2', '"return": null'),
        "it has an output, but its return is null",
    ),
    "no op": (
        WRITE.replace('"op"', '"do"'),
        "input {'do': 'write', 'value': 3} of model register is not an object with",
    ),
    "unknown op": (WRITE.replace('"write"', '"cas"'), "input {'op': 'cas', 'value': 3} of model register is not"),
    "no value": (WRITE.replace(', "value": 3', ""), 'input of write lacks "value"'),
    "a value that is none": (
        WRITE.replace('"value": 3', '"value": [3]'),
        '"value" of input of write is [3]; it must be',
    ),
    "unknown field": (
        WRITE.replace('"value"', '"valeu"'),
        'input of write has the field "valeu"; its fields are "key", ',
    ),
    "an output that is none": (
        WRITE.replace("{}}", "3}"),
        "output 3 of write is not an object; without a result it is",
    ),
    "a field of another op": (
        WRITE.replace("{}}", '{"ok": true}}'),
        'output of write has the field "ok"; its fields are',
    ),
}


@pytest.mark.parametrize(("line", "message"), LINES.values(), ids=LINES.keys())
def test_a_malformed_line_is_refused(line, message):
    with pytest.raises(UsageError) as caught:
        read_history([HEAD, WRITE, "\n", line])
    assert str(caught.value).startswith(f"line 4: {message}")


def test_a_model_that_contradicts_the_head_is_refused():
    with pytest.raises(UsageError, match="line 1: the history is of model register, not kv"):
        read_history([HEAD, WRITE], model_name="kv")


def test_the_file_is_named():
    with pytest.raises(UsageError, match=r"kv\.jsonl: line 1: the history is of model kv, not register"):
        load_history(DATA / "kv.jsonl", model_name="register")


def test_bytes_that_are_no_text_and_endless_lines_are_refused():
    with pytest.raises(UsageError, match=r"line 2: byte 3 is not UTF-8"):
        list(lines_of(io.BytesIO(b"x\nab\xff\n")))
    with pytest.raises(UsageError, match="line 1: longer than 64 MiB"):
        list(lines_of(io.BytesIO(b" " * (65 * 2**20))))


UNWRITABLE = {
    "another model": (KvInput("get", "x"), None, "is not one of model register"),
    "unknown op": (RegisterInput("cas"), None, "is not one of model register"),
    "a value that JSON has not": (
        RegisterInput("write", (1, 2)),
        RegisterOutput(),
        r'"value" of input of write is \(1, 2\)',
    ),
    "an output of nothing": (RegisterInput("read"), None, "output None of read is not one of model register"),
    "a number that JSON has not": (RegisterInput("write", float("inf")), RegisterOutput(), "Out of range float"),
}


@pytest.mark.parametrize(("input", "output", "message"), UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_what_cannot_be_written_is_refused(tmp_path, input, output, message):
    with pytest.raises(UsageError, match=f"operation 0 of client 'a': .*{message}"):
        save_history(tmp_path / "history.jsonl", "register", [Operation("a", input, 1, output, 2)])


def test_of_a_file_only_one_line_is_held():
    count = 2000
    line = WRITE.replace('"client"', f'"padding": "{"x" * 10_000}", "client"') + "\n"

    class Endless(io.RawIOBase):
        """A file of 20 MB that exists nowhere."""

        def __init__(self) -> None:
            self.left = [line.encode()] * count + [HEAD.encode() + b"\n"]

        def readline(self, size=-1):
            return self.left.pop() if self.left else b""

    tracemalloc.start()
    history = read_history(lines_of(Endless()))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(history.operations) == count
    assert most < 2_000_000
