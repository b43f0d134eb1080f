"""Writes what tools print into the pages of docs: runs that are told there, and how long the reference is.

    python docs/stories.py              all pages anew (make stories)
    python docs/stories.py --check      1 if a page is not what the code makes of it today
    python docs/stories.py --search     for a story whose run passes now: another seed, and what stories.toml needs

stories.toml has each story's facts; a page has the place, between two comments:

    <!-- story: NAME/BLOCK -->  ...  <!-- end -->
    <!-- lines: 2A -->  ...  <!-- end -->

What the prose around a block says of a run is its author's: after a change of runs it is to be read again. A test
demands that each `0.1234` that it names is in a block of its page.
"""

from __future__ import annotations

import argparse
import ast
import functools
import importlib.util
import inspect
import io
import os
import re
import sys
import tokenize
import tomllib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from labrpc.errors import InvariantViolation, UsageError
from tester import mutants
from tester.graded import GradedTest, graded_test
from tester.report import failure_text, verdict
from tester.run import Options, Run
from tester.timeline import terminal
from tester.timeline.reading import Reading, read
from tester.timeline.svg import svg

__all__ = ["DOCS", "WIDTH", "Story", "load_stories", "made_files", "plant", "test_of"]

DOCS = Path(__file__).parent
ROOT = DOCS.parent
PROGRAMS = DOCS / "handouts" / "programs"

WIDTH = 100
"""Characters of the terminal that the pages show."""

SEEDS = 60
"""That `--search` tries."""

