"""EDN as Jepsen writes it, and what Jepsen's histories mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from labrpc.errors import UsageError
from tester.edn import Keyword, Symbol, parse_forms, read_forms
from tester.jepsen import read_jepsen
from tester.known_models import KNOWN_MODELS
from tester.porcupine.model import Operation
from tester.porcupine.models import RegisterInput, RegisterOutput, StringKvInput, StringKvOutput

DATA = Path(__file__).parent / "data"


def lines_of(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines(keepends=True)


def jepsen(*lines: str, model: str = "cas-register") -> list[Operation]:
    return read_jepsen(lines, KNOWN_MODELS[model])[0]


# -------------------------------------------------------------- EDN


FORMS = {
    "integers": ("1 -2 +3 4N", [1, -2, 3, 4]),
    "numbers": ("1.5 2e3 7M", [1.5, 2000.0, 7.0]),
    "names": ("nil true false :ok :a/b sym", [None, True, False, Keyword("ok"), Keyword("a/b"), Symbol("sym")]),
    "strings": (r'"a \"b\" \\ \n é"', ['a "b" \\ \n é']),
    "vectors, lists and sets": ("[1 [2]] (3) #{4}", [(1, (2,)), (3,), (4,)]),
    "maps, commas are blanks": ('{:a 1,, "b" [nil]}', [{Keyword("a"): 1, "b": (None,)}]),
    "tags are skipped": ("#jepsen.history.Op{:f :read}", [{Keyword("f"): Keyword("read")}]),
    "comments": ("1 ; two", [1]),
    "characters": (r"\a \newline", ["a", "\n"]),
}


@pytest.mark.parametrize(("text", "forms"), FORMS.values(), ids=FORMS.keys())
def test_forms_are_read(text, forms):
    assert parse_forms(text, 1) == forms


def test_a_form_may_span_lines_and_a_vector_around_all_is_looked_through():
    lines = ["[{:a\n", " 1}\n", "\n", "{:b 2}]\n"]
    assert list(read_forms(lines)) == [(2, {Keyword("a"): 1}), (4, {Keyword("b"): 2})]


def test_a_deep_form_is_no_recursion():
    depth = 100_000
    form = parse_forms("[" * depth + "]" * depth, 1)[0]
    for _ in range(depth - 1):
        (form,) = form
    assert form == ()


BROKEN = {
    "never closed": (["{:a 1}", "{:b", "1"], "line 2: the { that opens here is never closed"),
    "vector never closed": (["[1", "2"], "line 1: the [ that opens here is never closed"),
    "closed twice": (["1", "{}}"], "line 2: a } closes what nothing opened"),
    "closed wrongly": (["{:a [1}"], "line 1: a } closes the [ of line 1"),
    "key without value": (["{:a 1 :b}"], "line 1: a map with a key and no value: :b"),
    "string not closed": (['{:a "b}'], "line 1: no EDN at column 5: '\"b}'"),
    "bad escape": ([r'"\q"'], r"line 1: \q is no escape of a string"),
    "map as a key": (["{{} 1}"], "line 1: a map as the key of a map"),
    "vector of maps as a key": (["{[{}] 1}"], "line 1: a map as the key of a map"),
    "huge integer": (["9" * 5000], "line 1: an integer of 5000 digits"),
}


@pytest.mark.parametrize(("lines", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_edn_is_named_by_its_line(lines, message):
    with pytest.raises(UsageError) as caught:
        list(read_forms(lines))
    assert str(caught.value).startswith(message)


# -------------------------------------------------------------- histories


def test_a_log_in_porcupines_style_is_read():
    operations, time_unit = read_jepsen(lines_of("jepsen-register.log"), KNOWN_MODELS["cas-register"])
    assert time_unit == ""
    assert operations == [
        Operation(0, RegisterInput("read"), 0, RegisterOutput(None), 1),
        Operation(1, RegisterInput("write", 3), 2, RegisterOutput(), 4),
        Operation(2, RegisterInput("cas", 4, 3), 3, RegisterOutput(ok=True), 5),
        Operation(0, RegisterInput("cas", 1, 0), 6, RegisterOutput(ok=False), 7),  # :fail with its value is a result
        Operation(1, RegisterInput("write", 2), 8),  # :info: it may have happened
        Operation(4, RegisterInput("read"), 12, RegisterOutput(4), 13),
        Operation(2, RegisterInput("cas", 0, 2), 14),
        Operation(0, RegisterInput("read"), 15, RegisterOutput(2), 16),
        Operation(0, RegisterInput("read"), 20, RegisterOutput(0), 21),
    ]


def test_a_history_in_edn_is_read_with_its_times():
    operations, time_unit = read_jepsen(lines_of("jepsen-history.edn"), KNOWN_MODELS["cas-register"])
    assert time_unit == "ns"
    assert operations == [
        Operation(0, RegisterInput("write", 1), 1000),
        Operation(1, RegisterInput("read"), 1200, RegisterOutput(1), 1600),
        Operation(1, RegisterInput("cas", 3, 2), 1700, RegisterOutput(ok=False), 1900),
    ]


def test_a_store_of_strings_is_read():
    operations, _ = read_jepsen(lines_of("jepsen-strings.edn"), KNOWN_MODELS["string-kv"])
    assert operations == [
        Operation(0, StringKvInput("append", "x", "a"), 0, StringKvOutput(), 2),
        Operation(1, StringKvInput("get", "x"), 1, StringKvOutput(""), 3),
        Operation(1, StringKvInput("put", "y", '"quoted"\n'), 4, StringKvOutput(), 5),
        Operation(0, StringKvInput("get", "x"), 6, StringKvOutput("a"), 7),
    ]


LOG_LINES = {
    "jepsen.util -": "INFO  jepsen.util - 3\t:invoke\t:write\t5",
    "with spaces": "INFO  jepsen.util - 3 :invoke :write 5 :hint 0",
    "a newer log": "2018-06-04 13:49:29,705{GMT}\tINFO\t[jepsen worker 2] jepsen.util: 3\t:invoke\t:write\t5",
    "history.txt": "3\t:invoke\t:write\t5",
}


@pytest.mark.parametrize("line", LOG_LINES.values(), ids=LOG_LINES.keys())
def test_the_ways_to_write_a_log_line(line):
    assert jepsen("", line) == [Operation(3, RegisterInput("write", 5), 0)]


def test_times_that_do_not_grow_give_way_to_the_order_of_the_lines():
    (operation,) = jepsen(
        "{:process 0, :type :invoke, :f :write, :value 1, :time 5}",
        "{:process 0, :type :ok, :f :write, :value 1, :time 5}",
    )
    assert (operation.call_time, operation.return_time) == (0, 1)


FAILURES = {
    "of a write": ("0 :invoke :write 1", "0 :fail :write 1"),
    "of a read": ("0 :invoke :read nil", "0 :fail :read :timed-out"),
    "of a cas that timed out": ("0 :invoke :cas [1 2]", "0 :fail :cas :timed-out"),
    "of a cas that says why": ("0 :invoke :cas [1 2]", "0 :fail :cas [1 2] :not-found"),
    "of a cas that says why, in EDN": (
        "{:process 0, :type :invoke, :f :cas, :value [1 2]}",
        "{:process 0, :type :fail, :f :cas, :value [1 2], :error :not-found}",
    ),
    "unknown, of a read": ("0 :invoke :read nil", "0 :info :read nil"),
    "none, of a read": ("0 :invoke :read nil",),
}


@pytest.mark.parametrize("lines", FAILURES.values(), ids=FAILURES.keys())
def test_what_did_not_happen_or_says_nothing_is_left_out(lines):
    assert jepsen(*lines) == []


def test_a_failed_cas_has_a_result_even_after_a_hint():
    (operation,) = jepsen("0 :invoke :cas [1 2] :hint 0", "0 :fail :cas [1 2] :hint 4")
    assert operation.output == RegisterOutput(ok=False)


MISTAKES = {
    "not a log line": (["0 :invoke :read nil", "what?"], "line 2: not a line of Jepsen's log"),
    "not a map": (["[1]"], "line 1: 1 is not an operation"),
    "no type": (["{:process 0, :f :read}"], "line 1: an operation without :type"),
    "unknown type": (["{:process 0, :type :begin, :f :read}"], "line 1: type :begin; it is one of :invoke, :ok"),
    "no name": (["0 :invoke"], "line 1: nil where the operation's name should be"),
    "unknown operation": (["0 :invoke :enqueue 3"], "line 1: :enqueue is no operation of cas-register; it has :read"),
    "half a cas": (["0 :invoke :cas [3]"], "line 1: :cas of [3]; it needs [expected new]"),
    "a cas of nothing": (["0 :invoke :cas nil"], "line 1: :cas of nil; it needs [expected new]"),
    "a value that is none": (["0 :invoke :write {:a 1}"], "line 1: value {:a 1} of :write is not a number"),
    "two calls at once": (
        ["0 :invoke :read nil", "0 :invoke :read nil"],
        "line 2: process 0 calls :read, but its :read",
    ),
    "a result without a call": (["0 :ok :read 1"], "line 1: :ok of process 0, which has nothing pending"),
    "another result": (["0 :invoke :read nil", "0 :ok :write 1"], "line 2: :ok of :write, but process 0 called :read"),
    "a dead process": (
        ["0 :invoke :write 1", "0 :info :write 1", "0 :invoke :read nil"],
        "line 3: process 0 calls again, though line 2 (:info) ended it",
    ),
}


@pytest.mark.parametrize(("lines", "message"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_named_by_its_line(lines, message):
    with pytest.raises(UsageError) as caught:
        jepsen(*lines)
    assert str(caught.value).startswith(message)


def test_a_model_without_a_notation_of_jepsens_says_so():
    with pytest.raises(UsageError, match="line 1: :get is no operation of kv; it has none that Jepsen's"):
        jepsen("{:process 0, :type :invoke, :f :get, :key 1}", model="kv")


def test_a_key_is_needed_where_there_are_keys():
    with pytest.raises(UsageError, match='line 1: input of get lacks "key"'):
        jepsen("{:process 0, :type :invoke, :f :get}", model="string-kv")
