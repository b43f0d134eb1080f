"""A history and its linearization as one HTML page, which needs no network and no server.

    LinearizationInfo -> JSON (columns, texts once, orders as differences) -> page/page.html, .css, .js -> one file

The page shows one partition (one key, say) at a time: a lane a client, a bar an operation, a dot where the operation
takes effect, and the dots joined in that order. Where no order of all operations exists, it shows the longest ones that
do, and what could not come next. Everything that the page says is computed here, by the model; the page only draws.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import IO, Any

from tester.porcupine.info import LinearizationInfo
from tester.porcupine.model import Model, NondeterministicModel, Operation, Time

__all__ = ["visualize", "visualize_html"]

_MOST_PARTIALS = 200
"""Partial linearizations of a partition on the page, the longest; an order may be as long as the history."""

_MOST_CHARACTERS = 600
"""Of an operation or a state; longer ones lose their middle."""

_EXACT_IN_JAVASCRIPT = 2**53
"""Above it a JavaScript number is no longer every integer: times are then given from the first call on."""


def visualize(
    model: Model | NondeterministicModel,
    info: LinearizationInfo,
    path_or_file: str | os.PathLike[str] | IO[str],
    *,
    time_unit: str = "",
) -> None:
    """Writes the page to a path, in UTF-8, or to an open text file. The arguments are those of `visualize_html`."""
    page = visualize_html(model, info, time_unit=time_unit)
    if isinstance(path_or_file, str | os.PathLike):
        with open(path_or_file, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
    else:
        path_or_file.write(page)


def visualize_html(model: Model | NondeterministicModel, info: LinearizationInfo, *, time_unit: str = "") -> str:
    """The page's text, all of it: styles, script and data are inside.

    Args:
        model: the one that was checked; it describes operations and states, and is stepped along each linearization.
        info: what `check_operations_verbose` found.
        time_unit: of the history's times. "ns" makes the page say 1.2 ms; any other text follows the numbers.

    Raises:
        ValueError: a time is infinite, or an index of `info` is not one of an operation.
    """
    if isinstance(model, NondeterministicModel):
        model = model.to_model()
    parts = {
        "css": _resource("page.css"),
        "js": "\n".join(_resource(name) for name in ("layout.js", "drawing.js", "page.js")),
        "data": _data(model, info, time_unit),
    }
    return re.sub(r"\{\{(css|js|data)\}\}", lambda match: parts[match[1]], _resource("page.html"))


def _resource(name: str) -> str:
    return resources.files("tester.porcupine").joinpath("page", name).read_text(encoding="utf-8")


def _data(model: Model, info: LinearizationInfo, time_unit: str) -> str:
    texts = _Texts()
    origin = _origin(info.partitions)
    partitions = [_partition(model, info, number, origin, texts) for number in range(len(info.partitions))]
    data = {
        "explanation": info.explanation,
        "time_unit": time_unit,
        "origin": str(origin),  # as text: this is what a JavaScript number may not hold
        "partitions": partitions,
        "texts": texts.all,
    }
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError as error:
        raise ValueError("a time of the history is infinite or not a number; give finite times") from error
    # Inside a script element only "</script" and "<!--" would be read as HTML; lone surrogates are not UTF-8.
    text = text.replace("<", "\\u003c")
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)


@dataclass
class _Texts:
    """Texts of operations and states, each once: histories repeat themselves."""

    all: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def number(self, text: str) -> int:
        if len(text) > _MOST_CHARACTERS:
            half = _MOST_CHARACTERS // 2
            text = f"{text[:half]} … {len(text) - 2 * half} more characters … {text[-half:]}"
        if text not in self._numbers:
            self._numbers[text] = len(self.all)
            self.all.append(text)
        return self._numbers[text]


def _origin(partitions: Sequence[Sequence[Operation]]) -> Time:
    times = [time for operations in partitions for each in operations for time in _times(each)]
    if all(abs(time) < _EXACT_IN_JAVASCRIPT for time in times):
        return 0
    return min(times)


def _times(operation: Operation) -> Iterator[Time]:
    yield operation.call_time
    if operation.return_time is not None:
        yield operation.return_time


def _partition(model: Model, info: LinearizationInfo, number: int, origin: Time, texts: _Texts) -> dict[str, Any]:
    operations = info.partitions[number]
    clients = sorted({each.client_id for each in operations}, key=_lane_order)
    lanes = {client: lane for lane, client in enumerate(clients)}
    found = info.partial_linearizations[number] if number < len(info.partial_linearizations) else []
    partials = _worth_showing(found)
    culprit = info.culprit[1] if info.culprit is not None and info.culprit[0] == number else None
    return {
        "name": _name(operations, number, len(info.partitions)),
        "verdict": "ok" if _is_complete(operations, partials) else "unknown" if culprit is None else "illegal",
        "clients": [str(client) for client in clients],
        "lane": [lanes[each.client_id] for each in operations],
        "call": [each.call_time - origin for each in operations],
        "return": [None if each.return_time is None else each.return_time - origin for each in operations],
        "text": [texts.number(model.describe_operation(each.input, each.output)) for each in operations],
        "culprit": culprit,
        "initial": texts.number(model.describe_state(model.init())),
        "partials": _encoded(model, operations, partials, texts),
        "left_out": len(found) - len(partials),
    }


def _lane_order(client: Hashable) -> tuple[int, float, str]:
    if isinstance(client, int | float):
        return 0, client, ""
    return 1, 0, str(client)


def _name(operations: Sequence[Operation], number: int, count: int) -> str:
    """The key that all inputs share, if there is one: most models that partition do it by key."""
    keys = {str(getattr(each.input, "key", "")) for each in operations}
    key = keys.pop() if len(keys) == 1 else ""
    if key:
        return f"key {key}"
    return f"partition {number + 1}" if count > 1 else ""


def _is_complete(operations: Sequence[Operation], partials: Sequence[Sequence[int]]) -> bool:
    """Whether one of the orders has everything that returned."""
    returned = {index for index, each in enumerate(operations) if each.return_time is not None}
    return not returned or any(returned <= set(partial) for partial in partials)


def _worth_showing(partials: list[list[int]]) -> list[list[int]]:
    """The longest, sorted so that neighbours share their beginnings."""
    return sorted(sorted(partials, key=len, reverse=True)[:_MOST_PARTIALS])


def _encoded(
    model: Model, operations: Sequence[Operation], partials: Sequence[Sequence[int]], texts: _Texts
) -> list[dict[str, Any]]:
    """Each order as what it shares with the one before it, and the rest; so are the states along it."""
    encoded: list[dict[str, Any]] = []
    before: Sequence[int] = ()
    states = [model.init()]  # after each operation of `before`
    for partial in partials:
        shared = 0
        while shared < min(len(before), len(partial)) and before[shared] == partial[shared]:
            shared += 1
        del states[shared + 1 :]
        described = []
        for index in partial[shared:]:
            if not 0 <= index < len(operations):
                raise ValueError(f"operation {index} of a linearization is none of the {len(operations)} there are")
            _, state = model.step(states[-1], operations[index].input, operations[index].output)
            states.append(state)
            described.append(texts.number(model.describe_state(state)))
        refused = _refused(model, operations, partial, states[-1])
        encoded.append({"shared": shared, "rest": partial[shared:], "states": described, "refused": refused})
        before = partial
    return encoded


def _refused(model: Model, operations: Sequence[Operation], partial: Sequence[int], state: Any) -> list[int]:
    """The operations that real time allows next after `partial`, and the model does not."""
    placed = set(partial)
    left = [index for index in range(len(operations)) if index not in placed]
    returns = [time for index in left if (time := operations[index].return_time) is not None]
    if not returns:
        return []  # complete: what is left never returned, and need not have happened
    first_return = min(returns)
    allowed = [index for index in left if operations[index].call_time <= first_return]
    return [index for index in allowed if not model.step(state, operations[index].input, operations[index].output)[0]]
