"""The command line of `tester gradescope`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from labrpc.errors import UsageError
from tester.grade.gradescope import Settings, autograder_zip

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command("gradescope", epilog="Exit codes: 0 written, 2 a mistake of yours, 3 ours.")(gradescope_command)


def gradescope_command(
    course: Annotated[
        Path, typer.Option(help="The course's rules; docs/course.toml shows all there is.", show_default=False)
    ],
    hidden_seed_file: Annotated[
        Path,
        typer.Option(help="A file with a secret of 16 characters or more: nobody knows its seeds.", show_default=False),
    ],
    parts: Annotated[
        str, typer.Option(help="The parts, e.g. 2A,2B.", show_default="those of the course, else all")
    ] = "",
    runs: Annotated[
        int | None, typer.Option(min=1, help="Runs of each test.", show_default="as the course says")
    ] = None,
    minutes: Annotated[
        int, typer.Option(min=1, help="What Gradescope gives a submission: the timeout in the autograder's settings.")
    ] = 10,
    workers: Annotated[
        int | None, typer.Option("--workers", "-n", min=1, help="Runs at a time.", show_default="one a CPU")
    ] = None,
    allow_unsandboxed: Annotated[
        bool, typer.Option("--allow-unsandboxed", help="Grade also where submissions cannot be sandboxed.")
    ] = False,
    out: Annotated[Path, typer.Option(help="The zip to write.")] = Path("autograder.zip"),
) -> None:
    """Make the zip that Gradescope grades with: upload it under Configure Autograder.

    It holds this program, the graded tests, the course's rules and the secret,
    but no solution. Keep it as you keep the secret. docs/grading.md tells more.

    For example: tester gradescope --course course.toml --parts 2A --hidden-seed-file secret
    """
    console = Console(stderr=True, highlight=False)
    names = tuple(name.strip() for name in parts.split(",") if name.strip())
    settings = Settings(names, runs, minutes, workers, allow_unsandboxed)
    content = autograder_zip(course, hidden_seed_file, settings)
    try:
        out.write_bytes(content)
        out.chmod(0o600)
    except OSError as error:
        raise UsageError(f"--out {out} cannot be written: {error.strerror or error}") from None
    if allow_unsandboxed:
        text = "where there is no sandbox a submission can read the secret and write its own result"
        console.print(Text(text, style="yellow"), soft_wrap=True)
    console.print(Text(f"{out}: {len(content) / 1e6:.1f} MB; it holds your secret: show it to nobody"), soft_wrap=True)
