"""Jepsen's histories, of registers and of stores of strings, as operations for the checker.

Two notations are read, both line by line. A history in EDN, as a file of maps or as one vector of them:

    {:process 0, :type :invoke, :f :cas, :value [0 4], :time 1201, :index 7}
    {:process 0, :type :ok, :f :get, :key "x", :value "1"}

and the lines of Jepsen's log, or what follows `jepsen.util - ` in them (lines of other loggers are passed over):

    INFO  jepsen.util - 0    :invoke  :cas    [0 4]
    INFO  jepsen.util - 0    :info    :cas    :timed-out

What a completion means:

    :ok       it happened, with this result
    :fail     it did not happen, and is left out; but `:fail :cas [0 4]`, with the value that was asked for and no
              :error, is a result: the register did not hold 0
    :info     nobody knows: it never returned, may take effect at any time, and its process calls no more. A read of
              which nobody knows the result says nothing, and is left out
    (none)    as :info

The order of the lines is the order of things. If every line has a :time, in ns, and each is later than the one before,
those are the operations' times; else the numbers of the lines' events are, from 0. Processes that are not numbers,
such as :nemesis, are no clients.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from labrpc.errors import UsageError
from tester.edn import Keyword, parse_forms, read_forms
from tester.known_models import KnownModel
from tester.porcupine.model import Operation

__all__ = ["read_jepsen"]

_LOG_LINE: Final = re.compile(r".*\bjepsen\.util\s*[-:]\s+(?P<event>.*)")
_OTHER_LOGGER: Final = re.compile(r"(.*\s)?(TRACE|DEBUG|INFO|WARN|ERROR|FATAL)\s")
_BARE_EVENT: Final = re.compile(r"(\d+|:[\w.-]+)\s+:(invoke|ok|fail|info)\b")

_TYPES: Final = ("invoke", "ok", "fail", "info")
_FUNCTIONS: Final = {
    "register": ("read", "write"),
    "cas-register": ("read", "write", "cas"),
    "string-kv": ("get", "put", "append"),
}
"""By the model's name."""
_KEYED: Final = ("get", "put", "append")
_OBSERVERS: Final = ("read", "get")


@dataclass(frozen=True, slots=True)
class _Event:
    line: int
    process: int
    type: str
    function: str
    value: Any
    key: Any
    time: Any
    says_why: bool
    """Whether an :error tells why it came to :fail or :info."""


@dataclass(slots=True)
class _Call:
    """An operation; when, as numbers of events."""

    event: _Event
    called: int
    input: Any
    output: Any = None
    returned: int | None = None


def read_jepsen(lines: Iterable[str], model: KnownModel) -> tuple[list[Operation], str]:
    """The operations, in the order of their calls, and the unit of their times: "ns", or "" for numbers of events.

    Raises:
        UsageError: a line is malformed, or of an operation that the model does not have; the message begins with the
            line's number.
    """
    record = _Record(model)
    for event in _events(lines):
        record.add(event)
    return record.operations(), record.time_unit


class _Record:
    """What the events so far have made of the history."""

    def __init__(self, model: KnownModel) -> None:
        self._model = model
        self._calls: dict[int, _Call] = {}
        """By the number of the event; those that did not happen are taken out again."""
        self._pending: dict[int, _Call] = {}
        """By process."""
        self._retired: dict[int, int] = {}
        """Processes whose operation ended as :info, and on which line."""
        self._events = 0
        self._times: list[int] | None = []
        """Of each event, while every one has a later time than the one before."""

    def add(self, event: _Event) -> None:
        if self._times is not None:
            if isinstance(event.time, int) and (not self._times or self._times[-1] < event.time):
                self._times.append(event.time)
            else:
                self._times = None
        if event.type == "invoke":
            self._invoke(event)
        else:
            self._complete(event)
        self._events += 1

    def _invoke(self, event: _Event) -> None:
        if event.process in self._retired:
            raise UsageError(
                f"line {event.line}: process {event.process} calls again, though line "
                f"{self._retired[event.process]} (:info) ended it; Jepsen gives its successor a new number"
            )
        if event.process in self._pending:
            before = self._pending[event.process].event
            raise UsageError(
                f"line {event.line}: process {event.process} calls :{event.function}, but its :{before.function} of "
                f"line {before.line} has not come back"
            )
        call = _Call(event, self._events, _input(self._model, event))
        self._calls[call.called] = self._pending[event.process] = call

    def _complete(self, event: _Event) -> None:
        call = self._pending.pop(event.process, None)
        if call is None:
            raise UsageError(
                f"line {event.line}: :{event.type} of process {event.process}, which has nothing pending; "
                "is the beginning of the history missing?"
            )
        asked = call.event
        if event.function != asked.function:
            raise UsageError(
                f"line {event.line}: :{event.type} of :{event.function}, but process {event.process} called "
                f":{asked.function} on line {asked.line}"
            )
        compared = event.function == "cas" and event.value == asked.value and not event.says_why
        if event.type == "ok" or (event.type == "fail" and compared):
            call.returned = self._events
            call.output = _output(self._model, call.input, event)
        elif event.type == "info":
            self._retired[event.process] = event.line
        if event.type == "fail" and not compared:
            del self._calls[call.called]

    @property
    def time_unit(self) -> str:
        return "ns" if self._times else ""

    def operations(self) -> list[Operation]:
        times = self._times or range(self._events)
        return [
            Operation(
                client_id=call.event.process,
                input=call.input,
                call_time=times[call.called],
                output=call.output,
                return_time=None if call.returned is None else times[call.returned],
            )
            for call in self._calls.values()
            if call.returned is not None or call.event.function not in _OBSERVERS
        ]


