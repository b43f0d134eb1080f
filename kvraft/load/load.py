"""What a load is: who asks for what, how often, for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from kvraft.service.settings import READS
from labrpc.errors import UsageError

__all__ = ["Load"]

LEAST_VALUE_BYTES = 1


@dataclass(frozen=True, kw_only=True)
class Load:
    """A load. The operations of a client are a pure function of `seed` and its number, but for what the store answers.

    In a closed loop each client asks again as soon as it has its answer. In an open loop (`rate`) operations are due at
    fixed instants, whoever is free takes the next, and the time of each counts from the instant at which it was due.

    A client writes its own keys (key k is client k modulo `clients`), each with the version it knows, and reads any
    key. With `contended` it writes any key too, so that puts are refused with VERSION. One that does not know the
    version of the key that it is to write asks for it first, which counts as a get.

    Attributes:
        clients: how many; each has one operation under way at a time.
        connections: over how many connections they ask; None: one each. What waits for one connection goes together.
        read_share: of gets among the operations, 0..1.
        value_bytes: of each value.
        keys: how many there are; 0: one a client.
        contended: whether clients write each other's keys.
        reads: how gets are answered: index, lease or log; None: as the nodes were started.
        seconds: of measuring.
        warm_up: seconds before that, which are not counted.
        rate: operations a second of an open loop; None: a closed loop.
        timeout: seconds that an operation may take, retries included.
        processes: over which the clients are spread.
        seed: of what they choose.
        prefix: how all its keys begin.

    Raises:
        UsageError: a value is out of its bounds.
    """

    clients: int = 50
    connections: int | None = None
    read_share: float = 0.0
    value_bytes: int = 100
    keys: int = 0
    contended: bool = False
    reads: str | None = None
    seconds: float = 10.0
    warm_up: float = 1.0
    rate: float | None = None
    timeout: float = 10.0
    processes: int = 1
    seed: int = 1
    prefix: str = "load"

    def __post_init__(self) -> None:
        at_least_one: dict[str, int | None] = {
            "clients": self.clients,
            "connections": self.connections,
            "value_bytes": self.value_bytes,
            "processes": self.processes,
        }
        for name, count in at_least_one.items():
            if count is not None and count < 1:
                raise UsageError(f"{name} must be at least 1, not {count}")
        for name in ("seconds", "timeout", "rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise UsageError(f"{name} must be more than 0, not {value:g}")
        if not 0 <= self.warm_up < float("inf"):
            raise UsageError(f"warm_up must be 0 or more, not {self.warm_up:g}")
        if not 0 <= self.read_share <= 1:
            raise UsageError(f"read_share must be in 0..1, not {self.read_share:g}")
        if self.reads is not None and self.reads not in READS:
            raise UsageError(f"reads must be one of {', '.join(READS)}, not {self.reads!r}")
        if self.connections is not None and self.connections > self.clients:
            raise UsageError(f"{self.connections} connections for {self.clients} clients: some would have none")
        if self.processes > (self.connections or self.clients):
            raise UsageError(f"{self.processes} processes for {self.connections or self.clients} connections")
        if self.keys < 0 or (not self.contended and 0 < self.keys < self.clients and self.read_share < 1):
            raise UsageError(
                f"{self.keys} keys for {self.clients} clients: each needs one of its own to write; "
                f"ask for more keys, or let them contend"
            )
        if not self.prefix:
            raise UsageError("prefix is empty: keys need a name")

    @property
    def is_open(self) -> bool:
        """Whether operations are due at fixed instants."""
        return self.rate is not None

    @property
    def key_count(self) -> int:
        """How many keys there are."""
        return self.keys or self.clients

    @property
    def connection_count(self) -> int:
        """How many connections there are."""
        return self.connections or self.clients

    def as_json(self) -> dict[str, Any]:
        """Its attributes, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Load:
        """What `as_json` gave.

        Raises:
            UsageError: it is not that.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise UsageError(f"these are no settings of a load: {error}") from None
