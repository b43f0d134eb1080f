"""The `tester` command: the judge's tools beside pytest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from labrpc.errors import HarnessError, UsageError
from tester import check_history, demo, failures, shrink_command

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


@app.command("check-history", epilog="Exit codes: 0 linearizable, 1 not, 2 no verdict or a mistake of yours, 3 ours.")
def check_history_command(
    file: Annotated[str, typer.Argument(help="The history; - is stdin.", show_default=False)],
    model: Annotated[
        str | None,
        typer.Option(help="What it is a history of: kv, register, cas-register or string-kv.", show_default="its own"),
    ] = None,
    file_format: Annotated[
        str, typer.Option("--format", help="jsonl: raftlab's histories; edn: Jepsen's, and its logs; auto: either.")
    ] = "auto",
    timeout: Annotated[float, typer.Option(help="Seconds after which to give up; 0: never.")] = 60.0,
    html: Annotated[
        Path | None, typer.Option(help="Draw the history, as one HTML page, into this file.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON, for programs.")] = False,
) -> None:
    """Check whether a recorded history is linearizable.

    A history says who asked what, when, and what came back. Two lines of one, after its head:

    {"format": "raftlab-history", "version": 1, "model": "register"}

    {"client": 0, "call": 100, "return": 250, "input": {"op": "write", "value": 3}, "output": {}}

    {"client": 1, "call": 300, "return": null, "input": {"op": "read"}, "output": null}

    For example: tester check-history jepsen.log --model cas-register --html history.html
    """
    raise typer.Exit(
        check_history.check_history(
            Console(highlight=False),
            Console(stderr=True, highlight=False),
            file=file,
            model_name=model,
            file_format=file_format,
            timeout=timeout,
            html=html,
            as_json=as_json,
        )
    )


@app.command("shrink", epilog="Exit codes: 0 shrunk, 1 it fails but could not be shrunk, 2 a mistake of yours, 3 ours.")
def shrink(
    test: Annotated[str, typer.Argument(help="A graded test, or any as pytest has it.", show_default=False)],
    seed: Annotated[str, typer.Option(help="The seed that fails.", show_default=False)],
    solution: Annotated[
        Path | None, typer.Option(help="The folder with the raft/ and kvraft/ to test.", show_default="this repository")
    ] = None,
    budget: Annotated[str, typer.Option(help="What it may take: 60s, 2m, or 200runs.")] = "60s",
    stalls: Annotated[str, typer.Option(help="off: never preempt a thread.")] = "on",
) -> None:
    """Find the few faults and decisions that a failing run needs.

    Runs it again and again with parts left out, as long as it fails in the same way. The run that is left is told
    sentence by sentence, and kept in .raftlab/shrunk for pytest --shrunk.

    For example: tester shrink test_many_elections --seed 2 --solution .raftlab/demo/double-vote
    """
    code = shrink_command.shrink(
        Console(highlight=False), test=test, seed=seed, solution=solution, budget=budget, options=["--stalls", stalls]
    )
    raise typer.Exit(code)


@app.command("failures")
def failures_command(
    root: Annotated[Path, typer.Option(help="The folder that pytest ran in.")] = Path(),
) -> None:
    """List the failing runs that pytest has kept, the latest first, with their timelines."""
    raise typer.Exit(list_failures(Console(highlight=False), root))


def list_failures(console: Console, root: Path) -> int:
    """Prints a table; 0, or 1 if there are failures."""
    found = failures.kept(root)
    if not found:
        console.print(f"no failing run is kept in {root / failures.FOLDER}")
        return 0
    for each in found:
        console.print(
            Text(each.failure.test, style="bold"), f"seed {each.failure.seed}, {each.failure.virtual_seconds:.3f} s"
        )
        console.print(Text(f"    {each.failure.verdict}", style="red"), soft_wrap=True)
        console.print(Text(f"    look    {each.folder / 'timeline.html'}"), soft_wrap=True)
        console.print(Text(f"    replay  {each.failure.replay}"), soft_wrap=True)
    return 1


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
