"""`kvraft serve`, `cluster`, `get`, `put`, `watch`, `status`: the command line."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from kvraft.rpc import Err
from kvraft.service.client import Client, Unavailable
from kvraft.service.cluster import run_cluster
from kvraft.service.display import status_table
from kvraft.service.event_raft import Timing
from kvraft.service.exits import DONE, FAILED, NOT_DONE
from kvraft.service.exits import one_line_errors as _errors
from kvraft.service.serve import serve as serve_node
from kvraft.service.settings import Limits, Settings, Tls, parse_peers, read_token
from labrpc.errors import UsageError

__all__ = ["register"]

NODES_VARIABLE = "KVRAFT_NODES"

Nodes = Annotated[
    str,
    typer.Option(
        "--nodes", "-n", envvar=NODES_VARIABLE, help="Where the nodes are: host:port,host:port,…", metavar="ADDRESSES"
    ),
]
TokenFile = Annotated[
    Path | None, typer.Option(envvar="KVRAFT_TOKEN_FILE", help="A file with the token that clients must show.")
]
Authority = Annotated[
    Path | None, typer.Option("--tls-ca", help="PEM file of the authority that signed the certificates.")
]
Certificate = Annotated[Path | None, typer.Option("--tls-cert", help="PEM file of one's own certificate.")]
Key = Annotated[Path | None, typer.Option("--tls-key", help="PEM file of its key.")]
Timeout = Annotated[float, typer.Option(help="Seconds that the operation may take, retries included.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")]


def register(app: typer.Typer) -> None:
    """Adds the commands to `app`."""
    for command in (serve, cluster, get, put, watch, status, transfer):
        app.command()(command)


def serve(
    id: Annotated[
        int, typer.Option("--id", help="This node's place in the list of peers, from 0.", show_default=False)
    ],
    peers: Annotated[
        str,
        typer.Option(help="Where all nodes listen, this one too, in the same order everywhere.", show_default=False),
    ],
    data: Annotated[
        Path,
        typer.Option(
            help="This node's directory: nobody else's, on a disk that keeps its promises.", show_default=False
        ),
    ],
    cluster_name: Annotated[
        str, typer.Option("--cluster", help="The cluster's name; nodes of another are refused.")
    ] = "kvraft",
    listen: Annotated[str | None, typer.Option(help="Where to listen, if not at its place in --peers.")] = None,
    client_listen: Annotated[
        str | None, typer.Option(help="Where clients may come as well; with --tls-ca they need no certificate there.")
    ] = None,
    dial: Annotated[
        list[str] | None, typer.Option(help="ID=host:port: reach that peer there, through a proxy for instance.")
    ] = None,
    reads: Annotated[
        str,
        typer.Option(
            help="How gets are answered: index asks a majority, lease trusts that clocks run alike, log adds an entry."
        ),
    ] = "index",
    token_file: TokenFile = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
    tls_ca: Authority = None,
    max_key: Annotated[int, typer.Option(help="Bytes of a key.")] = Limits.key_bytes,
    max_value: Annotated[int, typer.Option(help="Bytes of a value.")] = Limits.value_bytes,
    max_message: Annotated[int, typer.Option(help="Bytes of a client's message.")] = Limits.message_bytes,
    max_operations: Annotated[int, typer.Option(help="Operations under way at once.")] = Limits.operations,
    max_clients: Annotated[int, typer.Option(help="Clients' streams at once.")] = Limits.streams,
    max_connections: Annotated[int, typer.Option(help="Connections at once.")] = Limits.connections,
    max_idle: Annotated[
        float, typer.Option(help="Seconds after which an idle connection is closed.")
    ] = Limits.idle_seconds,
    heartbeat: Annotated[float, typer.Option(help="Seconds between heartbeats.")] = Timing.heartbeat,
    election: Annotated[
        str, typer.Option(help="Shortest and longest election timeout, in seconds; the same on all nodes.")
    ] = "0.15-0.3",
    snapshot_bytes: Annotated[
        int, typer.Option(help="Bytes of log after which it is replaced by a snapshot.")
    ] = Settings.snapshot_bytes,
    batches: Annotated[int, typer.Option(help="Batches of writes under way at once.")] = Settings.batches,
    metrics_port: Annotated[
        int, typer.Option(help="Where Prometheus may ask for metrics: http://HOST:PORT/metrics; 0: nowhere.")
    ] = Settings.metrics_port,
    metrics_host: Annotated[str, typer.Option(help="The address of that.")] = Settings.metrics_host,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more.")] = False,
) -> None:
    """Runs one node of a cluster, in the foreground.

    SIGTERM and Ctrl-C end it in good order: what is under way is finished, and a leader hands over first.

        kvraft serve --id 0 --peers a:7000,b:7000,c:7000 --data /var/lib/kvraft

    Exit codes: 0 ended by a signal; 1 failed: a full disk, damaged data; 2 misuse: a port taken, another's data.
    """
    _log(verbose)
    with _errors():
        settings = Settings(
            id=id,
            peers=parse_peers(peers),
            data=data,
            cluster=cluster_name,
            listen=listen,
            client_listen=client_listen,
            dial=_dial(dial or []),
            reads=reads,
            token=read_token(token_file),
            tls=_tls(tls_cert, tls_key, tls_ca),
            limits=Limits(max_key, max_value, max_message, max_operations, max_clients, max_connections, max_idle),
            timing=_timing(heartbeat, election),
            snapshot_bytes=snapshot_bytes,
            batches=batches,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
        )
        code = asyncio.run(serve_node(settings))
    raise typer.Exit(code)


def cluster(
    nodes: Annotated[int, typer.Option(help="How many.", min=1, max=15)] = 3,
    data: Annotated[
        Path | None, typer.Option(help="Where they keep their data; default: a directory that is removed at the end.")
    ] = None,
    reads: Annotated[str, typer.Option(help="How gets are answered: index, lease or log.")] = "index",
    seconds: Annotated[float | None, typer.Option(help="End by itself after so long.")] = None,
    metrics_port: Annotated[
        int, typer.Option(help="Node i shows its metrics, for Prometheus, at this port + i; 0: nowhere.")
    ] = 0,
) -> None:
    """Runs a whole cluster on this machine, and shows what its nodes do; Ctrl-C ends it.

        kvraft cluster --nodes 5

    In another terminal: export KVRAFT_NODES=… as it says, then kvraft put, get, watch, status.
    """
    with _errors():
        code = run_cluster(nodes, data, reads=reads, seconds=seconds, metrics_port=metrics_port)
    raise typer.Exit(code)


def get(
    key: Annotated[str, typer.Argument(help="The key.", show_default=False)],
    nodes: Nodes,
    reads: Annotated[str | None, typer.Option(help="index, lease or log; default: as the nodes were started.")] = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
    token_file: TokenFile = None,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
) -> None:
    """Prints a key's value; its version goes to stderr. Exit code 3: there is no such key."""
    with _errors(), _client(nodes, timeout, token_file, tls_ca, tls_cert, tls_key) as client:
        value, version, err = client.get(key, reads=reads)
    if as_json:
        print(json.dumps({"key": key, "value": value, "version": version, "err": err.value}))
    elif err is Err.OK:
        print(value)
        print(f"version {version}", file=sys.stderr)
    else:
        print(f"kvraft: no key {key!r}", file=sys.stderr)
    raise typer.Exit(DONE if err is Err.OK else NOT_DONE)


