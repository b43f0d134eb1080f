"""A node of a PySyncObj cluster, for `benchmarks.peers`: the same store, and writers inside the process that leads.

PySyncObj has no clients on the network: who uses it is a node. So the writers are callbacks on its own thread, which is
the cheapest that there is: no message lies between them and the leader.

    python -m benchmarks.pysyncobj_node ME OTHER,OTHER,… JOURNAL [--fsync] [--defaults]

Takes lines on its standard input, and says one JSON object for each:

    status                                        {"leads": true}
    put CLIENTS VALUE_BYTES SECONDS WARM_UP       what came of it, or {"leads": false}
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import threading
import time
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

from kvraft.load import Histogram


class Store(SyncObj):  # type: ignore[misc]
    """Keys with versions."""

    def __init__(self, me: str, others: list[str], conf: Any) -> None:
        super().__init__(me, others, conf)
        self.entries: dict[str, tuple[str, int]] = {}

    @replicated  # type: ignore[misc]
    def put(self, key: str, value: str, version: int) -> bool:
        _, found = self.entries.get(key, ("", 0))
        if found != version:
            return False
        self.entries[key] = (value, version + 1)
        return True


class DurableStore(Store):
    """One that has on its disk what it acknowledges: PySyncObj's journal is a file in memory that nothing syncs.

    A follower syncs before it answers, the leader before it counts itself, each once for all that is new.
    """

    def __init__(self, me: str, others: list[str], conf: Any) -> None:
        self.synced = -1
        super().__init__(me, others, conf)

    def sync(self) -> None:
        journal = self._SyncObj__raftLog
        newest = journal[-1][1] if len(journal) else 0
        if newest != self.synced:
            journal.flush()
            self.synced = newest

    def _SyncObj__sendNextNodeIdx(self, *arguments: Any, **options: Any) -> None:
        self.sync()
        super()._SyncObj__sendNextNodeIdx(*arguments, **options)

    def _onTick(self, timeToWait: float = 0.0) -> None:
        self.sync()
        super()._onTick(timeToWait)


class Writers:
    """Closed loops, on the thread that calls back."""

    def __init__(self, store: Store, clients: int, value_bytes: int, seconds: float, warm_up: float) -> None:
        self.store, self.value = store, "v" * value_bytes
        self.begin = time.monotonic() + warm_up
        self.end = self.begin + seconds
        self.times = Histogram()
        self.failed = 0
        self.last = self.begin
        self.left = clients
        self.is_over = threading.Event()
        run = f"{time.time_ns():x}"
        for number in range(clients):
            self.ask(f"{run}-{number}", 0)

    def ask(self, key: str, version: int) -> None:
        done = functools.partial(self.done, key, version, time.monotonic())
        self.store.put(key, self.value, version, callback=done)

    def done(self, key: str, version: int, asked: float, result: Any, error: Any) -> None:
        now = time.monotonic()
        if self.begin <= asked < self.end:
            if result:
                self.times.add(now - asked)
            else:
                self.failed += 1
            self.last = now
        if now < self.end:
            self.ask(key, version + 1 if result else version)
            return
        self.left -= 1
        if not self.left:
            self.is_over.set()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("me")
    parser.add_argument("others")
    parser.add_argument("journal")
    parser.add_argument("--fsync", action="store_true")
    parser.add_argument("--defaults", action="store_true")
    arguments = parser.parse_args()
    better = {} if arguments.defaults else {"appendEntriesUseBatch": False}
    conf = SyncObjConf(journalFile=arguments.journal, **better)
    store = (DurableStore if arguments.fsync else Store)(arguments.me, arguments.others.split(","), conf)
    for line in sys.stdin:
        command, *numbers = line.split()
        answer: dict[str, Any] = {"leads": bool(store._isLeader()) and store.isReady()}
        if command == "put" and answer["leads"]:
            clients, value_bytes = map(int, numbers[:2])
            seconds, warm_up = map(float, numbers[2:])
            writers = Writers(store, clients, value_bytes, seconds, warm_up)
            writers.is_over.wait(seconds + warm_up + 30)
            times = writers.times
            answer.update(
                elapsed=writers.last - writers.begin,
                failed=writers.failed,
                buckets=times.as_pairs(),
                total=times.total,
                largest=times.largest,
            )
        print(json.dumps(answer), flush=True)
    store.destroy()


if __name__ == "__main__":
    main()
