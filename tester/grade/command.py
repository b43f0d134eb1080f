"""The command lines of `tester grade` and `tester check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from tester.grade import check as checking
from tester.grade.grade import Request, grade

__all__ = ["register_check", "register_grade"]

_PARTS = typer.Option(help="The parts, e.g. 2A,2B.", show_default="those of course.toml, else all")
_COURSE = typer.Option(
    help="The course's rules; docs/course.toml shows all there is.", show_default="every run must pass"
)


def register_check(app: typer.Typer) -> None:
    """Adds the students' command to `app`."""
    app.command("check", epilog="Exit codes: 0 all points, 1 some are lost, 2 a mistake of yours, 3 ours; "
                "130 stopped by Ctrl-C.")(check_command)  # fmt: skip


def register_grade(app: typer.Typer) -> None:
    """Adds the instructor's command to `app`."""
    app.command(
        "grade",
        epilog="Exit codes: 0 graded; 1 some submissions were refused, or runs could not be resolved; 2 a mistake of "
        "yours; 3 ours; 130 stopped by Ctrl-C.",
    )(grade_command)


def grade_command(
    submissions: Annotated[
        list[str],
        typer.Argument(
            metavar="SUBMISSION…",
            help="Folder, .zip or .tar(.gz, .xz, .bz2), git repository (PATH@REV), or a folder or archive of many.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder for all that comes of it.", show_default=False)],
    parts: Annotated[str, _PARTS] = "",
    runs: Annotated[
        int | None, typer.Option(min=1, help="Runs of each test, each under a seed of its own.", show_default="20")
    ] = None,
    seeds: Annotated[
        Path | None, typer.Option(help="A file of seeds, one a line: known to all.", show_default=False)
    ] = None,
    hidden_seed_file: Annotated[
        Path | None,
        typer.Option(help="A file with a secret of 16 characters or more: nobody knows its seeds.", show_default=False),
    ] = None,
    hidden_seed: Annotated[
        str | None, typer.Option(help="The secret itself; others on this machine can see it.", show_default=False)
    ] = None,
    course: Annotated[Path | None, _COURSE] = None,
    submitted: Annotated[
        Path | None,
        typer.Option(help="A CSV file, name,days_late or name,timestamp, that says who was late.", show_default=False),
    ] = None,
    late_by_commit: Annotated[
        bool, typer.Option("--late-by-commit", help="Take lateness from each repository's last commit.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", "-n", min=1, help="Runs at a time.", show_default="one a CPU")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Run on the Dask cluster of tcp://HOST:PORT; see docs/grading-at-scale.md.", show_default=False
        ),
    ] = None,
    wall_limit: Annotated[float, typer.Option(min=1, help="Seconds of real time that a run may take.")] = 600.0,
    allow_unsandboxed: Annotated[
        bool, typer.Option("--allow-unsandboxed", help="Go on where submissions cannot be sandboxed.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print class.json in one line instead of the table.")] = False,
) -> None:
    """Grade submissions: every test of the parts, under many seeds, on each of them.

    Of each submission raft/**/*.py and kvraft/**/*.py are taken. Its servers run
    in processes of their own, on the virtual clock. A run that fails can be had
    again with: tester replay TEST --seed N

    Each run is kept in OUT/grades.sqlite as it ends. Stop with Ctrl-C, or lose
    the machine: the same command goes on from there.

    For example, with a secret seed, made once and kept:

    python3 -c 'import secrets; print(secrets.token_hex())' > secret

    tester grade hand-ins/ --parts 2A,2B --runs 20 --hidden-seed-file secret --out grades
    """
    request = Request(
        submissions=submissions,
        out=out,
        parts=_names(parts),
        runs=runs,
        seeds=seeds,
        hidden_seed=hidden_seed,
        hidden_seed_file=hidden_seed_file,
        workers=workers,
        course=course,
        submitted=submitted,
        late_by_commit=late_by_commit,
        allow_unsandboxed=allow_unsandboxed,
        scheduler=scheduler,
        wall_limit_s=wall_limit,
        as_json=as_json,
    )
    raise typer.Exit(grade(Console(highlight=False), Console(stderr=True, highlight=False), request))


def check_command(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder with raft/ and kvraft/.", show_default="this one")
    ] = Path(),
    parts: Annotated[str, _PARTS] = "",
    runs: Annotated[int | None, typer.Option(min=1, help="Runs of each test.", show_default="20")] = None,
    seeds: Annotated[Path | None, typer.Option(help="A file of seeds, one a line.", show_default="1, 2, 3, …")] = None,
    course: Annotated[Path | None, _COURSE] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", "-n", min=1, help="Runs at a time.", show_default="one a CPU")
    ] = None,
    wall_limit: Annotated[float, typer.Option(min=1, help="Seconds of real time that a run may take.")] = 600.0,
) -> None:
    """Grade your own work, as it will be graded, under seeds that everybody knows.

    Takes the same files, by the same rules, before the same judge. For each test
    it says how many runs passed, its points, what failed, and the command that
    has that run again.

    For example: tester check --parts 2A,2B --runs 50
    """
    code = checking.check(
        Console(highlight=False),
        Console(stderr=True, highlight=False),
        folder=folder,
        parts=_names(parts),
        runs=runs,
        seeds=seeds,
        course_file=course,
        workers=workers,
        wall_limit_s=wall_limit,
    )
    raise typer.Exit(code)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
