"""pdb inside one host: at a given virtual instant, or a given line, the world stops and the student looks around.

    Break(host "2", at 3.2 s) --> the first step point of its code from then on --> (Pdb) in the frame of that code

While the prompt is open nothing else runs and virtual time stands still, also for what is evaluated there: it meets
no step points, costs no CPU time and cannot wait. A run in which somebody only looked is the same run, to its hash.
Stepping follows one thread of the host; when that thread waits, the world goes on until it runs again.

A debugged host pays a check at each step point; hosts without a break are plain ones.
"""

from __future__ import annotations

import contextlib
import pdb
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import CodeType, FrameType
from typing import Any, NamedTuple

from labrpc import context, frames
from labrpc.errors import UsageError
from labrpc.ledger import Ledger
from labrpc.network import host_title
from labrpc.virtual import diagnosis
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.recursion import deeper
from labrpc.virtual.scheduler import GreenThread
from labrpc.virtual.steps import Step

__all__ = ["Break", "DebuggedMachines", "Debugger", "check_line"]

_LEVELS = 2
"""Calls that a debugged host has more below the code under test than a plain one."""

_PROMPT_LEVELS = 1000
"""Calls that the prompt, and what is evaluated there, may nest."""

_STOPPED = "the world is stopped at this prompt: nothing here can wait for what only another thread could bring"


class Break(NamedTuple):
    """Where to stop: in host `host`, at its first step point from `at` ns on; with `line`, when it comes to file:line.

    `file` is short, as reports have it: raft/raft.py.
    """

    host: str
    at: int
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f" at {self.file}:{self.line}" if self.line else ""
        return f"{host_title(self.host)}{place} from {self.at / 1e9:g} s on"


def check_line(bundle: CodeBundle, file: str, line: int) -> None:
    """Demands that file:line of the code under test is a line at which one can stop.

    Raises:
        UsageError: there is no such file, or no code on that line; the text says what there is.
    """
    path = next((path for path, short in bundle.files.items() if short == file), None)
    if path is None:
        raise UsageError(f"there is no {file} in the code under test; there are {', '.join(bundle.files.values())}")
    code = next((module.code for module in bundle.modules.values() if module.path == path), None)
    lines = sorted(_lines(code)) if code is not None else []
    if line not in lines:
        later = next((each for each in lines if each > line), None)
        advice = f"the next that has some is line {later}" if later else f"its last is line {max(lines, default=0)}"
        raise UsageError(f"there is no code on line {line} of {file}; {advice}")


def _lines(code: CodeType) -> Iterator[int]:
    yield from (line for _, _, line in code.co_lines() if line)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines(constant)


class DebuggedMachines:
    """Makes hosts in this process, those with breaks under pdb.

    Args:
        bundle: the code under test.
        breaks: where to stop; each of them once.
        leave: called when the student quits; it must end the run.
        ledger: where the hosts' decisions are taken down.
    """

    def __init__(
        self,
        bundle: CodeBundle,
        breaks: Sequence[Break],
        leave: Callable[[], None],
        ledger: Ledger | None = None,
    ) -> None:
        self._bundle = bundle
        self._ledger = ledger
        names = dict.fromkeys(each.host for each in breaks)
        self._debuggers = {
            name: Debugger([each for each in breaks if each.host == name], leave) for name in names
        }  # one a host, for all its incarnations

    def create(self, settings: frames.HostSettings) -> Host:
        debugger = self._debuggers.get(settings.name)
        if debugger is None or settings.incarnation == 0:  # the judge's throwaway incarnations are numbered 0
            return Host(settings, self._bundle, self._ledger)
        return _DebuggedHost(settings, self._bundle, self._ledger, debugger)

    def close(self) -> None:
        pass

    @property
    def missed(self) -> list[Break]:
        """The breaks that were not reached."""
        return [each for debugger in self._debuggers.values() for each in debugger.missed]


