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
    <!-- printed -->             of text: what the Python before it prints

and, in test_docs_clusters.py:

    <!-- cluster: 3 -->          it is run beside so many nodes of the store, which KVRAFT_NODES names
    <!-- nodes: 3 -->            its command is that of node 0 of so many, which are started
    <!-- files: … -->            it is run before the next block of nodes, in the same folder
    <!-- in the background: HOST -->   its commands are services; the page's `dask` blocks are run while they are there
    <!-- failed: MUTANT, TEST, SEED -->   it is run where that run has failed
    <!-- checkout: … -->        it is run in a copy of the project, not in a student's tree
    <!-- example: FILE, … -->    it is run in a copy of the project with these changes of docs/examples
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

__all__ = [
    "DOCS",
    "GALLERY",
    "OWN",
    "PAGES",
    "ROOT",
    "Block",
    "Command",
    "blocks_of",
    "check",
    "commands_of",
    "differs",
    "of_kind",
    "run",
    "same",
    "settings",
]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GALLERY = DOCS / "gallery"
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(page for page in DOCS.rglob("*.md") if "_build" not in page.parts),
]

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


OWN = [block for page in PAGES for block in blocks_of(page) if page.parent != GALLERY]
"""All but the gallery's, which are made of one template: of these one page is run."""


def of_kind(kind: str, *marks: str) -> list[Block]:
    """Blocks of one kind, with one of these marks, or with none if none is given."""
    return [block for block in OWN if block.kind == kind and block.mark in (marks or ("",))]


def settings(tree: Path) -> dict[str, str]:
    """The environment of commands that are to find a tree's packages."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    added = {"PATH": path, "PYTHONPATH": str(tree), "COLUMNS": "100", "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}
    return {**kept, **added}


def run(
    tree: Path, command: str, *, folder: Path | None = None, added: Mapping[str, str] = MappingProxyType({})
) -> tuple[str, int]:
    """What a command prints in `folder`, with the packages of `tree`, which is also the default, and its exit code."""
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder or tree,
        env={**settings(tree), **added},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout, done.returncode


def check(
    tree: Path, block: Block, *, folder: Path | None = None, added: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Runs a console block's commands. One of pytest or tester may leave with 1, a verdict, where output is shown."""
    for command in commands_of(block):
        printed, code = run(tree, command.text, folder=folder, added=added)
        is_verdict = command.text.startswith(("pytest ", "tester ")) and bool(command.shown)
        assert code in ((0, 1) if is_verdict else (0,)), f"{block}: {command.text} left with {code}:\n{printed}"
        wrong = differs(command.shown, printed) if command.shown else ""
        assert not wrong, f"{block}: {command.text} does not print {wrong!r}, or not there:\n{printed}"
