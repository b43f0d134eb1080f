"""`kvraft serve`: one node as a process, until a signal or a failure ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kvraft.service.links import Links
from kvraft.service.node import Node
from kvraft.service.server import Server
from kvraft.service.settings import Settings
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
