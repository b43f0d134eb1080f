"""A program for the benchmarks: a server whose handler does nothing, and a control that calls it many times."""

from __future__ import annotations

from labrpc import rpc
from labrpc.program import ProgramHost
from tests.harness.programs.ping import Ping, Pong


class Echo:
    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(args.number)


class Controls:
    def __init__(self, host: ProgramHost) -> None:
        self._host = host

    def hammer(self, target: int, calls: int) -> int:
        """Calls server `target` `calls` times, one after the other; how many replies came."""
        end = self._host.ends[target]
        return sum(end.call("Echo.ping", Ping(number)) is not None for number in range(calls))


def boot(host: ProgramHost) -> Controls:
    host.serve(Echo())
    return Controls(host)
