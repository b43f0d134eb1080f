"""What is shown in the gallery: a planted mistake each, the test that catches it, and what we have to say of it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from labrpc.errors import UsageError

__all__ = ["Entry", "chosen", "load_entries"]


@dataclass(frozen=True)
class Entry:
    """One mistake.

    Attributes:
        mutant: the name of its file in tests/mutants.
        name: the mistake in a few words.
        test: the graded test to catch it by.
        seed: the first to try; later ones may make a run that is easier to read.
        look: what to look for in the picture.
        mend: how to do it right.
    """

    mutant: str
    name: str
    test: str
    look: str
    mend: str
    seed: int = 1


def load_entries(path: Path) -> list[Entry]:
    """The entries in a TOML file, as [[mistake]] tables, in their order there.

    Raises:
        UsageError: it cannot be read, a field is missing or unknown, or two entries have one mutant.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("mistake", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    types = {field.name: int if field.name == "seed" else str for field in fields(Entry)}
    entries = []
    for table in tables:
        table = {"seed": 1, **table}
        if table.keys() != types.keys():
            wrong = ", ".join(sorted(table.keys() ^ types.keys()))
            raise UsageError(f"{path}: a mistake has the fields {', '.join(types)}; look at {wrong}")
        for key, value in table.items():
            if type(value) is not types[key]:
                raise UsageError(f"{path}: {key} is {value!r}, not {'a number' if types[key] is int else 'text'}")
        entries.append(Entry(**table))
    twice = sorted({entry.mutant for entry in entries if [each.mutant for each in entries].count(entry.mutant) > 1})
    if twice:
        raise UsageError(f"{path}: there are two mistakes with the mutant {twice[0]}")
    return entries


def chosen(entries: list[Entry], names: list[str]) -> list[Entry]:
    """Those of `entries` with these mutants; all if there are no names.

    Raises:
        UsageError: there is none of that name.
    """
    known = {entry.mutant: entry for entry in entries}
    for name in names:
        if name not in known:
            raise UsageError(f"no mistake {name} in the gallery; there are {', '.join(known)}")
    return [entry for entry in entries if entry.mutant in names] if names else entries
