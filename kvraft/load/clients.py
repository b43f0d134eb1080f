"""The clients of a load, those of one process, on one event loop.

schedule (open loop) ──due──> client ──AsyncClient──> the cluster
nobody (closed loop)            │
                                └──> tally: counts, times, records
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from kvraft.load.frames import KindPart, SecondPart
from kvraft.load.histogram import Histogram
from kvraft.load.load import Load
from kvraft.load.result import ANSWERS
from kvraft.rpc import Err
from kvraft.service.client import AsyncClient, Refused, Unavailable

__all__ = ["LoadClients"]

SETUP_SECONDS = 15.0
"""For one operation that makes a key."""

SETUP_AT_ONCE = 256

REFUSED_SECONDS = 0.01
"""Pause of a client that was refused: asking again at once would be refused as well."""

_MAYBE = Err.MAYBE.value


class Tally:
    """What has come of the operations of one process.

    Args:
        start: time.monotonic() from which on what is asked counts.
        is_recorded: whether single operations are kept.
    """

    def __init__(self, start: float, is_recorded: bool) -> None:
        self.start, self.is_recorded = start, is_recorded
        self.outcomes: dict[str, dict[str, int]] = {}
        self.times: dict[str, Histogram] = {}
        self.last_return = start
        self.records: list[Any] = []
        self._done = self._errors = 0
        self._second = Histogram()

    def note(self, kind: str, outcome: str, due: float, returned: float) -> None:
        """An operation that was due at `due` has ended."""
        if outcome in ANSWERS:
            self._done += 1
        else:
            self._errors += 1
        took = returned - due
        self._second.add(took)
        if due < self.start:
            return
        if kind not in self.times:
            self.outcomes[kind], self.times[kind] = {}, Histogram()
        outcomes = self.outcomes[kind]
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        self.times[kind].add(took)
        self.last_return = returned

    def take_second(self, number: int, late: int) -> SecondPart:
        """What has come since the last call, as second `number`."""
        times, self._second = self._second, Histogram()
        records, self.records = self.records, []
        part = SecondPart(number, self._done, self._errors, late, times.as_pairs(), times.total, times.largest, records)
        self._done = self._errors = 0
        return part

    def kinds(self) -> dict[str, KindPart]:
        """All that counts."""
        return {
            kind: KindPart(self.outcomes[kind], times.as_pairs(), times.total, times.largest)
            for kind, times in self.times.items()
        }


class Schedule:
    """The instants of an open loop, at even intervals, and who is free for them."""

    def __init__(self, interval: float, first: float, end: float) -> None:
        self.backlog: deque[float] = deque()
        """Instants that have passed and for which nobody was free."""
        self._free: deque[asyncio.Future[float | None]] = deque()
        self._interval, self._first, self._end = interval, first, end
        self._is_over = False

    async def take(self) -> float | None:
        """The next instant, once it has come; None: there are no more."""
        if self.backlog:
            return self.backlog.popleft()
        if self._is_over:
            return None
        turn: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._free.append(turn)
        return await turn

    async def run(self) -> None:
        """Lets the instants come, until the end."""
        number = 0
        while (due := self._first + number * self._interval) < self._end and not self._is_over:
            while due <= time.monotonic() and due < self._end:
                if self._free:
                    self._free.popleft().set_result(due)
                else:
                    self.backlog.append(due)
                number += 1
                due = self._first + number * self._interval
            await asyncio.sleep(max(min(due, self._end) - time.monotonic(), 0))
        self.end()

    def end(self) -> None:
        """There are no more."""
        self._is_over = True
        while self._free:
            self._free.popleft().set_result(None)


class LoadClients:
    """Those of process `process`: its share of the connections, and the clients that ask over them."""

    def __init__(
        self, load: Load, addresses: Sequence[str], options: dict[str, Any], process: int, is_recorded: bool
    ) -> None:
        self.load, self._is_recorded = load, is_recorded
        mine = range(process, load.connection_count, load.processes)
        connections = {number: AsyncClient(addresses, timeout=load.timeout, **options) for number in mine}
        self._connections = list(connections.values())
        self._clients = [
            _Client(self, number, connections[number % load.connection_count])
            for number in range(load.clients)
            if number % load.connection_count in connections
        ]
        self._process = process
        # Numbers for clients that go on after an outcome that nobody knows.
        self._fresh: Iterator[int] = itertools.count(load.clients + process, load.processes)
        self.key_names = [f"{load.prefix}-{load.seed}-{number}" for number in range(load.key_count)]
        self.tally = Tally(0.0, is_recorded)
        self.schedule: Schedule | None = None
        self._end = 0.0
        self._is_stopped = False
        self._tasks: list[asyncio.Task[None]] = []

    async def set_up(self) -> None:
        """Sees that all keys of these clients exist.

        Raises:
            Unavailable, Refused: it cannot be done.
        """
        limit = asyncio.Semaphore(SETUP_AT_ONCE)
        await asyncio.gather(*[client.set_up(limit) for client in self._clients])

    async def run(self, at: float) -> None:
        """Asks, from time.monotonic() `at` on, until all has its answer or its time is over."""
        load = self.load
        start = at + load.warm_up
        self._end = start + load.seconds
        records = self.tally.records
        self.tally = Tally(start, self._is_recorded)
        self.tally.records = records
        await asyncio.sleep(max(at - time.monotonic(), 0))
        others: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        if load.rate is not None:
            share = len(self._clients) / load.clients
            interval = 1 / (load.rate * share)
            self.schedule = Schedule(interval, at + interval * self._process / load.processes, self._end)
            others.append(loop.create_task(self.schedule.run()))
        self._tasks = [loop.create_task(client.run(self.schedule)) for client in self._clients]
        await asyncio.wait(self._tasks)
        for task in others:
            task.cancel()
        for task in self._tasks:
            task.result()

    def asks_on(self) -> bool:
        """Whether clients go on."""
        if self._is_stopped:
            return False
        now = time.monotonic()
        return now < self._end or (self.schedule is not None and now < self._end + self.load.timeout)

    @property
    def late(self) -> int:
        """Operations that are due and have not begun."""
        return 0 if self.schedule is None else len(self.schedule.backlog)

    def next_number(self) -> int:
        """For a client that goes on under another number."""
        return next(self._fresh)

    async def stop(self, grace: float = 0.5) -> None:
        """Has clients ask no more, and gives up what is not answered within `grace` seconds."""
        self._is_stopped = True
        if self.schedule is not None:
            self.schedule.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        await self.close()

    async def close(self) -> None:
        """Ends the connections."""
        await asyncio.gather(*[connection.close() for connection in self._connections])


class _Client:
    """One client: a closed loop, or one of those who take what is due."""

    def __init__(self, clients: LoadClients, number: int, connection: AsyncClient) -> None:
        load = clients.load
        self.clients, self.connection = clients, connection
        self.first_number = self.number = number
        self.random = random.Random(f"{load.seed}/{number}")
        self.own = range(number, load.key_count, load.clients)
        # The version of each key that it may write, as far as it knows.
        self.versions: dict[int, int | None] = {}
        self._puts = 0
        self._filling = "v" * load.value_bytes

    async def set_up(self, limit: asyncio.Semaphore) -> None:
        for key in self.own:
            async with limit:
                name = self.clients.key_names[key]
                while True:
                    value, called_at = self._value(), time.monotonic()
                    err = await self.connection.put(name, value, 0, timeout=SETUP_SECONDS)
                    self._record("put", name, (value, 0), err.value, called_at, time.monotonic())
                    if err is Err.OK:
                        self.versions[key] = 1
                        break
                    called_at = time.monotonic()
                    value, version, err = await self.connection.get(name, timeout=SETUP_SECONDS)
                    self._record("get", name, (), (value, version, err.value), called_at, time.monotonic())
                    if err is Err.OK:
                        self.versions[key] = version
                        break

    async def run(self, schedule: Schedule | None) -> None:
        while self.clients.asks_on():
            due = time.monotonic() if schedule is None else await schedule.take()
            if due is None:
                return
            await self._one(due)

    async def _one(self, due: float) -> None:
        """One operation that is due since `due`."""
        load = self.clients.load
        key, version = self._choose(load)
        name = self.clients.key_names[key]
        if version is None:
            await self._get(key, name, load, due)
        else:
            await self._put(key, name, version, due)

    def _choose(self, load: Load) -> tuple[int, int | None]:
        """A key, and the version with which to write it; None: to read it."""
        if load.read_share and (load.read_share == 1 or self.random.random() < load.read_share):
            return int(self.random.random() * load.key_count), None
        if load.contended:
            key = int(self.random.random() * load.key_count)
        else:
            key = self.own[int(self.random.random() * len(self.own))]
        return key, self.versions.get(key)

    async def _get(self, key: int, name: str, load: Load, due: float) -> None:
        called_at = time.monotonic()
        result: Any
        try:
            value, version, err = await self.connection.get(name, reads=load.reads)
        except (Unavailable, Refused) as error:
            await self._failed("get", name, (), error, due, called_at)
            return
        returned_at = time.monotonic()
        if load.contended or key in self.own:
            self.versions[key] = version
        result = (value, version, err.value)
        self._record("get", name, (), result, called_at, returned_at)
        self.clients.tally.note("get", err.value, due, returned_at)

    async def _put(self, key: int, name: str, version: int, due: float) -> None:
        value, called_at = self._value(), time.monotonic()
        try:
            outcome = (await self.connection.put(name, value, version)).value
        except (Unavailable, Refused) as error:
            self.versions[key] = None
            await self._failed("put", name, (value, version), error, due, called_at)
            return
        returned_at = time.monotonic()
        self.versions[key] = version + 1 if outcome == "OK" else None
        self._record("put", name, (value, version), outcome, called_at, returned_at)
        self.clients.tally.note("put", outcome, due, returned_at)

    async def _failed(
        self, kind: str, name: str, arguments: tuple[Any, ...], error: Exception, due: float, called_at: float
    ) -> None:
        returned_at = time.monotonic()
        is_refused = isinstance(error, Refused)
        outcome = "REFUSED" if is_refused else "UNAVAILABLE"
        result = ("", 0, outcome) if kind == "get" else outcome
        self._record(kind, name, arguments, result, called_at, returned_at if is_refused else None)
        self.clients.tally.note(kind, outcome, due, returned_at)
        if is_refused:
            await asyncio.sleep(REFUSED_SECONDS)
        else:
            self.number = self.clients.next_number()

    def _record(
        self,
        kind: str,
        key: str,
        arguments: tuple[Any, ...],
        result: Any,
        called_at: float,
        returned_at: float | None,
    ) -> None:
        tally = self.clients.tally
        if tally.is_recorded:
            tally.records.append((self.number, kind, key, arguments, result, called_at, returned_at))

    def _value(self) -> str:
        """A value that no other put has, if its bytes allow."""
        self._puts += 1
        name = f"{self.first_number}.{self._puts}."
        size = len(self._filling)
        return (name + self._filling[len(name) :])[-size:] if len(name) <= size else name[-size:]
