"""Histories that nothing can have recorded, and models that break their promises, are named, never judged."""

from __future__ import annotations

import itertools
from dataclasses import replace
from math import inf, nan
from typing import Any

import pytest

from tester.porcupine import (
    CheckResult,
    Event,
    EventKind,
    HistoryError,
    KvInput,
    KvOutput,
    Model,
    ModelError,
    Operation,
    RegisterInput,
    RegisterOutput,
    StringKvInput,
    StringKvOutput,
    Traits,
    cas_register_model,
    check_events,
    check_operations,
    kv_model,
    register_model,
    string_kv_model,
)


def write(client: Any, start: Any, end: Any) -> Operation:
    return Operation(client, RegisterInput("write", 7), start, RegisterOutput(), end)


def read(client: Any, start: Any, end: Any) -> Operation:
    return Operation(client, RegisterInput("read"), start, RegisterOutput(7), end)


TIMES: dict[str, tuple[list[Any], str]] = {
    "return before call": (
        [write(1, 0, 1), write(2, 5, 4)],
        "operation 1 of client 2, write(7), called at 5: it returned before it was called",
    ),
    "two at a time": (
        [read(1, 3, 9), write(1, 0, 4)],
        "operation 0 of client 1, read() -> 7, called at 3: the same client's operation 1, write(7), returned only "
        "at 4",
    ),
    "on after a loss": (
        [write(1, 0, None), write(1, 3, 4)],
        "operation 1 of client 1, write(7), called at 3: the same client's operation 0, write(7), called at 0, never "
        "returned; whoever goes on after that must have a new client id",
    ),
    "nan call": (
        [write(1, nan, 1)],
        "operation 0 of client 1, write(7), called at nan: its call_time is nan; it must be a finite number",
    ),
    "nan return": (
        [write(1, 0, 1), write(2, 1, nan)],
        "operation 1 of client 2, write(7), called at 1: its return_time is nan; it must be a finite number",
    ),
    "infinite return": (
        [write(1, 0, inf)],
        "operation 0 of client 1, write(7), called at 0: its return_time is inf; it must be a finite number",
    ),
    "infinite call": (
        [write(1, -inf, 1)],
        "operation 0 of client 1, write(7), called at -inf: its call_time is -inf; it must be a finite number",
    ),
    "text for a time": (
        [write(1, "0", 1)],
        "operation 0 of client 1, write(7), called at '0': its call_time is '0'; it must be a finite number",
    ),
    "a client that is no key": (
        [write([], 0, 1)],
        "operation 0 of client [], write(7), called at 0: its client is not hashable",
    ),
    "no operation": ([("write", 7)], "operation 0 is ('write', 7); it must be an Operation"),
}


@pytest.mark.parametrize("name", TIMES)
def test_a_history_that_cannot_be_is_refused(name: str) -> None:
    history, message = TIMES[name]
    with pytest.raises(HistoryError) as caught:
        check_operations(register_model(), history)
    assert str(caught.value) == message


def test_a_client_may_call_at_the_instant_of_its_last_return() -> None:
    history = [write(1, 0, 5), write(1, 5, 5), read(1, 5, 5), read(1, 5, 8)]
    for order in itertools.permutations(history):
        assert check_operations(register_model(), order) is CheckResult.OK


def test_a_client_that_is_not_known_is_refused() -> None:
    history = [write("a", 0, 1), read("b", 2, 3)]
    assert check_operations(register_model(), history, clients=["a", "b"]) is CheckResult.OK
    with pytest.raises(
        HistoryError, match=r"operation 1 of client b, .*: its client is unknown; known are \[\"'a'\"\]"
    ):
        check_operations(register_model(), history, clients=["a"])


