"""Verdicts and what they rest on: every method against brute force, stories and sentences, events, limits."""

from __future__ import annotations

import doctest
import random
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings

import tester.porcupine
from tester.porcupine import (
    CheckResult,
    Event,
    EventKind,
    KvInput,
    KvOutput,
    Model,
    NondeterministicModel,
    Operation,
    RegisterInput,
    RegisterOutput,
    StringKvInput,
    StringKvOutput,
    cas_register_model,
    check_events,
    check_events_verbose,
    check_operations,
    check_operations_verbose,
    kv_model,
    register_model,
    string_kv_model,
    verify_linearization,
)
from tests.harness.porcupine.agreement import bare, disagreement, medium_history, small_history
from tests.harness.porcupine.histories import MODELS, corrupt, scribbles, simulate
from tests.harness.porcupine.oracle import is_linearizable

OK, ILLEGAL, UNKNOWN = CheckResult.OK, CheckResult.ILLEGAL, CheckResult.UNKNOWN

HISTORIES = 800
"""Of each model; `python -m benchmarks.checker_agreement` judges as many as one likes."""


def write(client: int, value: Any, start: float, end: float | None = None) -> Operation:
    return Operation(client, RegisterInput("write", value), start, None if end is None else RegisterOutput(), end)


def read(client: int, value: Any, start: float, end: float) -> Operation:
    return Operation(client, RegisterInput("read"), start, RegisterOutput(value), end)


def cas(client: int, expected: Any, value: Any, start: float, end: float | None, ok: bool = True) -> Operation:
    output = None if end is None else RegisterOutput(ok=ok)
    return Operation(client, RegisterInput("cas", value, expected), start, output, end)


def put(client: int, value: str, version: int, err: str | None, start: float, end: float | None) -> Operation:
    return Operation(client, KvInput("put", "x", value, version), start, None if err is None else KvOutput(err), end)


def get(client: int, value: str, version: int, start: float, end: float) -> Operation:
    output = KvOutput("OK", value, version) if version else KvOutput("NO_KEY")
    return Operation(client, KvInput("get", "x"), start, output, end)


# -------------------------------------------------------------- agreement


@pytest.mark.parametrize("kind", MODELS)
def test_every_method_agrees_with_brute_force(kind: str) -> None:
    model = MODELS[kind]()
    verdicts = set()
    for number in range(HISTORIES):
        history = small_history(kind, random.Random(f"{kind} {number}"))
        legal, wrong = disagreement(model, history)
        assert not wrong, (wrong, history)
        verdicts.add(legal)
    assert verdicts == {True, False}


@pytest.mark.parametrize("kind", MODELS)
def test_the_general_search_agrees_with_the_textbook_search(kind: str) -> None:
    model = MODELS[kind]()
    for number in range(60):
        history = medium_history(kind, random.Random(f"{kind} {number}"))
        legal, wrong = disagreement(model, history, truth=check_operations(bare(model), history) is OK)
        assert not wrong, (wrong, legal, history)


@pytest.mark.parametrize("kind", MODELS)
def test_a_generated_history_is_judged_as_by_brute_force(kind: str) -> None:
    model = MODELS[kind]()

    @settings(max_examples=150, deadline=None, derandomize=True)
    @given(scribbles(kind))
    def judge(history: list[Operation]) -> None:
        assert (check_operations(model, history) is OK) == is_linearizable(model, history)

    judge()


@pytest.mark.parametrize("kind", MODELS)
def test_the_order_in_which_operations_are_listed_does_not_matter(kind: str) -> None:
    model = MODELS[kind]()
    for number in range(100):
        rng = random.Random(f"{kind} {number}")
        history = small_history(kind, rng)
        shuffled = list(history)
        rng.shuffle(shuffled)
        assert check_operations(model, history) is check_operations(model, shuffled)


# -------------------------------------------------------------- stories


