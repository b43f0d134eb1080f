"""Histories to check: of simulated stores with many clients, made illegal at will, and small ones of no store at all.

    simulate("kv", seed=7, operations=1000, clients=15)      legal, every operation took effect at one instant
    corrupt(history, rng)                                    one answer changed, so probably illegal
    scribble("cas", rng, 5)                                  any answers at any times, legal or not

Everything is a function of its seed.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from tester.porcupine import (
    KvInput,
    KvOutput,
    Model,
    Operation,
    RegisterInput,
    RegisterOutput,
    StringKvInput,
    StringKvOutput,
    cas_register_model,
    kv_model,
    register_model,
    string_kv_model,
)

__all__ = ["MODELS", "corrupt", "scribble", "scribbles", "simulate"]

MODELS: dict[str, Callable[[], Model]] = {
    "kv": kv_model,
    "register": lambda: register_model(0),
    "cas": lambda: cas_register_model(0),
    "string": string_kv_model,
}


class _Store:
    """What all the clients talk to: it does one thing at a time."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._state: dict[Any, Any] = {}

    def apply(self, input: Any) -> Any:
        state, key = self._state, input.key
        if self._kind == "kv":
            value, version = state.get(key, ("", 0))
            if input.op == "get":
                return KvOutput("OK", value, version) if version else KvOutput("NO_KEY")
            if input.version == version:
                state[key] = (input.value, version + 1)
                return KvOutput("OK")
            return KvOutput("VERSION" if version else "NO_KEY")
        if self._kind == "string":
            value = state.get(key, "")
            if input.op == "get":
                return StringKvOutput(value)
            state[key] = input.value if input.op == "put" else value + input.value
            return StringKvOutput()
        value = state.get(key, 0)
        if input.op == "read":
            return RegisterOutput(value)
        if input.op == "cas" and value != input.expected:
            return RegisterOutput(ok=False)
        state[key] = input.value
        return RegisterOutput()


class _Asker:
    """Thinks of operations, as clients do: from what they have seen."""

    def __init__(self, kind: str, rng: random.Random, keys: int, values: int | None, writes: float) -> None:
        self._kind, self._rng, self._keys, self._values, self._writes = kind, rng, keys, values, writes
        self._count = 0
        self.versions: dict[tuple[int, str], int] = {}
        """(client, key) -> the version it believes the key to be at."""

    def ask(self, client: int) -> Any:
        rng = self._rng
        self._count += 1
        write = rng.random() < self._writes
        key = f"k{rng.randrange(self._keys)}"
        value = self._count if self._values is None else rng.randrange(self._values)
        if self._kind == "kv":
            if write:
                version = self.versions.get((client, key), 0)
                return KvInput("put", key, f"v{value}", max(0, version + rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 1, -1))))
            return KvInput("get", key)
        if self._kind == "string":
            if write:
                op = "put" if rng.random() < 0.1 else "append"
                return StringKvInput(op, key, f"x {client} {value} y")
            return StringKvInput("get", key)
        if not write:
            return RegisterInput("read", key=key)
        if self._kind == "cas" and rng.random() < 0.5:
            expected = rng.randrange(self._values or max(1, self._count))
            return RegisterInput("cas", value, expected, key=key)
        return RegisterInput("write", value, key=key)

    def learn(self, client: int, input: Any, output: Any) -> None:
        if self._kind == "kv" and output is not None:
            if input.op == "get":
                self.versions[client, input.key] = output.version
            elif output.err == "OK":
                self.versions[client, input.key] = input.version + 1


def simulate(
    kind: str,
    *,
    seed: int,
    operations: int,
    clients: int = 5,
    keys: int = 1,
    values: int | None = None,
    writes: float = 0.5,
    lost: float = 0.0,
    maybe: float = 0.0,
    ties: bool = False,
) -> list[Operation]:
    """A linearizable history, by call.

    Args:
        kind: one of `MODELS`.
        values: how many different ones are written; None: every write has one of its own.
        writes: the share of operations that are not reads.
        lost: the share of operations that never return; half of those take effect, some of them much later.
        maybe: the share of puts with an unknown outcome ("kv" only).
        ties: times are whole numbers and often equal.
    """
    rng = random.Random(seed)
    store, asker = _Store(kind), _Asker(kind, rng, keys, values, writes)
    history: list[Operation] = []
    pending: list[tuple[float, int, str, int, int]] = []  # (time, sequence, what, client, operation)
    outputs: dict[int, Any] = {}
    names = list(range(clients))
    sequence = 0

    def later(now: float, mean: float) -> float:
        return now + (rng.randrange(int(3 * mean)) if ties else rng.expovariate(1 / mean))

    def push(time: float, what: str, client: int, number: int) -> None:
        nonlocal sequence
        sequence += 1
        heapq.heappush(pending, (time, sequence, what, client, number))

    for client in range(clients):
        push(later(0, 3.0), "call", client, -1)
    while pending and len(history) <= operations:
        now, _, what, client, number = heapq.heappop(pending)
        if what == "call":
            if len(history) == operations:
                continue
            history.append(Operation(names[client], asker.ask(client), now))
            number = len(history) - 1
            if rng.random() < lost:
                names[client] = clients + number
                if rng.random() < 0.5:
                    push(later(now, rng.choice((4.0, 100.0))), "effect", -1, number)
                push(later(now, 3.0), "call", client, -1)
            else:
                push(later(now, 5.0), "effect", client, number)
        elif what == "effect":
            output = store.apply(history[number].input)
            if client >= 0:
                if kind == "kv" and history[number].input.op == "put" and rng.random() < maybe:
                    output = KvOutput("MAYBE")
                outputs[number] = output
                push(later(now, 5.0), "return", client, number)
        else:
            operation = history[number]
            history[number] = replace(operation, output=outputs[number], return_time=now)
            asker.learn(client, operation.input, outputs[number])
            push(later(now, 2.0), "call", client, -1)
    return history


