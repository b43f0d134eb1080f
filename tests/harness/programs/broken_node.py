"""A node of the service with a mistake, which the variable BROKEN_NODE names, for tests of verdicts.

forgets   acknowledges every 20th put without doing it
stale     whoever is asked answers gets from what it has
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any

from kvraft.scenarios import node as program
from kvraft.service import kvraft_pb2 as pb
from kvraft.service.node import Node, Operation

_count = itertools.count(1)
_do, _submit = Node._do, Node.submit


def _forgets(self: Node, key: str, value: str | None, version: int) -> Any:
    if value is not None and next(_count) % 20 == 0:
        return pb.Result(err=pb.OK)
    return _do(self, key, value, version)


def _stale(self: Node, operation: Operation) -> None:
    if operation.value is not None or operation.reads == "log":
        _submit(self, operation)
    else:
        self.under_way += 1
        self._finish(operation, self._do(operation.key, None, 0))


if __name__ == "__main__":
    if os.environ["BROKEN_NODE"] == "forgets":
        Node._do = _forgets  # type: ignore[method-assign]
    else:
        Node.submit = _stale  # type: ignore[method-assign]
    sys.exit(program.main(sys.argv[1]))
