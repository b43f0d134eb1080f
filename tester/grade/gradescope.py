"""The zip that Gradescope grades with.

    setup.sh, run_autograder      what Gradescope calls: once for the image, then for each submission
    settings.json, fault.json     what to grade, and what stands as the result until there is one
    course.toml, secret           the instructor's rules, and the seed that nobody knows
    requirements.txt, raftlab/    this program, the graded tests, and exact versions of what it needs

The same inputs give the same bytes. The reference solution is not in it: where a submission runs, none can be found.
"""

from __future__ import annotations

import io
import re
import tomllib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from labrpc.errors import UsageError
from tester.grade.course import load_course
from tester.grade.results_json import as_bytes, fault_json
from tester.grade.seeds import read_secret
from tester.run import reference_root

__all__ = ["LEAST_MINUTES", "Settings", "autograder_zip"]

LEAST_MINUTES = 3
"""Below that hardly anything would be graded."""

_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_CODE = (("labrpc", "*"), ("tester", "*"), ("tests/labs", "*.py"))
_FILES = ("LICENSE", "constraints.txt", "pyproject.toml")
_NOT_CODE = {"__pycache__", ".raftlab"}
_PLACEHOLDER = b'"""Marks where this program is; the code that is graded is the submission\'s."""\n'
_KILLED = "the autograder was ended before it had a result; it may have run out of memory or time"


@dataclass(frozen=True)
class Settings:
    """What the autograder does with a submission.

    Attributes:
        parts: none: those of the course's file, else all.
        runs: of each test; None: as the course's file says.
        minutes: that Gradescope gives a submission; what is not run by then is unresolved.
        workers: runs at a time; None: one a CPU.
    """

    parts: tuple[str, ...] = ()
    runs: int | None = None
    minutes: int = 10
    workers: int | None = None
    allow_unsandboxed: bool = False

    def as_json(self) -> dict[str, object]:
        """For settings.json: the options of the grading command, and how long it may take."""
        options: list[str] = []
        if self.parts:
            options += ["--parts", ",".join(self.parts)]
        if self.runs is not None:
            options += ["--runs", str(self.runs)]
        if self.workers is not None:
            options += ["--workers", str(self.workers)]
        if self.allow_unsandboxed:
            options.append("--allow-unsandboxed")
        return {
            "version": 1,
            "grade": ["-m", "tester", "grade"],
            "options": options,
            "parts": list(self.parts),
            "runs": self.runs,
            "minutes": self.minutes,
        }


def autograder_zip(course: Path, secret: Path, settings: Settings, *, root: Path | None = None) -> bytes:
    """The zip, whole.

    Args:
        course: the course's rules.
        secret: what hidden seeds are made of.
        root: where this program's code is; None: where this is.

    Raises:
        UsageError: one of the files cannot be read, or makes no sense, or this is no checkout of the project.
    """
    if settings.minutes < LEAST_MINUTES:
        raise UsageError(
            f"{settings.minutes} minutes are too few; Gradescope's own limit is 10, and up to 40 can be set"
        )
    load_course(course, parts=settings.parts, runs=settings.runs)
    read_secret(secret)
    root = root or reference_root()
    files: dict[str, tuple[bytes, int]] = {
        "setup.sh": (_resource("setup.sh"), 0o755),
        "run_autograder": (_resource("run_autograder"), 0o755),
        "settings.json": (as_bytes(settings.as_json()), 0o644),
        "fault.json": (as_bytes(fault_json(_KILLED)), 0o644),
        "course.toml": (course.read_bytes(), 0o644),
        "secret": (secret.read_bytes(), 0o600),
        "requirements.txt": (_requirements(root), 0o644),
    }
    for path, content in _code(root):
        files[f"raftlab/{path}"] = (content, 0o644)
    for package in ("raft", "kvraft"):
        files[f"raftlab/{package}/__init__.py"] = (_PLACEHOLDER, 0o644)
    return _zipped(files)


def _code(root: Path) -> Sequence[tuple[str, bytes]]:
    paths = [root / name for name in _FILES]
    for folder, pattern in _CODE:
        paths += (path for path in (root / folder).rglob(pattern) if path.is_file() and not _NOT_CODE & set(path.parts))
    try:
        found = [(path.relative_to(root).as_posix(), path.read_bytes()) for path in sorted(paths)]
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: this needs a checkout of the project") from None
    if not any(path.startswith("tests/labs/") for path, _ in found):
        raise UsageError(
            f"there are no graded tests in {root / 'tests' / 'labs'}: this needs a checkout of the project"
        )
    return found


def _requirements(root: Path) -> bytes:
    """What the project needs to run, one a line; constraints.txt says in which versions."""
    try:
        needed: list[str] = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "dependencies"
        ]
        pinned = (root / "constraints.txt").read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{error.filename} cannot be read: this needs a checkout of the project") from None
    for each in needed:
        name = re.split("[ <>=!~\\[;]", each)[0]
        if f"\n{name}==" not in pinned:
            raise UsageError(f"constraints.txt has no version of {name}; renew it with: make constraints")
    return "".join(f"{each}\n" for each in needed).encode()


def _zipped(files: dict[str, tuple[bytes, int]]) -> bytes:
    """Stored, not deflated: compressors differ from machine to machine."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, (content, mode) in sorted(files.items()):
            info = zipfile.ZipInfo(path, _LONG_AGO)
            info.create_system = 3  # Unix: it has permissions
            info.external_attr = (0o100000 | mode) << 16
            archive.writestr(info, content)
    return out.getvalue()


def _resource(name: str) -> bytes:
    return resources.files("tester.grade").joinpath("autograder", name).read_bytes()
