"""`kvraft serve`: one node as a process, until a signal or a failure ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kvraft.service.links import Links
from kvraft.service.node import Node
from kvraft.service.server import Server
from kvraft.service.settings import Settings
from labrpc.errors import UsageError
from labrpc.files import Files, RealFiles

__all__ = ["serve"]

log = logging.getLogger("kvraft")


async def serve(
    settings: Settings,
    *,
    on_ready: Callable[[Node], Any] | None = None,
    listeners: Any = (),
    files: Callable[[Path], Files] = RealFiles,
) -> int:
    """Runs a node until SIGTERM or SIGINT; the exit code: 0, or 1 if it failed.

    Args:
        files: opens the log's directory: another implementation has faults, for instance.

    Raises:
        UsageError, DiskCorruption, OSError: it could not start; see `Node` and `Server`.
    """
    loop = asyncio.get_running_loop()
    node = Node(settings, Links(settings), listeners, files=files)
    server = Server(node)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    with _metrics(node, server):
        return await _run(node, server, stopping, on_ready)


async def _run(node: Node, server: Server, stopping: asyncio.Event, on_ready: Callable[[Node], Any] | None) -> int:
    settings, loop = node.settings, asyncio.get_running_loop()
    await server.start()  # first: a port that is taken is found out before the disk is touched
    try:
        await node.start()
    except BaseException:
        await server.stop(0)
        raise
    # What is there now stays: collections need not look at it again, and come seldom.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    log.info("node %d listens on %s, data in %s", settings.id, settings.address, settings.data)
    if on_ready is not None:
        on_ready(node)
    waiting = loop.create_task(stopping.wait())
    either: list[asyncio.Future[Any]] = [waiting, node.failed]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if node.failed.done():
        await server.stop(0)
        await node.transport.close()
        return 1
    log.info("node %d stops", settings.id)
    await node.stop()
    await server.stop(1.0)
    log.info("node %d has stopped", settings.id)
    return 0


@contextlib.contextmanager
def _metrics(node: Node, server: Server) -> Iterator[None]:
    """Shows the node's metrics if it is told to: also while it reads its log, and until it has stopped."""
    settings = node.settings
    if not settings.metrics_port:
        yield
        return
    try:
        from kvraft.service.metrics import NodeMetrics
        from kvraft.service.metrics_endpoint import MetricsEndpoint
    except ImportError as error:
        raise UsageError(f"metrics need prometheus-client ({error}): pip install 'raftlab[service]'") from None
    metrics = NodeMetrics(node, server)
    node.listeners.append(metrics)
    endpoint = MetricsEndpoint(metrics.registry, settings.metrics_host, settings.metrics_port)
    log.info("node %d shows metrics at %s", settings.id, endpoint.url)
    try:
        yield
    finally:
        endpoint.close()
