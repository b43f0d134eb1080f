"""What metrics cost: the rate of a cluster with them, against one without, by turns in one run.

    python -m benchmarks.service_metrics                  puts, and gets on the lease: 3 nodes, 50 clients
    python -m benchmarks.service_metrics --rounds 12

Both clusters are there all the time, and one of them has the clients: what else the machine does hits both alike. The
CPU that nodes spend on an operation is told too: it depends less on who else is running.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import threading
import time
import urllib.request
from dataclasses import dataclass

from benchmarks.service_load import Cluster, cpu_of, free_ports, shared_client, wait_for_leader


class MeasuredCluster(Cluster):
    """A cluster with metrics, or without."""

    def __init__(self, nodes: int, *, has_metrics: bool, interval: float) -> None:
        self.ports = free_ports(nodes) if has_metrics else []
        self.interval = interval
        super().__init__(nodes)

    def start(self, node: int) -> None:
        options = self.options
        if self.ports:
            self.options = (*options, "--metrics-port", str(self.ports[node]))
        super().start(node)
        self.options = options

    def scrape_until(self, over: threading.Event) -> None:
        """As Prometheus does."""
        while not over.wait(self.interval):
            for port in self.ports:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read()


@dataclass
class Turn:
    """Operations a second, and microseconds of the nodes' CPU for one."""

    rate: float
    cpu: float


def turn(cluster: MeasuredCluster, clients: int, seconds: float, kind: str) -> Turn:
    """One cluster's turn."""
    over = threading.Event()
    scraper = threading.Thread(target=cluster.scrape_until, args=(over,))
    scraper.start()
    before, began = sum(cluster.cpu_seconds()), time.monotonic()
    taken = shared_client(cluster.peers, clients, seconds, kind)
    elapsed, cpu = time.monotonic() - began, sum(cpu_of(each.pid) for each in cluster.processes) - before
    over.set()
    scraper.join()
    return Turn(len(taken) / elapsed, cpu / len(taken) * 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--number", type=int, default=50, help="of clients")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a turn")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between scrapes; Prometheus often has 15")
    arguments = parser.parse_args()
    plain = MeasuredCluster(arguments.nodes, has_metrics=False, interval=arguments.interval)
    watched = MeasuredCluster(arguments.nodes, has_metrics=True, interval=arguments.interval)
    runner = asyncio.Runner()  # not closed before the end: gRPC's poller complains of loops that are
    try:
        for cluster in (plain, watched):
            runner.run(wait_for_leader(cluster.peers))
        for kind in ("put", "lease"):
            pairs = []
            for number in range(arguments.rounds):
                order = (plain, watched) if number % 2 else (watched, plain)
                turns = {each: turn(each, arguments.number, arguments.seconds, kind) for each in order}
                pairs.append((turns[plain], turns[watched]))
            rates = [with_metrics.rate / without.rate for without, with_metrics in pairs]
            costs = [with_metrics.cpu / without.cpu for without, with_metrics in pairs]
            print(
                f"{kind:5}  with metrics {statistics.median(rates):.3f} of the rate without (each round: "
                f"{' '.join(f'{each:.2f}' for each in rates)}); nodes' CPU an operation "
                f"{statistics.median(costs):.3f} times ({' '.join(f'{each:.2f}' for each in costs)}), without "
                f"{statistics.median(each.cpu for each, _ in pairs):.0f} us; "
                f"{statistics.median(each.rate for each, _ in pairs):,.0f} op/s   load {os.getloadavg()[0]:.1f}",
                flush=True,
            )
    finally:
        runner.close()
        plain.close()
        watched.close()


if __name__ == "__main__":
    main()
