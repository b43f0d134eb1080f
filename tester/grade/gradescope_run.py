"""One submission, graded where Gradescope has put it: python -m tester.grade.gradescope_run /autograder

    submission/, submission_metadata.json --> tester grade, in a process with a time limit --> results/results.json

Whatever goes wrong on our side, results.json says so and has no score. What is printed only the instructor sees.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labrpc.errors import HarnessError
from tester.grade.course import load_course
from tester.grade.results import write
from tester.grade.results_json import as_bytes, fault_json
from tester.grade.store import Store

__all__ = ["days_late", "main", "run"]

NAME = "submission"
"""What the submission is called; who handed it in is Gradescope's to know."""

_RESERVE_S = 60.0
"""Of the time there is, for starting, stopping and writing."""
_STOPPING_S = 30.0
_STOPPED = 130
_GRADED = (0, 1)
_DAY = datetime.timedelta(days=1)
_NOT_TAKEN = {".git"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Grades the submission below the folder that is named; 0, or 1 after a fault of ours, which results.json names."""
    root = Path((sys.argv[1:] if arguments is None else arguments)[0])
    try:
        results = run(root)
    except BaseException as error:
        traceback.print_exc()
        what = str(error) if isinstance(error, HarnessError) else f"{type(error).__name__} in the autograder"
        _replace(root / "results" / "results.json", fault_json(what))
        return 1
    _replace(root / "results" / "results.json", results)
    return 0


def run(root: Path) -> dict[str, Any]:
    """Grades; what goes into results.json.

    Raises:
        HarnessError: the grading failed.
    """
    source = root / "source"
    settings = json.loads((source / "settings.json").read_text(encoding="utf-8"))
    late = days_late(root / "submission_metadata.json")
    with tempfile.TemporaryDirectory(prefix="raftlab-grade-") as temporary:
        work = Path(temporary)
        _copy(root / "submission", work / "submissions" / NAME)
        (work / "submitted.csv").write_text(f"name,days_late\n{NAME},{late:.6f}\n", encoding="utf-8")
        command = [
            sys.executable, *settings["grade"], str(work / "submissions"),
            "--course", str(source / "course.toml"), "--hidden-seed-file", str(source / "secret"),
            "--submitted", str(work / "submitted.csv"), "--out", str(work / "out"), *settings["options"],
        ]  # fmt: skip
        code = _within(command, settings["minutes"] * 60 - _RESERVE_S)
        print(f"tester grade: exit code {code}")
        if code == _STOPPED:
            _write_what_is_known(work / "out", source / "course.toml", settings)
        elif code not in _GRADED:
            raise HarnessError(f"tester grade ended with exit code {code}")
        results: dict[str, Any] = json.loads((work / "out" / "submissions" / NAME / "results.json").read_bytes())
        return results


def days_late(metadata: Path) -> float:
    """How late the submission is, by Gradescope's submission_metadata.json; 0 if that does not say.

    Of several students, and of a student whose own due date is another, the latest date counts.
    """
    try:
        data = json.loads(metadata.read_text(encoding="utf-8"))
        created = datetime.datetime.fromisoformat(data["created_at"])
        due = max(_due_dates(data))
        return max(0.0, (created - due) / _DAY)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        print(f"how late the submission is cannot be told; it counts as in time: {type(error).__name__}: {error}")
        return 0.0


def _due_dates(data: dict[str, Any]) -> Iterator[datetime.datetime]:
    for holder in (data, *data.get("users", ())):
        text = (holder.get("assignment") or {}).get("due_date")
        if text:
            yield datetime.datetime.fromisoformat(text)


def _within(command: Sequence[str], limit_s: float) -> int:
    """Runs `command`; its exit code. After `limit_s` seconds it is asked to stop, and if it does not, killed."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True) as process:
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"stopped after {limit_s:.0f} s; what was not run is unresolved", flush=True)
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(_STOPPING_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return _STOPPED
        return code if code in _GRADED else _STOPPED


def _write_what_is_known(out: Path, course: Path, settings: dict[str, Any]) -> None:
    with Store(out) as store:
        if not store.submissions() and not store.refusals():
            raise HarnessError("the time was over before anything was graded")
        write(store, load_course(course, parts=settings["parts"], runs=settings["runs"]), out)


def _copy(folder: Path, to: Path) -> None:
    """Files, folders and links as they are; without a repository's history, and what else there may be."""
    to.mkdir(parents=True)
    for below, folders, files in os.walk(folder):
        here = Path(below)
        folders[:] = sorted(name for name in folders if name not in _NOT_TAKEN)
        for name in [*folders, *sorted(files)]:
            path = here / name
            target = to / path.relative_to(folder)
            if path.is_symlink():
                target.symlink_to(os.readlink(path))
            elif path.is_dir():
                target.mkdir()
            elif path.is_file():
                shutil.copyfile(path, target)


def _replace(path: Path, results: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_bytes(as_bytes(results))
    new.replace(path)


if __name__ == "__main__":
    sys.exit(main())
