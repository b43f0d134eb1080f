"""A process that does one job after the other: python -P -m tester.grade.worker FD FOLDER.

    Ask --FD--> worker: the submission's files into FOLDER/trees/DIGEST, one graded test on them --FD--> Answer
                  \\-- its nursery --fork--> a process for each server and each clerk: there the submission's code runs

Nothing of a submission runs in this process: it is read, compiled and drawn here, no more. When the other end of the
socket is gone the worker ends, at the next heartbeat at the latest, and all processes below it with it.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import socket
import sys
import threading
import time
import traceback
from pathlib import Path

from labrpc.errors import CodeFault, HarnessError
from labrpc.framing import receive, send
from labrpc.nursery import innermost_site
from tester import interrupts, report
from tester.cluster import Cluster
from tester.grade import processes, world
from tester.grade.frames import Answer, Ask, Beat, decode_ask, encode
from tester.grade.names import is_name
from tester.grade.records import Job
from tester.graded import GradedTest, graded_test
from tester.porcupine import LinearizationInfo, Model, check_operations_verbose, kv_model
from tester.run import Run
from tester.service_cluster import KVCluster, ReplicatedKVCluster
from tester.symptoms import later_symptoms
from tester.timeline.page import page_html
from tester.timeline.reading import read

__all__ = ["attempt", "main", "replay_command"]

BEAT_S = 1.0
"""Seconds between two signs of life."""

_MOST_REPORT = 200_000
_MOST_PAGE = 3_000_000
"""Bytes of an artefact."""
_EVENTS = (40_000, 10_000, 2_000)
"""Of a long run so many events at its end are drawn, or fewer, until the page is small enough."""
_SYMPTOMS_S = 5.0
"""Seconds of the run's clock in which later symptoms are looked for."""
_MOST_SENTENCE = 2_000
_JOBS_A_COLLECTION = 20
_MOST_STACKS = 16


def replay_command(test: str, seed: int) -> str:
    """What a student runs to have a run again."""
    return f"tester replay {test} --seed {seed}"


def attempt(job: Job, solution: Path, *, explain: bool, wall_limit_s: float) -> Answer:
    """Does `job` on the code in `solution`; called on the main thread.

    Args:
        explain: whether the artefacts of a run that fails are wanted.
    """
    began, cpu_began = time.process_time(), _cpu_below()
    run: Run | None = None
    try:
        test = graded_test(job.test)
        run = Run(job.seed, world.options(solution))
        answer = _judge(job, run, test, solution, wall_limit_s, explain=explain)
    except Exception as error:  # whatever it is, it is not the submission's
        answer = Answer(fault="".join(traceback.format_exception(error)))
    finally:
        for cluster in run.clusters if run is not None else ():
            with contextlib.suppress(Exception):
                cluster.close()
            cluster.journal.close()
    cpu_s = time.process_time() - began + max(0.0, _cpu_below() - cpu_began)
    return _changed(answer, cpu_s=round(cpu_s, 3))


def _changed(answer: Answer, **changes: object) -> Answer:
    return Answer(**{**{name: getattr(answer, name) for name in answer.__struct_fields__}, **changes})


def _cpu_below() -> float:
    return sum(map(processes.cpu_seconds, processes.below(os.getpid())))


def _judge(job: Job, run: Run, test: GradedTest, solution: Path, wall_limit_s: float, *, explain: bool) -> Answer:
    with interrupts.deferred(run), _Watch(wall_limit_s) as watch:
        lift = interrupts.limit_wall_time(wall_limit_s)
        try:
            error = test.attempt(run)
            run.close()
        finally:
            lift()
    known = Answer(journal_hash=run.journal_hash, virtual_s=round(sum(each.now for each in run.clusters), 6))
    if error is None:
        return known
    if not isinstance(error, AssertionError):
        return _changed(known, fault="".join(traceback.format_exception(error)))
    names = _Names(solution)
    sentence = names.short(report.verdict(error))[:_MOST_SENTENCE]
    is_over = isinstance(error, interrupts.WallTimeout)
    if is_over and watch.site(run):
        sentence += f"; half a second before that a server was at {watch.site(run)}"
    artefacts = {}
    if explain and run.clusters:
        artefacts = _artefacts(job, run, test, error, names, symptoms=not is_over)
    return _changed(
        known,
        verdict=sentence,
        depends=is_over or (isinstance(error, CodeFault) and error.is_of_the_machine),
        is_over=is_over,
        busy=watch.busy if is_over else None,
        artefacts=artefacts,
    )


class _Names:
    """A submission's files by the names that its student knows."""

    def __init__(self, solution: Path) -> None:
        self._root = f"{solution.resolve()}{os.sep}"

    def short(self, text: str) -> str:
        return text.replace(self._root, "")


# ------------------------------------------------------------------ what is kept of a run that failed


def _artefacts(
    job: Job, run: Run, test: GradedTest, error: AssertionError, names: _Names, *, symptoms: bool
) -> dict[str, bytes]:
    replay = replay_command(job.test, job.seed)
    later = later_symptoms(run, error, lambda: test.attempt(run), within_s=_SYMPTOMS_S) if symptoms else []
    text = report.failure_text(
        run, error, test=job.test, place=_place(test, error), replay=replay, colour=False, symptoms=later
    )
    cluster = run.clusters[-1]
    return {"report.txt": _cut(names.short(text).encode()), "timeline.html": _page(job, cluster, error, names, replay)}


