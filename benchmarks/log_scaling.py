"""Does a log of a million entries cost a million times one entry? `python -m benchmarks.log_scaling`.

Times per entry must not grow with the log: appending, finding where two logs part, cutting a tail off, compacting.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import track
from rich.table import Table

from raft import Log, LogEntry

SIZES = (10_000, 100_000, 1_000_000)
TERM_LENGTH = 100
SNAPSHOT_INTERVAL = 10


def filled(size: int) -> Log:
    log = Log()
    for index in range(size):
        log.append(LogEntry(1 + index // TERM_LENGTH, index))
    return log


def nanoseconds(work: Callable[[], None], entries: int) -> float:
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / entries


def repair(log: Log, size: int) -> None:
    """A follower's tail of half the log is found to conflict, term by term, cut off and replaced."""
    index = log.last_index
    while index > size // 2:
        index = log.first_index_of_term_at(index) - 1
    log.truncate(index + 1)
    for entry in range(index, size):
        log.append(LogEntry(size, entry))


def compact(log: Log, size: int) -> None:
    for index in range(SNAPSHOT_INTERVAL, size + 1, SNAPSHOT_INTERVAL):
        log.compact(index)


def main() -> None:
    console = Console()
    table = Table("entries", "append", "repair half", f"compact every {SNAPSHOT_INTERVAL}", title="ns per entry")
    for size in track(SIZES, "measuring", console=console, transient=True):
        log = Log()
        appending = nanoseconds(lambda log=log, size=size: [log.append(LogEntry(1, n)) for n in range(size)], size)  # type: ignore[misc]
        log = filled(size)
        repairing = nanoseconds(lambda log=log, size=size: repair(log, size), size // 2)  # type: ignore[misc]
        log = filled(size)
        compacting = nanoseconds(lambda log=log, size=size: compact(log, size), size)  # type: ignore[misc]
        if len(log) != size % SNAPSHOT_INTERVAL:
            raise SystemExit(f"{len(log)} entries are left after compacting all {size}")
        table.add_row(f"{size:,}", f"{appending:,.0f}", f"{repairing:,.0f}", f"{compacting:,.0f}")
    console.print(table)


if __name__ == "__main__":
    main()
