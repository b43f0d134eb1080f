"""A run told as a story: who did what and when, with the logs drawn where it matters. `render` is the only drawer.

story.tell(0.412, "S1", "stands for term 2")     ->     0.412 s  S1  stands for term 2
story.draw({"S1": [1, 2]}, applied={"S1": 1})    ->              index:  1   2
                                                                 S1:     1|  2
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Story", "compare_with_golden", "render"]


@dataclass(frozen=True)
class Said:
    """`who` did `what` at virtual time `seconds`."""

    seconds: float
    who: str
    what: str


@dataclass(frozen=True)
class Logs:
    """The terms of each server's log, from index 1 on; how far it has applied it; and who is down."""

    terms: Mapping[str, Sequence[int]]
    applied: Mapping[str, int]
    down: Collection[str]


@dataclass(frozen=True)
class Heading:
    text: str


@dataclass
class Story:
    """What is told, in order."""

    parts: list[Said | Logs | Heading] = field(default_factory=list)

    def head(self, text: str) -> None:
        self.parts.append(Heading(text))

    def tell(self, seconds: float, who: str, what: str) -> None:
        self.parts.append(Said(seconds, who, what))

    def draw(
        self, terms: Mapping[str, Sequence[int]], *, applied: Mapping[str, int], down: Collection[str] = ()
    ) -> None:
        self.parts.append(Logs(terms, applied, down))


def render(story: Story) -> str:
    """The story as plain text."""
    lines = ["In the drawings: each log's term at each index; what stands before the bar is applied there."]
    names = [part.who for part in story.parts if isinstance(part, Said)]
    names += [f"{name}:" for part in story.parts if isinstance(part, Logs) for name in ["index", *part.terms]]
    width = max(map(len, names), default=0)
    for part in story.parts:
        match part:
            case Heading():
                lines += ["", part.text, ""]
            case Said():
                lines.append(f"{part.seconds:8.3f} s  {part.who:{width}}  {part.what}")
            case Logs():
                lines += ["", *_rows(part, width), ""]
    text = "\n".join(line.rstrip() for line in lines).strip("\n")
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text + "\n"


def _rows(logs: Logs, width: int) -> list[str]:
    longest = max(map(len, logs.terms.values()))
    indent = " " * 12
    rows = [indent + f"{'index:':{width}} " + "".join(f"{index:3} " for index in range(1, longest + 1))]
    for name, terms in logs.terms.items():
        applied = logs.applied.get(name)
        cells = [f"{term:3}" + ("|" if index == applied else " ") for index, term in enumerate(terms, start=1)]
        down = " " * (4 * (longest - len(terms)) + 2) + "down" if name in logs.down else ""
        rows.append(indent + f"{name + ':':{width}} " + "".join(cells) + down)
    return rows


def compare_with_golden(story: Story, path: Path) -> None:
    """Fails if the story is not the one in the file; with RAFTLAB_GOLDEN=write it is written there."""
    told = render(story)
    if os.environ.get("RAFTLAB_GOLDEN") == "write":
        path.write_text(told, encoding="utf-8")
    expected = path.read_text(encoding="utf-8") if path.exists() else ""
    assert told == expected, (
        f"the story differs from {path.name}; if it is right now, write it anew with: "
        "RAFTLAB_GOLDEN=write pytest tests/harness/paper/test_figures_7_and_8.py"
    )
