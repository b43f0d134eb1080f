"""A store for the tests of the load generator, which answers after a millisecond, but once stands still."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from kvraft.rpc import Err
from kvraft.service import Refused

__all__ = ["RefusingConnection", "SlowConnection"]

STALL_AFTER = 0.4
STALL_SECONDS = 0.5


class SlowConnection:
    """Stands still for `STALL_SECONDS`, `STALL_AFTER` seconds after its first get."""

    def __init__(self, addresses: Sequence[str], *, timeout: float) -> None:
        self._first = 0.0

    async def put(self, key: str, value: str, version: int, **_: Any) -> Err:
        return Err.OK

    async def get(self, key: str, **_: Any) -> tuple[str, int, Err]:
        now = time.monotonic()
        self._first = self._first or now
        stalls = self._first + STALL_AFTER
        await asyncio.sleep(max(stalls + STALL_SECONDS - now, 0.001) if stalls <= now else 0.001)
        return "value", 1, Err.OK

    async def close(self) -> None:
        pass


class RefusingConnection(SlowConnection):
    """Takes nothing."""

    async def put(self, key: str, value: str, version: int, **_: Any) -> Err:
        raise Refused("the store is closed")
