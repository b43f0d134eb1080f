"""The `tester` command: the judge's tools beside pytest.

Here are the commands that students have. Where `tester.instructor_cli` is there too, it adds the instructor's.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from labrpc.disturbance import SCHEDULES
from labrpc.errors import HarnessError, UsageError
from tester import check_history, export, failures, logs, replay_command, shrink_command, timeline_command
from tester.grade import command as grade_command
from tester.run import Options

__all__ = ["main"]

app = typer.Typer(
    name="tester",
    help="Test and explain Raft servers. The graded tests themselves run under pytest: `pytest -m 2A`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

# What more than one command takes.
Test = Annotated[str, typer.Argument(help="A graded test, or any as pytest has it.", show_default=False)]
Solution = Annotated[
    Path | None, typer.Option(help="The folder with the raft/ and kvraft/ to test.", show_default="this repository")
]
KeptRun = Annotated[
    str | None,
    typer.Argument(
        help="A kept failure's name or folder, or a journal (pytest --journal).", show_default="the latest failure"
    ),
]
Root = Annotated[Path, typer.Option(help="The folder that pytest ran in.")]
Start = Annotated[
    float | None, typer.Option("--from", help="Seconds of the run's clock to begin at.", show_default=False)
]
End = Annotated[float | None, typer.Option("--to", help="Seconds of the run's clock to end at.", show_default=False)]


@app.callback()
def tester() -> None:
    """Test and explain Raft servers."""


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
    test: Test,
    seed: Annotated[str, typer.Option(help="The seed that fails.", show_default=False)],
    solution: Solution = None,
    budget: Annotated[str, typer.Option(help="What it may take: 60s, 2m, or 200runs.")] = "60s",
    schedule: Annotated[str, typer.Option(help="That of the run that fails.")] = Options.schedule,
) -> None:
    """Find the few faults and decisions that a failing run needs.

    Runs it again and again with parts left out, as long as it fails in the same way. The run that is left is told
    sentence by sentence, and kept in .raftlab/shrunk for pytest --shrunk.

    For example: tester shrink test_many_elections --seed 2
    """
    code = shrink_command.shrink(
        Console(highlight=False), test=test, seed=seed, solution=solution, budget=budget, schedule=schedule
    )
    raise typer.Exit(code)


@app.command("replay", epilog="Exit codes: 0 it passed, or was stopped as you asked, or (--server) did the same again; "
             "1 it failed, or did something else; 2 a mistake of yours; 3 ours.")  # fmt: skip
def replay(
    test: Test,
    seed: Annotated[str | None, typer.Option(help="The run's seed.", show_default="that of --shrunk")] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Stop after so many virtual seconds, and show every server and thread.", show_default=False),
    ] = None,
    breaks: Annotated[
        list[str] | None,
        typer.Option(
            "--break",
            metavar="server=I,time=T",
            help="Stop in that server with pdb; also server=I,line=FILE:LINE. As often as you like.",
            show_default=False,
        ),
    ] = None,
    server: Annotated[
        int | None, typer.Option(min=0, help="Replay this server by itself, in a moment.", show_default=False)
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="With --server: record what it is given anew.")] = False,
    solution: Solution = None,
    servers: Annotated[str, typer.Option(help="threads or processes: the same run.")] = "threads",
    schedule: Annotated[
        str | None, typer.Option(help=f"{', '.join(SCHEDULES)}.", show_default="mix, or that of --shrunk")
    ] = None,
    shrunk: Annotated[Path | None, typer.Option(help="Replay this shrunk run.", show_default=False)] = None,
) -> None:
    """Have a run again, with everything on.

    A run that fails prints its report. One that passes says so, and its timeline is kept too, in .raftlab/replays.

    tester replay test_re_election --seed 7 --until 3.2
    shows the timeline up to 3.2 virtual seconds, and each server: its role, its threads, what they wait for and hold.

    tester replay test_re_election --seed 7 --break server=2,time=3.2
    opens pdb in server 2 at that instant, in your code, with the world stopped. Looking does not change the run.
    n and s step, c goes on, q ends the run.

    tester replay test_re_election --seed 7 --server 2
    replays server 2 alone, from what it was given: add print statements, and have its life again, with them, in a
    fraction of a second. It goes with --break and --until.
    """
    code = replay_command.replay(
        Console(highlight=False),
        test=test,
        seed=seed,
        until=until,
        breaks=breaks or [],
        server=server,
        record=record,
        solution=solution,
        servers=servers,
        schedule=schedule,
        shrunk=shrunk,
    )
    raise typer.Exit(code)


@app.command("failures")
def failures_command(
    root: Root = Path(),
) -> None:
    """List the failing runs that pytest has kept, the latest first, with their timelines."""
    raise typer.Exit(list_failures(Console(highlight=False), root))


@app.command("timeline", epilog="Exit codes: 0 shown, 2 a mistake of yours, 3 ours.")
def timeline(
    run: KeptRun = None,
    full: Annotated[
        bool, typer.Option("--full", help="Everything: also heartbeats, replies, saves, and every message lost.")
    ] = False,
    start: Start = None,
    end: End = None,
    server: Annotated[
        list[str] | None,
        typer.Option(help="Only what this server (or clerk: c0) did or was sent; more than once.", show_default=False),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write the page of the whole run into this file instead.", show_default=False)
    ] = None,
    root: Root = Path(),
) -> None:
    """Show what happened in a run: a lane a server with its role and term, time downwards.

    By default what matters near the failure, in at most 60 lines; rows marked * are about what the verdict names.
    With --from, --to or --full everything in that time.

    For example: tester timeline test_many_elections-seed-2 --from 0.4 --server 2
    """
    code = timeline_command.show_timeline(
        Console(highlight=False),
        Console(stderr=True, highlight=False),
        run=run,
        root=root,
        full=full,
        start=start,
        end=end,
        servers=server or (),
        html=html,
    )
    raise typer.Exit(code)


@app.command("export", epilog="Exit codes: 0 written, 2 a mistake of yours, 3 ours.")
def export_command(
    run: KeptRun = None,
    file_format: Annotated[
        str, typer.Option("--format", help="jsonl: every event; perfetto: a trace for ui.perfetto.dev.")
    ] = "jsonl",
    out: Annotated[
        str | None, typer.Option(help="The file to write; - is stdout.", show_default="beside the journal")
    ] = None,
    root: Root = Path(),
) -> None:
    """Write a run's journal for other programs.

    docs/journal.md says what is in every line of jsonl.

    For example: tester export test_many_elections-seed-2 --format perfetto
    """
    raise typer.Exit(
        export.export(
            Console(highlight=False),
            Console(stderr=True, highlight=False),
            run=run,
            root=root,
            file_format=file_format,
            out=out,
        )
    )


@app.command("logs", epilog="Exit codes: 0 shown, 2 a mistake of yours, 3 ours.")
def logs_command(
    run: KeptRun = None,
    server: Annotated[
        list[str] | None, typer.Option(help="Only this server (or clerk: c0); more than once.", show_default=False)
    ] = None,
    topic: Annotated[
        list[str] | None,
        typer.Option(help="Only annotations with this tag; print: printed lines. More than once.", show_default=False),
    ] = None,
    grep: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Only lines whose text matches.", show_default=False)
    ] = None,
    start: Start = None,
    end: End = None,
    columns: Annotated[bool, typer.Option("--columns", help="A column a server, from 80 columns up.")] = False,
    topics: Annotated[bool, typer.Option("--topics", help="Only list the topics, with their counts.")] = False,
    root: Root = Path(),
) -> None:
    """Show what servers printed, logged and annotated in a run, in time order.

    An annotation has its tag before it, as in \\[election]; of a printed line its thread
    is given; ! marks what the lab found wrong.

    For example: tester logs test_many_elections-seed-2 --topic election --columns
    """
    code = logs.show_logs(
        Console(highlight=False),
        Console(stderr=True, highlight=False),
        run=run,
        root=root,
        servers=server or (),
        topics=topic or (),
        grep=grep,
        start=start,
        end=end,
        columns=columns,
        list_topics=topics,
    )
    raise typer.Exit(code)


grade_command.register_check(app)
# Not in what students are given. Asked of the folder, for an import may find another installation's.
if Path(__file__).with_name("instructor_cli.py").exists():
    importlib.import_module("tester.instructor_cli").register(app)


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
