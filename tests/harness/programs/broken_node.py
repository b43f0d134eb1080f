"""A node of the service with a mistake, which the variable BROKEN_NODE names, for tests of verdicts.

forgets   acknowledges each put that would make a 7th, 14th, … version of a key, and does none of them
stale     whoever is asked answers gets from what it has
"""

from __future__ import annotations

import os
import sys

from kvraft.rpc import Err, PutArgs, PutReply
from kvraft.scenarios import node as program
from kvraft.service.node import Node, Operation
from kvraft.service.service_store import ServiceStore

_put, _submit = ServiceStore.put, Node.submit


def _forgets(self: ServiceStore, args: PutArgs) -> PutReply:
    return PutReply(Err.OK) if args.version % 7 == 6 else _put(self, args)


def _stale(self: Node, operation: Operation) -> None:
    if operation.value is not None or operation.reads == "log":
        _submit(self, operation)
    else:
        self.under_way += 1
        self._finish(operation, self._do(operation.key, None, 0))


if __name__ == "__main__":
    if os.environ["BROKEN_NODE"] == "forgets":
        ServiceStore.put = _forgets  # type: ignore[method-assign]
    else:
        Node.submit = _stale  # type: ignore[method-assign]
    sys.exit(program.main(sys.argv[1]))