@pytest.mark.parametrize("ends", [1, 2], ids=["before the call", "at the very call"])
def test_intervals_are_closed(ends: int) -> None:
    history = [write(1, 1, 0, ends), read(2, None, 2, 3)]
    assert check_operations(register_model(), history) is (ILLEGAL if ends == 1 else OK)


def test_operations_may_take_no_time() -> None:
    assert check_operations(register_model(), [write(1, 1, 5, 5), read(2, 1, 5, 5), read(3, None, 5, 5)]) is OK


def test_an_operation_that_never_returned_may_take_effect_late_or_never() -> None:
    lost = write(1, 1, 0)
    assert check_operations(register_model(), [lost, read(2, None, 5, 6), read(2, 1, 7, 8)]) is OK
    assert check_operations(register_model(), [lost, read(2, None, 5, 6)]) is OK
    assert check_operations(register_model(), [lost, read(2, 1, 5, 6), read(2, None, 7, 8)]) is ILLEGAL


def test_what_leaves_the_present_state_alone_may_still_be_needed_later() -> None:
    """A write of 1 in state 1 must not be taken as done: the read needs it after the write of 2."""
    history = [write(1, 1, 0, 1), write(2, 1, 2, 9), write(3, 2, 3, 4), read(4, 1, 5, 6)]
    for model in (register_model(), replace(register_model(), decide=None), bare(register_model())):
        assert check_operations(model, history) is OK


def test_a_put_of_unknown_outcome_happens_within_its_call_or_was_refused_within_it() -> None:
    model = kv_model()
    assert check_operations(model, [put(1, "a", 0, "MAYBE", 0, 1), get(2, "a", 1, 2, 3)]) is OK
    assert check_operations(model, [put(1, "a", 0, "MAYBE", 0, 1), get(2, "", 0, 2, 3)]) is ILLEGAL
    assert check_operations(model, [put(1, "a", 3, "MAYBE", 0, 1), get(2, "", 0, 2, 3)]) is OK


def test_a_refused_put_needs_the_key_to_be_at_another_version() -> None:
    model = kv_model()
    made = put(1, "a", 0, "OK", 0, 1)
    assert check_operations(model, [made, put(2, "b", 0, "VERSION", 2, 3)]) is OK
    assert check_operations(model, [made, put(2, "b", 1, "VERSION", 2, 3)]) is ILLEGAL
    assert check_operations(model, [made, put(2, "b", 7, "NO_KEY", 2, 3)]) is ILLEGAL
    assert check_operations(model, [put(2, "b", 0, "NO_KEY", 2, 3)]) is ILLEGAL
    assert check_operations(model, [put(2, "b", 7, "VERSION", 2, 3)]) is ILLEGAL


