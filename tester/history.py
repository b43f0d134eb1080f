r"""A recorded history, and the file it is kept in: JSON Lines, one line of head and one line an operation.

    {"format": "raftlab-history", "version": 1, "model": "cas-register", "time_unit": "ns"}
    {"client": 0, "call": 100, "return": 250, "input": {"op": "write", "value": 3}, "output": {}}
    {"client": 1, "call": 120, "return": null, "input": {"op": "cas", "expected": 3, "value": 4}, "output": null}

Version 1 of the format. The head:

    format      "raftlab-history"
    version     1. A reader refuses other versions; within one, fields may be added, and readers pass over those that
                they do not know, in the head and in the lines, but not in `input` and `output`
    model       optional: a name of `tester.known_models`, which says what inputs and outputs look like
    time_unit   optional: of all times, such as "ns" (what raftlab writes), "ms", "s"; only for showing them

An operation, in any order of lines, every field present:

    client      an integer or a string; a client has one operation at a time
    call        when it was called, a finite number; clocks may start anywhere, but there is one for the whole history
    return      when it came back; null: never, so that it may have taken effect at any time since, or not at all
    input       what was asked, an object
    output      what came back, an object, {} if there was no result; null if `return` is null

The text is UTF-8, every line ends with \n, and none is longer than 64 MiB. Empty lines mean nothing.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, NoReturn

from labrpc.errors import UsageError
from tester.known_models import KNOWN_MODELS, KnownModel
from tester.porcupine.model import Operation, Time

__all__ = ["History", "lines_of", "load_history", "read_history", "save_history"]

_FORMAT: Final = "raftlab-history"
_VERSION: Final = 1
_LONGEST_LINE: Final = 64 * 2**20
_FIELDS: Final = ("client", "call", "return", "input", "output")


@dataclass(frozen=True, slots=True)
class History:
    """What a file says.

    Attributes:
        model_name: what its inputs and outputs are of; None if nobody said: they are as JSON has them.
        time_unit: of the operations' times; "" if the file does not say.
    """

    model_name: str | None
    time_unit: str
    operations: list[Operation]


def save_history(
    path: str | os.PathLike[str], model_name: str, operations: Iterable[Operation], *, time_unit: str = "ns"
) -> None:
    """Writes a history file, over what was there.

    Raises:
        UsageError: the model has no name here, or an operation is not one of it, or not one that the format can hold.
        OSError: the file cannot be written.
    """
    known = _known(model_name)
    head = {"format": _FORMAT, "version": _VERSION, "model": model_name, "time_unit": time_unit}
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(_dumped(head))
        for number, operation in enumerate(operations):
            try:
                file.write(_dumped(_written(known, operation)))
            except ValueError as error:
                raise UsageError(f"operation {number} of client {operation.client_id!r}: {error}") from error


def load_history(path: str | os.PathLike[str], *, model_name: str | None = None) -> tuple[str | None, list[Operation]]:
    """The name of the model and the operations of a history file.

    Args:
        model_name: for files that name no model. Without any, inputs and outputs are what JSON says.

    Raises:
        UsageError: the file is not such a history; the message names it and the line.
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        try:
            history = read_history(lines_of(file), model_name=model_name)
        except UsageError as error:
            raise UsageError(f"{os.fspath(path)}: {error}") from error
    return history.model_name, history.operations


