"""`kvraft scenario NAME`: the command line."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from kvraft.scenarios.display import View, console_for, print_outcome, print_plan
from kvraft.scenarios.driver import Options, Run
from kvraft.scenarios.outcome import Outcome
from kvraft.scenarios.plans import SCENARIOS
from kvraft.scenarios.report import write_report
from kvraft.service.settings import READS
from labrpc.errors import HarnessError, UsageError

__all__ = ["register", "run_scenario"]

HELD, BROKEN, MISUSE, UNDECIDED = 0, 1, 2, 3
INTERRUPTED = 130


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    app.command()(scenario)


def scenario(
    name: Annotated[str | None, typer.Argument(help="Which; see --list.", show_default=False)] = None,
    list_them: Annotated[bool, typer.Option("--list", help="Say what there is, and what each shows.")] = False,
    seconds: Annotated[float, typer.Option(help="Of load; faults come all the while.")] = 60.0,
    nodes: Annotated[int, typer.Option(help="How many, 3 to 9.")] = Options.nodes,
    clients: Annotated[
        int, typer.Option(help="How many; each has one operation under way at a time.")
    ] = Options.clients,
    seed: Annotated[int, typer.Option(help="Of the plan, the network and the clients.")] = Options.seed,
    reads: Annotated[str, typer.Option(help="How gets are answered: index, lease or log.")] = Options.reads,
    rate: Annotated[
        float | None, typer.Option(help="Operations a second; default: as many as the clients can.", show_default=False)
    ] = None,
    keys: Annotated[int, typer.Option(help="How many keys; 0: four a client, at least 100.")] = Options.keys,
    election: Annotated[
        str, typer.Option(help="Shortest and longest election timeout, in seconds.")
    ] = "{:g}-{:g}".format(*Options.election),
    recover_within: Annotated[
        float, typer.Option(help="Longest election timeouts after which the cluster must answer again.")
    ] = Options.recover_within,
    report: Annotated[
        Path | None, typer.Option(help="Write what happened as one HTML page.", metavar="FILE.html")
    ] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write it for programs; -: to stdout.")] = None,
    keep: Annotated[
        Path | None, typer.Option(help="Keep data, logs and the history there; else only if a promise was broken.")
    ] = None,
) -> None:
    """Runs a cluster under faults, and says whether it kept its promises.

        kvraft scenario leader-churn --seconds 30

    The plan of faults is drawn from the seed. All that clients did is recorded, and checked for linearizability.
    Ctrl-C ends it early, with a verdict of what ran.

    Exit codes: 0 every promise was kept; 1 one was broken; 2 misuse; 3 the run itself failed, or the machine
    was too busy for a verdict.
    """
    if list_them:
        width = max(map(len, SCENARIOS))
        for each in SCENARIOS.values():
            print(f"{each.name:{width}}  {each.shows}")
        raise typer.Exit(HELD)
    try:
        if name is None or name not in SCENARIOS:
            problem = "name a scenario" if name is None else f"no scenario {name!r}"
            raise UsageError(f"{problem}; there are {', '.join(SCENARIOS)}")
        if reads not in READS:
            raise UsageError(f"reads must be one of {', '.join(READS)}, not {reads!r}")
        options = Options(
            nodes=nodes,
            seconds=seconds,
            clients=clients,
            seed=seed,
            reads=reads,
            rate=rate,
            keys=keys,
            election=_election(election),
            recover_within=recover_within,
        )
        for file in (report, as_json):
            if file is not None and str(file) != "-" and not file.absolute().parent.is_dir():
                raise UsageError(f"{file.absolute().parent} is no directory, so {file.name} cannot be written there")
        outcome = run_scenario(name, options, keep=keep, report=report, as_json=as_json)
    except (UsageError, ValueError) as error:
        print(f"kvraft: {error}", file=sys.stderr)
        raise SystemExit(MISUSE) from None
    except (HarnessError, OSError) as error:
        print(f"kvraft: the run failed: {error}", file=sys.stderr)
        raise SystemExit(UNDECIDED) from None
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    raise typer.Exit(HELD if outcome.held else BROKEN if outcome.broken else UNDECIDED)


def run_scenario(
    name: str,
    options: Options,
    *,
    keep: Path | None = None,
    report: Path | None = None,
    as_json: Path | None = None,
) -> Outcome:
    """Does it, and says on stderr what happens.

    Raises:
        UsageError: the options do not fit, or `keep` holds something.
        HarnessError: the run itself failed.
        OSError: of the file system.
    """
    console = console_for(stderr=True)
    with _folder(keep) as place:
        run = Run(SCENARIOS[name], options, place.path)
        if keep is None:
            run.remove_folder_if_killed()
        print_plan(console, run)
        with View(console, run) as view:
            outcome = run.run(view)
        place.is_kept = keep is not None or not outcome.held
        if not place.is_kept:
            outcome.folder = outcome.history = None
        print_outcome(console, outcome)
        if place.is_kept:
            console.print(f"data, logs and history.jsonl are in {place.path}", soft_wrap=True, markup=False)
        if outcome.page is not None:
            console.print(f"where the history is wrong, as a page: {outcome.page}", soft_wrap=True, markup=False)
        if report is not None:
            write_report(outcome, report)
            console.print(f"the run as a page: {report}", soft_wrap=True, markup=False)
        if as_json is not None:
            text = json.dumps(outcome.as_json(), ensure_ascii=False, indent=1) + "\n"
            if str(as_json) == "-":
                sys.stdout.write(text)
            else:
                as_json.write_text(text)
    return outcome


class _Place:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_kept = False


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[_Place]:
    """Where the run is; removed at the end unless it is to be kept."""
    if keep is None:
        place = _Place(Path(tempfile.mkdtemp(prefix="kvraft-scenario-")))
    else:
        keep.mkdir(parents=True, exist_ok=True)
        if any(keep.iterdir()):
            raise UsageError(f"{keep} is not empty; name a new directory")
        place = _Place(keep)
        place.is_kept = True
    try:
        yield place
    finally:
        if not place.is_kept:
            shutil.rmtree(place.path, ignore_errors=True)


def _election(text: str) -> tuple[float, float]:
    low, _, high = text.partition("-")
    try:
        bounds = float(low), float(high)
    except ValueError:
        raise UsageError(f"--election {text!r}: write SHORTEST-LONGEST, in seconds") from None
    if not 0.1 <= bounds[0] < bounds[1]:
        raise UsageError(f"--election {text!r}: the shortest must be at least 0.1 s, and less than the longest")
    return bounds
