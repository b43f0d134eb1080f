"""What `run` and its processes of clients say to each other: a length, then MessagePack."""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = [
    "LENGTH_BYTES",
    "Ended",
    "Failed",
    "Go",
    "Order",
    "Ready",
    "SecondPart",
    "Stop",
    "decode_frame",
    "encode_frame",
]

LENGTH_BYTES = 4

Pairs = list[tuple[int, int]]


class Order(msgspec.Struct, tag=True):
    """To a process, first: what it is to do. `options` are those of `AsyncClient`; paths as strings."""

    load: dict[str, Any]
    addresses: list[str]
    options: dict[str, Any]
    process: int
    is_recorded: bool


class Ready(msgspec.Struct, tag=True):
    """From a process: its keys are there."""


class Go(msgspec.Struct, tag=True):
    """To a process: the warm-up begins at this time.monotonic()."""

    at: float


class Stop(msgspec.Struct, tag=True):
    """To a process: no more operations."""


class SecondPart(msgspec.Struct, tag=True):
    """From a process: one second of it."""

    second: int
    done: int
    errors: int
    late: int
    buckets: Pairs
    total: float
    largest: float
    records: list[tuple[int, str, str, tuple[Any, ...], Any, float, float | None]]


class KindPart(msgspec.Struct):
    """One kind of operations."""

    outcomes: dict[str, int]
    buckets: Pairs
    total: float
    largest: float


class Ended(msgspec.Struct, tag=True):
    """From a process, last."""

    kinds: dict[str, KindPart]
    elapsed: float
    never_begun: int
    cpu: float


class Failed(msgspec.Struct, tag=True):
    """From a process, last: it could not begin."""

    detail: str


Frame = Order | Ready | Go | Stop | SecondPart | Ended | Failed

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


def encode_frame(frame: Frame) -> bytes:
    """The bytes of a frame, its length before it."""
    body = _encode(frame)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def decode_frame(body: bytes) -> Frame:
    """The frame without its length. Raises: msgspec.ValidationError, msgspec.DecodeError: it is none."""
    frame: Frame = _decode(body)
    return frame
