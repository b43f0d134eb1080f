"""Clients of the key/value service, as tests use them; what they were told becomes the history that is judged.

clerk.put("x", "1", 0) --control call--> Clerk on its host --KV.put--> servers
      |                                                        |
      +--> history: call, return, result                       +--> ClerkRules: is the result one that a server gave?
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labrpc.errors import CodeFault, UsageError
from labrpc.network import host_title
from tester.answers import checked
from tester.clerk_rules import ClerkRules
from tester.porcupine import (
    CheckResult,
    KvInput,
    KvOutput,
    Operation,
    check_operations,
    check_operations_verbose,
    kv_model,
)

if TYPE_CHECKING:
    from tester.cluster import Cluster

__all__ = ["Clerk", "Clerks", "Lock", "NotLinearizable"]

PATIENCE = 30.0
"""Seconds of the run's clock that an operation may take; longer than any fault that the graded tests make."""


class NotLinearizable(AssertionError):
    """A history is not linearizable: `culprit`, if one is known, has no place in any order."""

    def __init__(self, text: str, culprit: Operation | None) -> None:
        super().__init__(text)
        end = None if culprit is None else culprit.return_time
        self.at = None if end is None else round(end * 1e9)
        """Where to look for it, in ns of the run's clock."""


class Clerk:
    """A handle on one client. One operation at a time."""

    def __init__(self, clerks: Clerks, name: str) -> None:
        self.name = name
        self._clerks = clerks
        self._busy = False

    def get(self, key: str) -> tuple[str, int, str]:
        """(value, version, err); err is OK or NO_KEY.

        Raises:
            InvariantViolation: the result is not one that a server gave.
        """
        value, version, err = self._do("get", KvInput("get", key), key)
        return value, version, err

    def put(self, key: str, value: str, version: int) -> str:
        """How the put ended: OK, NO_KEY, VERSION or MAYBE.

        Raises:
            InvariantViolation: the result is not what the servers' replies allow.
        """
        err: str = self._do("put", KvInput("put", key, value, version), key, value, version)
        return err

    @property
    def requests(self) -> int:
        """Requests it has sent to servers so far."""
        return self._clerks.rules.requests.get(self.name, 0)

    def lock(self, name: str) -> Lock:
        """A handle on lock `name` in this client's hands."""
        return Lock(self, name)

    def leave(self) -> None:
        """The client goes away for good."""
        self._clerks.coordinator.crash(self.name)

    def call(self, control: str, *args: Any) -> Any:
        """Calls a control of the client's program."""
        if self._busy:
            raise UsageError(f"clerk {self.name} is in an operation: one client does one thing at a time")
        self._busy = True
        try:
            value = self._clerks.coordinator.control(self.name, control, *args, limit_ns=round(PATIENCE * 1e9))
            return checked(self.name, control, value)
        finally:
            self._busy = False

    def _do(self, control: str, asked: KvInput, *args: Any) -> Any:
        clerks = self._clerks
        position = len(clerks.history)
        called = clerks.coordinator.now
        clerks.history.append(Operation(self.name, asked, called))
        clerks.rules.begin(self.name)
        result = self.call(control, *args)
        if result is None and clerks.coordinator.is_up(self.name):
            raise CodeFault(f"{host_title(self.name)}: {control}() returned nothing")
        if result is None:
            raise UsageError(f"clerk {self.name} is not running")
        err, value, version = (result, "", 0) if control == "put" else (result[2], result[0], result[1])
        output = KvOutput(err, value, version)
        clerks.rules.judge(self.name, asked, output)
        clerks.history[position] = Operation(self.name, asked, called, output, clerks.coordinator.now)
        return result


class Lock:
    """A handle on a lock made of a key."""

    def __init__(self, clerk: Clerk, name: str) -> None:
        self._clerk = clerk
        self._name = name

    def acquire(self) -> None:
        """Waits until this client holds the lock."""
        self._clerk.call("acquire", self._name)

    def release(self) -> None:
        """Sets it free."""
        self._clerk.call("release", self._name)


class Clerks:
    """The clients of one cluster and the history of what they did.

    Args:
        cluster: whose servers they call.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.coordinator = cluster.coordinator
        self.history: list[Operation] = []
        """Operations in the order of their calls; times in ns of the run's clock."""
        self.rules = ClerkRules(cluster.coordinator)
        self._servers = [str(index) for index in range(cluster.n)]
        self._count = 0
        cluster.journal.listeners.append(self.rules.observe)

    def boot(self) -> Clerk:
        """One more client, on a host of its own."""
        name = f"c{self._count}"
        self._count += 1
        self.coordinator.boot(name, "tester.programs.clerk", self._servers, {})
        return Clerk(self, name)

    def assert_linearizable(self) -> None:
        """Demands that there is an order of all operations so far that one store could have done them in.

        Raises:
            NotLinearizable: there is none; the text names the operation that has no place, and why.
        """
        if check_operations(kv_model(), self.history) is not CheckResult.OK:
            _, info = check_operations_verbose(kv_model(), [_in_seconds(operation) for operation in self.history])
            culprit = None if info.culprit is None else info.partitions[info.culprit[0]][info.culprit[1]]
            raise NotLinearizable(f"the history is not linearizable: {info.explanation}", culprit)


def _in_seconds(operation: Operation) -> Operation:
    """For people, who see all other times in seconds."""
    end = operation.return_time
    return replace(operation, call_time=operation.call_time / 1e9, return_time=None if end is None else end / 1e9)
