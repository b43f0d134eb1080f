"""Pages of documentation as tests see them: blocks, what may be run of them, and what their output must be.

    ```console     each `$ command` is run, and its output compared with what the block shows
    ```python      is executed

A comment before a block says what is otherwise:

    <!-- not run: REASON -->     it is not run
    <!-- collected only: REASON -->   of pytest: only whether it selects tests
    <!-- tree: skeleton -->      it is run where nothing is written yet; else the reference stands in the student's tree
    <!-- fragment -->            of Python: it is compiled only
    <!-- file: PATH -->          of Python: it is a piece of that file
    <!-- story: NAME/BLOCK -->   docs/stories.py writes it
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Block", "Command", "blocks_of", "commands_of", "differs", "same"]

_BLOCK = re.compile(r"(?P<comment><!-- [^\n]+ -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_ANY = "…"

_CHANGES = [
    (re.compile(r"\b\d+\.\d+s\b"), "0.00s"),
    (re.compile(r"(Python |pytest-|xdist-|pluggy-|timeout-)[\d.]+"), r"\g<1>0"),
    (re.compile(r"(/tmp|/var)/[^\s:,;)]+"), "PATH"),
    (re.compile(r"=+"), "="),
]


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        line: of its first line in the page.
        mark, said: of the comment before it, what is before its colon and what is after; both "" if there is none.
    """

    page: Path
    line: int
    kind: str
    text: str
    mark: str
    said: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a console block, and the lines that are shown of its output; none: they are not compared."""

    text: str
    shown: tuple[str, ...]


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        comment = (match["comment"] or "").strip().removeprefix("<!--").removesuffix("-->").strip()
        mark, _, said = comment.partition(":")
        line = text.count("\n", 0, match.start("kind")) + 1
        found.append(Block(page, line, match["kind"], match["text"], mark.strip(), said.strip()))
    return found


def commands_of(block: Block) -> list[Command]:
    """The commands of a console block.

    Raises:
        ValueError: it does not begin with one.
    """
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line)
        else:
            raise ValueError(f"{block} begins with {line!r}, not with a command")
    return [Command(text, tuple(shown)) for text, shown in found]


def same(line: str) -> str:
    """A line without what differs from run to run and from machine to machine."""
    for pattern, stands_for in _CHANGES:
        line = pattern.sub(stands_for, line)
    return line.strip()


def differs(shown: tuple[str, ...], printed: str) -> str:
    """The first line shown that is not printed in its place; "" if all are.

    A line … stands for any lines, … within a line for any text. Blank lines do not count.
    """
    rows = [same(line) for line in printed.splitlines() if line.strip()]
    at, anywhere = 0, False
    for line in shown:
        if not line.strip():
            continue
        if line.strip() == _ANY:
            anywhere = True
            continue
        wanted = re.compile(".*".join(re.escape(piece) for piece in same(line).split(_ANY)))
        places = range(at, len(rows)) if anywhere else range(at, min(at + 1, len(rows)))
        place = next((number for number in places if wanted.fullmatch(rows[number])), None)
        if place is None:
            return line
        at, anywhere = place + 1, False
    return "" if anywhere or at == len(rows) else f"the end; but there is more: {rows[at]}"