def _events(lines: Iterable[str]) -> Iterator[_Event]:
    """What clients did, in either notation: the first line that is not blank tells which."""
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        if line.strip():
            rest = itertools.chain([line], (line for _, line in numbered))
            yield from _edn_events(rest, number) if line.lstrip()[0] in "{[(#;" else _log_events(rest, number)


def _edn_events(lines: Iterable[str], first_line: int) -> Iterator[_Event]:
    for line, form in read_forms(lines, first_line=first_line):
        if not isinstance(form, dict):
            raise UsageError(
                f"line {line}: {_text(form)} is not an operation; one is a map, {{:process 0, :type :ok, ...}}"
            )
        fields = {key.name: value for key, value in form.items() if isinstance(key, Keyword)}
        missing = [f":{name}" for name in ("process", "type", "f") if name not in fields]
        if missing:
            raise UsageError(f"line {line}: an operation without {' and '.join(missing)}")
        event = _event(
            line,
            fields["process"],
            fields["type"],
            fields["f"],
            value=fields.get("value"),
            key=fields.get("key"),
            time=fields.get("time"),
            says_why=fields.get("error") is not None,
        )
        if event is not None:
            yield event


def _log_events(lines: Iterable[str], first_line: int) -> Iterator[_Event]:
    for number, line in enumerate(lines, first_line):
        match = _LOG_LINE.match(line)
        text = match["event"] if match else line
        if not _BARE_EVENT.match(text.lstrip()):
            if match or _OTHER_LOGGER.match(line) or not line.strip():
                continue
            raise UsageError(
                f"line {number}: not a line of Jepsen's log, which reads: INFO  jepsen.util - 0  :invoke  :write  3"
            )
        forms = parse_forms(text, number)
        process, kind, function, value, *more = forms + [None] * (4 - len(forms))
        if Keyword("hint") in more:  # with a number: when the system under test says that it happened
            del more[more.index(Keyword("hint")) :]
        event = _event(
            number,
            process,
            kind,
            function,
            value=value,
            key=None,
            time=None,
            says_why=any(each is not None for each in more),
        )
        if event is not None:
            yield event


def _event(line: int, process: Any, kind: Any, function: Any, **rest: Any) -> _Event | None:
    """None if no client did it."""
    if not isinstance(process, int):
        return None
    if not isinstance(kind, Keyword) or kind.name not in _TYPES:
        raise UsageError(f"line {line}: type {_text(kind)}; it is one of {', '.join(f':{name}' for name in _TYPES)}")
    if not isinstance(function, Keyword):
        raise UsageError(f"line {line}: {_text(function)} where the operation's name should be, such as :read")
    return _Event(line, process, kind.name, function.name, **rest)


def _input(model: KnownModel, event: _Event) -> Any:
    functions = _FUNCTIONS.get(model.name, ())
    if event.function not in functions:
        known = ", ".join(f":{name}" for name in functions) or "none that Jepsen's histories have"
        raise UsageError(f"line {event.line}: :{event.function} is no operation of {model.name}; it has {known}")
    fields: dict[str, Any] = {"op": event.function}
    if event.key is not None:
        fields["key"] = str(event.key) if event.function in _KEYED else _scalar(event, event.key)
    if event.function == "cas":
        if not isinstance(event.value, tuple) or len(event.value) != 2:
            raise UsageError(f"line {event.line}: :cas of {_text(event.value)}; it needs [expected new]")
        fields["expected"], fields["value"] = (_scalar(event, value) for value in event.value)
    elif event.function not in _OBSERVERS:
        fields["value"] = _scalar(event, event.value)
    return _told(event, model.input_of, fields)


def _output(model: KnownModel, input: Any, event: _Event) -> Any:
    fields: dict[str, Any] = {}
    if event.function == "cas":
        fields["ok"] = event.type == "ok"
    elif event.function == "read":
        fields["value"] = _scalar(event, event.value)
    elif event.function == "get":
        fields["value"] = "" if event.value is None else _scalar(event, event.value)
    return _told(event, model.output_of, input, fields)


def _told(event: _Event, function: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return function(*arguments)
    except ValueError as error:
        raise UsageError(f"line {event.line}: {error}") from error


def _scalar(event: _Event, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise UsageError(f"line {event.line}: value {_text(value)} of :{event.function} is not a number, a string or nil")


def _text(form: Any) -> str:
    """A form as EDN, for messages."""
    if form is None:
        return "nil"
    if isinstance(form, tuple):
        return f"[{' '.join(map(_text, form))}]"
    if isinstance(form, dict):
        return f"{{{', '.join(f'{_text(key)} {_text(value)}' for key, value in form.items())}}}"
    return f'"{form}"' if isinstance(form, str) else str(form)