def corrupt(history: list[Operation], rng: random.Random) -> list[Operation]:
    """`history` with one answer changed to that of another operation of the same kind, or to something made up."""
    changed = list(history)
    for _ in range(1000):
        number = rng.randrange(len(history))
        operation = history[number]
        if operation.return_time is None:
            continue
        others = [
            other.output
            for other in rng.choices(history, k=20)
            if other.return_time is not None
            and other.input.op == operation.input.op
            and other.input.key == operation.input.key
            and other.output != operation.output
        ]
        if others:
            changed[number] = replace(operation, output=others[0])
            return changed
    raise ValueError("no answer differs from the others")


def scribble(kind: str, rng: random.Random, operations: int) -> list[Operation]:
    """A small history of made up answers at made up times, many of them equal; about half are linearizable."""
    history = []
    span = rng.choice((3, 6, 12))
    keys = ("x",) if rng.random() < 0.9 else ("x", "y")
    for client in range(operations):
        start = rng.randrange(span)
        end = start + rng.choice((0, 1, 1, 2, 3, 5))
        lost = rng.random() < 0.15
        input, output = _ANSWERS[kind](rng, rng.choice(keys))
        if lost:
            history.append(Operation(client, input, start))
        else:
            history.append(Operation(client, input, start, output, end))
    return history


def _scribble_kv(rng: random.Random, key: str) -> tuple[KvInput, KvOutput]:
    if rng.random() < 0.35:
        version = rng.choice((0, 1, 1, 1, 2, 2, 3))
        output = KvOutput("OK", rng.choice("aab"), version) if version else KvOutput("NO_KEY")
        return KvInput("get", key), output
    version = rng.choice((0, 0, 0, 1, 1, 2, 3))
    err = rng.choice(("OK", "OK", "MAYBE", "MAYBE", "VERSION", "NO_KEY"))
    return KvInput("put", key, rng.choice("aab"), version), KvOutput(err)


def _scribble_register(rng: random.Random, key: str) -> tuple[RegisterInput, RegisterOutput]:
    values = rng.choice((2, 3, 5))
    if rng.random() < 0.5:
        return RegisterInput("read", key=key), RegisterOutput(rng.randrange(values))
    return RegisterInput("write", rng.randrange(values), key=key), RegisterOutput()


def _scribble_cas(rng: random.Random, key: str) -> tuple[RegisterInput, RegisterOutput]:
    if rng.random() < 0.5:
        return _scribble_register(rng, key)
    values = rng.choice((2, 3, 5))
    return (
        RegisterInput("cas", rng.randrange(values), rng.randrange(values), key=key),
        RegisterOutput(ok=rng.random() < 0.7),
    )


def _scribble_string(rng: random.Random, key: str) -> tuple[StringKvInput, StringKvOutput]:
    if rng.random() < 0.5:
        return StringKvInput("get", key), StringKvOutput(rng.choice(("", "a", "b", "ab", "ba", "aa", "aab")))
    return StringKvInput(rng.choice(("put", "append", "append")), key, rng.choice(("a", "b", "ab"))), StringKvOutput()


_ANSWERS: dict[str, Callable[[random.Random, str], tuple[Any, Any]]] = {
    "kv": _scribble_kv,
    "register": _scribble_register,
    "cas": _scribble_cas,
    "string": _scribble_string,
}


def scribbles(kind: str, *, max_operations: int = 6) -> st.SearchStrategy[list[Operation]]:
    """Hypothesis's scribbles: it shrinks the number of operations."""
    return st.builds(
        lambda seed, count: scribble(kind, random.Random(seed), count),
        st.integers(0, 2**32),
        st.integers(1, max_operations),
    )
