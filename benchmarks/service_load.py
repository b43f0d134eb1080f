"""How many operations a second the service does, and how long each takes, on a cluster of processes with disks.

    python -m benchmarks.service_load                        writes, gets in each mode, failover: 5 nodes, 50 clients
    python -m benchmarks.service_load --clients shared       50 threads that share one Client
    python -m benchmarks.service_load --only failover        how long nobody is answered after the leader is killed
    python -m benchmarks.service_load --only restart         a node that finds a log of 100 MB

Clients are closed loops: each waits for its answer before it asks again. `own`: each has its own connection
(AsyncClient, all in one process). `shared`: threads with one Client. The load average stands beside each figure.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from kvraft.rpc import Err
from kvraft.service import AsyncClient, Client, Unavailable

VALUE = "v" * 100


class Cluster:
    """Nodes as processes, on free ports, with data in a temporary directory."""

    def __init__(self, nodes: int, *options: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kvraft-bench-"))
        self.peers = [f"127.0.0.1:{port}" for port in free_ports(nodes)]
        self.options = options
        self.processes: list[Any] = [None] * nodes
        for node in range(nodes):
            self.start(node)

    def start(self, node: int) -> None:
        command = [sys.executable, "-m", "kvraft", "serve", "--id", str(node), "--peers", ",".join(self.peers)]
        command += ["--data", str(self.folder / str(node)), *self.options]
        with open(self.folder / f"{node}.log", "ab") as output:
            self.processes[node] = subprocess.Popen(command, stderr=output, stdout=output)

    def kill(self, node: int) -> None:
        self.processes[node].kill()
        self.processes[node].wait()

    def close(self) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(15)
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu_seconds(self) -> list[float]:
        return [cpu_of(process.pid) for process in self.processes]

    def memory_mb(self) -> list[float]:
        return [memory_of(process.pid) for process in self.processes]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def cpu_of(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_of(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


async def wait_for_leader(peers: list[str]) -> None:
    async with AsyncClient(peers, timeout=60) as client:
        await client.get("ready")


async def own_connections(peers: list[str], clients: int, seconds: float, kind: str) -> list[float]:
    """The seconds that each operation took."""
    taken: list[float] = []
    end = time.monotonic() + seconds

    async def run(number: int) -> None:
        key, version = f"{kind}-{number}-{random.getrandbits(32)}", 0
        async with AsyncClient(peers) as client:
            await client.put(key, VALUE, 0)
            version = 1
            while (began := time.monotonic()) < end:
                if kind == "put":
                    err = await client.put(key, VALUE, version)
                    if err is Err.OK:
                        version += 1
                    else:
                        _, version, _ = await client.get(key)
                else:
                    _, found, _ = await client.get(key, reads=kind)
                    assert found == version
                taken.append(time.monotonic() - began)

    await asyncio.gather(*[run(number) for number in range(clients)])
    return taken


def shared_client(peers: list[str], clients: int, seconds: float, kind: str) -> list[float]:
    """As `own_connections`, by threads that share a client."""
    taken: list[float] = []
    end = time.monotonic() + seconds
    with Client(peers) as client:

        def run(number: int) -> None:
            key = f"{kind}-{number}-{random.getrandbits(32)}"
            client.put(key, VALUE, 0)
            version = 1
            while (began := time.monotonic()) < end:
                if kind == "put":
                    if client.put(key, VALUE, version) is Err.OK:
                        version += 1
                    else:
                        _, version, _ = client.get(key)
                else:
                    _, found, _ = client.get(key, reads=kind)
                    assert found == version
                taken.append(time.monotonic() - began)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return taken


def throughput(cluster: Cluster, arguments: argparse.Namespace, kind: str, run: Any) -> float:
    before, own_before, began = cluster.cpu_seconds(), time.process_time(), time.monotonic()
    if arguments.clients == "own":
        taken = run(own_connections(cluster.peers, arguments.number, arguments.seconds, kind))
    else:
        taken = shared_client(cluster.peers, arguments.number, arguments.seconds, kind)
    elapsed = time.monotonic() - began
    nodes = sorted((after - start for after, start in zip(cluster.cpu_seconds(), before, strict=True)), reverse=True)
    clients = time.process_time() - own_before
    taken.sort()
    rate = len(taken) / elapsed
    cost = (clients + sum(nodes)) / len(taken)
    print(
        f"{kind:5}  {rate:7,.0f} op/s  p50 {taken[len(taken) // 2] * 1e3:6.1f} ms  "
        f"p99 {taken[int(len(taken) * 0.99)] * 1e3:6.1f} ms  max {taken[-1] * 1e3:6.0f} ms   cores: clients "
        f"{clients / elapsed:.2f}, nodes {' '.join(f'{each / elapsed:.2f}' for each in nodes)}; {cost * 1e6:.0f} us an "
        f"operation   MB {max(cluster.memory_mb()):.0f}   load {os.getloadavg()[0]:.1f}",
        flush=True,
    )
    return rate


async def failover(cluster: Cluster, rounds: int) -> None:
    """Kills the leader again and again, while a client writes: the longest time between two answers, each time."""
    gaps = []
    async with AsyncClient(cluster.peers) as client:
        for number in range(rounds):
            leader = await leader_of(cluster.peers)
            key, version = f"failover-{number}-{random.getrandbits(32)}", 0
            await client.put(key, VALUE, 0)
            version, killed, longest = 1, False, 0.0
            last = begin = time.monotonic()
            while last < begin + 1.6:
                if not killed and last > begin + 0.3:
                    cluster.processes[leader].kill()
                    killed = True
                try:
                    if await client.put(key, VALUE, version) is Err.OK:
                        version += 1
                    else:
                        _, version, _ = await client.get(key)
                except Unavailable as error:
                    print(error)
                now = time.monotonic()
                if killed:
                    longest = max(longest, now - last)
                last = now
            gaps.append(longest)
            cluster.processes[leader].wait()
            cluster.start(leader)
            await asyncio.sleep(1.5)
    print(
        f"failover  median {statistics.median(gaps) * 1e3:.0f} ms  worst {max(gaps) * 1e3:.0f} ms of {rounds}   "
        f"load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


async def leader_of(peers: list[str]) -> int:
    async with AsyncClient(peers) as client:
        while True:
            for node in peers:
                try:
                    status = await client.status(node)
                except Unavailable:
                    continue
                if status.role == "leader":
                    return int(status.id)
            await asyncio.sleep(0.05)


async def restart(cluster: Cluster, megabytes: int) -> None:
    """Fills the log, kills a follower, and measures until it has applied all again."""
    value = "x" * 1000
    async with AsyncClient(cluster.peers, timeout=60) as client:

        async def fill(number: int) -> None:
            for version in range(megabytes):
                await client.put(f"fill-{number}", value, version)

        for start in range(0, 1000, 250):
            await asyncio.gather(*[fill(number) for number in range(start, start + 250)])
        victim = (await leader_of(cluster.peers) + 1) % len(cluster.peers)
        node = cluster.peers[victim]
        goal = (await client.status(node)).applied_index
        cluster.kill(victim)
        size = (cluster.folder / str(victim) / "raft" / "log").stat().st_size
        began = time.monotonic()
        cluster.start(victim)
        answered = 0.0
        while True:
            try:
                status = await client.status(node)
                answered = answered or time.monotonic() - began
                if status.applied_index >= goal:
                    break
            except Unavailable:
                pass
            await asyncio.sleep(0.02)
    print(
        f"restart   with a log of {size / 1e6:.0f} MB: answers after {answered:.1f} s, has applied all after "
        f"{time.monotonic() - began:.1f} s   load {os.getloadavg()[0]:.1f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--number", type=int, default=50, help="of clients")
    parser.add_argument("--clients", choices=("own", "shared"), default="own")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", choices=("put", "log", "index", "lease", "failover", "restart"))
    parser.add_argument("--node-option", action="append", default=[], help="for kvraft serve, as --batches=1")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--megabytes", type=int, default=100)
    arguments = parser.parse_args()
    options = ("--snapshot-bytes", str(1 << 30)) if arguments.only == "restart" else ()
    cluster = Cluster(arguments.nodes, *options, *arguments.node_option)
    runner = asyncio.Runner()  # one loop for all: gRPC's poller complains of loops that are closed
    try:
        runner.run(wait_for_leader(cluster.peers))
        for kind in ("put", "log", "index", "lease"):
            if arguments.only in (None, kind):
                throughput(cluster, arguments, kind, runner.run)
        if arguments.only in (None, "failover"):
            runner.run(failover(cluster, arguments.rounds))
        if arguments.only == "restart":
            runner.run(restart(cluster, arguments.megabytes))
    finally:
        runner.close()
        cluster.close()


if __name__ == "__main__":
    main()
