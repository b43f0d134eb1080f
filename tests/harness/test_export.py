"""`tester export`: every event and value is in the JSON Lines, as documented; and what the command does with a run."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from labrpc.codec import EnumRecord, Record, decode_record, encode
from labrpc.journal import Applied, Event, Journal
from tester import cli
from tester.export import export
from tester.export_jsonl import lines, schema
from tester.failures import FOLDER, Failure
from tester.timeline.perfetto import trace_lines
from tester.timeline.reading import read
from tests.harness.journals import RUNS, SMALL, journal_of, written

DOCS = Path(__file__).parents[2] / "docs"
FAILURE = Failure(test="test_x", seed=7, verdict="it broke", virtual_seconds=1.5, journal_hash="ab", replay="pytest x")


@pytest.fixture(params=RUNS)
def journal(request) -> Journal:
    return RUNS[request.param]()


# ------------------------------------------------------------------ JSON Lines

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.builds(EnumRecord, st.text(max_size=3), st.text(max_size=3))
)
KEYS = SCALARS | st.tuples(SCALARS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.builds(Record, st.text(max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3))
    ),
    max_leaves=8,
)


def value_of(written: Any) -> Any:
    """The value that stands in a line, by what docs/journal.md says of it."""
    match written:
        case {"int": digits}:
            return int(digits)
        case {"float": name}:
            return float(name)
        case {"bytes": text}:
            return base64.b64decode(text)
        case {"tuple": items}:
            return tuple(map(value_of, items))
        case {"dict": pairs}:
            return {value_of(key): value_of(each) for key, each in pairs}
        case {"enum": name, "member": member}:
            return EnumRecord(name, member)
        case {"type": name, "fields": fields}:
            return Record(name, {field: value_of(each) for field, each in fields.items()})
        case list():
            return list(map(value_of, written))
        case dict():
            raise AssertionError(written)
    return written


def exported(events: list[Any]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(journal_of(events))][1:]


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    return jsonschema.Draft202012Validator(schema())


@given(VALUES)
@settings(deadline=None)
def test_every_value_can_be_had_back(validator, value):
    [line] = exported([Applied(1, "0", encode(value))])
    validator.validate(line)
    assert encode(value_of(line["payload"])) == encode(value)


def test_nan_can_be_had_back():
    [line] = exported([Applied(1, "0", encode(math.nan))])
    assert line["payload"] == {"float": "nan"}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2**53 - 1, "9007199254740991"),
        (2**53, '{"int":"9007199254740992"}'),
        (1.0, "1.0"),
        (math.inf, '{"float":"inf"}'),
        (b"\xff", '{"bytes":"/w=="}'),
        ((1,), '{"tuple":[1]}'),
        ({"int": "1"}, '{"dict":[["int","1"]]}'),
        ({1: {(2,): None}}, '{"dict":[[1,{"dict":[[{"tuple":[2]},null]]}]]}'),
        (EnumRecord("Err", "OK"), '{"enum":"Err","member":"OK"}'),
        (Record("GetArgs", {"type": "a"}), '{"type":"GetArgs","fields":{"type":"a"}}'),
    ],
    ids=repr,
)
def test_values_are_written_as_documented(value, expected):
    assert list(lines(journal_of([Applied(1, "0", encode(value))])))[1] == (
        f'{{"event":"applied","at":1,"host":"0","payload":{expected}}}\n'.encode()
    )


def a_message(*parts: Any) -> bytes:
    return msgspec.msgpack.encode(msgspec.msgpack.Ext(1, msgspec.msgpack.encode(parts)))


@pytest.mark.parametrize(
    "payload",
    [b"", b"\xc1", a_message("X", 5), a_message(None, {}), a_message("X", {1: 2}), b"\xd6\xff\0\0\0\0"],
    ids=["nothing", "no MessagePack", "no fields", "no name", "fields without names", "a time"],
)
def test_bytes_that_are_no_value_are_kept(payload, validator):
    [line] = exported([Applied(1, "0", payload)])
    assert line["payload"] == {"undecoded": base64.b64encode(payload).decode()}
    validator.validate(line)


def test_every_line_of_a_run_is_valid_and_says_what_its_event_says(journal, validator):
    head, *found = [json.loads(line) for line in lines(journal, FAILURE)]
    validator.validate(head)
    assert (head["events"], head["hash"], head["failure"]["verdict"]) == (len(journal), journal.digest(), "it broke")
    for event, line in zip(journal, found, strict=True):
        validator.validate(line)
        kind = type(event)
        assert line.pop("event") == re.sub("(?<=.)([A-Z])", r"_\1", kind.__name__).lower()
        assert list(line) == list(kind.__struct_fields__)
        for field, value in line.items():
            expected = getattr(event, field)
            assert value_of(value) == (decode_record(expected) if isinstance(expected, bytes) else expected)


def test_the_schema_refuses_what_is_not_of_the_format(validator):
    good = {"event": "delivered", "at": 1, "message": 2}
    assert validator.is_valid(good)
    for bad in (
        {**good, "more": 1},
        {"event": "delivered", "at": 1},
        {**good, "at": "1"},
        {**good, "event": "arrived"},
        {"event": "applied", "at": 1, "host": "0", "payload": {"tuple": 1}},
        {"event": "applied", "at": 1, "host": "0", "payload": {"a": 1}},
    ):
        assert not validator.is_valid(bad), bad


def test_the_schema_beside_the_documentation_is_the_one_of_this_version():
    kept = json.loads((DOCS / "journal.schema.json").read_text(encoding="utf-8"))
    assert kept == schema(), "write it anew: python -m tester.export_jsonl > docs/journal.schema.json"


def test_the_documentation_has_exactly_the_kinds_and_fields_that_there_are():
    text = (DOCS / "journal.md").read_text(encoding="utf-8")
    documented = {
        kind: re.findall(r"^\| `(\w+)` \| (\w+)", section, re.MULTILINE)
        for kind, section in re.findall(r"^### `(\w+)`\n(.*?)(?=^##)", text, re.MULTILINE | re.DOTALL)
    }
    names = {int: "integer", str: "string", bool: "boolean", bytes: "payload"}
    assert documented == {
        re.sub("(?<=.)([A-Z])", r"_\1", kind.__name__).lower(): [
            (field.name, names[field.type]) for field in msgspec.structs.fields(kind) if field.name != "at"
        ]
        for kind in get_args(Event)
    }


def test_the_examples_in_the_documentation_are_valid(validator):
    text = (DOCS / "journal.md").read_text(encoding="utf-8")
    examples = [line for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(examples) == 3
    for line in examples:
        validator.validate(json.loads(line))


def test_the_documentation_has_exactly_the_fields_of_the_head():
    text = (DOCS / "journal.md").read_text(encoding="utf-8")
    section = text[text.index("The first line is the head") : text.index("Then a line an event")]
    [head] = [json.loads(line) for line in lines(Journal())]
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == list(head)


# ------------------------------------------------------------------ the command


@pytest.fixture
def tester(monkeypatch, capsysbinary, tmp_path):
    """Runs `tester export` in a folder of its own; (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["tester", "export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        output = capsysbinary.readouterr()
        return int(ended.value.code or 0), output.out.decode(), output.err.decode()

    return run


@pytest.fixture
def kept(tmp_path) -> Path:
    """A failure's folder, of the small run."""
    folder = tmp_path / FOLDER / "test_x-seed-7"
    folder.mkdir(parents=True)
    (folder / "run.journal").write_bytes(written(journal_of(SMALL)))
    (folder / "failure.json").write_bytes(msgspec.json.encode(FAILURE))
    return folder


@pytest.mark.parametrize("name", [[], ["test_x-seed-7"], [".raftlab/failures/test_x-seed-7/run.journal"]])
def test_a_run_is_written_beside_its_journal(tester, kept, name):
    code, out, err = tester(*name)
    path = Path(".raftlab/failures/test_x-seed-7/run.jsonl")
    assert (code, out, err) == (0, f"{len(SMALL)} events of test_x, seed 7: {path}\n", "")
    assert path.read_bytes() == b"".join(lines(journal_of(SMALL), FAILURE))


def test_a_trace_is_written_beside_its_journal(tester, kept):
    code, out, err = tester("--format", "perfetto")
    path = Path(".raftlab/failures/test_x-seed-7/run.perfetto.json")
    assert (code, out, err) == (0, f"{len(SMALL)} events of test_x, seed 7: {path}; open it at ui.perfetto.dev\n", "")
    expected = b"".join(trace_lines(read(SMALL), title="test_x, seed 7", verdict="it broke"))
    assert path.read_bytes() == expected
    assert json.loads(expected)["otherData"]["verdict"] == "it broke"


@pytest.mark.parametrize("file_format", ["jsonl", "perfetto"])
def test_a_dash_is_stdout_and_nothing_else_is_there(tester, kept, file_format):
    _, _, _ = tester("--format", file_format, "--out", "file")
    code, out, err = tester("--format", file_format, "--out", "-")
    assert (code, out, err) == (0, Path("file").read_text(encoding="utf-8"), "")


def test_a_reader_that_has_enough_is_no_error(kept):
    command = f"{sys.executable} -m tester export {kept} --out - | head -n 1"
    (kept / "run.journal").write_bytes(written(journal_of(SMALL * 1000)))
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["events"] == 1000 * len(SMALL)
    assert done.stderr == ""


@pytest.mark.parametrize("file_format", ["jsonl", "perfetto"])
def test_of_a_journal_that_is_cut_short_the_whole_part_is_written(tester, kept, file_format):
    path = kept / "run.journal"
    path.write_bytes(path.read_bytes()[:-20])
    code, out, err = tester(path, "--format", file_format, "--out", "file")
    assert (code, out.split(" ")[0]) == (0, str(len(SMALL) - 1))
    assert err == f"{path} is cut short: its end is missing, these are the {len(SMALL) - 1} events before that\n"
    if file_format == "jsonl":
        head = json.loads(Path("file").read_bytes().splitlines()[0])
        assert (head["cut_short"], head["events"]) == (True, len(SMALL) - 1)


MISTAKES = {
    "no such run": (["test_y-seed-1"], "there is no run 'test_y-seed-1'"),
    "no such format": (["--format", "csv"], "no format 'csv'; there are jsonl, perfetto"),
    "newer": (["newer"], "newer: the journal is of version 2; this raftlab reads up to version 1: update it"),
    "no journal": (["text"], "text: no journal: it begins with b'hello'"),
    "damaged": (["damaged"], "damaged: no journal event after 0 events"),
    "out is a folder": (["--out", "folder"], "cannot write folder: Is a directory"),
    "out is in no folder": (["--out", "nowhere/file"], "cannot write nowhere/file: No such file or directory"),
    "out is full": (["--out", "/dev/full"], "cannot write /dev/full: No space left on device"),
    "out is the journal": (["whole", "--out", "whole"], "whole is the journal itself; give another file"),
}


@pytest.mark.parametrize(("arguments", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_one_sentence_and_exit_code_2(tester, kept, arguments, message):
    whole = (kept / "run.journal").read_bytes()
    Path("newer").write_bytes(whole.replace(b"raftlab-journal 1", b"raftlab-journal 2"))
    Path("text").write_bytes(b"hello")
    Path("damaged").write_bytes(whole[:18] + b"\0\0\0\1x" + whole[18:])
    Path("whole").write_bytes(whole)
    Path("folder").mkdir()
    code, out, err = tester(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"tester: {message}")
    assert err.count("\n") == 1
    assert Path("whole").read_bytes() == whole


def test_progress_is_shown_on_a_terminal_only(kept):
    def shown(**options: Any) -> str:
        screen = io.StringIO()
        said, progress = Console(file=io.StringIO()), Console(file=screen, width=100, **options)
        export(said, progress, run=str(kept), root=Path(), file_format="jsonl", out=str(kept / "x"))
        return screen.getvalue()

    assert re.search("reading run.journal.*writing", shown(force_terminal=True), re.DOTALL)
    assert shown() == ""
