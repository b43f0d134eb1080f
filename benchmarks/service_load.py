"""How long the service is silent when its leader is killed, how long a node takes to restart; and all figures at once.

    python -m benchmarks.service_load                        writes, gets in each mode, failover: 5 nodes, 50 clients
    python -m benchmarks.service_load --connections 1        50 clients over one connection
    python -m benchmarks.service_load --only reads           gets in each mode, in turns, and the ratios
    python -m benchmarks.service_load --only failover        how long nobody is answered after the leader is killed
    python -m benchmarks.service_load --only restart         a node that finds a log of 100 MB

One kind of load at a time, with a table and more to choose from: `kvraft bench`. The load is from the same generator
(`kvraft.load`): closed loops, in a process of their own. The load average stands beside each figure.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from kvraft.bench.machine import cpu_seconds, memory_bytes
from kvraft.load import Histogram, Load, Recorded, run
from kvraft.service import AsyncClient, Unavailable
from kvraft.service.cluster import free_ports

MODES = ("log", "index", "lease")


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
        return [cpu_seconds(process.pid) or 0.0 for process in self.processes]

    def memory_mb(self) -> float:
        return max(memory_bytes(process.pid) or 0 for process in self.processes) / 1e6


def measure(cluster: Cluster, load: Load, kind: str, totals: dict[str, list[float]]) -> None:
    """One slice of one kind: a line, and its share of `totals`: answers, seconds."""
    before = cluster.cpu_seconds()
    result = run(load, cluster.peers)
    nodes = [late - early for late, early in zip(cluster.cpu_seconds(), before, strict=True)]
    times, elapsed = result.times, result.elapsed
    share = load.seconds / (load.seconds + load.warm_up)  # nodes' CPU is of the warm-up, too
    cost = (result.client_cpu + sum(nodes)) * share / max(result.answered, 1)
    totals.setdefault(kind, [0.0, 0.0])
    totals[kind][0] += result.answered
    totals[kind][1] += elapsed
    cores = " ".join(f"{each / (load.seconds + load.warm_up):.2f}" for each in sorted(nodes, reverse=True))
    print(
        f"{kind:5}  {result.throughput:7,.0f} op/s  {_figures(times)}   "
        f"cores: clients {result.client_cpu / elapsed:.2f}, nodes {cores}; {cost * 1e6:.0f} us an operation   "
        f"MB {cluster.memory_mb():.0f}   load {os.getloadavg()[0]:.1f}"
        + (f"   {result.errors} errors" if result.errors else ""),
        flush=True,
    )


def _figures(times: Histogram) -> str:
    p50, p99 = times.percentile(50) * 1e3, times.percentile(99) * 1e3
    return f"p50 {p50:6.1f} ms  p99 {p99:6.1f} ms  max {times.largest * 1e3:6.0f} ms"


def throughput(cluster: Cluster, arguments: argparse.Namespace) -> None:
    """Each kind in turns, `--rounds` times, and how they compare."""
    load = Load(
        clients=arguments.number,
        connections=arguments.connections,
        processes=arguments.processes,
        seconds=arguments.seconds,
        warm_up=1.0,
    )
    kinds = [
        kind
        for kind in ("put", *MODES)
        if arguments.only in (None, kind) or (arguments.only == "reads" and kind != "put")
    ]
    totals: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for kind in kinds:
            reads: dict[str, Any] = {} if kind == "put" else {"read_share": 1.0, "reads": kind}
            measure(cluster, replace(load, **reads), kind, totals)
    if "log" in totals:
        rates = {kind: answered / seconds for kind, (answered, seconds) in totals.items()}
        for kind in totals:
            if kind in ("index", "lease"):
                print(f"gets by {kind}: {rates[kind] / rates['log']:.2f} times the rate of gets through the log")


def failover(cluster: Cluster, rounds: int) -> None:
    """Kills the leader again and again, while a client writes: the longest time between two answers, each time."""
    gaps = []
    for number in range(rounds):
        records: list[Recorded] = []
        load = Load(clients=1, seconds=2.0, warm_up=0.0, prefix=f"failover-{number}")
        leader = asyncio.run(leader_of(cluster.peers))
        killer = threading.Timer(1.0, cluster.kill, [leader])
        killer.start()
        run(load, cluster.peers, record=records.append)
        killer.join()
        answers = [each.returned_at for each in records if each.returned_at is not None]
        gaps.append(max(late - early for early, late in itertools.pairwise(answers)))
        cluster.start(leader)
        time.sleep(1.5)
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
    parser.add_argument("--connections", type=int, help="of all clients; one each if nothing is said")
    parser.add_argument("--processes", type=int, default=1, help="over which clients are spread")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--only", choices=("put", *MODES, "reads", "failover", "restart"))
    parser.add_argument("--node-option", action="append", default=[], help="for kvraft serve, as --batches=1")
    parser.add_argument("--rounds", type=int, default=2, help="of all kinds, in turns")
    parser.add_argument("--kills", type=int, default=9, help="of leaders")
    parser.add_argument("--megabytes", type=int, default=100)
    arguments = parser.parse_args()
    options = ("--snapshot-bytes", str(1 << 30)) if arguments.only == "restart" else ()
    cluster = Cluster(arguments.nodes, *options, *arguments.node_option)
    try:
        if arguments.only not in ("failover", "restart"):
            throughput(cluster, arguments)
        if arguments.only in (None, "failover"):
            failover(cluster, arguments.kills)
        if arguments.only == "restart":
            asyncio.run(restart(cluster, arguments.megabytes))
    finally:
        cluster.close()


if __name__ == "__main__":
    main()
