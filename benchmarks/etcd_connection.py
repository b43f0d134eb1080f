"""A connection to etcd over gRPC with the methods of `AsyncClient`, so that the load of `kvraft.load` can be put on it.

A put is a transaction, as ours is one: set the key if it has this version. (etcd's versions count like ours, from 0.) A
get is linearizable. The few messages (of etcd's rpc.proto) are written by hand, so that no generated code is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import grpc.aio

from kvraft.rpc import Err
from kvraft.service import Unavailable

__all__ = ["EtcdConnection"]

_VARINT, _LENGTH = 0, 2
_TARGET_VERSION = b"\x10\x00"  # Compare.target = VERSION


class EtcdConnection:
    """One connection, to the first of `addresses`: the leader's, so that nothing is forwarded."""

    def __init__(self, addresses: Sequence[str], *, timeout: float) -> None:
        self._timeout = timeout
        self._channel = grpc.aio.insecure_channel(addresses[0], [("grpc.use_local_subchannel_pool", 1)])
        self._transact = self._method("Txn")
        self._range = self._method("Range")

    def _method(self, name: str) -> Any:
        return self._channel.unary_unary(f"/etcdserverpb.KV/{name}")

    async def put(self, key: str, value: str, version: int, *, timeout: float | None = None) -> Err:
        """OK or VERSION. Raises: Unavailable."""
        name = key.encode()
        compare = _TARGET_VERSION + _bytes(3, name) + _number(4, version)
        put = _bytes(1, name) + _bytes(2, value.encode())
        response = await self._ask(self._transact, _bytes(1, compare) + _bytes(2, _bytes(2, put)), timeout)
        return Err.OK if dict(_fields(response)).get(2) else Err.VERSION

    async def get(self, key: str, *, reads: str | None = None, timeout: float | None = None) -> tuple[str, int, Err]:
        """As `AsyncClient.get`. Raises: Unavailable."""
        response = dict(_fields(await self._ask(self._range, _bytes(1, key.encode()), timeout)))
        if 2 not in response:
            return "", 0, Err.NO_KEY
        found = dict(_fields(response[2]))
        return found.get(5, b"").decode(), found[4], Err.OK

    async def close(self) -> None:
        """Ends it."""
        await self._channel.close()

    async def _ask(self, method: Any, request: bytes, timeout: float | None) -> bytes:
        try:
            response: bytes = await method(request, timeout=timeout or self._timeout)
            return response
        except grpc.aio.AioRpcError as error:
            raise Unavailable(error.details()) from None
        except asyncio.CancelledError:
            raise Unavailable("the connection was closed") from None


def _number(field: int, value: int) -> bytes:
    return bytes([field << 3 | _VARINT]) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | _LENGTH]) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """(field, number or bytes) of a message that has no others."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        tag = varint()
        if tag & 7 == _VARINT:
            yield tag >> 3, varint()
        elif tag & 7 == _LENGTH:
            length = varint()
            yield tag >> 3, data[at : at + length]
            at += length
        else:
            raise ValueError(f"field {tag >> 3} has wire type {tag & 7}")
