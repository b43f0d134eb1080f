"""`tester replay`: one test, one seed, the run once more with everything on.

    tester replay TEST --seed 7                           runs it; also a run that passes is kept to look at
    tester replay TEST --seed 7 --until 3.2               how every server stands at that instant
    tester replay TEST --seed 7 --break server=2,time=3.2 pdb in that server at that instant
    tester replay TEST --seed 7 --server 2                that server alone, from what it was given: in a moment

The last is for the time of looking: print statements do not change a run, so a student adds some and has this one
server's life again, with them, in a fraction of a second, and is told whether it is still the same life.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from labrpc.disturbance import check_schedule
from labrpc.errors import HarnessError, UsageError
from labrpc.virtual.debugger import Break, DebuggedMachines, check_line
from labrpc.virtual.inbox import Inbox, Lived, replay_alone, this_python
from tester.breaks import parse_break, parse_time
from tester.find_test import find_test
from tester.lone_server import both_in_words, tell_life
from tester.run import SERVERS, Options, parse_seed
from tester.shrunk import ShrunkRun

__all__ = ["FOLDER", "HARNESS_FAULT", "replay"]

FOLDER = Path(".raftlab") / "replays"

_PASSED, _FAILED = 0, 1
HARNESS_FAULT = 3
"""The exit code of pytest for a fault of ours."""


def replay(
    console: Console,
    *,
    test: str,
    seed: str | None,
    until: str | None = None,
    breaks: Sequence[str] = (),
    server: int | None = None,
    record: bool = False,
    solution: Path | None = None,
    servers: str = "threads",
    schedule: str | None = None,
    shrunk: Path | None = None,
) -> int:
    """Runs it; the exit code to leave with.

    0: it passed, was stopped as asked, or (one server) did the same again. 1: it failed, or did something else.

    Args:
        until: virtual seconds at which to stop.
        breaks: where to stop in pdb; see `tester.breaks`.
        server: replay this one by itself, from its recorded inbox; the run is had for it if there is none.
        record: make that inbox anew.

    Raises:
        UsageError: there is no such test, or the arguments make no sense.
        HarnessError: pytest met a fault of ours.
    """
    if seed is None and shrunk is None:
        raise UsageError("which run? name its seed with --seed N, or a shrunk run with --shrunk FILE")
    if servers not in SERVERS:
        raise UsageError(f"--servers {servers} is not one of {', '.join(SERVERS)}")
    if schedule is not None:
        check_schedule(schedule)
    if breaks and servers != "threads":
        raise UsageError("--break needs the server in this process: leave --servers processes out, the run is the same")
    if record and server is None:
        raise UsageError("--record is about one server: name it with --server")
    kept = None if shrunk is None else ShrunkRun.load(shrunk)
    number = parse_seed(seed) if seed is not None else ShrunkRun.load(shrunk or Path()).seed
    if schedule is None:
        schedule = Options.schedule if kept is None else kept.schedule
    test = find_test(test)
    name = test.rpartition("::")[2]
    request = _Request(
        test=test,
        name=name,
        seed=number,
        folder=FOLDER / f"{name.partition('[')[0]}-seed-{number}",
        until_ns=None if until is None else parse_time("--until", until),
        breaks=[parse_break(text, server="" if server is None else str(server)) for text in breaks],
        solution=solution,
        servers=servers,
        schedule=schedule,
        shrunk=shrunk,
    )
    for each in request.breaks:
        if each.line:
            check_line(request.options.bundle(), each.file, each.line)
    if server is None:
        arguments = [f"--replay-break={text}" for text in breaks]
        if request.until_ns is not None:
            arguments += ["--replay-until", str(request.until_ns)]
        return request.run(console, arguments)
    return _replay_server(console, request, str(server), anew=record)


def _world_of(*, solution: Path | None, schedule: str, shrunk: Path | None) -> str:
    """What beside test and seed makes a run another run, in words: for a recorded inbox."""
    code = "the repository's code" if solution is None else f"the code in {solution.resolve()}"
    parts = [
        code,
        "" if schedule == Options.schedule else f"schedule {schedule}",
        f"shrunk as in {shrunk.resolve()}" if shrunk else "",
    ]
    return ", ".join(part for part in parts if part)


class _Request:
    """Which run, and in which world."""

    def __init__(
        self,
        *,
        test: str,
        name: str,
        seed: int,
        folder: Path,
        until_ns: int | None,
        breaks: list[Break],
        solution: Path | None,
        servers: str,
        schedule: str,
        shrunk: Path | None,
    ) -> None:
        self.test, self.name, self.seed, self.folder = test, name, seed, folder
        self.until_ns, self.breaks = until_ns, breaks
        self._servers = servers
        self._shrunk = shrunk
        self.options = Options(solution=solution, schedule=schedule)
        self.world = _world_of(solution=solution, schedule=schedule, shrunk=shrunk)

    def run(self, console: Console, arguments: Sequence[str]) -> int:
        """Has the whole run, under pytest: 0 it passed, 1 it failed."""
        colour = "yes" if console.is_terminal and not console.no_color else "no"
        command = [
            sys.executable, "-m", "pytest", self.test, "--seed", str(self.seed), "--servers", self._servers,
            "--schedule", self.options.schedule, "--replay-folder", str(self.folder), f"--color={colour}",
            "-p", "tester.replay_plugin", "-p", "no:cacheprovider", "-p", "no:xdist",
            "-qq", "--capture=no", "--no-header", "--no-summary", "--timeout=0", "-o", "console_output_style=classic",
            *arguments,
        ]  # fmt: skip
        if self.options.solution is not None:
            command += ["--solution", str(self.options.solution)]
        if self._shrunk is not None:
            command += ["--shrunk", str(self._shrunk)]
        environment = {key: value for key, value in os.environ.items() if key != "PYTEST_ADDOPTS"}
        with _ctrl_c_is_its_own():
            code = subprocess.run(command, env=environment, check=False).returncode
        if code == HARNESS_FAULT:
            raise HarnessError("what pytest says of it is above")
        if code in (4, 5):
            raise UsageError(f"there is no run of {self.test} to replay; what pytest says is above")
        if code not in (_PASSED, _FAILED):
            raise UsageError(f"pytest ended with exit code {code}; what it says is above")
        return code


@contextlib.contextmanager
def _ctrl_c_is_its_own() -> Iterator[None]:
    """Within, Ctrl-C is for the child: at its prompt it ends a command, not the prompt."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # SIG_IGN would be the child's as well
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _replay_server(console: Console, request: _Request, server: str, *, anew: bool) -> int:
    path = request.folder / f"server-{server}.inbox"
    inbox = None if anew else _usable(console, path, request, server)
    if inbox is None:
        inbox = _record(console, path, request, server)
    left: list[bool] = []
    machines = DebuggedMachines(request.options.bundle(), request.breaks, lambda: left.append(True))

    def lives() -> Iterator[Lived]:
        for each in replay_alone(inbox, machines.create, until_ns=request.until_ns):
            if left:
                return
            yield each

    told = tell_life(console, inbox, lives())
    console.print()
    if left:
        console.print("left before its end")
        return _PASSED
    for missed in machines.missed:
        console.print(Text(f"not reached: {missed}"), soft_wrap=True)
    if told.difference is None:
        part = "" if request.until_ns is None else f" up to {request.until_ns / 1e9:g} s"
        console.print(
            Text(f"every effect is equal{part}: {told.steps} steps, {told.messages} messages", style="bold green"),
            soft_wrap=True,
        )
        return _PASSED
    difference = told.difference
    console.print(
        Text(
            f"server {server} does something else than in the recorded run, first at {difference.at / 1e9:.9f} s",
            style="bold red",
        ),
        soft_wrap=True,
    )
    for title, text in zip(("was", "is"), both_in_words(server, difference), strict=True):
        console.print(Text(f"  {title:<3}  {text}"), soft_wrap=True)
    advice = (
        "what came in after that was meant for the code as it was; --record has the whole run with the code as it is"
    )
    console.print(Text(advice), soft_wrap=True)
    return _FAILED


