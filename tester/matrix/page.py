"""docs/mutants.md, and the table on the terminal: made of findings alone, so that the same runs make the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tester.matrix.comparison import MUCH_SOONER, Row
from tester.matrix.finding import Finding
from tester.parts import PARTS
from tester.run import Options

__all__ = ["SURVIVES", "page", "rates", "table"]

SURVIVES = "survives"

_MOST_TESTS = 3

_PAGE = """\
# {count} planted mistakes, and the tests that catch them

Each is one small change of the reference, with what a student may have thought. The tests of its part must catch it:
{how}

{rates}

`tester mutants{options} --runs {seeds} --out docs/mutants.md` makes this page again, and `tester plant NAME DIR` a Raft
with one of the mistakes.
"""

_FIRST_ONLY = (
    "they were run on it, all under seed 1, then all under seed 2, and so on up to {seeds}, until one of them failed."
)

_FULL = """\
each was run on it under {seeds} seeds. “Seeds” are those under which one of them fails. Of the tests those that fail
most often are named, with how often. “First” is the first failure if all run under seed 1, then all under seed 2, …"""


_COMPARED = """\
## The schedules compared

The same mistakes and seeds under each `--schedule`, until the first catch; a mistake that survives counts with all its
runs. One is found much sooner if all other schedules (mix, which is made of them, left aside) find it under a seed
{sooner} times as high or higher, or not at all. One number a mistake and schedule is a small sample: a few runs more or
less mean little.
"""


def rates(findings: Sequence[Finding]) -> list[tuple[str, int, int, int]]:
    """(part or "all", mistakes, caught, caught under the first seed), part by part, then in all."""
    groups = [(part, [each for each in findings if each.mutant.part == part]) for part in PARTS]
    groups = [(part, found) for part, found in groups if found]
    rows = [] if len(groups) == 1 else [("all", list(findings))]
    return [
        (name, len(found), sum(each.catch is not None for each in found), sum(_seed(each) == 1 for each in found))
        for name, found in (*groups, *rows)
    ]


def table(findings: Sequence[Finding]) -> Table:
    """For the terminal: a mistake a row."""
    full = any(finding.full for finding in findings)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("part", "mistake", *(["seeds"] if full else []), "first", "caught by", "CPU s"):
        shown.add_column(title, no_wrap=title in ("part", "mistake"), overflow="fold")
    for finding in findings:
        catch = finding.catch
        seeds = [f"{finding.seeds_caught} of {finding.runs}"] if full else []
        name = Text(finding.mutant.name, style="" if catch else "bold red")
        first = str(catch.trial.seed) if catch else ""
        tests = Text(_tests(finding)) if catch else Text(SURVIVES, style="bold red")
        shown.add_row(finding.mutant.part, name, *seeds, first, tests, f"{catch.cpu_s if catch else finding.cpu_s:.1f}")
    return shown


def page(findings: Sequence[Finding], comparison: Sequence[Row] = ()) -> str:
    """The page, as full as the findings are; at its end the schedules compared."""
    seeds, full = findings[0].runs, findings[0].full
    lines = ["| part | mistakes | caught | under seed 1 already |", "|---|---|---|---|"]
    for name, count, caught, at_once in rates(findings):
        lines.append(f"| {name} | {count} | {caught} ({_percent(caught, count)}) | {at_once} |")
    how = (_FULL if full else _FIRST_ONLY).format(seeds=seeds)
    schedule = findings[0].schedule
    options = "".join(
        [
            " --schedules" if comparison else "",
            f" --schedule {schedule}" if schedule != Options.schedule else "",
            " --full" if full else "",
        ]
    )
    text = _PAGE.format(count=len(findings), how=how, seeds=seeds, rates="\n".join(lines), options=options)
    for part, title in PARTS.items():
        found = [finding for finding in findings if finding.mutant.part == part]
        if found:
            columns = ["the mistake", "thought", *(["seeds"] if full else []), "caught by", "first"]
            rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
            text += "\n".join(["", f"## {part}: {title}", "", *rows, *map(_row, found), ""])
    return text + (_section(comparison) if comparison else "")


def _section(comparison: Sequence[Row]) -> str:
    """The schedules compared."""
    head = "schedule", "under seed 1", f"within {comparison[0].runs}", "runs to the catch, mean", "median", "CPU s"
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    notes = []
    for row in comparison:
        cells = [
            row.schedule, row.at_once, f"{row.caught} of {row.mistakes}", f"{row.mean_runs:.1f}",
            f"{row.median_runs:g}", f"{row.cpu_s:.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
        for names, what in ((row.only, "Only"), (row.sooner, "Much sooner")):
            if names:
                notes.append(f"- {what} under {row.schedule}: {', '.join(names)}.")
    return "\n".join(["", _COMPARED.format(sooner=MUCH_SOONER), *lines, "", *notes, ""])


def _row(finding: Finding) -> str:
    mutant, catch = finding.mutant, finding.catch
    name = f"[{mutant.name}](../tests/mutants/{mutant.name}.toml)"
    cells = [f"{name}: {_cell(mutant.title)} ({_cell(mutant.section)})", f"“{_cell(mutant.misconception)}”"]
    if finding.full:
        cells.append(f"{finding.seeds_caught} of {finding.runs}")
    if catch is None:
        cells += [f"**{SURVIVES}**", ""]
    else:
        cells += [_tests(finding, code="`"), f"seed {catch.trial.seed}: {_cell(catch.trial.verdict)}"]
        if finding.full:
            cells[-1] = f"seed {catch.trial.seed}, `{catch.trial.test}`: {_cell(catch.trial.verdict)}"
    return f"| {' | '.join(cells)} |"


def _tests(finding: Finding, code: str = "") -> str:
    found = finding.tests
    named = [f"{code}{test}{code}{f' {failed}' if failed > 1 else ''}" for test, (failed, _) in found.items()]
    more = len(named) - _MOST_TESTS
    parts = [f"{part}: {len(tests)}" for part, tests in finding.tests_of_other_parts.items()]
    others = [f"tests of other parts ({', '.join(parts)})"] if parts else []
    return ", ".join([*named[:_MOST_TESTS], *([f"{more} more"] if more > 0 else []), *others])


def _seed(finding: Finding) -> int:
    return finding.catch.trial.seed if finding.catch else 0


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %"


def _cell(text: str) -> str:
    for sign in "\\|<>*_`[]":
        text = text.replace(sign, f"\\{sign}")
    return text
