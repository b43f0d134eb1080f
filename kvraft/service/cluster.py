"""`kvraft cluster`: all nodes as processes on this machine, and what they do."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from kvraft.service.client import Client, Refused, Unavailable
from kvraft.service.display import status_lines, status_table
from labrpc.errors import UsageError

__all__ = ["free_ports", "node_processes", "run_cluster"]

REFRESH_SECONDS = 0.5
PLAIN_SECONDS = 2.0
"""Between lines where there is no terminal."""

STOP_SECONDS = 15.0


def run_cluster(
    nodes: int, data: Path | None, *, reads: str = "index", seconds: float | None = None, metrics_port: int = 0
) -> int:
    """Runs until Ctrl-C, SIGTERM or `seconds` have passed; the exit code: 0, or 1 if a node ended by itself.

    Args:
        metrics_port: of node 0's metrics, node i's is that + i; 0: none.

    Raises:
        UsageError: `data` is a cluster of another size, or cannot be made; a port is none, or taken.
    """
    metrics_ports = range(metrics_port, metrics_port + nodes) if metrics_port else range(0)
    _check_ports(metrics_ports)
    with contextlib.ExitStack() as stack:
        if data is None:
            folder = Path(tempfile.mkdtemp(prefix="kvraft-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = data
            folder.mkdir(parents=True, exist_ok=True)
            there = [path for path in folder.glob("node-*") if path.is_dir()]
            if there and len(there) != nodes:
                raise UsageError(f"{folder} holds a cluster of {len(there)} nodes, not of {nodes}")
        peers = [f"127.0.0.1:{port}" for port in free_ports(nodes)]
        processes = stack.enter_context(node_processes(folder, peers, ["--reads", reads], metrics_ports))
        client = stack.enter_context(Client(peers))
        stack.enter_context(_sigterm_as_interrupt())
        try:
            return _show(client, peers, processes, folder, seconds, metrics_ports)
        except KeyboardInterrupt:
            return 0


def _check_ports(ports: range) -> None:
    """Raises: UsageError: one of them is none, or taken."""
    for port in ports:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or "it is not in 1..65535"
            raise UsageError(f"cannot show metrics on port {port}: {reason}; choose another --metrics-port") from None


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextlib.contextmanager
def node_processes(
    folder: Path, peers: list[str], options: Sequence[str] = (), metrics_ports: range = range(0)
) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A node for each address, with data and output in `folder`; at the end they are told to stop, and waited for.

    `options` are for `kvraft serve`; of the ports for metrics there are none, or one a node.
    """
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for number in range(len(peers)):
            command = [sys.executable, "-m", "kvraft", "serve", "--id", str(number), "--peers", ",".join(peers)]
            command += ["--data", str(folder / f"node-{number}"), "--cluster", "local", *options]
            command += ["--metrics-port", str(metrics_ports[number])] if metrics_ports else []
            with open(folder / f"node-{number}.log", "ab") as output:
                # In a group of its own: Ctrl-C reaches this process, which stops them in order.
                processes.append(subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True))
        yield processes
    finally:
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in processes:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)


def _show(
    client: Client,
    peers: list[str],
    processes: list[subprocess.Popen[bytes]],
    folder: Path,
    seconds: float | None,
    metrics_ports: range,
) -> int:
    console = Console(no_color="NO_COLOR" in os.environ or None)
    hint = f"export KVRAFT_NODES={','.join(peers)}"
    counts: dict[str, tuple[float, int]] = {}
    end = None if seconds is None else time.monotonic() + seconds
    console.print(hint, highlight=False, soft_wrap=True)
    console.print(f"data and logs in {folder}; Ctrl-C ends the cluster", highlight=False, soft_wrap=True)
    if metrics_ports:
        first, last = metrics_ports[0], metrics_ports[-1]
        others = f", node {len(metrics_ports) - 1}'s on port {last}" if last > first else ""
        console.print(f"metrics: http://127.0.0.1:{first}/metrics is node 0's{others}", highlight=False, soft_wrap=True)
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while end is None or time.monotonic() < end:
            ended = [number for number, process in enumerate(processes) if process.poll() is not None]
            if ended:
                log = (folder / f"node-{ended[0]}.log").read_text(errors="replace").strip().splitlines()
                console.print(f"node {ended[0]} has ended: {log[-1] if log else 'it said nothing'}", highlight=False)
                return 1
            found = {peer: _status(client, peer) for peer in peers}
            rates = _rates(found, counts)
            if live is not None:
                live.update(Group(status_table(found, rates), Text(f"{sum(rates.values()):.0f} op/s")), refresh=True)
            else:
                console.print(status_lines(found, rates), highlight=False, soft_wrap=True)
            time.sleep(REFRESH_SECONDS if live is not None else PLAIN_SECONDS)
    return 0


def _status(client: Client, peer: str) -> Any:
    try:
        return client.status(peer, timeout=REFRESH_SECONDS)
    except (Unavailable, Refused):
        return None


def _rates(found: dict[str, Any], counts: dict[str, tuple[float, int]]) -> dict[str, float]:
    """Operations a second of each node since the last time."""
    rates = {}
    now = time.monotonic()
    for peer, status in found.items():
        if status is None:
            counts.pop(peer, None)
            continue
        done = status.writes + status.reads
        if peer in counts:
            before, earlier = counts[peer]
            rates[peer] = max(done - earlier, 0) / (now - before)
        counts[peer] = (now, done)
    return rates
