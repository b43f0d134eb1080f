"""`kvraft bench` and `kvraft bench compare`: the command line of the load generator."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from kvraft.bench import report
from kvraft.bench.machine import cpu_seconds, fsync_times, load_average, machine_facts, memory_bytes
from kvraft.load import Load, LoadFailed, Result, run
from kvraft.service.client import Client, Unavailable
from kvraft.service.cluster import free_ports, node_processes
from kvraft.service.commands import NODES_VARIABLE, Authority, Certificate, Key, TokenFile
from kvraft.service.exits import DONE, FAILED, INTERRUPTED, one_line_errors
from kvraft.service.settings import parse_peers, read_token
from labrpc.errors import UsageError

__all__ = ["register"]

LOCAL_NODES = 5

Plain = Annotated[bool, typer.Option("--plain", help="No colours and no moving bar; so does NO_COLOR.")]


def register(app: typer.Typer) -> None:
    """Adds the command to `app`."""
    bench = typer.Typer(
        name="bench", invoke_without_command=True, help="Puts a load on a cluster, and says what came of it."
    )
    bench.callback()(measure)
    bench.command()(compare)
    app.add_typer(bench)


def measure(
    context: typer.Context,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, max=15, help=f"Nodes of the cluster that it starts; {LOCAL_NODES} if nothing is said."),
    ] = None,
    nodes_at: Annotated[
        str | None,
        typer.Option(envvar=NODES_VARIABLE, help="A cluster that runs: host:port,host:port,…", metavar="ADDRESSES"),
    ] = None,
    clients: Annotated[int, typer.Option(help="Each has one operation under way at a time.")] = Load.clients,
    connections: Annotated[
        int | None, typer.Option(help="Over how many connections clients ask; default: one each.", show_default=False)
    ] = None,
    read_share: Annotated[float, typer.Option(help="Share of gets, 0 to 1.")] = Load.read_share,
    reads: Annotated[
        str | None, typer.Option(help="Gets by index, lease or log; default: as the nodes were started.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(help="Open loop: so many operations a second are due, whether answers come or not."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="How long to measure.")] = Load.seconds,
    warm_up: Annotated[float, typer.Option(help="Seconds before that, which do not count.")] = Load.warm_up,
    value_bytes: Annotated[int, typer.Option(help="Of each value.")] = Load.value_bytes,
    keys: Annotated[int, typer.Option(help="How many; 0: one a client.")] = Load.keys,
    contended: Annotated[bool, typer.Option("--contended", help="Clients write each other's keys.")] = False,
    timeout: Annotated[
        float, typer.Option(help="Seconds that an operation may take, retries included.")
    ] = Load.timeout,
    processes: Annotated[int, typer.Option(help="Over which the clients are spread.")] = Load.processes,
    seed: Annotated[int, typer.Option(help="Of what clients choose.")] = Load.seed,
    data: Annotated[
        Path | None,
        typer.Option(help="Where the cluster that it starts keeps its data; default: a directory that is removed."),
    ] = None,
    node_option: Annotated[
        list[str] | None, typer.Option(help="For kvraft serve of the cluster that it starts, as --batches=2.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Put all of it into this file, too.")] = None,
    plain: Plain = False,
    token_file: TokenFile = None,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
) -> None:
    """Puts a load on a cluster, and says how many operations a second it did and how long they took.

        kvraft bench                                     50 clients write to 5 nodes that it starts here
        kvraft bench --read-share 0.9 --reads lease
        kvraft bench --rate 2000 --seconds 60            operations are due at fixed instants
        kvraft bench --nodes-at a:7000,b:7000,c:7000     a cluster that runs; its keys load-SEED-N are left there
        kvraft bench --json old.json; kvraft bench compare old.json new.json

    Exit codes: 0 done; 1 failed: no cluster, a bad token, no answer at all; 2 misuse; 130 Ctrl-C or SIGTERM, with what
    there was.
    """
    if context.invoked_subcommand is not None:
        return
    with one_line_errors():
        load = Load(
            clients=clients,
            connections=connections,
            read_share=read_share,
            value_bytes=value_bytes,
            keys=keys,
            contended=contended,
            reads=reads,
            seconds=seconds,
            warm_up=warm_up,
            rate=rate,
            timeout=timeout,
            processes=processes,
            seed=seed,
        )
        if json_file is not None:
            _check_writable(json_file)
        options = {"token": read_token(token_file), "authority": tls_ca, "certificate": tls_cert, "key": tls_key}
        with _interrupts() as stop, _cluster(nodes, nodes_at, data, node_option or []) as found:
            result = _measure(load, found, options, stop, is_plain=plain)
        report.show(result, report.console(is_plain=plain))
        if json_file is not None:
            report.write_result(result, json_file)
    if stop.is_set():
        raise typer.Exit(INTERRUPTED)
    raise typer.Exit(DONE if result.answered else FAILED)


def compare(
    old: Annotated[Path, typer.Argument(help="What kvraft bench --json has written.", show_default=False)],
    new: Annotated[Path, typer.Argument(help="The same, later.", show_default=False)],
    plain: Plain = False,
) -> None:
    """Shows two results side by side: ratios, new over old, and what differs in settings and machine."""
    with one_line_errors():
        first, second = report.read_result(old), report.read_result(new)
        report.compare(first, second, (old.name, new.name), report.console(is_plain=plain))


# -------------------------------------------------------------- the cluster


@dataclass
class _Cluster:
    """Where nodes are; those that were started here, and where their data are."""

    addresses: list[str]
    processes: list[subprocess.Popen[bytes]]
    folder: Path | None

    def problem(self) -> str:
        """The last words of a node that has ended; "" if none has."""
        for number, process in enumerate(self.processes):
            if process.poll() is not None:
                assert self.folder is not None
                words = (self.folder / f"node-{number}.log").read_text(errors="replace").strip().splitlines()
                return f"node {number} has ended: {words[-1] if words else 'it said nothing'}"
        return ""

    def cpu_seconds(self) -> list[float] | None:
        found = [cpu_seconds(process.pid) for process in self.processes]
        return None if not found or None in found else [each for each in found if each is not None]


@contextlib.contextmanager
def _cluster(nodes: int | None, nodes_at: str | None, data: Path | None, options: list[str]) -> Iterator[_Cluster]:
    """One that runs, or one that is started, and ended afterwards."""
    if nodes_at and nodes is None:
        if data is not None or options:
            raise UsageError("--data and --node-option are for a cluster that is started here, not for one that runs")
        yield _Cluster(parse_peers(nodes_at), [], None)
        return
    with contextlib.ExitStack() as stack:
        if data is None:
            folder = Path(tempfile.mkdtemp(prefix="kvraft-bench-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        else:
            folder = data
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise UsageError(f"{folder} is not empty: what it holds would change the figures")
        addresses = [f"127.0.0.1:{port}" for port in free_ports(nodes or LOCAL_NODES)]
        processes = stack.enter_context(node_processes(folder, addresses, options))
        yield _Cluster(addresses, processes, folder)


def _measure(
    load: Load, cluster: _Cluster, options: dict[str, Any], stop: threading.Event, *, is_plain: bool
) -> Result:
    """The load's result, with what the figures depend on."""
    if not cluster.processes:
        _look(cluster.addresses, options)
    facts: dict[str, Any] = {"machine": machine_facts()}
    if cluster.folder is not None:
        facts["fsync"] = fsync_times(cluster.folder)
    counted: list[list[float] | None] = []
    with report.progress(load, report.console(is_plain=is_plain, stderr=True)) as tell:

        def on_second(second: Any) -> None:
            if second.second == -1 or (second.second == 0 and not counted):
                counted.append(cluster.cpu_seconds())
            tell(second)

        try:
            result = run(load, cluster.addresses, on_second=on_second, stop=stop, options=options)
        except LoadFailed as error:
            raise LoadFailed(cluster.problem() or str(error)) from None
    facts["load_average_after"] = load_average()
    facts["cluster"] = {"nodes": len(cluster.addresses), "is_started_here": bool(cluster.processes)}
    after = cluster.cpu_seconds()
    if after is not None and counted and counted[0] is not None and result.answered:
        spent = [late - early for late, early in zip(after, counted[0], strict=True)]
        facts["cluster"]["cpu_seconds"] = spent
        facts["cluster"]["cpu_an_operation"] = (sum(spent) + result.client_cpu) / result.answered
        facts["cluster"]["memory_bytes"] = max(memory_bytes(each.pid) or 0 for each in cluster.processes)
    return replace(result, facts=facts)


def _look(addresses: list[str], options: dict[str, Any]) -> None:
    """Sees that somebody is there, before much is begun.

    Raises:
        LoadFailed: nobody answers.
        Refused: they do not let this client in.
    """
    problems = []
    with Client(addresses, **options) as client:
        for address in addresses:
            try:
                client.status(address)
                return
            except Unavailable as error:
                problems.append(str(error))
    raise LoadFailed(f"no cluster there: {problems[0]}")


@contextlib.contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second one ends at once. Either way the cluster is ended first."""
    stop = threading.Event()

    def on_signal(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_writable(file: Path) -> None:
    """Better now than after the measuring."""
    if not file.parent.is_dir():
        raise UsageError(f"{file.parent}, where {file.name} is to go, is no directory")
    if file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK):
        raise UsageError(f"cannot write {file}")
