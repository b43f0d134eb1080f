"""A TCP proxy that stands in every link of a cluster, and does to its bytes what a bad network does.

    node 0 --dials--> proxy's port for 0->1 --> node 1
                      bytes towards 1 obey way 0->1, those back obey way 1->0

A way is what one node sends to another, on whichever connection; so a fault can have one direction only. Bytes keep
their order and none is lost within a connection, as TCP has it: what a black hole holds back comes through when it is
gone, unless the connection was given up meanwhile.

`Proxy` is for a running event loop. `python -m kvraft.scenarios.proxy` runs one as a process, told what to do by lines
of JSON on its stdin (`Network` writes them); it ends with its stdin, and if nobody said goodbye it removes the folder
of the run.
"""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import socket
import struct
import sys
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["PLAIN", "Conditions", "Proxy"]

MOST_HELD = 1 << 20
"""Bytes of one direction of a connection that wait here; then its sender has to wait."""

BACKLOG = 64
"""Connections that wait to be accepted. A proxy that was held up had better not find thousands that were given up."""

LATE_SECONDS = 0.1
"""From when on the proxy says that it was held up."""

_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a way is like.

    Attributes:
        delay, jitter: seconds that bytes take; each piece takes `delay` and a part of `jitter`.
        rate: bytes a second; 0: no limit.
        hold: nothing comes through, and nobody is told: a black hole.
        refuse: new connections are reset.
        garbage: what a new connection says begins with bytes that mean nothing.
        half_open: the far end of its connections is gone; the near end is not told.
    """

    delay: float = 0.0
    jitter: float = 0.0
    rate: float = 0.0
    hold: bool = False
    refuse: bool = False
    garbage: bool = False
    half_open: bool = False

    def __post_init__(self) -> None:
        for name in ("delay", "jitter", "rate"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more, not {getattr(self, name)!r}")


PLAIN = Conditions()


class Way:
    """What one end sends to another, on all connections.

    Attributes:
        passed: bytes that came through.
        connections: that its sender has opened.
    """

    def __init__(self, name: tuple[str, str], seed: int) -> None:
        self.conditions = PLAIN
        self.choice = random.Random(f"{seed}/{name[0]}->{name[1]}")
        self.passed = self.connections = 0
        self.ends: set[_End] = set()
        self.opening: set[asyncio.Event] = set()

    @property
    def is_plain(self) -> bool:
        return self.conditions is PLAIN

    def due(self, now: float, free_at: float, size: int) -> float:
        """When bytes that come now are through, if those before them are at `free_at`."""
        conditions = self.conditions
        due = now + conditions.delay + conditions.jitter * self.choice.random()
        if conditions.rate:
            return max(due, free_at) + size / conditions.rate
        return max(due, free_at)


class _End(asyncio.Protocol):
    """One socket of a connection: what it receives goes out of `other`, as the way allows."""

    def __init__(self, way: Way) -> None:
        self.way = way
        self.other: _End | None = None
        self.transport: Any = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._held = 0
        self._free_at = 0.0
        self._has_ended = self._is_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.way.ends.add(self)

    def data_received(self, data: bytes) -> None:
        other = self.other
        if self.way.is_plain and not self._waiting and other is not None and not other.transport.is_closing():
            self.way.passed += len(data)
            other.transport.write(data)
            return
        if self.way.conditions.half_open:
            return
        self._free_at = self.way.due(self._loop.time(), self._free_at, len(data))
        self._waiting.append((self._free_at, data))
        self._held += len(data)
        if self._held > MOST_HELD and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()
        self.flush()

    def flush(self) -> None:
        """Lets through what is due."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        other = self.other
        if self.way.conditions.hold or other is None or other.transport is None:
            return
        if other.transport.is_closing():
            self._waiting.clear()
            self.way.ends.discard(self)
            return
        now = self._loop.time()
        while self._waiting and (self._waiting[0][0] <= now or self.way.is_plain):
            data = self._waiting.popleft()[1]
            self._held -= len(data)
            self.way.passed += len(data)
            other.transport.write(data)
        if self._waiting:
            self._timer = self._loop.call_at(self._waiting[0][0], self.flush)
        elif self._has_ended:
            self.way.ends.discard(self)
            other.transport.close()
        if self._is_paused and self._held < MOST_HELD // 2 and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def pause_writing(self) -> None:
        if self.other is not None and self.other.transport is not None and not self.other._is_paused:
            self.other._is_paused = True
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._has_ended = True
        other = self.other
        if other is None or other.transport is None or other.transport.is_closing():
            self.way.ends.discard(self)
        elif error is not None and not self.way.conditions.hold:
            self.way.ends.discard(self)
            other.reset()
        else:
            self.flush()  # the other end is told once it has got the rest

    def reset(self) -> None:
        """Ends it with a reset; what waits is gone."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()


class Proxy:
    """Proxies for any number of links, on the running event loop.

    Args:
        seed: of what is random: each way has its own row of numbers.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._ways: dict[tuple[str, str], Way] = {}
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self.late: list[tuple[float, float]] = []
        """When it was held up, in time.monotonic() seconds, and for how long: the machine's fault, not the nodes'."""

    async def watch_itself(self) -> None:
        """Notes when it was held up, as long as it runs."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LATE_SECONDS / 2
            await asyncio.sleep(LATE_SECONDS / 2)
            if (late := loop.time() - due) > LATE_SECONDS:
                self.late.append((due, late))

    def way(self, source: str, target: str) -> Way:
        """What `source` sends to `target`."""
        name = source, target
        if name not in self._ways:
            self._ways[name] = Way(name, self._seed)
        return self._ways[name]

    async def listen(self, source: str, target: str, address: str, port: int = 0) -> str:
        """Opens a port through which `source` reaches `target` at `address`, and returns where it is."""
        host, _, target_port = address.rpartition(":")
        forth, back = self.way(source, target), self.way(target, source)

        def make() -> _End:
            return _Accepted(self, forth, back, host, int(target_port))

        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", port, backlog=BACKLOG)
        self._servers.append(server)
        return f"127.0.0.1:{server.sockets[0].getsockname()[1]}"

    def set(self, source: str, target: str, conditions: Conditions) -> None:
        """Changes what the way from `source` to `target` is like, from now on, also for what waits."""
        way = self.way(source, target)
        was_half_open = way.conditions.half_open
        way.conditions = PLAIN if conditions == PLAIN else conditions
        if conditions.half_open and not was_half_open:
            for end in tuple(way.ends):
                if isinstance(end, _Accepted) and end.other is not None:
                    far, end.other = end.other, None
                    far.other = None
                    far.reset()
        elif was_half_open and not conditions.half_open:
            for end in tuple(way.ends):
                if end.other is None:
                    end.reset()
        for end in tuple(way.ends):
            end.flush()
        for event in tuple(way.opening):
            event.set()

    def cut(self, source: str, target: str) -> None:
        """Resets the connections that `source` has opened to `target`."""
        for end in tuple(self.way(source, target).ends):
            if isinstance(end, _Accepted):
                end.reset()
                if end.other is not None:
                    end.other.reset()

    def counts(self) -> dict[str, dict[str, int]]:
        """By way: bytes that came through, connections opened."""
        return {
            f"{source}->{target}": {"bytes": way.passed, "connections": way.connections}
            for (source, target), way in self._ways.items()
        }

    def start(self, work: Any) -> None:
        """Runs a coroutine until it ends or the proxy is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Closes all ports and connections."""
        for server in self._servers:
            server.close()
        for task in tuple(self._tasks):
            task.cancel()
        for way in self._ways.values():
            for end in tuple(way.ends):
                end.reset()
        await asyncio.sleep(0)


class _Accepted(_End):
    """The end towards the one who dials."""

    def __init__(self, proxy: Proxy, forth: Way, back: Way, host: str, port: int) -> None:
        super().__init__(forth)
        self._proxy, self._back, self._host, self._port = proxy, back, host, port

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.way.connections += 1
        if self.way.conditions.refuse:
            self.reset()
        else:
            self._proxy.start(self._connect())

    async def _connect(self) -> None:
        """Opens the other side, as soon as bytes go both ways."""
        await asyncio.sleep(0.001)  # a dialer that has given up meanwhile is heard of first
        opening = asyncio.Event()
        ways = (self.way, self._back)
        for way in ways:
            way.opening.add(opening)
        try:
            while any(way.conditions.hold or way.conditions.half_open for way in ways):
                opening.clear()
                await opening.wait()
        finally:
            for way in ways:
                way.opening.discard(opening)
        if self._has_ended:
            return
        other = _End(self._back)
        try:
            await asyncio.get_running_loop().create_connection(lambda: other, self._host, self._port)
        except OSError:
            self.reset()
            return
        if self._has_ended:
            other.reset()
            return
        if self.way.conditions.garbage:
            other.transport.write(self.way.choice.randbytes(self.way.choice.randrange(50, 500)))
        self.other, other.other = other, self
        self.flush()
        other.flush()


# -------------------------------------------------------------- as a process


async def _obey(folder: str | None) -> None:
    """Does what the lines of stdin say, and answers each with a line."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    proxy = Proxy()
    is_told = False
    while line := await reader.readline():
        command = json.loads(line)
        answer: Any = None
        if "links" in command:
            proxy = Proxy(command["seed"])
            proxy.start(proxy.watch_itself())
            answer = [await proxy.listen(*link) for link in command["links"]]
        elif "counts" in command:
            answer = {"ways": proxy.counts(), "late": proxy.late}
        elif "bye" in command:
            is_told = True
            break
        else:
            for source, target, conditions in command.get("set", ()):
                proxy.set(source, target, Conditions(**conditions))
            for source, target in command.get("cut", ()):
                proxy.cut(source, target)
        print(json.dumps(answer), flush=True)
    await proxy.close()
    if not is_told and folder:
        shutil.rmtree(folder, ignore_errors=True)


def as_json(changes: Iterable[tuple[str, str, Conditions]]) -> list[list[Any]]:
    """Changes of conditions, as the process is told of them."""
    return [[source, target, asdict(conditions)] for source, target, conditions in changes]


if __name__ == "__main__":
    asyncio.run(_obey(sys.argv[1] if len(sys.argv) > 1 else None))
