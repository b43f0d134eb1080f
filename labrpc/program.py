"""What a program is: the harness's code on a host, around the code under test.

A program is a module with `boot(host) -> controls`. It builds the server, opens its handlers with `host.serve`, and
returns an object whose public methods the test may call by name (`kill` among them, for a shutdown). It runs on the
host, under the host's clock and threads, in every world; threads of its own have names that begin with `lab `.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from labrpc.api import ClientEnd
from labrpc.persister import Persister

__all__ = ["ProgramHost"]


class ProgramHost(Protocol):
    """The host as its program sees it."""

    name: str
    config: Any
    """What the test passed to this program."""

    @property
    def ends(self) -> Sequence[ClientEnd]:
        """One end for each host it may call, in order."""

    @property
    def persister(self) -> Persister: ...

    def serve(self, *services: object) -> None:
        """Opens the `@rpc` handlers of `services` to the network; requests that came before are handled now."""

    def apply(self, message: Any) -> None:
        """Tells the judge that the server handed `message` to its service."""
