"""Runs a test's own snippet of server code: `class Server` in its raft/__init__.py, with the host's ends and persister.

Its `@rpc` methods are served, and all its public methods are controls.
"""

from __future__ import annotations

from typing import Any

import raft
from labrpc.program import ProgramHost


def boot(host: ProgramHost) -> Any:
    server = raft.Server(host.ends, host.config["me"], host.persister)  # type: ignore[attr-defined]
    if any(getattr(getattr(type(server), name), "__rpc__", False) for name in dir(type(server))):
        host.serve(server)
    if not hasattr(server, "kill"):
        type(server).kill = lambda self: None
    return server
