"""What a node is told at its start, checked, and what its data directory says it is."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kvraft.service.event_raft import Timing
from labrpc.errors import UsageError

__all__ = ["Limits", "Settings", "Tls", "check_identity", "parse_peers", "read_token"]

MOST_OPERATION_BYTES = 8 << 20
"""Of the largest key with the largest value that any cluster can be told to take."""

CLIENT_MESSAGE_BYTES = 2 << 20
"""What clients put into one message, unless a single operation is larger."""

READS = ("index", "lease", "log")
_IDENTITY = "identity.json"
_FORMAT = 1


@dataclass(frozen=True)
class Limits:
    """What a node takes from clients.

    Attributes:
        key_bytes, value_bytes: of one key and one value, in UTF-8.
        message_bytes: of one message of a client.
        operations: under way at once, of all clients together; more are answered BUSY.
        streams: of clients, at once.
        connections: of clients and nodes, at once.
        idle_seconds: after which a connection on which nothing is under way is closed.
        watch_events: that may wait for one watcher.
    """

    key_bytes: int = 4 << 10
    value_bytes: int = 1 << 20
    message_bytes: int = 4 << 20
    operations: int = 20_000
    streams: int = 1_000
    connections: int = 2_000
    idle_seconds: float = 300.0
    watch_events: int = 10_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise UsageError(f"limit {name} must be more than 0, not {value}")
        operation = self.key_bytes + self.value_bytes
        if operation > MOST_OPERATION_BYTES:
            raise UsageError(
                f"key_bytes and value_bytes make {operation}, more than {MOST_OPERATION_BYTES}: "
                f"nodes could not send that to each other"
            )
        least = max(operation, CLIENT_MESSAGE_BYTES) + (1 << 20)
        if self.message_bytes < least:
            raise UsageError(
                f"message_bytes must be at least {least}, for what clients send at once; not {self.message_bytes}"
            )


@dataclass(frozen=True)
class Tls:
    """Files in PEM. With `authority`, nodes ask whoever calls their port for a certificate that it signed."""

    certificate: Path
    key: Path
    authority: Path | None = None

    def read(self) -> tuple[bytes, bytes, bytes | None]:
        """(certificate, key, authority). Raises: UsageError: one cannot be read."""
        try:
            authority = self.authority.read_bytes() if self.authority else None
            return self.certificate.read_bytes(), self.key.read_bytes(), authority
        except OSError as error:
            raise UsageError(f"cannot read {error.filename}: {error.strerror}") from None


@dataclass(frozen=True)
class Settings:
    """One node.

    Attributes:
        id: its place in `peers`.
        peers: where each node of the cluster listens, "host:port", in the same order everywhere.
        data: its directory.
        cluster: the cluster's name; nodes of another one are refused.
        listen: where it listens, if not at its own place in `peers`.
        client_listen: where it listens for clients as well, who then need no certificate.
        dial: where to reach a peer, if not at its place in `peers`: a proxy, for instance.
        reads: how gets are answered that do not say: index, lease or log.
        token: what clients must show; None: nothing. Nodes show it to each other, too.
        snapshot_bytes: of log after which it takes a snapshot.
        batches: of writes under way at once; what comes meanwhile makes the next.
        metrics_port: where Prometheus may ask for metrics, over HTTP and without a token; 0: nowhere.
        metrics_host: the address of that.
    """

    id: int
    peers: Sequence[str]
    data: Path
    cluster: str = "kvraft"
    listen: str | None = None
    client_listen: str | None = None
    dial: Mapping[int, str] = field(default_factory=dict)
    reads: str = "index"
    token: str | None = None
    tls: Tls | None = None
    limits: Limits = field(default_factory=Limits)
    timing: Timing = field(default_factory=Timing)
    snapshot_bytes: int = 64 << 20
    batches: int = 1
    metrics_port: int = 0
    metrics_host: str = "127.0.0.1"
    drain_seconds: float = 5.0

    def __post_init__(self) -> None:
        if not 0 <= self.id < len(self.peers):
            raise UsageError(f"id {self.id} is not in 0..{len(self.peers) - 1}, the places in the list of peers")
        if self.reads not in READS:
            raise UsageError(f"reads must be one of {', '.join(READS)}, not {self.reads!r}")
        for peer in self.dial:
            if not 0 <= peer < len(self.peers):
                raise UsageError(f"dial names peer {peer}, which is not in 0..{len(self.peers) - 1}")
        if self.snapshot_bytes < 1 or self.batches < 1:
            raise UsageError("snapshot_bytes and batches must be at least 1")
        if not 0 <= self.metrics_port < 65536:
            raise UsageError(f"metrics_port {self.metrics_port} is not in 0..65535; 0 is for no metrics")

    @property
    def address(self) -> str:
        """Where it listens."""
        return self.listen or self.peers[self.id]

    def address_of(self, peer: int) -> str:
        """Where it reaches `peer`."""
        return self.dial.get(peer, self.peers[peer])


def parse_peers(text: str) -> list[str]:
    """The addresses in "host:port,host:port,…".

    Raises:
        UsageError: there is none, one is no address, or one is there twice.
    """
    peers = [part.strip() for part in text.split(",") if part.strip()]
    for peer in peers:
        host, colon, port = peer.rpartition(":")
        if not (host and colon and port.isdigit() and 0 < int(port) < 65536):
            raise UsageError(f"{peer!r} is no address; write host:port, with a port of 1..65535")
    if not peers:
        raise UsageError("there are no addresses; write host:port,host:port,…")
    if twice := sorted({peer for peer in peers if peers.count(peer) > 1}):
        raise UsageError(f"address {twice[0]} is there twice")
    return peers


def read_token(file: Path | None) -> str | None:
    """The token in `file`: its first line. Raises: UsageError: it cannot be read, or is empty."""
    if file is None:
        return None
    try:
        token = file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the token file {file}: {error}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"the token file {file} must hold one line of printable characters without blanks")
    return token


def check_identity(settings: Settings) -> None:
    """Marks the data directory as this node's, or refuses another's.

    Raises:
        UsageError: it is of another node, cluster, number of nodes or version.
        OSError: of the file system.
    """
    path = settings.data / _IDENTITY
    own = {"format": _FORMAT, "cluster": settings.cluster, "id": settings.id, "nodes": len(settings.peers)}
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        if (settings.data / "raft").exists():
            raise UsageError(
                f"{settings.data} holds a log and no {_IDENTITY}, which says whose it is; put that back, or choose "
                f"another directory"
            ) from None
        _write(path, own)
        return
    except (ValueError, UnicodeDecodeError):
        raise UsageError(
            f"{path} is damaged: it is no JSON; put back what this node wrote: {json.dumps(own)}"
        ) from None
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise UsageError(
            f"{path} says {json.dumps(found)[:200]}: the directory is of another version; this program reads format "
            f"{_FORMAT}. Start it with the program that wrote it, or choose another directory"
        )
    if found != own:
        raise UsageError(
            f"{settings.data} belongs to node {found.get('id')} of {found.get('nodes')} in cluster "
            f"{found.get('cluster')!r}, not to node {settings.id} of {len(settings.peers)} in cluster "
            f"{settings.cluster!r}: a node that starts from another's state may vote twice or lose what it "
            f"acknowledged. Name the right directory, or an empty one"
        )


def _write(path: Path, content: dict[str, object]) -> None:
    temporary = path.with_suffix(".tmp")
    with open(temporary, "w") as file:
        json.dump(content, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, path)
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