def put(
    key: Annotated[str, typer.Argument(help="The key.", show_default=False)],
    value: Annotated[str, typer.Argument(help="Its new value.", show_default=False)],
    nodes: Nodes,
    version: Annotated[
        int | None,
        typer.Option(min=0, help="The version it must have, 0 if it must not exist; default: whatever it has."),
    ] = None,
    timeout: Timeout = 10.0,
    as_json: AsJson = False,
    token_file: TokenFile = None,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
) -> None:
    """Sets a key, if it has the version that is expected.

    Exit code 3: it has another version (VERSION), there is no such key (NO_KEY), or an answer was lost and it cannot be
    known (MAYBE).
    """
    with _errors(), _client(nodes, timeout, token_file, tls_ca, tls_cert, tls_key) as client:
        while True:
            expected = client.get(key)[1] if version is None else version
            err = client.put(key, value, expected)
            if version is not None or err is not Err.VERSION:
                break  # else somebody was quicker: look again
    if as_json:
        print(json.dumps({"key": key, "version": expected + 1 if err is Err.OK else None, "err": err.value}))
    else:
        print(f"OK, version {expected + 1}" if err is Err.OK else err.value)
    raise typer.Exit(DONE if err is Err.OK else NOT_DONE)


def watch(
    key: Annotated[str, typer.Argument(help="The key, or with --prefix how keys begin.", show_default=False)],
    nodes: Nodes,
    prefix: Annotated[bool, typer.Option(help="All keys that begin so.")] = False,
    count: Annotated[int | None, typer.Option(help="End after so many.")] = None,
    as_json: AsJson = False,
    token_file: TokenFile = None,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
) -> None:
    """Prints a key's value and each change of it, until Ctrl-C."""
    with _errors(), _client(nodes, 10.0, token_file, tls_ca, tls_cert, tls_key) as client:
        for number, event in enumerate(client.watch(key, prefix=prefix), 1):
            if as_json:
                print(json.dumps(event._asdict()), flush=True)
            else:
                print(f"{event.key} = {event.value} (version {event.version})", flush=True)
            if number == count:
                break


