"""Hosts in this process: `--servers threads`. A step is a function call."""

from __future__ import annotations

from labrpc.virtual.frames import HostSettings
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle

__all__ = ["InProcessMachines"]


class InProcessMachines:
    """Makes hosts in this process.

    Args:
        bundle: the code under test.
    """

    def __init__(self, bundle: CodeBundle) -> None:
        self._bundle = bundle

    def create(self, settings: HostSettings) -> Host:
        return Host(settings, self._bundle)

    def close(self) -> None:
        pass
