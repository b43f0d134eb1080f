"""Traffic for the dashboards: clients that get and put, now and then at odds, and show their metrics.

python deploy/monitoring/traffic.py --nodes $KVRAFT_NODES
"""

from __future__ import annotations

import argparse
import os
import random
import threading
import time

from prometheus_client import CollectorRegistry

from kvraft.rpc import Err
from kvraft.service import Client, Refused, Unavailable
from kvraft.service.client_metrics import ClientMetrics
from kvraft.service.metrics_endpoint import MetricsEndpoint


def work(client: Client, number: int, rate: float, end: float) -> None:
    """Gets and puts `rate` times a second until `end`."""
    choice = random.Random(number)
    versions: dict[str, int] = {}
    while time.monotonic() < end:
        is_shared = choice.random() < 0.05
        key = f"shared-{choice.randrange(10)}" if is_shared else f"traffic-{number}-{choice.randrange(20)}"
        try:
            is_put, version = choice.random() < 0.6, versions.get(key, 0)
            if is_put and client.put(key, "v" * choice.randrange(200), version) is Err.OK:
                versions[key] = version + 1
            else:
                versions[key] = client.get(key)[1]
        except (Unavailable, Refused) as error:
            print(error, flush=True)
        time.sleep(choice.expovariate(rate))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--nodes", default=os.environ.get("KVRAFT_NODES"), help="host:port,host:port,…; or KVRAFT_NODES"
    )
    parser.add_argument("--metrics-port", type=int, default=9199)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--rate", type=float, default=20.0, help="operations a second of each, at most")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    arguments = parser.parse_args()
    if not arguments.nodes:
        parser.error("name the nodes: --nodes, or KVRAFT_NODES")
    registry = CollectorRegistry()
    endpoint = MetricsEndpoint(registry, port=arguments.metrics_port)
    print(f"metrics: {endpoint.url}", flush=True)
    end = time.monotonic() + arguments.seconds
    with Client(arguments.nodes.split(","), metrics=ClientMetrics(registry)) as client:
        shared = [(client, number, arguments.rate, end) for number in range(arguments.clients)]
        threads = [threading.Thread(target=work, args=each, daemon=True) for each in shared]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:
            pass
    endpoint.close()


if __name__ == "__main__":
    main()
