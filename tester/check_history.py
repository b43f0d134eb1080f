"""The command `tester check-history`: a file in, a verdict out.

file or stdin --format--> history.py or jepsen.py --operations--> porcupine --> verdict, page, or JSON
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from labrpc.errors import HarnessError, UsageError
from tester.history import History, lines_of, read_history
from tester.jepsen import read_jepsen
from tester.known_models import KNOWN_MODELS
from tester.porcupine import (
    CheckResult,
    HistoryError,
    LinearizationInfo,
    Model,
    ModelError,
    check_operations_verbose,
    visualize,
)

__all__ = ["FORMATS", "check_history"]

FORMATS = ("auto", "jsonl", "edn")

_BEGINS_AS_JSON = re.compile(r'\s*\{\s*["}]')
_EXIT_CODES = {CheckResult.OK: 0, CheckResult.ILLEGAL: 1, CheckResult.UNKNOWN: 2}
_STYLES = {CheckResult.OK: "bold green", CheckResult.ILLEGAL: "bold red", CheckResult.UNKNOWN: "bold yellow"}
_HEADLINES = {
    CheckResult.OK: "OK: the history is linearizable",
    CheckResult.ILLEGAL: "ILLEGAL: the history is not linearizable",
}


@dataclass(frozen=True, slots=True)
class _Checked:
    """What the command found."""

    model: Model
    result: CheckResult
    info: LinearizationInfo
    history: History
    seconds: float
    """That the check took, without the reading."""


def check_history(
    console: Console,
    progress_console: Console,
    *,
    file: str,
    model_name: str | None,
    file_format: str,
    timeout: float,
    html: Path | None,
    as_json: bool,
) -> int:
    """Does it; the exit code to leave with: 0 linearizable, 1 not, 2 undecided in `timeout` seconds (0: no limit).

    Args:
        file: a path, or "-" for stdin.
        progress_console: shows how far the reading is, if it is a terminal.
        html: where to write the page of the history.

    Raises:
        UsageError: the file cannot be read, or is no history of the model.
    """
    if file_format not in FORMATS:
        raise UsageError(f"no format {file_format!r}; there are {', '.join(FORMATS)}")
    if model_name is not None and model_name not in KNOWN_MODELS:
        raise UsageError(f"no model {model_name!r}; there are {', '.join(KNOWN_MODELS)}")
    if not timeout >= 0:
        raise UsageError(f"timeout {timeout} is negative; give seconds, or 0 for no limit")
    history = _read(file, model_name, file_format, progress_console)
    with progress_console.status(f"checking {len(history.operations):,} operations"):  # seen on a terminal only
        checked = _check("stdin" if file == "-" else file, history, timeout)
    if html is not None:
        _write_page(checked, html)
    if as_json:
        print(json.dumps(_as_json(checked, html), ensure_ascii=False), file=console.file)
    else:
        _print(console, checked, timeout, html)
    return _EXIT_CODES[checked.result]


def _read(file: str, model_name: str | None, file_format: str, console: Console) -> History:
    name = "stdin" if file == "-" else file
    try:
        with contextlib.ExitStack() as stack:
            source: BinaryIO
            if file == "-":
                source = sys.stdin.buffer
            else:
                source = stack.enter_context(open(file, "rb"))
                if console.is_terminal:
                    progress = stack.enter_context(_progress(console))
                    size = Path(file).stat().st_size
                    source = progress.wrap_file(source, total=size, description=f"reading {name}")
            return _history(lines_of(source), model_name, file_format)
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror or error}") from error
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from error


def _history(lines: Iterator[str], model_name: str | None, file_format: str) -> History:
    begin: list[str] = []
    while not begin or not begin[-1].strip():
        line = next(lines, None)
        if line is None:
            raise UsageError("there is nothing in it")
        begin.append(line)
    lines = itertools.chain(begin, lines)
    if file_format == "auto":
        file_format = "jsonl" if _BEGINS_AS_JSON.match(begin[-1]) else "edn"
    if file_format == "jsonl":
        history = read_history(lines, model_name=model_name)
        if history.model_name is None:
            raise UsageError(f"its first line names no model; say which one with --model {'|'.join(KNOWN_MODELS)}")
        return history
    if model_name is None:
        raise UsageError(f"Jepsen's histories name no model; say which one with --model {'|'.join(KNOWN_MODELS)}")
    operations, time_unit = read_jepsen(lines, KNOWN_MODELS[model_name])
    if not operations:
        raise UsageError("no client's operation is in it; is this a history of Jepsen's?")
    return History(model_name, time_unit, operations)


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _check(name: str, history: History, timeout: float) -> _Checked:
    assert history.model_name is not None
    model = KNOWN_MODELS[history.model_name].make()
    start = time.perf_counter()
    try:
        result, info = check_operations_verbose(model, history.operations, timeout=timeout or None)
    except HistoryError as error:
        raise UsageError(f"{name}: {error}") from error
    except ModelError as error:
        raise HarnessError(f"model {history.model_name}: {error}") from error
    return _Checked(model, result, info, history, time.perf_counter() - start)


def _write_page(checked: _Checked, path: Path) -> None:
    try:
        visualize(checked.model, checked.info, path, time_unit=checked.history.time_unit)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _print(console: Console, checked: _Checked, timeout: float, html: Path | None) -> None:
    headline = _HEADLINES.get(
        checked.result,
        f"UNKNOWN: no verdict within {timeout:g} s; give it longer with --timeout, or 0 for no limit",
    )
    console.print(Text(headline, style=_STYLES[checked.result]), soft_wrap=True)
    if checked.info.explanation is not None:
        console.print(Text(checked.info.explanation), soft_wrap=True)
    operations, clients, keys = _counts(checked)
    on_keys = f" on {_count(keys, 'key')}" if keys else ""
    console.print(
        Text(
            f"{_count(operations, 'operation')} of {_count(clients, 'client')}{on_keys}, "
            f"checked as {checked.history.model_name} in {checked.seconds:.2f} s",
            style="dim",
        ),
        soft_wrap=True,
    )
    if html is not None:
        console.print(Text(f"The history as a page: {html}"), soft_wrap=True)
    elif checked.result is CheckResult.ILLEGAL:
        console.print(Text("To look at it, add: --html history.html"), soft_wrap=True)


def _as_json(checked: _Checked, html: Path | None) -> dict[str, Any]:
    operations, clients, keys = _counts(checked)
    return {
        "verdict": checked.result.value,
        "explanation": checked.info.explanation,
        "culprit": _culprit(checked),
        "model": checked.history.model_name,
        "operations": operations,
        "clients": clients,
        "keys": keys,
        "seconds": round(checked.seconds, 6),
        "html": None if html is None else str(html),
    }


def _culprit(checked: _Checked) -> dict[str, Any] | None:
    if checked.info.culprit is None:
        return None
    partition, index = checked.info.culprit
    operation = checked.info.partitions[partition][index]
    return {
        "client": operation.client_id,
        "call": operation.call_time,
        "return": operation.return_time,
        "description": checked.model.describe_operation(operation.input, operation.output),
    }


def _counts(checked: _Checked) -> tuple[int, int, int]:
    """Of operations, clients and keys; 0 keys: the store is one register."""
    operations = checked.history.operations
    keys = {operation.input.key for operation in operations} - {None}
    return len(operations), len({operation.client_id for operation in operations}), len(keys)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