def _usable(console: Console, path: Path, request: _Request, server: str) -> Inbox | None:
    """The inbox in `path`, if there is one and it is of this very run.

    Raises:
        UsageError: there is a file, and it is damaged, or no inbox.
    """
    if not path.exists():
        return None
    try:
        inbox = Inbox.load(path)
    except UsageError as error:
        raise UsageError(f"{error}; make it anew with --record") from None
    head = inbox.head
    if (head.test, head.seed, head.host) != (request.name, request.seed, server):
        raise UsageError(f"{path} is of {head.test}, seed {head.seed}, server {head.host}; make it anew with --record")
    for what, was, now in (("of", head.world, request.world), ("recorded on Python", head.python, this_python())):
        if was != now:
            console.print(Text(f"{path} is {what} {was}, not {now}: it is made anew"), soft_wrap=True)
            return None
    console.print(Text(f"server {server} alone, from {path}"), soft_wrap=True)
    return inbox


def _record(console: Console, path: Path, request: _Request, server: str) -> Inbox:
    console.print(f"recording server {server}: the whole run, once …")
    path.unlink(missing_ok=True)
    request.run(console, ["--replay-record", server, "--replay-world", request.world, "--replay-quiet"])
    if not path.exists():
        raise UsageError(f"no server {server} was started in {request.name}")
    console.print(Text(f"server {server} alone, from {path}"), soft_wrap=True)
    return Inbox.load(path)