STORIES: dict[str, tuple[Model, list[Operation], str]] = {
    "stale get": (
        kv_model(),
        [put(1, "a", 0, "OK", 0, 1), put(1, "b", 1, "OK", 2, 3), get(2, "a", 1, 4, 5)],
        "version 2 of 'x' cannot be placed: it was made no earlier than 4, after the call of client 2's "
        "get('x') -> 'a' (version 1) (called at 4, returned at 5), and no later than 3, before the return of "
        "client 1's put('x', 'b', version 1) -> OK (called at 2, returned at 3)",
    ),
    "two puts done at one version": (
        kv_model(),
        [put(1, "a", 0, "OK", 0, 1), put(2, "b", 0, "OK", 0, 2)],
        "client 2's put('x', 'b', version 0) -> OK (called at 0, returned at 2) cannot be placed: "
        "client 1's put('x', 'a', version 0) -> OK (called at 0, returned at 1) was done at version 0 of 'x' as well",
    ),
    "a version from nowhere": (
        kv_model(),
        [put(1, "a", 0, "OK", 0, 1), get(2, "b", 2, 4, 5)],
        "client 2's get('x') -> 'b' (version 2) (called at 4, returned at 5) cannot be placed: no put can have made "
        "version 2 of 'x', which it needs, with what was seen of it",
    ),
    "two values of one version": (
        kv_model(),
        [put(1, "a", 0, "MAYBE", 0, 1), put(2, "b", 0, "MAYBE", 0, 1), get(2, "a", 1, 4, 5), get(3, "b", 1, 5, 6)],
        "client 3's get('x') -> 'b' (version 1) (called at 5, returned at 6) cannot be placed: version 1 of 'x' is "
        "what client 2's get('x') -> 'a' (version 1) (called at 4, returned at 5) says it is",
    ),
    "a read of what nobody wrote": (
        register_model(0),
        [write(1, 1, 0, 1), read(2, 2, 2, 3)],
        "client 2's read() -> 2 (called at 2, returned at 3) cannot be placed: nothing called by then can have "
        "written the value it finds",
    ),
    "a write inside another value's reads": (
        register_model(0),
        [write(1, 1, 0, 1), write(2, 2, 2, 3), read(3, 1, 4, 5)],
        "client 2's write(2) (called at 2, returned at 3) cannot be placed: between client 1's write(1) (called at 0, "
        "returned at 1) and client 3's read() -> 1 (called at 4, returned at 5) the register holds one value that was "
        "written once",
    ),
    "a compare-and-set that came too late": (
        cas_register_model(0),
        [write(1, 5, 0, 1), write(1, 5, 2, 3), cas(2, 5, 6, 4, 5), cas(3, 5, 7, 6, 7), read(3, 7, 8, 9)],
        "client 3's cas(5 to 7) -> done (called at 6, returned at 7) cannot be placed: at best it comes after "
        "client 2's cas(5 to 6) -> done (called at 4, returned at 5), which leaves 6, and before client 3's "
        "read() -> 7 (called at 8, returned at 9)",
    ),
    "an append that was lost": (
        string_kv_model(),
        [
            Operation(1, StringKvInput("append", "x", "a"), 0, StringKvOutput(), 1),
            Operation(1, StringKvInput("append", "x", "b"), 2, StringKvOutput(), 3),
            Operation(2, StringKvInput("get", "x"), 4, StringKvOutput("a"), 5.25),
        ],
        "client 2's get('x') -> 'a' (called at 4, returned at 5.25) cannot be placed: at best it comes after client "
        "1's append('x', 'b') (called at 2, returned at 3), which leaves 'ab'",
    ),
}


@pytest.mark.parametrize("name", STORIES)
def test_an_illegal_history_is_explained_in_one_sentence(name: str) -> None:
    model, history, sentence = STORIES[name]
    verdict, info = check_operations_verbose(model, history)
    assert verdict is ILLEGAL
    assert info.explanation == sentence
    assert info.culprit is not None


def test_the_culprit_is_what_returned_first_of_all_that_cannot_be_placed() -> None:
    """Without it, or anything returning later, the history is legal."""
    for kind in ("cas", "string"):
        model = replace(MODELS[kind](), decide=None)
        for number in range(60):
            history = small_history(kind, random.Random(f"culprit {kind} {number}"))
            verdict, info = check_operations_verbose(model, history)
            if verdict is OK:
                continue
            assert info.culprit is not None
            part = info.partitions[info.culprit[0]]
            end = part[info.culprit[1]].return_time
            assert end is not None
            returned = [
                operation for operation in part if operation.return_time is not None and operation.return_time < end
            ]
            assert check_operations(model, [*returned, *(_lost(each) for each in part if _is_lost(each, end))]) is OK


def _is_lost(operation: Operation, end: float) -> bool:
    return operation.call_time <= end and (operation.return_time is None or operation.return_time >= end)


def _lost(operation: Operation) -> Operation:
    return replace(
        operation, return_time=None, output=None, client_id=("lost", operation.client_id, operation.call_time)
    )


