"""A process of clients: takes an order on its standard input, and says on its standard output what comes of it.

python -m kvraft.load.worker        started by `run`; ends with its input
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

from kvraft.load.clients import LoadClients
from kvraft.load.frames import (
    LENGTH_BYTES,
    Ended,
    Failed,
    Go,
    Order,
    Ready,
    decode_frame,
    encode_frame,
)
from kvraft.load.load import Load
from kvraft.service.client import Refused, Unavailable
from labrpc.errors import UsageError

__all__ = ["main"]

FILES = ("authority", "certificate", "key")
"""Options of `AsyncClient` that are paths."""

GATHER_SECONDS = 0.02
"""After the end of a second, in which operations that ended in it come to be counted."""


class _Process:
    """One process of clients."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def run(self) -> None:
        """From the order to the end."""
        order = await self._read()
        if not isinstance(order, Order):
            return
        try:
            load = Load.from_json(order.load)
            options = {name: Path(value) if name in FILES and value else value for name, value in order.options.items()}
            clients = LoadClients(load, order.addresses, options, order.process, order.is_recorded)
        except (UsageError, TypeError) as error:
            self._writer.write(encode_frame(Failed(str(error))))
            return
        waiting = asyncio.ensure_future(self._read())
        try:
            if not await self._set_up(clients, waiting):
                return
            go = await waiting
            if not isinstance(go, Go):
                return
            waiting = asyncio.ensure_future(self._read())  # Stop, or the end of the input
            await self._drive(clients, go.at, waiting)
        finally:
            waiting.cancel()
            await clients.close()

    async def _set_up(self, clients: LoadClients, ended: asyncio.Future[Any]) -> bool:
        """Whether it worked."""
        setting_up: asyncio.Future[Any] = asyncio.ensure_future(clients.set_up())
        await asyncio.wait([setting_up, ended], return_when=asyncio.FIRST_COMPLETED)
        if not setting_up.done():  # told to stop
            setting_up.cancel()
            return False
        try:
            setting_up.result()
        except (Unavailable, Refused) as error:
            self._writer.write(encode_frame(Failed(str(error))))
            return False
        # What is there now stays: collections need not look at it again, and come seldom.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 50)
        self._writer.write(encode_frame(Ready()))
        return True

    async def _drive(self, clients: LoadClients, at: float, told: asyncio.Future[Any]) -> None:
        load = clients.load
        cpu_before = time.process_time()
        running: asyncio.Future[Any] = asyncio.ensure_future(clients.run(at))
        await asyncio.sleep(0)
        start = at + load.warm_up
        second = -int(-(-load.warm_up // 1))
        is_told = False
        while not running.done():
            pause = max(start + second + 1 + GATHER_SECONDS - time.monotonic(), 0.001)
            waits = [running] if is_told else [running, told]
            await asyncio.wait(waits, timeout=pause, return_when=asyncio.FIRST_COMPLETED)
            if told.done() and not is_told:
                is_told = True
                await clients.stop()
            if not running.done() and time.monotonic() >= start + second + 1 + GATHER_SECONDS:
                self._writer.write(encode_frame(clients.tally.take_second(second, clients.late)))
                second += 1
        running.result()
        tally = clients.tally
        self._writer.write(encode_frame(tally.take_second(second, clients.late)))
        elapsed = tally.last_return - start
        cpu = time.process_time() - cpu_before
        self._writer.write(encode_frame(Ended(tally.kinds(), elapsed, clients.late, cpu)))

    async def _read(self) -> object:
        """The next frame; None: there is none any more."""
        try:
            length = int.from_bytes(await self._reader.readexactly(LENGTH_BYTES), "big")
            return decode_frame(await self._reader.readexactly(length))
        except asyncio.IncompleteReadError:
            return None


async def _work() -> None:
    loop = asyncio.get_running_loop()
    # Nothing but frames goes to the pipe: whatever prints, prints to the standard error.
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, output)
    writer = asyncio.StreamWriter(transport, protocol, None, loop)
    try:
        await _Process(reader, writer).run()
        await writer.drain()
    finally:
        writer.close()
        while transport.get_write_buffer_size():
            await asyncio.sleep(0.005)


def main() -> None:
    """Until it is done."""
    asyncio.run(_work())


if __name__ == "__main__":
    main()