def read_history(lines: Iterable[str], *, model_name: str | None = None) -> History:
    """The history of a file's lines, of which it holds one at a time. The arguments are those of `load_history`.

    Raises:
        UsageError: the message begins with the line.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    number, line = next(numbered, (1, ""))
    try:
        named, time_unit = _head(line)
        if named and model_name and named != model_name:
            raise ValueError(f"the history is of model {named}, not {model_name}; leave the model out, or rewrite this")
        name = named or model_name
        known = None if name is None else _known(name)
        operations = []
        for number, line in numbered:  # noqa: B007 - the message below needs the number
            operations.append(_operation(known, _parsed(line)))
    except ValueError as error:
        raise UsageError(f"line {number}: {error}") from error
    return History(name, time_unit, operations)


def lines_of(file: IO[bytes]) -> Iterator[str]:
    """The lines of a file as text, without holding more than one.

    Raises:
        UsageError: a line is not UTF-8, or too long to be one of a history; the message begins with the line.
    """
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise UsageError(f"line {number}: longer than {_LONGEST_LINE >> 20} MiB; a history has a line an operation")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"line {number}: byte {error.start + 1} is not UTF-8; is this a text file?") from error


def _known(name: Any) -> KnownModel:
    if name not in KNOWN_MODELS:
        raise UsageError(f"no model {name!r}; there are {', '.join(KNOWN_MODELS)}")
    return KNOWN_MODELS[name]


def _head(line: str) -> tuple[str | None, str]:
    """The name of the model and the unit of time."""
    head = _parsed(line) if line else {}
    if head.get("format") != _FORMAT:
        raise ValueError(
            f'a history begins with a line such as {{"format": "{_FORMAT}", "version": {_VERSION}, "model": "kv"}}'
        )
    if head.get("version") != _VERSION:
        raise ValueError(f"version {head.get('version')!r} of the format; version {_VERSION} is read here")
    name = head.get("model")
    if name is not None and (not isinstance(name, str) or name not in KNOWN_MODELS):
        raise ValueError(f"no model {name!r}; there are {', '.join(KNOWN_MODELS)}")
    time_unit = head.get("time_unit", "")
    if not isinstance(time_unit, str):
        raise ValueError(f'time_unit {time_unit!r} is not a string such as "ns"')
    return name, time_unit


def _parsed(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"no JSON at column {error.colno}: {error.msg[:1].lower()}{error.msg[1:]}") from error
    except RecursionError as error:
        raise ValueError("JSON nested too deeply for an operation") from error
    if not isinstance(value, dict):
        raise ValueError(f"a JSON object is expected, not {type(value).__name__}")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _operation(known: KnownModel | None, fields: dict[str, Any]) -> Operation:
    missing = [f'"{name}"' for name in _FIELDS if name not in fields]
    if missing:
        raise ValueError(f"an operation without {', '.join(missing)}; if it never returned, its return is null")
    client, called, returned, asked, answer = (fields[name] for name in _FIELDS)
    if type(client) not in (int, str):
        raise ValueError(f"client {client!r} is not an integer or a string")
    _check_times(called, returned)
    if (answer is None) != (returned is None):
        wrong = "it returned, but its output is null; {} is no result" if answer is None else "it has an output"
        raise ValueError(wrong if answer is None else f"{wrong}, but its return is null; when did it come back?")
    if known is not None:
        asked = known.input_of(asked)
        answer = None if answer is None else known.output_of(asked, answer)
    return Operation(client, asked, called, answer, returned)


def _check_times(called: Time, returned: Time | None) -> None:
    for name, time in (("call", called), ("return", returned)):
        if name == "return" and time is None:
            continue
        if isinstance(time, bool) or not isinstance(time, int | float) or not math.isfinite(time):
            raise ValueError(f"{name} {time!r} is not a finite number")
    if returned is not None and returned < called:
        raise ValueError(f"it returned at {returned}, before its call at {called}")


def _written(known: KnownModel, operation: Operation) -> dict[str, Any]:
    client, returned = operation.client_id, operation.return_time
    if type(client) not in (int, str):
        raise ValueError("a client's id must be an int or a str to be written")
    _check_times(operation.call_time, returned)
    if returned is None and operation.output is not None:
        raise ValueError(f"it never returned, but has the output {operation.output!r}")
    asked = known.write_input(operation.input)
    answer = None if returned is None else known.write_output(operation.input, operation.output)
    values: Sequence[Any] = (client, operation.call_time, returned, asked, answer)
    return dict(zip(_FIELDS, values, strict=True))


def _dumped(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n"