# -------------------------------------------------------------- what a verdict rests on


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("size", [60, 700])
def test_linearizations_are_verified(kind: str, size: int) -> None:
    model = MODELS[kind]()
    for seed, values in ((1, 3), (2, None)):
        history = simulate(
            kind, seed=seed, operations=size, clients=6, keys=3, values=values, lost=0.01, maybe=0.1, ties=True
        )
        for judged in (history, corrupt(history, random.Random(seed))):
            verdict, info = check_operations_verbose(model, judged)
            assert verdict is not UNKNOWN
            assert (info.culprit is None) == (info.explanation is None) == (verdict is OK)
            assert [len(part) for part in info.partitions] == [len(part) for part in model.partition(judged)]  # type: ignore[misc]
            for part, orders in zip(info.partitions, info.partial_linearizations, strict=True):
                assert len(orders) == 1 or verdict is ILLEGAL
                for order in orders:
                    assert verify_linearization(model, part, order, partial=verdict is ILLEGAL)


def test_a_wrong_linearization_is_found_out() -> None:
    history = [write(1, 1, 0, 1), read(2, 1, 2, 3), write(3, 2, 0)]
    model = register_model()
    assert verify_linearization(model, history, [0, 1])
    assert verify_linearization(model, history, [0, 1, 2])
    assert verify_linearization(model, history, [0], partial=True)
    for order in ([0], [1, 0], [0, 2, 1], [0, 1, 1], [0, 1, 3], [0, 1, -1]):
        assert not verify_linearization(model, history, order), order
    assert not verify_linearization(model, history, [1], partial=True)


def test_partial_linearizations_hold_every_operation_that_was_ever_placed() -> None:
    history = [write(1, 1, 0, 1), read(2, 1, 2, 3), read(3, 7, 4, 5), read(4, 1, 6, 7)]
    _, info = check_operations_verbose(replace(register_model(), decide=None), history)
    assert info.partial_linearizations == [[[0, 1]]]


# -------------------------------------------------------------- events, limits, size


def _events(history: list[Operation]) -> list[Event]:
    ends = [(operation.call_time, 0, index) for index, operation in enumerate(history)]
    ends += [(each.return_time, 1, index) for index, each in enumerate(history) if each.return_time is not None]
    return [
        Event(
            (EventKind.CALL, EventKind.RETURN)[kind],
            history[index].output if kind else history[index].input,
            index,
            index + 1,  # at equal times a client's call would come before its last return
        )
        for _, kind, index in sorted(ends)
    ]


@pytest.mark.parametrize("kind", MODELS)
def test_events_are_judged_as_operations_are(kind: str) -> None:
    model = MODELS[kind]()
    for number in range(100):
        history = small_history(kind, random.Random(f"events {kind} {number}"))
        events = _events(history)
        expected = check_operations(model, history)
        assert check_events(model, events) is expected
        assert check_events(replace(model, partition_events=None), events) is expected
        verdict, info = check_events_verbose(model, [replace(event, client_id=0) for event in events])
        assert verdict is expected
        assert sum(map(len, info.partitions)) == len(history)


def test_without_a_timeout_there_is_a_verdict_and_with_one_there_may_be_none() -> None:
    hard = [write(n, n % 7, 0, 100) for n in range(40)] + [read(100 + n, n % 7, 0, 100) for n in range(40)]
    hard.append(read(200, 8, 101, 102))
    hard.append(write(201, 8, 103, 104))
    hard.append(write(202, 8, 103, 104))
    model = bare(register_model())
    verdict, info = check_operations_verbose(model, hard, timeout=0.05)
    assert verdict is UNKNOWN
    assert info.explanation is None
    assert check_operations(register_model(), hard) is ILLEGAL


@pytest.mark.parametrize(
    ("kind", "operations"), [("kv", 100_000), ("register", 5_000), ("cas", 5_000), ("string", 500)]
)
def test_long_histories_need_no_recursion(kind: str, operations: int) -> None:
    history = simulate(kind, seed=3, operations=operations, clients=3, values=5)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(150)
    try:
        assert check_operations(replace(MODELS[kind](), decide=None), history) is OK
    finally:
        sys.setrecursionlimit(limit)


