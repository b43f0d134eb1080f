"""Messages over a stream socket: a 4-byte length, then so many bytes."""

from __future__ import annotations

import math
import socket
import time

__all__ = ["LONGEST", "Splitter", "frame", "receive", "send"]

_HEADER = 4

LONGEST = 1 << 28
"""Bytes that one message may claim to have."""


def frame(message: bytes) -> bytes:
    """`message` as it goes over the socket."""
    return len(message).to_bytes(_HEADER, "big") + message


def send(connection: socket.socket, message: bytes, files: list[int] | None = None) -> None:
    """Sends one message, with open files attached to its first bytes."""
    data = frame(message)
    if files:
        data = data[socket.send_fds(connection, [data], files) :]
        if not data:
            return
    connection.sendall(data)


def receive(connection: socket.socket, most: int = LONGEST, *, within_s: float = math.inf) -> bytes | None:
    """One message, or None at the connection's end; for those who ask, and take the answer before they ask again.

    Args:
        within_s: seconds that a message may take once its first bytes are there.

    Raises:
        ValueError: it claims more than `most` bytes.
        BlockingIOError: nothing came within the socket's own time limit, or not all `within_s`.
    """
    head = connection.recv(65536)
    deadline = math.inf
    while 0 < len(head) < _HEADER:
        deadline = _check(deadline, within_s)
        more = connection.recv(65536)
        if not more:
            return None
        head += more
    if not head:
        return None
    size = _size_in(head, most)
    parts = [head[_HEADER:]]
    missing = size - len(parts[0])
    while missing > 0:
        deadline = _check(deadline, within_s)
        part = connection.recv(min(missing, 1 << 20))
        if not part:
            return None
        parts.append(part)
        missing -= len(part)
    return b"".join(parts) if len(parts) > 1 else parts[0]


def _check(deadline: float, within_s: float) -> float:
    """The deadline of a message that is not whole; it is set when that is first seen."""
    now = time.monotonic()
    if now > deadline:
        raise BlockingIOError(f"a message was not whole within {within_s:g} s")
    return min(deadline, now + within_s)


class Splitter:
    """Cuts what comes over a socket, in pieces of any length, into messages.

    Args:
        most: bytes that one message may have.
    """

    def __init__(self, most: int = LONGEST) -> None:
        self._most = most
        self._data = bytearray()
        self._needed = _HEADER
        """Bytes that there must be before there is another message."""

    @property
    def left(self) -> int:
        """Bytes of a message that has begun and has not come to its end."""
        return len(self._data)

    def feed(self, piece: bytes) -> list[bytes]:
        """The messages that `piece` completes.

        Raises:
            ValueError: one claims more bytes than it may have.
        """
        data = self._data
        data += piece
        if len(data) < self._needed:
            return []
        messages = []
        start = 0
        while len(data) - start >= _HEADER:
            end = start + _HEADER + _size_in(data[start : start + _HEADER], self._most)
            if len(data) < end:
                self._needed = end - start
                break
            messages.append(bytes(data[start + _HEADER : end]))
            start = end
        else:
            self._needed = _HEADER
        del data[:start]
        return messages


def _size_in(head: bytes | bytearray, most: int) -> int:
    size = int.from_bytes(head[:_HEADER], "big")
    if size > most:
        raise ValueError(f"a frame of {size} bytes, more than {most}")
    return size
