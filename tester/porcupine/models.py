"""Models of the stores that one tests most: a versioned key/value store, registers, and a store of strings.

kv_model()             get, put at a version          each key decided exactly, in O(n log n)
register_model()       read, write                    each register decided at once, or refuted, or searched
cas_register_model()   read, write, compare-and-set   the same
string_kv_model()      get, put, append               searched, one key after another
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from tester.porcupine.errors import HistoryError
from tester.porcupine.foresight import RegisterForesight, StringForesight
from tester.porcupine.model import Event, EventKind, Model, Operation, Traits
from tester.porcupine.registers import decide_register
from tester.porcupine.versioned import decide_versioned

__all__ = [
    "KvInput",
    "KvOutput",
    "RegisterInput",
    "RegisterOutput",
    "StringKvInput",
    "StringKvOutput",
    "cas_register_model",
    "kv_model",
    "register_model",
    "string_kv_model",
]

_OBSERVER = Traits(observer=True)
_TOTAL_OBSERVER = Traits(observer=True, total=True)
_BLIND = Traits(total=True, blind=True)
_APPEND = Traits(total=True, restless=True)


# -------------------------------------------------------------- a versioned key/value store


@dataclass(frozen=True, slots=True)
class KvInput:
    """What was asked of a versioned store.

    Attributes:
        op: "get", or "put".
        value: what to put.
        version: put only if the key is at this version; 0: if there is no such key.
    """

    op: str
    key: str
    value: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class KvOutput:
    """What a versioned store answered.

    Attributes:
        err: "OK"; "NO_KEY": there is no such key; for a put also "VERSION": the key is at another version; "MAYBE": it
            was done, or it was refused for one of these reasons.
        value: what a get found.
        version: the version of what a get found: 1 after the first put.
    """

    err: str
    value: str = ""
    version: int = 0


def kv_model() -> Model:
    """A store of keys with versions: a put names the version it replaces, and adds one to it.

    A get of a missing key answers NO_KEY. A put at another version than the key's is refused: NO_KEY if the key is
    missing, else VERSION.
    """
    return Model(
        init=lambda: ("", 0),
        step=_step_kv,
        partition=_partition_by_key,
        partition_events=_partition_events_by_key,
        describe_operation=_describe_kv,
        describe_state=lambda state: f"{state[0]!r} (version {state[1]})" if state[1] else "no key",
        validate=_validate_kv,
        decide=lambda operations: decide_versioned(operations, _describe_kv),
        traits=_traits_of_kv,
        aspect=lambda state: state[1],
    )


def _step_kv(state: tuple[str, int], input: KvInput, output: KvOutput | None) -> tuple[bool, tuple[str, int]]:
    value, version = state
    err = None if output is None else output.err
    if input.op == "get":
        if output is None:
            return True, state
        if err == "OK":
            return output.version > 0 and output.version == version and output.value == value, state
        return version == 0 and output.version == 0 and output.value == "", state
    if input.version == version:
        return err == "OK" or err is None or err == "MAYBE", (input.value, version + 1)
    if err == "MAYBE" or err is None:
        return True, state
    return err == ("VERSION" if version else "NO_KEY"), state


_MISSING = Traits(observer=True, only_in=("", 0))
_NO_KEY = KvOutput("NO_KEY")


def _traits_of_kv(input: KvInput, output: KvOutput | None) -> Traits:
    if input.op == "get":
        if output is None:
            return _TOTAL_OBSERVER
        if output.err == "OK" and output.version > 0:
            return Traits(observer=True, only_in=(output.value, output.version))
        return _MISSING if output == _NO_KEY else _OBSERVER  # an observer that is possible nowhere
    err = None if output is None else output.err
    if err == "NO_KEY":
        return _MISSING if input.version else _OBSERVER
    if err == "VERSION":
        return _OBSERVER
    return Traits(total=err != "OK", changes_in=input.version)


def _describe_kv(input: KvInput, output: KvOutput | None) -> str:
    if input.op == "get":
        asked = f"get({input.key!r})"
    else:
        asked = f"put({input.key!r}, {input.value!r}, version {input.version})"
    if output is None:
        return f"{asked} -> ?"
    if input.op == "get" and output.err == "OK":
        return f"{asked} -> {output.value!r} (version {output.version})"
    return f"{asked} -> {output.err}"


_GET_ERRS = frozenset(("OK", "NO_KEY"))
_PUT_ERRS = frozenset(("OK", "NO_KEY", "VERSION", "MAYBE"))


def _validate_kv(history: Sequence[Operation]) -> None:
    for index, operation in enumerate(history):
        input, output = operation.input, operation.output
        if type(input) is not KvInput:
            raise _complaint(index, operation, f"its input is {input!r}; the model takes a KvInput")
        if output is None:
            if operation.return_time is None:
                errs = None
            else:
                raise _complaint(index, operation, "it returned without an output; its output must be a KvOutput")
        elif type(output) is not KvOutput:
            raise _complaint(index, operation, f"its output is {output!r}; the model takes a KvOutput")
        if input.op == "get":
            errs = _GET_ERRS
        elif input.op == "put":
            errs = _PUT_ERRS
            if type(input.version) is not int:
                raise _complaint(index, operation, f"its version is {input.version!r}; it must be an int")
        else:
            raise _complaint(index, operation, f"its op is {input.op!r}; it must be 'get' or 'put'")
        if output is not None:
            if output.err not in errs:
                raise _complaint(
                    index, operation, f"its err is {output.err!r}; a {input.op}'s is one of {sorted(errs)}"
                )
            if type(output.version) is not int:
                raise _complaint(index, operation, f"it found version {output.version!r}; it must be an int")


# -------------------------------------------------------------- registers


@dataclass(frozen=True, slots=True)
class RegisterInput:
    """What was asked of a register.

    Attributes:
        op: "read", "write", or "cas": write `value` if the register holds `expected`.
        key: which register, if there are several.
    """

    op: str
    value: Any = None
    expected: Any = None
    key: Hashable = None


@dataclass(frozen=True, slots=True)
class RegisterOutput:
    """What a register answered.

    Attributes:
        value: what a read found.
        ok: whether a cas was done.
    """

    value: Any = None
    ok: bool = True


def register_model(initial: Any = None) -> Model:
    """Registers that hold `initial` at first, with reads and writes."""
    return _register_model(initial, ("read", "write"))


def cas_register_model(initial: Any = None) -> Model:
    """Registers that hold `initial` at first, with reads, writes and compare-and-set."""
    return _register_model(initial, ("read", "write", "cas"))


def _register_model(initial: Any, ops: tuple[str, ...]) -> Model:
    return Model(
        init=lambda: initial,
        step=_step_register,
        partition=_partition_by_key,
        partition_events=_partition_events_by_key,
        describe_operation=_describe_register,
        validate=lambda history: _validate_register(history, ops),
        decide=lambda operations: decide_register(operations, initial, _describe_register),
        traits=_traits_of_register,
        foresight=RegisterForesight,
    )


def _step_register(state: Any, input: RegisterInput, output: RegisterOutput | None) -> tuple[bool, Any]:
    if input.op == "read":
        return output is None or bool(output.value == state), state
    if input.op == "write":
        return True, input.value
    if input.expected == state:
        return output is None or output.ok, input.value
    return output is None or not output.ok, state


def _traits_of_register(input: RegisterInput, output: RegisterOutput | None) -> Traits:
    if input.op == "read":
        return _TOTAL_OBSERVER if output is None else Traits(observer=True, only_in=output.value)
    if input.op == "write":
        return _BLIND
    same = bool(input.expected == input.value)
    if output is None:
        return _TOTAL_OBSERVER if same else Traits(total=True, changes_in=input.expected)
    if not output.ok:
        return _OBSERVER
    return Traits(observer=same, only_in=input.expected, changes_in=input.expected)


def _describe_register(input: RegisterInput, output: RegisterOutput | None) -> str:
    of = "" if input.key is None else f"{input.key!r}, "
    if input.op == "read":
        found = "?" if output is None else repr(output.value)
        return f"read({of.removesuffix(', ')}) -> {found}"
    if input.op == "write":
        return f"write({of}{input.value!r})" + (" -> ?" if output is None else "")
    done = "?" if output is None else "done" if output.ok else "refused"
    return f"cas({of}{input.expected!r} to {input.value!r}) -> {done}"


def _validate_register(history: Sequence[Operation], ops: tuple[str, ...]) -> None:
    for index, operation in enumerate(history):
        input, output = operation.input, operation.output
        if type(input) is not RegisterInput:
            raise _complaint(index, operation, f"its input is {input!r}; the model takes a RegisterInput")
        if input.op not in ops:
            raise _complaint(index, operation, f"its op is {input.op!r}; it must be one of {', '.join(ops)}")
        if output is None:
            if operation.return_time is not None and input.op != "write":
                raise _complaint(index, operation, "it returned without an output; its output must be a RegisterOutput")
        elif type(output) is not RegisterOutput:
            raise _complaint(index, operation, f"its output is {output!r}; the model takes a RegisterOutput")
        elif type(output.ok) is not bool:
            raise _complaint(index, operation, f"its output says ok={output.ok!r}; it must be a bool")
        elif not output.ok and input.op != "cas":
            raise _complaint(index, operation, f"only a cas can be refused, not a {input.op}")
        try:
            hash((input.value, input.expected, input.key, None if output is None else output.value))
        except TypeError:
            raise _complaint(index, operation, "a register's values must be hashable") from None


# -------------------------------------------------------------- a store of strings


@dataclass(frozen=True, slots=True)
class StringKvInput:
    """What was asked of a store of strings.

    Attributes:
        op: "get", "put", or "append": put what is there and `value` behind it.
    """

    op: str
    key: str
    value: str = ""


@dataclass(frozen=True, slots=True)
class StringKvOutput:
    """What a store of strings answered: what a get found."""

    value: str = ""


def string_kv_model() -> Model:
    """A store of strings, each "" at first, with get, put and append."""
    return Model(
        init=str,
        step=_step_string,
        partition=_partition_by_key,
        partition_events=_partition_events_by_key,
        describe_operation=_describe_string,
        validate=_validate_string,
        traits=_traits_of_string,
        foresight=StringForesight,
    )


def _step_string(state: str, input: StringKvInput, output: StringKvOutput | None) -> tuple[bool, str]:
    if input.op == "get":
        return output is None or output.value == state, state
    if input.op == "put":
        return True, input.value
    return True, state + input.value


def _traits_of_string(input: StringKvInput, output: StringKvOutput | None) -> Traits:
    if input.op == "get":
        return _TOTAL_OBSERVER if output is None else Traits(observer=True, only_in=output.value)
    if input.op == "put":
        return _BLIND
    return _APPEND if input.value else _TOTAL_OBSERVER


def _describe_string(input: StringKvInput, output: StringKvOutput | None) -> str:
    if input.op == "get":
        return f"get({input.key!r}) -> {'?' if output is None else repr(output.value)}"
    return f"{input.op}({input.key!r}, {input.value!r})" + (" -> ?" if output is None else "")


def _validate_string(history: Sequence[Operation]) -> None:
    for index, operation in enumerate(history):
        input, output = operation.input, operation.output
        if type(input) is not StringKvInput:
            raise _complaint(index, operation, f"its input is {input!r}; the model takes a StringKvInput")
        if input.op not in ("get", "put", "append"):
            raise _complaint(index, operation, f"its op is {input.op!r}; it must be one of get, put, append")
        if output is None:
            if operation.return_time is not None and input.op == "get":
                raise _complaint(index, operation, "it returned without an output; its output must be a StringKvOutput")
        elif type(output) is not StringKvOutput:
            raise _complaint(index, operation, f"its output is {output!r}; the model takes a StringKvOutput")
        elif type(output.value) is not str:
            raise _complaint(index, operation, f"it found {output.value!r}; values are strings")
        if type(input.value) is not str:
            raise _complaint(index, operation, f"its value is {input.value!r}; values are strings")


# -------------------------------------------------------------- what they share


def _partition_by_key(history: Sequence[Operation]) -> list[list[Operation]]:
    parts: dict[Any, list[Operation]] = {}
    for operation in history:
        key = operation.input.key
        part = parts.get(key)
        if part is None:
            parts[key] = [operation]
        else:
            part.append(operation)
    return list(parts.values())


def _partition_events_by_key(events: Sequence[Event]) -> list[list[Event]]:
    parts: dict[Any, list[Event]] = {}
    key_of: dict[int, Any] = {}
    for event in events:
        if event.kind is EventKind.CALL:
            key_of[event.id] = event.value.key
        parts.setdefault(key_of[event.id], []).append(event)
    return list(parts.values())


def _complaint(index: int, operation: Operation, wrong: str) -> HistoryError:
    return HistoryError(
        f"operation {index} of client {operation.client_id}, called at {operation.call_time}, "
        f"is not of the model's kind: {wrong}"
    )