def test_many_clients_on_few_values_are_decided() -> None:
    for clients, seed in ((20, 1), (30, 2)):
        history = simulate("register", seed=seed, operations=1000, clients=clients, values=5)
        assert check_operations(register_model(0), history, timeout=20) is OK
        nines = [write(-1, 9, 1e6, 1e6 + 1), write(-2, 9, 1e6, 1e6 + 1)]
        wrong = [*history, *nines, read(-3, 1, 1e6 + 2, 1e6 + 3)]
        assert check_operations(register_model(0), wrong, timeout=20) is ILLEGAL


# -------------------------------------------------------------- models of one's own


def test_a_nondeterministic_model_allows_any_of_its_steps() -> None:
    """A lottery: a draw gives 1 or 2, and afterwards the same for ever."""

    def step(state: int, input: str, output: int | None) -> list[int]:
        drawn = [1, 2] if state == 0 else [state]
        return drawn if input == "draw" else [each for each in [state] if output in (None, each)]

    model = NondeterministicModel(init=lambda: [0], step=step)
    draw = Operation(1, "draw", 0, "done", 1)
    for found in combinations((1, 2), 1):
        assert check_operations(model, [draw, Operation(2, "look", 2, found[0], 3)]) is OK
    split = [draw, Operation(2, "look", 2, 1, 3), Operation(3, "look", 4, 2, 5)]
    verdict, info = check_operations_verbose(model, split)
    assert verdict is ILLEGAL
    assert info.culprit == (0, 2)
    lists = NondeterministicModel(
        init=lambda: [[0]], step=lambda state, input, output: [[each] for each in step(state[0], input, output)]
    )
    assert check_operations(lists, split) is ILLEGAL
    modulo = replace(model, equal=lambda a, b: a % 10 == b % 10, hash=lambda a: a % 10)
    assert check_operations(modulo, split) is ILLEGAL


def _appending(**more: Any) -> Model:
    def step(state: list[str], input: str, output: list[str] | None) -> tuple[bool, list[str]]:
        return (output is None or output == state, state) if input == "" else (True, [*state, input])

    return Model(init=list, step=step, **more)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"hash": lambda state: len(state)},
        {"equal": lambda left, right: left == right},
        {"equal": lambda left, right: left == right, "hash": lambda state: 7},
    ],
    ids=["nothing", "hash", "equal", "both, every hash the same"],
)
def test_states_need_not_be_hashable(more: dict[str, Any]) -> None:
    model = _appending(**more)
    calls = [Operation(n, f"{n}", 0, None, 10) for n in range(5)]
    assert check_operations(model, [*calls, Operation(9, "", 11, ["3", "1", "0", "2", "4"], 12)]) is OK
    assert check_operations(model, [*calls, Operation(9, "", 11, ["3", "1", "0", "2"], 12)]) is ILLEGAL


def test_states_that_are_hashable_only_at_first_are_boxed_later() -> None:
    def step(state: Any, input: str, output: Any) -> tuple[bool, Any]:
        return True, [*(state or ()), input]

    history = [Operation(n, f"{n}", 0, None, 10) for n in range(4)]
    assert check_operations(Model(init=lambda: None, step=step), history) is OK


def test_an_empty_history_is_linearizable() -> None:
    for make in MODELS.values():
        assert check_operations(make(), []) is OK
        assert check_operations_verbose(make(), [])[1].partitions in ([], [[]])
        assert check_events(make(), []) is OK


def test_the_example_in_the_documentation_holds() -> None:
    assert doctest.testmod(tester.porcupine) == (0, 3)


def test_the_package_stands_alone() -> None:
    program = (
        "import sys, tester.porcupine\n"
        "ours = {name.split('.')[0] for name in sys.modules} & {'labrpc', 'raft', 'kvraft', 'greenlet', 'msgspec'}\n"
        "others = [n for n in sys.modules if n.startswith('tester.') and not n.startswith('tester.porcupine')]\n"
        "print(sorted(ours), others)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[] []"
