"""Clusters for the service's tests: nodes in this process, on one event loop with the clients, or as processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import faulthandler
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from kvraft.service import Client, Listener, Node, Server, Settings
from kvraft.service.client import _background_loop
from kvraft.service.cluster import free_ports
from kvraft.service.event_raft import Timing
from kvraft.service.links import Links
from labrpc.files import Files, RealFiles

ROOT = Path(__file__).parents[3]
PATIENT = Timing(heartbeat=0.05, election=(0.4, 0.8))
"""The tests' machine may be busy."""


def _tell_what_hangs() -> None:
    """On stderr: where each thread stands, and what each task of the loop waits for."""
    faulthandler.dump_traceback(file=sys.__stderr__)
    for task in asyncio.all_tasks(_background_loop().loop):
        task.print_stack(file=sys.stderr)


def on_loop(work: Any) -> Any:
    """Runs a coroutine on the loop that nodes and clients share, and returns its result."""
    future = asyncio.run_coroutine_threadsafe(work, _background_loop().loop)
    try:
        return future.result(30)
    except concurrent.futures.TimeoutError:
        _tell_what_hangs()
        raise


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """What `condition` returns, once that is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.01)
    return found


class LocalCluster:
    """Nodes in this process."""

    def __init__(
        self, folder: Path, nodes: int = 3, *, places: Mapping[int, Path] | None = None, **options: Any
    ) -> None:
        self.folder = folder
        self.places = dict(places or {})
        self.peers = [f"127.0.0.1:{port}" for port in free_ports(nodes)]
        self.options = {"timing": PATIENT, **options}
        self.running: dict[int, tuple[Node, Server]] = {}
        for number in range(nodes):
            self.start(number)

    def settings(self, number: int, **options: Any) -> Settings:
        data = self.places.get(number, self.folder / str(number))
        return Settings(**{"id": number, "peers": self.peers, "data": data, **self.options, **options})

    def start(
        self,
        number: int,
        *,
        listeners: Sequence[Listener] = (),
        files: Callable[[Path], Files] = RealFiles,
        **options: Any,
    ) -> None:
        async def start() -> None:
            settings = self.settings(number, **options)
            node = Node(settings, Links(settings), listeners, files=files)
            server = Server(node)
            await server.start()
            self.running[number] = node, server
            try:
                await node.start()
            except BaseException:
                del self.running[number]
                await server.stop(0)
                raise

        on_loop(start())

    def stop(self, number: int, *, graceful: bool = True) -> None:
        node, server = self.running.pop(number)

        async def stop() -> None:
            if not graceful:
                node.raft.kill()
                node.is_stopping = True
                await server.stop(0)
            await node.stop()
            await server.stop(0.5)

        on_loop(stop())

    def node(self, number: int) -> Node:
        return self.running[number][0]

    def leader(self) -> int:
        def look() -> list[int]:
            return [number for number, (node, _) in self.running.items() if node.raft.get_state()[1]]

        return int(eventually(lambda: [each + 1 for each in look()][-1:])[0]) - 1

    def followers(self) -> list[int]:
        leader = self.leader()
        return [number for number in self.running if number != leader]

    def client(self, **options: Any) -> Client:
        return Client(self.peers, **options)

    def close(self) -> None:
        for number in tuple(self.running):
            self.stop(number, graceful=False)


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Callable[..., LocalCluster]]:
    """Makes a `LocalCluster`."""
    clusters = []

    def make(nodes: int = 3, **options: Any) -> LocalCluster:
        clusters.append(LocalCluster(tmp_path / f"cluster-{len(clusters)}", nodes, **options))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


class Processes:
    """Nodes as `kvraft serve` runs them."""

    def __init__(self, folder: Path, nodes: int, *options: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.peers = [f"127.0.0.1:{port}" for port in free_ports(nodes)]
        self.options = options
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        for number in range(nodes):
            self.start(number)

    def start(self, number: int, *options: str, data: Path | None = None) -> None:
        command = [sys.executable, "-m", "kvraft", "serve", "--id", str(number), "--peers", ",".join(self.peers)]
        command += ["--data", str(data or self.folder / str(number)), "--election", "0.4-0.8", *self.options, *options]
        with open(self.folder / f"{number}.log", "ab") as output:
            self.processes[number] = subprocess.Popen(command, stdout=output, stderr=output, env=environment())

    def log(self, number: int) -> str:
        return (self.folder / f"{number}.log").read_text()

    def leader(self, client: Client) -> int:
        def look() -> list[int]:
            found = []
            for number, process in self.processes.items():
                if process.poll() is None:
                    try:
                        if client.status(self.peers[number]).role == "leader":
                            found.append(number + 1)
                    except TimeoutError:
                        pass
            return found

        return int(eventually(look, 20)[-1]) - 1

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
        for process in self.processes.values():
            process.wait()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Callable[..., Processes]]:
    """Makes a cluster of processes."""
    clusters = []

    def make(nodes: int = 3, *options: str) -> Processes:
        clusters.append(Processes(tmp_path / f"processes-{len(clusters)}", nodes, *options))
        return clusters[-1]

    yield make
    for cluster in clusters:
        cluster.close()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}


def kvraft(*arguments: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Runs the `kvraft` command."""
    command = [sys.executable, "-m", "kvraft", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(), cwd=ROOT, check=False
    )
