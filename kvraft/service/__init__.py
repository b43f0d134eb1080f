"""The store as a service: one node of a real cluster, on the real clock, and its client.

    Client --gRPC--> Server --> Node: batches --> EventRaft --> LogStore (fsync)
                                      answers <-- Store <-- committed entries

    kvraft.proto          what clients and nodes say to each other
    settings.py           what a node is told at its start, and what its directory says it is
    recorded_log.py       the log, which knows what of it is not on the disk yet
    log_store.py          the disk: what has changed, one fsync for many changes; snapshots
    event_raft.py         the rules of raft/, on an event loop
    service_store.py      the lab's store, with snapshots in pieces and watchers
    node.py               a node: batches, reads, applying, snapshots, handing over
    events.py             what a node tells those who watch it
    metrics.py, node_gauges.py, client_metrics.py   what nodes and clients show Prometheus
    tallies.py, metrics_endpoint.py                 its counters and histograms; its HTTP
    links.py, server.py   gRPC: to peers; from peers and clients
    client.py             Client, for threads, and AsyncClient
    serve.py, cluster.py, commands.py   kvraft serve, cluster, get, put, watch, status
    exits.py              exit codes, and errors in one line

The rules are those that students read: `EventRaft` is a `ProductionRaft` is a `Raft`.
"""

try:
    import grpc  # noqa: F401
except ImportError as error:  # pragma: no cover
    raise ImportError("the service needs gRPC: pip install 'raftlab[service]'") from error

from kvraft.service.client import AsyncClient, Client, Refused, Unavailable, Watched
from kvraft.service.events import Listener
from kvraft.service.node import Node, Operation, Transport
from kvraft.service.server import Server
from kvraft.service.settings import Limits, Settings, Tls

__all__ = [
    "AsyncClient",
    "Client",
    "Limits",
    "Listener",
    "Node",
    "Operation",
    "Refused",
    "Server",
    "Settings",
    "Tls",
    "Transport",
    "Unavailable",
    "Watched",
]