KINDS: dict[str, tuple[Model, Any, Any, Any, str]] = {
    "kv: another input": (kv_model(), "get x", KvOutput("OK"), 1, "its input is 'get x'; the model takes a KvInput"),
    "kv: another output": (kv_model(), KvInput("get", "x"), "a", 1, "its output is 'a'; the model takes a KvOutput"),
    "kv: no output": (
        kv_model(),
        KvInput("get", "x"),
        None,
        1,
        "it returned without an output; its output must be a KvOutput",
    ),
    "kv: unknown op": (
        kv_model(),
        KvInput("del", "x"),
        KvOutput("OK"),
        1,
        "its op is 'del'; it must be 'get' or 'put'",
    ),
    "kv: unknown err": (
        kv_model(),
        KvInput("put", "x"),
        KvOutput("Ok"),
        1,
        "its err is 'Ok'; a put's is one of ['MAYBE', 'NO_KEY', 'OK', 'VERSION']",
    ),
    "kv: a get that may be": (
        kv_model(),
        KvInput("get", "x"),
        KvOutput("MAYBE"),
        1,
        "its err is 'MAYBE'; a get's is one of ['NO_KEY', 'OK']",
    ),
    "kv: version": (
        kv_model(),
        KvInput("put", "x", "a", "1"),  # type: ignore[arg-type]
        KvOutput("OK"),
        1,
        "its version is '1'; it must be an int",
    ),
    "register: another input": (register_model(), 7, None, 1, "its input is 7; the model takes a RegisterInput"),
    "register: cas": (
        register_model(),
        RegisterInput("cas", 1, 2),
        RegisterOutput(),
        1,
        "its op is 'cas'; it must be one of read, write",
    ),
    "register: no output": (
        cas_register_model(),
        RegisterInput("cas", 1, 2),
        None,
        1,
        "it returned without an output; its output must be a RegisterOutput",
    ),
    "register: refused read": (
        register_model(),
        RegisterInput("read"),
        RegisterOutput(ok=False),
        1,
        "only a cas can be refused, not a read",
    ),
    "register: ok": (
        register_model(),
        RegisterInput("read"),
        RegisterOutput(ok=1),  # type: ignore[arg-type]
        1,
        "its output says ok=1; it must be a bool",
    ),
    "register: list": (
        register_model(),
        RegisterInput("write", []),
        RegisterOutput(),
        1,
        "a register's values must be hashable",
    ),
    "string: number": (
        string_kv_model(),
        StringKvInput("put", "x", 1),  # type: ignore[arg-type]
        StringKvOutput(),
        1,
        "its value is 1; values are strings",
    ),
    "string: op": (
        string_kv_model(),
        StringKvInput("cas", "x"),
        StringKvOutput(),
        1,
        "its op is 'cas'; it must be one of get, put, append",
    ),
    "string: found": (
        string_kv_model(),
        StringKvInput("get", "x"),
        StringKvOutput(None),  # type: ignore[arg-type]
        1,
        "it found None; values are strings",
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_not_of_the_models_kind_is_refused(name: str) -> None:
    model, input, output, end, wrong = KINDS[name]
    with pytest.raises(HistoryError) as caught:
        check_operations(model, [Operation(4, input, 0, output, end)])
    assert str(caught.value) == f"operation 0 of client 4, called at 0, is not of the model's kind: {wrong}"


EVENTS: dict[str, tuple[list[Any], str]] = {
    "return without a call": (
        [Event(EventKind.RETURN, "ok", 3)],
        "event 0 returns 'ok' from operation 3, never called",
    ),
    "two calls": (
        [Event(EventKind.CALL, "a", 3), Event(EventKind.CALL, "b", 3)],
        "event 1 calls operation 3 a second time: 'b'",
    ),
    "two returns": (
        [Event(EventKind.CALL, "a", 3), Event(EventKind.RETURN, "ok", 3), Event(EventKind.RETURN, "no", 3)],
        "event 2 returns 'no' from operation 3, a second time",
    ),
    "another client": (
        [Event(EventKind.CALL, "a", 3, "x"), Event(EventKind.RETURN, "ok", 3, "y")],
        "event 1 returns operation 3 to client y; client x called it",
    ),
    "no event": ([7], "event 0 is 7; it must be an Event"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_events_that_do_not_fit_are_refused(name: str) -> None:
    events, message = EVENTS[name]
    with pytest.raises(HistoryError) as caught:
        check_events(register_model(), events)
    assert str(caught.value) == message


# -------------------------------------------------------------- models that break their promises

HISTORY = [Operation(1, "a", 0, "x", 1), Operation(2, "b", 2, "y", 3)]


def _raising(state: Any, input: Any, output: Any) -> Any:
    raise KeyError(input)


def test_a_step_that_raises_is_named_with_its_cause() -> None:
    with pytest.raises(
        ModelError, match=r"the model's step failed for 'a' -> 'x' in state 0: KeyError\('a'\)"
    ) as caught:
        check_operations(Model(init=lambda: 0, step=_raising), HISTORY)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize("answer", [None, True, (1, 0), (True,), "ok", (True, 0, 0)], ids=repr)
def test_a_step_must_answer_with_a_bool_and_a_state(answer: Any) -> None:
    with pytest.raises(ModelError, match=r"'a' -> 'x'"):
        check_operations(Model(init=lambda: 0, step=lambda *_: answer), HISTORY)


def test_a_step_must_be_a_function() -> None:
    count = itertools.count()
    with pytest.raises(ModelError, match="gave two answers for 'a' -> 'x'"):
        check_operations(Model(init=lambda: 0, step=lambda *_: (True, next(count))), HISTORY)
    with pytest.raises(ModelError, match="gave two answers"):
        check_operations(Model(init=lambda: 0, step=lambda *_: (next(count) % 2 == 0, 0)), HISTORY)


def test_a_step_that_is_a_function_only_at_first_is_found_out_at_last() -> None:
    history = [Operation(n, n, 2 * n, None, 2 * n + 1) for n in range(100)]
    count = itertools.count()
    model = Model(init=lambda: 0, step=lambda state, *_: (next(count) < 150, 0))
    with pytest.raises(ModelError, match="does not allow a linearization that it allowed step by step"):
        check_operations(model, history)


def test_a_step_must_not_change_the_state_it_is_given() -> None:
    def step(state: list[str], input: str, output: str) -> tuple[bool, list[str]]:
        state.append(input)
        return True, state

    with pytest.raises(ModelError, match=r"changed the state \[\] that it was given to \['a', 'a'\], for 'a' -> 'x'"):
        check_operations(Model(init=list, step=step), HISTORY)


def test_wrong_traits_are_found_out_when_they_make_a_history_legal() -> None:
    def traits(input: Any, output: Any) -> Traits:
        return Traits(observer=True, only_in=0)

    model = Model(init=lambda: 0, step=lambda state, input, output: (input == "a", state), traits=traits)
    history = [replace(each, call_time=n % 7) for n, each in enumerate(HISTORY * 300)]
    history = [replace(each, return_time=each.call_time + 1, client_id=n) for n, each in enumerate(history)]
    with pytest.raises(ModelError, match="its traits must hold in every state"):
        check_operations(model, history)


def test_what_else_a_model_gets_wrong_is_named() -> None:
    good = Model(init=lambda: 0, step=lambda state, *_: (True, state))
    with pytest.raises(ModelError, match=r"init raised ValueError\('no'\)"):
        check_operations(replace(good, init=_no), HISTORY)
    with pytest.raises(ModelError, match=r"partition raised ValueError\('no'\)"):
        check_operations(replace(good, partition=_no), HISTORY)
    with pytest.raises(ModelError, match="partition made 1 operations of 2"):
        check_operations(replace(good, partition=lambda history: [list(history)[:1]]), HISTORY)
    with pytest.raises(ModelError, match=r"hash or equal raised ValueError\('no'\)"):
        check_operations(replace(good, hash=_no), HISTORY)


def _no(*_: Any) -> Any:
    raise ValueError("no")
