"""The `tester` command: the judge's tools beside pytest."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from labrpc.errors import HarnessError, UsageError
from tester import demo

__all__ = ["main"]

app = typer.Typer(
    name="tester",
    help="Test and explain Raft servers. The graded tests themselves run under pytest: `pytest -m 2A`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def tester() -> None:
    """Test and explain Raft servers."""


@app.command("demo")
def demo_command(
    runs: Annotated[int, typer.Option(min=1, help="Seeds of each test to run on the reference.")] = 50,
    mutant: Annotated[
        str, typer.Option(help="The broken Raft to catch: a file's name in tests/mutants.")
    ] = "double-vote",
) -> None:
    """Run part 2A on many seeds, then catch a broken Raft, name its mistake, and replay it."""
    raise typer.Exit(demo.demonstrate(Console(highlight=False), runs=runs, mutant_name=mutant))


def main() -> None:
    """Entry point. Exit codes: 0 as hoped, 1 a failure was found, 2 your mistake, 3 ours."""
    try:
        app()
    except UsageError as error:
        Console(stderr=True, highlight=False).print(Text(f"tester: {error}"), soft_wrap=True)
        sys.exit(2)
    except HarnessError as error:
        Console(stderr=True, highlight=False).print(Text(f"tester: fault of the harness: {error}"), soft_wrap=True)
        sys.exit(3)


if __name__ == "__main__":
    main()
