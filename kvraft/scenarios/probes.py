"""Gets put to each node directly, whether it leads or not: one that leads no more and does not know it is asked, too.

Clients turn away from a node that is cut off, and so would hardly see what it says. Only answers are recorded: a get
that a node refuses, or does not answer, has told nothing and done nothing.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Sequence

import grpc
import grpc.aio

from kvraft.load import Recorded
from kvraft.scenarios.recording import Recording
from kvraft.service import kvraft_pb2 as pb
from kvraft.service import kvraft_pb2_grpc as rpc
from kvraft.service.links import channel_options

__all__ = ["Probes"]

PAUSE_SECONDS = 0.08
TIMEOUT_SECONDS = 1.0
RECONNECT_SECONDS = 0.2


class Probes:
    """One for each of `addresses`, from `start` to `close`, on a thread of their own.

    Args:
        reads: how gets are answered.
    """

    def __init__(self, addresses: Sequence[str], recording: Recording, *, reads: str, seed: int) -> None:
        self._addresses, self._recording = list(addresses), recording
        self._reads = pb.Reads.Value(reads.upper())
        self._choice = random.Random(f"probes/{seed}")
        self._over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="probes", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Waits for what is under way."""
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    async def _run(self) -> None:
        await asyncio.gather(*(self._probe(number, address) for number, address in enumerate(self._addresses)))

    async def _probe(self, number: int, address: str) -> None:
        while not self._over.is_set():
            async with grpc.aio.insecure_channel(address, channel_options()) as channel:
                stub = rpc.KVStub(channel)
                try:
                    while not self._over.is_set():
                        await self._ask(stub, f"probe {number}")
                        await asyncio.sleep(PAUSE_SECONDS * self._choice.uniform(0.5, 1.5))
                except grpc.aio.AioRpcError:
                    pass
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _ask(self, stub: rpc.KVStub, client: str) -> None:
        keys = tuple(self._recording.acknowledged)
        if not keys:
            return
        key = self._choice.choice(keys)
        called = time.monotonic()
        answer = await stub.Get(pb.GetRequest(key=key, reads=self._reads), timeout=TIMEOUT_SECONDS)
        returned = time.monotonic()
        if answer.err in (pb.OK, pb.NO_KEY):
            result = (answer.value, answer.version, pb.Err.Name(answer.err))
            self._recording.add(Recorded(0, "get", key, (), result, called, returned), client, is_counted=False)
