"""The commands of `tester` that only the instructor has: they need the reference, which students are not given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from labrpc.disturbance import SCHEDULES
from tester import demo
from tester.gallery import command as gallery_command
from tester.grade import command as grade_command
from tester.grade import gradescope_command
from tester.matrix import command as matrix_command
from tester.release import command as release_command
from tester.run import Options

__all__ = ["register"]

commands = typer.Typer()


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`, in a panel of their own."""
    grade_command.register_grade(commands)
    gradescope_command.register(commands)
    for command in commands.registered_commands:
        command.rich_help_panel = "The instructor's commands"
    app.add_typer(commands)


@commands.command("demo")
def demo_command(
    runs: Annotated[int, typer.Option(min=1, help="Seeds of each test to run on the reference.")] = 50,
    mutant: Annotated[
        str, typer.Option(help="The broken Raft to catch: a file's name in tests/mutants.")
    ] = "double-vote",
) -> None:
    """Run part 2A on many seeds, then catch a broken Raft, name its mistake, and replay it."""
    raise typer.Exit(demo.demonstrate(Console(highlight=False), runs=runs, mutant_name=mutant))


@commands.command("plant", epilog="Exit codes: 0 planted, 2 a mistake of yours, 3 ours.")
def plant(
    name: Annotated[str, typer.Argument(help="The mistake: a file's name in tests/mutants.", show_default=False)],
    folder: Annotated[Path, typer.Argument(help="Where to put raft/ and kvraft/ with it in.", show_default=False)],
) -> None:
    """Copy the reference, with one mistake planted, into a folder.

    Give the folder to pytest --solution, and see the tests catch it.
    docs/gallery shows ten of these mistakes at work.

    For example: tester plant double-vote .raftlab/planted/double-vote
    """
    raise typer.Exit(gallery_command.plant(Console(highlight=False), name=name, folder=folder))


@commands.command("gallery", epilog="Exit codes: 0 written, or as they should be; 1 pages differ; "
                  "2 a mistake of yours; 3 ours.")  # fmt: skip
def gallery(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Mistakes, by their mutants.", show_default="all")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder of the pages and of the kept runs.", show_default="docs/gallery")
    ] = None,
    search: Annotated[
        bool, typer.Option("--search", help="Catch and shrink again, also what has a kept run; that takes minutes.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Write nothing: say which pages differ.")] = False,
) -> None:
    """Make the pages of docs/gallery: mistakes, each caught, shrunk, told and drawn.

    docs/gallery/entries.toml names them, and the test that catches each.
    Pages are made from the kept runs, NAME.json: the same everywhere.
    A mistake whose kept run fails no more is caught anew, under the first seed
    that shows it, and that run is shrunk, in 300 runs at most, and kept.

    After a change to the reference: tester gallery, and see what changed.

    To show another mistake: write its entry, then tester gallery NAME.
    """
    code = gallery_command.gallery(
        Console(highlight=False),
        Console(stderr=True, highlight=False),
        names=names or [],
        folder=out,
        search=search,
        check=check,
    )
    raise typer.Exit(code)


@commands.command("mutants", epilog="Exit codes: 0 all are caught, 1 some survive, 2 a mistake of yours, 3 ours; "
                  "130 stopped by Ctrl-C.")  # fmt: skip
def mutants_command(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Mistakes: files in tests/mutants.", show_default="all")
    ] = None,
    part: Annotated[
        list[str] | None, typer.Option(help="Only those of this part; more than once.", show_default=False)
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Seeds of each test, from 1 on.")] = 20,
    workers: Annotated[int, typer.Option("--workers", "-n", min=1, help="Processes at a time.")] = 2,
    full: Annotated[
        bool, typer.Option("--full", help="Go on after the first catch: under how many seeds, by which tests?")
    ] = False,
    all_parts: Annotated[bool, typer.Option("--all-parts", help="Run the tests of the other parts, too.")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Run again what is known already.")] = False,
    as_json: Annotated[
        Path | None, typer.Option("--json", help="Write all that was found into this file.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write a page (Markdown) into this file.", show_default=False)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option(help="Take the mistakes in this folder.", show_default="tests/mutants")
    ] = None,
    schedule: Annotated[str, typer.Option(help=f"{', '.join(SCHEDULES)}.")] = Options.schedule,
    schedules: Annotated[
        bool, typer.Option("--schedules", help="Run all under the other schedules, too, and compare them.")
    ] = False,
) -> None:
    """Show which graded tests catch which planted mistakes: the kill matrix.

    Each mistake is planted in a copy of the reference. The tests of its part run
    on it, all under seed 1, then all under seed 2, and so on, until one fails.
    A mistake that survives shows a hole in the tests.

    What was run is kept in .raftlab/mutants, for as long as neither the mistake
    nor the code changes: stop with Ctrl-C, and the same command goes on.

    For example: tester mutants double-vote --runs 40 --full
    shows by which tests of part 2A, and under how many of 40 seeds, a Raft is
    caught that votes twice in a term.
    """
    code = matrix_command.kill_matrix(
        Console(highlight=False),
        Console(stderr=True, highlight=False),
        names=names or [],
        parts=part or [],
        runs=runs,
        workers=workers,
        full=full,
        all_parts=all_parts,
        fresh=fresh,
        json_file=as_json,
        page_file=out,
        folder=folder,
        schedule=schedule,
        schedules=schedules,
    )
    raise typer.Exit(code)


@commands.command(
    "release", epilog="Exit codes: 0 released, 2 a mistake of yours, or release.toml does not fit the project; 3 ours."
)
def release(
    out: Annotated[Path, typer.Argument(help="The folder for the tree; empty, or not there yet.", show_default=False)],
    force: Annotated[
        bool, typer.Option("--force", help="Replace an earlier release in OUT, if nobody has changed it.")
    ] = False,
    git: Annotated[
        bool, typer.Option("--git", help="Make OUT a git repository, with the release as its commit.")
    ] = False,
) -> None:
    """Cut the tree that students are given out of this project.

    raft/ and kvraft/ become skeletons: signatures, messages and what is given
    stay, and each method that students write raises NotImplementedError with the
    part that asks for it. The lab, the graded tests and the docs for students are
    copied; the reference, the planted mistakes and the gallery are not.

    tester/release/release.toml decides on every file and every public name. What
    is new, and not mentioned there, stops the release: nothing gets out by
    accident. Before anything is written the tree is checked: it holds no line of
    the solution and names nothing that students do not have.

    For example: tester release ../lab-2026 --git

    After a change here, once that is in release.toml: tester release ../lab-2026 --git --force
    """
    raise typer.Exit(release_command.release(Console(highlight=False), out=out, force=force, git=git))
