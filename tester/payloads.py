"""What the bytes of messages, controls and applies say, to a judge without the classes of the code under test."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from labrpc.codec import CodecError, Record, decode_record, decode_shared_record

__all__ = ["message_body", "value_of"]


@lru_cache(maxsize=4096)
def message_body(payload: bytes) -> Record | None:
    """A message's fields, only to be read; None if it is no message. Heartbeats repeat, so decoded ones are kept."""
    try:
        body = decode_shared_record(payload)
    except CodecError:
        return None
    return body if isinstance(body, Record) else None


def value_of(payload: bytes) -> Any:
    """Any value, with messages as `Record`s; None if the bytes are none."""
    try:
        return decode_record(payload)
    except CodecError:
        return None