def _place(test: GradedTest, error: BaseException) -> str:
    """file:line of the test's own statement that was running."""
    lines = [
        line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename.endswith(test.file)
    ]
    return f"{test.file}:{lines[-1]}" if lines else test.file


def _cut(data: bytes) -> bytes:
    if len(data) <= _MOST_REPORT:
        return data
    left_out = len(data) - _MOST_REPORT
    half = _MOST_REPORT // 2
    note = f"\n\n… {left_out} bytes are left out …\n\n"
    return (
        data[:half].decode("utf-8", "ignore").encode() + note.encode() + data[-half:].decode("utf-8", "ignore").encode()
    )


def _page(job: Job, cluster: Cluster, error: AssertionError, names: _Names, replay: str) -> bytes:
    judged = _judged(cluster)
    page = b""
    for most in _EVENTS:
        reading = read(cluster.journal, last=most)
        facts = {"seed": str(job.seed), "virtual time": f"{cluster.now:.6f} s", "replay": replay}
        if reading.left_out:
            facts["note"] = reading.what_is_left_out
        reading.end = max(reading.end, cluster.coordinator.now)
        focus = getattr(error, "at", None)
        page = page_html(
            reading,
            title=f"{job.test}, seed {job.seed}",
            verdict=names.short(report.verdict(error)),
            verdict_at=cluster.coordinator.now if focus is None else focus,
            facts=facts,
            operations_verdict=judged,
        ).encode("utf-8", "replace")
        if len(page) <= _MOST_PAGE:
            return page
    return b"<!doctype html><title>too long</title>The timeline is too long to be kept. Have it again with: " + (
        replay.encode()
    )


def _judged(cluster: Cluster) -> tuple[Model, LinearizationInfo] | None:
    if not isinstance(cluster, KVCluster | ReplicatedKVCluster) or not cluster.clerks.history:
        return None
    model = kv_model()
    return model, check_operations_verbose(model, cluster.clerks.history)[1]


# ------------------------------------------------------------------ a run that takes too long


class _Watch:
    """In the last half of the wall limit: how busy the run's servers are, and shortly before the end where the busiest
    is. A run whose servers computed is slow; one whose servers did not was kept waiting, or the judge took that time.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)
        self.busy: float | None = None
        self._stacks: list[str] = []

    def site(self, run: Run) -> str:
        """The submission's line, "" if it is not known."""
        files = run.options.bundle().files
        return next(filter(None, (innermost_site(stack, files) for stack in self._stacks)), "")

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _look(self) -> None:
        if self._ended.wait(self._limit_s / 2):
            return
        at, used = time.monotonic(), _cpu_below()
        if self._ended.wait(max(0.0, self._limit_s / 2 - 0.5)):
            return
        if used:
            self.busy = round((_cpu_below() - used) / (time.monotonic() - at), 2)
            children = processes.below(os.getpid())[1:]
            busiest = sorted(children, key=processes.cpu_seconds, reverse=True)
            self._stacks = processes.stacks_of(busiest[:_MOST_STACKS])


# ------------------------------------------------------------------ the process


class _Trees:
    """Where the submission that is graded lies: one at a time, under a name of ours."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "trees"
        self._digest = ""

    def tree(self, ask: Ask) -> Path:
        """The folder of the submission of `ask`.

        Raises:
            HarnessError: its files did not come along, and are not here.
        """
        path = self._folder / ask.job.digest
        if ask.files is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            for name, content in ask.files.items():
                if not is_name(name):
                    raise HarnessError(f"{name!r} is no name of a student's file")
                file = path / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(content)
            self._digest = ask.job.digest
        elif ask.job.digest != self._digest:
            raise HarnessError(f"the files of {ask.job.digest} are not here")
        return path


def main(connection: socket.socket, folder: Path) -> None:
    """Answers what is asked over `connection` until that is closed."""
    sending = threading.Lock()
    threading.Thread(target=_beat, args=(connection, sending, folder), name="beat", daemon=True).start()
    trees = _Trees(folder)
    done = 0
    gc.collect()
    gc.freeze()
    while (asked := receive(connection)) is not None:
        ask = decode_ask(asked)
        solution = trees.tree(ask)
        answer = attempt(ask.job, solution, explain=ask.explain, wall_limit_s=ask.wall_limit_s)
        with sending:
            send(connection, encode(answer))
        del ask, asked, answer
        done += 1
        if done % _JOBS_A_COLLECTION == 0:
            gc.collect()


def _beat(connection: socket.socket, sending: threading.Lock, folder: Path) -> None:
    """Says that this process is there; ends it, and removes its files, when there is nobody to hear it."""
    while True:
        with sending:
            try:
                send(connection, encode(Beat(processes.memory_of_self())))
            except OSError:
                shutil.rmtree(folder, ignore_errors=True)
                os._exit(1)
        time.sleep(BEAT_S)


def _main(arguments: list[str]) -> int:
    descriptor, folder = arguments
    held = processes.take_cpu()
    if held is not None:
        os.environ["PYTEST_XDIST_WORKER"] = f"gw{held[0]}"  # which CPU a run takes, is asked there
    main(socket.socket(fileno=int(descriptor)), Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
