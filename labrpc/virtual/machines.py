"""Hosts in this process: `--servers threads`. A step is a function call."""

from __future__ import annotations

from labrpc.frames import HostSettings
from labrpc.ledger import Ledger
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle

__all__ = ["InProcessMachines"]


class InProcessMachines:
    """Makes hosts in this process.

    Args:
        bundle: the code under test.
        ledger: where the hosts' decisions are taken down.
    """

    def __init__(self, bundle: CodeBundle, ledger: Ledger | None = None) -> None:
        self._bundle = bundle
        self._ledger = ledger

    def create(self, settings: HostSettings) -> Host:
        return Host(settings, self._bundle, self._ledger)

    def close(self) -> None:
        pass