_PLACE = re.compile(r"(<!-- (story|lines): ([\w./-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_COMMENTS = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@dataclass(frozen=True)
class Block:
    """A command, and what of its output is shown.

    Attributes:
        name: of its place in the page.
        rows: of the report's timeline the last so many; None: this is no report but `tester timeline`.
        start, end: seconds; what `tester timeline` is told.
        servers: likewise.
        full: likewise.
        without: rows in which this pattern is found are left out.
        picture: whether the rows are a picture.
    """

    name: str
    rows: int | None = None
    start: float | None = None
    end: float | None = None
    servers: Sequence[str] = ()
    full: bool = False
    without: str = ""
    picture: bool = False

    @property
    def command(self) -> str:
        """`tester timeline` with its options."""
        words = ["tester timeline"]
        words += [f"--from {self.start:g}"] if self.start is not None else []
        words += [f"--to {self.end:g}"] if self.end is not None else []
        words += [f"--server {server}" for server in self.servers]
        return " ".join([*words, *(["--full"] if self.full else [])])


@dataclass(frozen=True)
class Story:
    """One failing run.

    Attributes:
        name: of a mutant in tests/mutants, or of a program beside the handouts.
        test: a graded test; of a program, the one in test_programs.py.
        says: what its verdict contains: the failure that the page tells.
    """

    name: str
    test: str
    seed: int
    says: str
    blocks: Sequence[Block] = field(default_factory=list)

    @property
    def is_program(self) -> bool:
        return (PROGRAMS / self.name).is_dir()


def load_stories() -> list[Story]:
    """The stories of stories.toml.

    Raises:
        TypeError: a field is missing or unknown.
    """
    tables = tomllib.loads((DOCS / "stories.toml").read_text(encoding="utf-8"))["story"]
    return [Story(**{**table, "blocks": [Block(**block) for block in table["blocks"]]}) for table in tables]


# ------------------------------------------------------------------ runs


def plant(story: Story, folder: Path) -> Path:
    """The folder with the code under test, made in `folder` if it has to be."""
    if story.is_program:
        return PROGRAMS / story.name
    return mutants.find(ROOT / mutants.FOLDER, story.name).plant(ROOT, folder)


def test_of(story: Story) -> GradedTest:
    """The graded test that it is of, or the one beside the programs."""
    if not story.is_program:
        return graded_test(story.test)
    path = PROGRAMS / "test_programs.py"
    spec = importlib.util.spec_from_file_location("test_programs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function = getattr(module, story.test)
    file = path.relative_to(ROOT).as_posix()
    return GradedTest(story.test, file, 0, function, tuple(inspect.signature(function).parameters))


def _fails(story: Story, error: Exception | None) -> bool:
    return isinstance(error, AssertionError) and story.says in verdict(error)


def told(story: Story) -> dict[str, str]:
    """Block -> its Markdown, and file -> its text for pictures.

    Raises:
        UsageError: the run does not fail as the story tells.
    """
    test = test_of(story)
    with TemporaryDirectory() as folder:
        run = Run(story.seed, Options(solution=plant(story, Path(folder))))
        try:
            error = test.attempt(run)
            if error is None or not _fails(story, error):
                said = "passes" if error is None else f"says: {verdict(error)}"
                raise UsageError(
                    f"story {story.name}: {story.test} under seed {story.seed} {said}; "
                    "find another seed with: python docs/stories.py --search"
                )
            reading = read(run.clusters[-1].journal)
            made = {}
            for block in story.blocks:
                if block.rows is not None:
                    text = _report(story, test, run, error, block)
                else:
                    text = _timeline(reading, error, block)
                made[f"{story.name}/{block.name}"] = text
                if block.picture:
                    file = f"handouts/{story.name}-{block.name}.svg"
                    title = f"Timeline of {story.test}, seed {story.seed}: {verdict(error)}"
                    made[file] = svg(_rows(reading, error, block), width=WIDTH, title=title)
                    made[f"{story.name}/{block.name}"] = f"![{title}]({Path(file).name})\n"
            return made
        finally:
            run.close()


def _report(story: Story, test: GradedTest, run: Run, error: Exception, block: Block) -> str:
    """What pytest prints of the run, from the verdict to the end of the timeline."""
    arguments = f"{test.file}::{story.test}"
    if story.is_program:
        arguments += f" --solution docs/handouts/programs/{story.name}"
    command = f"pytest {arguments} --seed {story.seed}"
    frames = traceback.extract_tb(error.__traceback__)
    line = max(frame.lineno or 0 for frame in frames if frame.filename.endswith(test.file))
    replay = f"pytest {test.file}::{story.test} --seed {story.seed}" + (
        f" --solution docs/handouts/programs/{story.name}" if story.is_program else ""
    )
    with mock.patch.dict(os.environ, COLUMNS=str(WIDTH)):
        text = failure_text(run, error, test=story.test, place=f"{test.file}:{line}", replay=replay, colour=False)
    lines = text.rstrip().splitlines()
    if isinstance(error, InvariantViolation) or frames[-1].filename.endswith(test.file):
        # Later symptoms, as many as the machine has time to find; or what pytest says of the test's own assertion.
        lines.insert(1, "…")
    begins = next(number for number, each in enumerate(lines) if each.startswith("timeline: "))
    head, rows = lines[: begins + 2], lines[begins + 2 :]
    left = ["…"] if len(rows) > (block.rows or 0) else []
    kept = rows[-block.rows :] if block.rows else []
    if not block.rows:
        head, left = lines[: begins - 1], ["…"]
    return _console(command, ["…", *head, *left, *kept, "…"])


def _rows(reading: Reading, error: Exception, block: Block) -> list[Any]:
    rows = terminal.lines(
        reading,
        width=WIDTH,
        full=block.full,
        start=None if block.start is None else round(block.start * 1e9),
        end=None if block.end is None else round(block.end * 1e9),
        hosts=block.servers,
        verdict=verdict(error),
        focus=getattr(error, "at", None),
    )
    return list(rows)


def _timeline(reading: Reading, error: Exception, block: Block) -> str:
    shown = ["…"]
    for row in _rows(reading, error, block):
        if block.without and re.search(block.without, row.plain):
            shown += [] if shown[-1] == "…" else ["…"]
        else:
            shown.append(row.plain.rstrip())
    return _console(block.command, shown)


def _console(command: str, lines: Sequence[str]) -> str:
    shown: list[str] = []
    for line in lines:
        if line != "…" or shown[-1:] != ["…"]:
            shown.append(line.rstrip())
    return "\n".join(["```console", f"$ {command}", *shown, "```", ""])


# ------------------------------------------------------------------ lines of the reference


def lines_of(part: str, table: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """How long the reference's functions of a part are, as a sentence."""
    counts = {}
    for file, names in table[part].items():
        functions = functions_of(ROOT / file)
        for name in names:
            if name not in functions:
                raise UsageError(f"stories.toml, lines of {part}: {file} has no {name} any more")
        counts[file] = sum(functions[name] for name in names)
    each = ", ".join(f"{count} in `{file}`" for file, count in counts.items())
    if len(counts) == 1:
        each = f"in `{file}`"
    return (
        f"The reference takes {sum(counts.values())} lines for it, without comments, docstrings and blanks: {each}.\n"
    )


@functools.cache
def functions_of(path: Path) -> dict[str, int]:
    """Function, by its qualified name -> its lines of code: without its docstring, comments and blank lines."""
    source = path.read_text(encoding="utf-8")
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in _COMMENTS:
            code |= set(range(token.start[0], token.end[0] + 1))
    found = {}
    for name, node in _functions(ast.parse(source), ""):
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        mine = code & set(range(first, (node.end_lineno or first) + 1))
        if ast.get_docstring(node, clean=False) is not None:
            mine -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
        found[name] = len(mine)
    return found


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef):
            yield f"{prefix}{child.name}", child


# ------------------------------------------------------------------ pages


def made_files() -> dict[Path, str]:
    """File -> its text, as the code makes it today: all pages with places, and pictures.

    Raises:
        UsageError: a story's run fails no more, a page has no place for a block, or a place has no block.
    """
    made: dict[str, str] = {}
    for story in load_stories():
        made |= told(story)
    table = tomllib.loads((DOCS / "stories.toml").read_text(encoding="utf-8"))["lines"]
    made |= {f"lines {part}": lines_of(part, table) for part in table}
    files = {DOCS / name: text for name, text in made.items() if name.endswith(".svg")}
    wanted = made.keys() - {name for name in made if name.endswith(".svg")}
    for page in sorted(DOCS.rglob("*.md")):
        text = page.read_text(encoding="utf-8")
        places = {(f"lines {name}" if kind == "lines" else name) for _, kind, name, _ in _PLACE.findall(text)}
        unknown = places - made.keys()
        if unknown:
            raise UsageError(
                f"{page.relative_to(ROOT)} has a place for {', '.join(sorted(unknown))}, which is in no story"
            )
        wanted -= places
        if places:
            files[page] = _PLACE.sub(lambda place: _filled(place, made), text)
    if wanted:
        raise UsageError(f"no page has a place for {', '.join(sorted(wanted))}")
    return files


def _filled(place: re.Match[str], made: Mapping[str, str]) -> str:
    begin, kind, name, end = place.groups()
    return begin + made[f"lines {name}" if kind == "lines" else name] + end


def _search() -> None:
    for story in load_stories():
        for seed in [story.seed, *range(1, SEEDS + 1)]:
            with TemporaryDirectory() as folder:
                run = Run(seed, Options(solution=plant(story, Path(folder))))
                error = test_of(story).attempt(run)
                run.close()
            if _fails(story, error):
                print(f"{story.name}: seed {seed}{'' if seed == story.seed else ', which is new'}")
                break
        else:
            print(f"{story.name}: no seed up to {SEEDS} fails with: {story.says}")


def main() -> int:
    """The exit code: 0 if all is written, or as it should be."""
    parser = argparse.ArgumentParser(description="Write what tools print into the pages of docs.")
    parser.add_argument("--check", action="store_true", help="compare only")
    parser.add_argument("--search", action="store_true", help="look for seeds only")
    options = parser.parse_args()
    if options.search:
        _search()
        return 0
    changed = 0
    for file, text in made_files().items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            changed += 1
            print(f"{file.relative_to(ROOT)} {'is not what its runs show today' if options.check else 'is written'}")
            if not options.check:
                file.write_text(text, encoding="utf-8")
    return 1 if options.check and changed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UsageError as mistake:
        sys.exit(f"error: {mistake}")
