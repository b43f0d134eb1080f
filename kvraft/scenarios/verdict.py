"""Is the history of a run linearizable? Decided by our checker, a slice of the keys at a time, in bounded memory.

    history.jsonl --by key--> slices of some megabytes --one by one--> tester.porcupine --> linearizable, or the culprit

Keys do not know of each other, so a history is linearizable if the part of each key is. The checker decides versioned
keys exactly, without a search: there is no time limit that could be reached.
"""

from __future__ import annotations

import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from labrpc.errors import UsageError
from tester.porcupine import (
    CheckResult,
    KvInput,
    KvOutput,
    Operation,
    check_operations,
    check_operations_verbose,
    kv_model,
    visualize_html,
)

__all__ = ["Checked", "check"]

SLICE_BYTES = 32 << 20
"""Of the file, about 150,000 operations."""

MOST_SLICES = 200
"""Files that are open at once."""

MOST_DRAWN = 5_000
"""Operations of one key that are put on a page."""


@dataclass(frozen=True)
class Checked:
    """What the checker found.

    Attributes:
        result: "ok", "illegal" or "unknown".
        operations, keys: that it looked at.
        seconds: that it took.
        explanation: one sentence, if it is not linearizable.
        key: the culprit's.
        history: file of that key's operations alone.
        page: that part of the history, to look at.
    """

    result: str
    operations: int
    keys: int
    seconds: float
    explanation: str | None = None
    key: str | None = None
    history: Path | None = None
    page: Path | None = None


class _Input(msgspec.Struct):
    op: str
    key: str
    value: str = ""
    version: int = 0


class _Output(msgspec.Struct):
    err: str
    value: str = ""
    version: int = 0


class _Line(msgspec.Struct):
    client: int | str
    call: int
    returned: int | None = msgspec.field(name="return")
    input: _Input
    output: _Output | None


class _KeyOnly(msgspec.Struct):
    key: str


class _LineOfKey(msgspec.Struct):
    input: _KeyOnly


_decode = msgspec.json.Decoder(_Line).decode
_decode_key = msgspec.json.Decoder(_LineOfKey).decode


def check(
    history: Path, *, slice_bytes: int = SLICE_BYTES, on_slice: Callable[[int, int], Any] | None = None
) -> Checked:
    """Checks the file; a culprit's operations go into culprit.jsonl, and a page of them, beside it.

    Args:
        on_slice: called with (slices checked, slices).

    Raises:
        UsageError: the file cannot be read, or is no history of ours.
    """
    began = time.monotonic()
    operations = keys = 0
    try:
        size = history.stat().st_size
        slices = min(size // slice_bytes + 1, MOST_SLICES)
        with tempfile.TemporaryDirectory(prefix="slices-", dir=history.parent) as folder:
            paths = [history] if slices == 1 else _split(history, Path(folder), slices)
            for number, path in enumerate(paths):
                found = _by_key(path, has_head=slices == 1)
                for key in sorted(found):
                    part = found.pop(key)
                    operations += len(part)
                    keys += 1
                    part.sort(key=lambda operation: operation.call_time)
                    if check_operations(kv_model(), part) is not CheckResult.OK:
                        result, info = check_operations_verbose(kv_model(), part)
                        seconds = time.monotonic() - began
                        place = _keep(history, key)
                        page = None
                        if len(part) <= MOST_DRAWN:
                            page = history.with_name("culprit.html")
                            page.write_text(visualize_html(kv_model(), info, time_unit="ns"), encoding="utf-8")
                        return Checked(result.value, operations, keys, seconds, info.explanation, key, place, page)
                if on_slice is not None:
                    on_slice(number + 1, len(paths))
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"{history} cannot be checked: {error}") from error
    return Checked(CheckResult.OK.value, operations, keys, time.monotonic() - began)


def _lines(path: Path, *, has_head: bool) -> Iterator[bytes]:
    with open(path, "rb") as file:
        if has_head:
            next(file, None)
        yield from file


def _split(history: Path, folder: Path, slices: int) -> list[Path]:
    """The lines of the file in files of their own, those of a key together."""
    paths = [folder / f"{number}.jsonl" for number in range(slices)]
    with ExitStack() as stack:
        files = [stack.enter_context(open(path, "wb", buffering=1 << 16)) for path in paths]
        for line in _lines(history, has_head=True):
            files[zlib.crc32(_decode_key(line).input.key.encode()) % slices].write(line)
    return paths


def _by_key(path: Path, *, has_head: bool) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = {}
    for text in _lines(path, has_head=has_head):
        line = _decode(text)
        asked, answer = line.input, line.output
        operation = Operation(
            line.client,
            KvInput(asked.op, asked.key, asked.value, asked.version),
            line.call,
            None if answer is None else KvOutput(answer.err, answer.value, answer.version),
            line.returned,
        )
        found.setdefault(asked.key, []).append(operation)
    return found


def _keep(history: Path, key: str) -> Path:
    """The operations of one key, in a file of their own."""
    place = history.with_name("culprit.jsonl")
    with open(history, "rb") as file, open(place, "wb") as kept:
        kept.write(next(file))
        kept.writelines(line for line in file if _decode_key(line).input.key == key)
    return place