class Debugger(pdb.Pdb):
    """pdb as it is on a host. Its commands are pdb's; `q` ends the run.

    Args:
        breaks: where to stop, all of one host.
        leave: called when the student quits.
    """

    def __init__(self, breaks: Sequence[Break], leave: Callable[[], None]) -> None:
        super().__init__(nosigint=True)
        self._leave = leave
        self._coming = sorted((each for each in breaks if not each.line), key=lambda each: each.at)
        self._lines = [each for each in breaks if each.line]
        self._host: _DebuggedHost | None = None
        self._thread: GreenThread | None = None
        """The one that is being stepped."""
        self._shown: tuple[int, int] | None = None
        self.reset()
        self.botframe = sys._getframe()  # a frame that never runs again, which is what bdb goes on to by `c`
        self._go_on()

    def attach(self, host: _DebuggedHost) -> None:
        """From now on this is about `host`, the latest incarnation."""
        self._host = host
        self._thread = self._shown = None

    @property
    def missed(self) -> list[Break]:
        """The breaks that were not reached, by time."""
        return sorted((*self._coming, *self._lines), key=lambda each: each.at)

    @property
    def tracing(self) -> bool:
        """Whether lines must be watched: somebody steps, or there is a line to stop at."""
        return bool(self._lines or self.breaks or self.stoplineno != -1)

    def trace_again(self, host: _DebuggedHost) -> None:
        """Takes up tracing where a thread goes on: it is switched off whenever the host is left."""
        if host is self._host and self.tracing:
            sys.settrace(self.trace_dispatch)

    def look(self, host: _DebuggedHost, frame: FrameType) -> None:
        """A step point in `frame`: stops here if that is due."""
        if not self._coming or host is not self._host or host.clock() < self._coming[0].at:
            return
        if not host.is_server_file(frame.f_code.co_filename):
            return
        self._coming = [each for each in self._coming if each.at > host.clock()]
        caller: FrameType | None = frame
        while caller is not None:
            if host.is_server_file(caller.f_code.co_filename):
                caller.f_trace = self.trace_dispatch
            caller = caller.f_back
        self.interaction(frame, None)

    def ended(self, thread: GreenThread) -> None:
        """`thread` has ended: who steps through it goes on."""
        if thread is self._thread and self.stoplineno != -1:
            self.message(f"thread {diagnosis.thread_name(thread)} has ended; the run goes on")
            self._go_on()

    def gone(self, host: _DebuggedHost) -> None:
        """The host ends."""
        if host is self._host:
            self._thread = None
            self._go_on()

    def _go_on(self) -> None:
        self.set_continue()

    # -------------------------------------------------------------- what bdb asks

    def trace_dispatch(self, frame: FrameType, event: str, arg: Any) -> Any:
        host = self._host
        if host is None or context.current is not host or host.stopped or host.ended:
            return None
        if not host.is_server_file(frame.f_code.co_filename):
            return None
        return super().trace_dispatch(frame, event, arg)

    def stop_here(self, frame: FrameType) -> bool:
        return self._host is not None and self._host.current is self._thread and super().stop_here(frame)

    def break_anywhere(self, frame: FrameType) -> bool:
        return bool(self._lines) or super().break_anywhere(frame)

    def break_here(self, frame: FrameType) -> bool:
        host = self._host
        if host is not None and self._lines:
            place = (host.short_path(frame.f_code.co_filename), frame.f_lineno)
            for each in self._lines:
                if place == (each.file, each.line) and host.clock() >= each.at:
                    self._lines.remove(each)
                    return True
        return super().break_here(frame)

    def get_stack(self, f: FrameType | None, t: Any) -> tuple[list[tuple[FrameType, int]], int]:
        """The code under test's own frames: what is below them is ours."""
        stack, index = super().get_stack(f, t)
        host = self._host
        own = [entry for entry in stack if host is not None and host.is_server_file(entry[0].f_code.co_filename)]
        if not own:
            return stack, index
        return own, own.index(stack[index]) if stack[index] in own else len(own) - 1

    # -------------------------------------------------------------- the prompt

    def interaction(self, frame: FrameType | None, *rest: Any) -> None:
        host = self._host
        assert host is not None
        self._thread = thread = host.current
        if thread is not None and self._shown != (thread.ident, thread.parks):
            self._shown = (thread.ident, thread.parks)
            held = diagnosis.held_locks(host, thread)
            holding = f", which holds {' and '.join(held)}" if held else ""
            name = diagnosis.thread_name(thread)
            self.message(f"\n{host_title(host.name)} at {host.clock() / 1e9:.6f} s, thread {name}{holding}")
        with _stopped(host):
            super().interaction(frame, *rest)
        self.trace_again(host)

    def do_quit(self, arg: str) -> bool:
        """q(uit)

        Ends the run.
        """
        self._coming.clear()
        self._lines.clear()
        self.clear_all_breaks()
        self._go_on()
        self._leave()
        return True

    do_q = do_exit = do_quit

    def do_EOF(self, arg: str) -> bool:
        """EOF

        Ends the run, as q does.
        """
        self.message("")
        return self.do_quit(arg)

    def do_run(self, arg: str) -> None:
        """run, restart

        Not here: give the command `tester replay` once more.
        """
        self.error("a run starts from the command line: quit, and give the command once more")

    do_restart = do_run

    def lookupmodule(self, filename: str) -> str | None:
        """The path for `b raft/raft.py:120`."""
        files = self._host.bundle.files if self._host is not None else {}
        known = next((path for path, short in files.items() if short == filename), None)
        return known or super().lookupmodule(filename)


