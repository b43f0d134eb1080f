"""What metrics cost: the same cluster with and without them, by turns of half a second or less, in one run.

    python -m benchmarks.service_metrics                  puts, and gets on the lease: 3 nodes, 50 clients
    python -m benchmarks.service_metrics --pairs 100

Nodes and clients are in this process; between turns the nodes' listeners are put in and taken out. Each turn does the
same number of operations. Of pairs of turns the median is told, of the rates and of the process's CPU; and the ratio of
the CPU of the cheapest tenth of the turns with and without them, which other programs have disturbed least. What a
scrape costs is told apart, for it does not depend on the operations.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from prometheus_client import generate_latest

from benchmarks.service_load import VALUE, free_ports
from kvraft.service import AsyncClient, Node, Server, Settings
from kvraft.service.event_raft import Timing
from kvraft.service.links import Links
from kvraft.service.metrics import NodeMetrics

CALM = Timing(heartbeat=0.2, election=(3.0, 6.0))
"""No election, however busy the machine is."""


async def turn(client: AsyncClient, clients: int, operations: int, kind: str) -> tuple[float, float]:
    """(operations a second, seconds of CPU for one)."""
    share = operations // clients

    async def run(number: int) -> None:
        key = f"key-{number}"
        version = (await client.get(key))[1]
        for _ in range(share):
            if kind == "put":
                await client.put(key, VALUE, version)
                version += 1
            else:
                await client.get(key, reads=kind)

    began, cpu = time.monotonic(), time.process_time()
    await asyncio.gather(*[run(number) for number in range(clients)])
    done = clients * (share + 1)
    return done / (time.monotonic() - began), (time.process_time() - cpu) / done


async def measure(arguments: argparse.Namespace, folder: Path) -> None:
    peers = [f"127.0.0.1:{port}" for port in free_ports(3)]
    running: list[tuple[Node, Server, NodeMetrics]] = []
    for number in range(3):
        settings = Settings(number, peers, folder / str(number), timing=CALM)
        node = Node(settings, Links(settings))
        server = Server(node)
        await server.start()
        await node.start()
        running.append((node, server, NodeMetrics(node, server)))
    async with AsyncClient(peers, timeout=120) as client:
        for kind in ("put", "lease"):
            pairs = []
            for number in range(arguments.pairs + 1):
                turns = {}
                for has_metrics in (number % 2 == 0, number % 2 == 1):
                    for node, _, metrics in running if has_metrics else ():
                        node.listeners.append(metrics)
                    turns[has_metrics] = await turn(client, arguments.clients, arguments.operations, kind)
                    for node, _, metrics in running if has_metrics else ():
                        node.listeners.remove(metrics)
                if number:  # the first is to warm up
                    pairs.append((turns[True], turns[False]))
            rate = statistics.median(with_them[0] / without[0] for with_them, without in pairs)
            median = statistics.median(with_them[1] / without[1] for with_them, without in pairs)
            cheap = [statistics.quantiles([pair[each][1] * 1e6 for pair in pairs], n=10)[0] for each in (0, 1)]
            print(
                f"{kind:5}  rate {rate:.3f} of that without; CPU {median:.3f} times that without, in the cheapest "
                f"tenth {cheap[0] / cheap[1]:.3f} times: {cheap[0]:.1f} to {cheap[1]:.1f} us an operation, clients "
                f"included; {len(pairs)} pairs   load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
        costs = []
        for _ in range(20):
            cpu = time.process_time()
            size = len(generate_latest(running[0][2].registry))
            costs.append(time.process_time() - cpu)
        print(f"scrape {statistics.median(costs) * 1e3:.1f} ms of CPU, {size / 1e3:.0f} kB")
    for node, server, _ in running:
        await server.stop(0)
        await node.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--operations", type=int, default=1000, help="of a turn")
    parser.add_argument("--pairs", type=int, default=40, help="of turns, of each kind")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="kvraft-bench-"))
    try:
        asyncio.run(measure(arguments, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
