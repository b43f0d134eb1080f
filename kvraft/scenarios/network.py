"""The network of a run: the proxy's process, and what is told to it.

Ends have names: the nodes are "0", "1", …, all clients together are "clients".
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from kvraft.scenarios.proxy import PLAIN, Conditions, as_json
from labrpc.errors import HarnessError

__all__ = ["CLIENTS", "Counts", "Network"]

CLIENTS = "clients"


class Counts(NamedTuple):
    """What a proxy says of itself.

    Attributes:
        ways: of each way, "0->1": "bytes" that came through, "connections" opened.
        late: when, in time.monotonic() seconds, and for how long the machine held it up.
    """

    ways: dict[str, dict[str, int]]
    late: list[tuple[float, float]]


class Network:
    """Proxies in all links between nodes, and before the nodes for the clients. Any thread may call it.

    Args:
        addresses: where the nodes listen.
        seed: of what is random in the links.
        folder: removed by the proxy if this process dies; None: it is not.

    Attributes:
        dial: for each node, where it reaches each other one.
        fronts: where clients reach each node.
        faults: the conditions of each way that is not as it should be, by (source, target).

    Raises:
        HarnessError: the proxy does not run.
    """

    def __init__(self, addresses: Sequence[str], *, seed: int, folder: Path | None = None) -> None:
        self.ends = [str(number) for number in range(len(addresses))]
        self._mu = threading.Lock()
        self._proxy = subprocess.Popen(
            [sys.executable, "-m", "kvraft.scenarios.proxy", *([] if folder is None else [str(folder)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the driver, which ends it in order
        )
        links = [(a, b, addresses[int(b)]) for a in [*self.ends, CLIENTS] for b in self.ends if a != b]
        ports = self._ask(links=links, seed=seed)
        found = {(source, target): port for (source, target, _), port in zip(links, ports, strict=True)}
        self.dial = [{int(b): found[a, b] for b in self.ends if a != b} for a in self.ends]
        self.fronts = [found[CLIENTS, b] for b in self.ends]
        self.faults: dict[tuple[str, str], Conditions] = {}

    def change(self, ways: Iterable[tuple[str, str]], **conditions: Any) -> None:
        """Changes fields of the conditions of `ways`, each (source, target)."""
        changes = []
        with self._mu:
            for way in ways:
                changed = replace(self.faults.get(way, PLAIN), **conditions)
                changes.append((*way, changed))
                if changed == PLAIN:
                    self.faults.pop(way, None)
                else:
                    self.faults[way] = changed
        self._ask(set=as_json(changes))

    def cut(self, ways: Iterable[tuple[str, str]]) -> None:
        """Resets the connections that the source of each of `ways` has opened to the target."""
        self._ask(cut=list(ways))

    def heal(self) -> None:
        """Makes all as it should be."""
        with self._mu:
            ways, self.faults = tuple(self.faults), {}
        self._ask(set=as_json((*way, PLAIN) for way in ways))

    def between(self, side: Iterable[str], *, clients: bool = False) -> list[tuple[str, str]]:
        """The ways, both directions, between the ends of `side` and the others."""
        inside = set(side)
        outside = [end for end in [*self.ends, *([CLIENTS] if clients else [])] if end not in inside]
        return [way for a in sorted(inside) for b in outside for way in ((a, b), (b, a))]

    def all(self) -> list[tuple[str, str]]:
        """All ways between nodes."""
        return [(a, b) for a in self.ends for b in self.ends if a != b]

    def counts(self) -> Counts:
        """What came through, and when the proxy was held up."""
        found = self._ask(counts=True)
        return Counts(found["ways"], [(float(at), float(seconds)) for at, seconds in found["late"]])

    def close(self) -> None:
        """Ends the proxy; twice is fine."""
        if self._proxy.stdin is None or self._proxy.stdin.closed:
            return
        try:
            self._proxy.stdin.write(b'{"bye": true}\n')
            self._proxy.stdin.close()
        except OSError:
            pass
        try:
            self._proxy.wait(5)
        except subprocess.TimeoutExpired:
            self._proxy.kill()
            self._proxy.wait()
        assert self._proxy.stdout is not None
        self._proxy.stdout.close()

    def _ask(self, **command: Any) -> Any:
        with self._mu:
            assert self._proxy.stdin is not None
            assert self._proxy.stdout is not None
            try:
                self._proxy.stdin.write((json.dumps(command) + "\n").encode())
                self._proxy.stdin.flush()
                answer = self._proxy.stdout.readline()
            except (OSError, ValueError) as error:
                raise HarnessError(f"the proxy has ended: {error}") from error
        if not answer:
            raise HarnessError(f"the proxy has ended with exit code {self._proxy.poll()}")
        return json.loads(answer)