def status(
    nodes: Nodes,
    as_json: AsJson = False,
    token_file: TokenFile = None,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
) -> None:
    """Shows every node's role, term, log and counts. Exit code 1: no majority answers, or none leads."""
    from google.protobuf.json_format import MessageToDict

    with _errors(), _client(nodes, 2.0, token_file, tls_ca, tls_cert, tls_key) as client:
        found: dict[str, Any] = {}
        for node in parse_peers(nodes):
            try:
                found[node] = client.status(node)
            except Unavailable as error:
                found[node] = None
                if as_json:
                    print(json.dumps({"address": node, "error": str(error)}))
        if as_json:
            for node, each in found.items():
                if each is not None:
                    print(
                        json.dumps({"address": node, **MessageToDict(each, always_print_fields_with_no_presence=True)})
                    )
        else:
            Console().print(status_table(found))
    up = [each for each in found.values() if each is not None]
    is_well = 2 * len(up) > len(found) and any(each.role == "leader" for each in up)
    raise typer.Exit(DONE if is_well else FAILED)


def transfer(
    to: Annotated[int, typer.Argument(help="The number of the node that is to lead.", show_default=False)],
    nodes: Nodes,
    token_file: TokenFile = None,
    tls_ca: Authority = None,
    tls_cert: Certificate = None,
    tls_key: Key = None,
) -> None:
    """Has the leader hand over to another node. Exit code 1: no leader was found, or it would not."""
    with _errors(), _client(nodes, 2.0, token_file, tls_ca, tls_cert, tls_key) as client:
        for node in parse_peers(nodes):
            try:
                if client.transfer_leadership(node, to, timeout=5.0):
                    print(f"{node} hands over to node {to}")
                    raise typer.Exit(DONE)
            except Unavailable:
                continue
    print("kvraft: no node that answers leads", file=sys.stderr)
    raise typer.Exit(FAILED)


# -------------------------------------------------------------- what they share


def _client(
    nodes: str,
    timeout: float,
    token_file: Path | None,
    authority: Path | None,
    certificate: Path | None,
    key: Path | None,
) -> Client:
    return Client(
        parse_peers(nodes),
        timeout=timeout,
        token=read_token(token_file),
        authority=authority,
        certificate=certificate,
        key=key,
    )


def _tls(certificate: Path | None, key: Path | None, authority: Path | None) -> Tls | None:
    if certificate is None and key is None and authority is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS needs both --tls-cert and --tls-key")
    return Tls(certificate, key, authority)


def _timing(heartbeat: float, election: str) -> Timing:
    low, dash, high = election.partition("-")
    try:
        return Timing(heartbeat=heartbeat, election=(float(low), float(high)))
    except ValueError as error:
        raise UsageError(
            f"--election {election!r}: {error if dash else 'write SHORTEST-LONGEST, in seconds'}"
        ) from None


def _dial(options: list[str]) -> dict[int, str]:
    dial = {}
    for option in options:
        peer, equals, address = option.partition("=")
        if not equals or not peer.isdigit():
            raise UsageError(f"--dial {option!r}: write ID=host:port")
        dial[int(peer)] = parse_peers(address)[0]
    return dial


def _log(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.INFO,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        stream=sys.stderr,
    )
    if not verbose:
        logging.getLogger("asyncio").setLevel(logging.WARNING)