class _DebuggedHost(Host):
    """A host under `debugger`."""

    def __init__(
        self, settings: frames.HostSettings, bundle: CodeBundle, ledger: Ledger | None, debugger: Debugger
    ) -> None:
        super().__init__(settings, bundle, ledger)
        self._debugger = debugger
        debugger.attach(self)
        self.loader.set_step_functions(*self._step_functions())

    def _step_functions(self) -> tuple[Callable[[], bool], Callable[[Any], Any]]:
        look = self._debugger.look

        def at(frame: FrameType) -> None:
            if self.stopped:
                return
            self.left -= 1
            if self.left < 0 or self.interrupted:
                self.slow_step()
            look(self, frame)

        def step() -> bool:
            at(sys._getframe(1))
            return True

        def stepped(value: Any) -> Any:
            at(sys._getframe(1))
            return value

        return step, stepped

    def step(self, now: int, limit: int, inbox: list[frames.InboxItem]) -> Step:
        with deeper(_LEVELS):
            try:
                return super().step(now, limit, inbox)
            finally:
                sys.settrace(None)

    def end(self) -> None:
        self._debugger.gone(self)
        super().end()

    # Wherever a thread begins or goes on.

    def _body(self, thread: GreenThread, function: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._debugger.trace_again(self)
        super()._body(thread, function, args)
        self._debugger.ended(thread)

    def _pause(self, thread: GreenThread, deadline: int | None, waits_for: Any) -> None:
        super()._pause(thread, deadline, waits_for)
        self._debugger.trace_again(self)

    def yield_now(self) -> None:
        super().yield_now()
        self._debugger.trace_again(self)

    # While the prompt is open.

    def park(self, deadline: int | None, waits_for: Any) -> bool:
        if self.stopped:
            raise UsageError(_STOPPED)
        return super().park(deadline, waits_for)

    def call(self, target: str, method: str, args: Any, timeout: float | None) -> Any | None:
        if self.stopped:
            raise UsageError(_STOPPED)
        return super().call(target, method, args, timeout)

    def report(self, kind: str, text: str, site: str = "", detail: str = "") -> None:
        if not self.stopped:
            super().report(kind, text, site, detail)

    def output(self, text: str) -> None:
        if self.stopped:
            self._debugger.message(text)
        else:
            super().output(text)


@contextlib.contextmanager
def _stopped(host: Host) -> Iterator[None]:
    """Within, `host` stands still: no step points, no CPU time, no waiting; Ctrl-C is the prompt's own."""
    left = host.left
    host.stopped = True
    handler = None
    if threading.current_thread() is threading.main_thread():
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with deeper(_PROMPT_LEVELS):
            yield
    finally:
        if handler is not None:
            signal.signal(signal.SIGINT, handler)
        host.left = left
        host.stopped = False
