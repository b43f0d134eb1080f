"""Mutants: small, named mistakes planted in the reference, to show that the tests catch them.

    tests/mutants/double-vote.toml --plant--> a copy of raft/ and kvraft/ with that one change

Each file names the student's misconception, the paper section it breaks and the part that must catch it. One that no
longer fits the reference is an error, never skipped.
"""

from __future__ import annotations

import difflib
import shutil
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from labrpc.errors import UsageError
from tester.parts import PARTS

__all__ = ["FOLDER", "Mutant", "find", "load", "load_all"]

FOLDER = Path("tests") / "mutants"
"""Of the project's own, in a checkout."""


@dataclass(frozen=True)
class Mutant:
    """One planted mistake: in `file`, the one occurrence of `before` becomes `after`."""

    name: str
    part: str
    title: str
    misconception: str
    section: str
    file: str
    before: str
    after: str

    def plant(self, root: Path, destination: Path) -> Path:
        """Copies `root`'s raft/ and kvraft/ to `destination` with the mistake in; returns `destination`.

        Raises:
            UsageError: `before` does not occur exactly once.
        """
        _, changed = self._change(root)
        for package in ("raft", "kvraft"):
            if (root / package).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(root / package, destination / package, ignore=ignored, dirs_exist_ok=True)
        (destination / self.file).write_text(changed, encoding="utf-8")
        return destination

    def difference(self, root: Path) -> str:
        """The mistake as a unified diff of `root`'s file.

        Raises:
            UsageError: as for `plant`.
        """
        before, after = (text.splitlines() for text in self._change(root))
        return "\n".join(difflib.unified_diff(before, after, f"a/{self.file}", f"b/{self.file}", n=2, lineterm=""))

    def _change(self, root: Path) -> tuple[str, str]:
        source = (root / self.file).read_text(encoding="utf-8")
        found = source.count(self.before)
        if found != 1:
            raise UsageError(f"mutant {self.name} does not fit {self.file}: its text occurs {found} times, must once")
        return source, source.replace(self.before, self.after)


def load(path: Path) -> Mutant:
    """The mutant in a TOML file, named after the file.

    Raises:
        UsageError: a field is missing, unknown or makes no sense.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"mutant {path}: {error}") from None
    expected = {field.name for field in fields(Mutant)} - {"name"}
    if data.keys() != expected:
        wrong = ", ".join(sorted(data.keys() ^ expected))
        raise UsageError(f"mutant {path} must have exactly the fields {', '.join(sorted(expected))}; look at {wrong}")
    if data["part"] not in PARTS:
        raise UsageError(f"mutant {path} names part {data['part']}, which is not one of {', '.join(PARTS)}")
    return Mutant(name=path.stem, **data)


def find(folder: Path, name: str) -> Mutant:
    """The mutant of that name in `folder`.

    Raises:
        UsageError: there is none, or it makes no sense.
    """
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(each.stem for each in sorted(folder.glob("*.toml")))
        raise UsageError(f"no mutant {name}; there are {known}")
    return load(path)


def load_all(folder: Path) -> list[Mutant]:
    """All mutants in `folder`, by name."""
    return [load(path) for path in sorted(folder.glob("*.toml"))]
