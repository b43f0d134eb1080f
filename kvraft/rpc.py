"""What clerks and key/value servers say to each other.

Every key has a version: 0 before its first put, and one more after each. A put names the version it expects, so that
sending it again does no harm: it can take effect only once.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from labrpc import message

__all__ = ["Err", "GetArgs", "GetReply", "PutArgs", "PutReply"]


@message
class Err(enum.StrEnum):
    """How an operation ended."""

    OK = "OK"
    NO_KEY = "NO_KEY"
    """The key does not exist: a get of it, or a put that expects a version other than 0."""
    VERSION = "VERSION"
    """The key has another version than the put expects; the put did nothing."""
    MAYBE = "MAYBE"
    """From a clerk only: its put may have taken effect, or not."""
    WRONG_LEADER = "WRONG_LEADER"
    """From a server only: ask another one. The operation may yet take effect."""


@message
@dataclass(frozen=True)
class GetArgs:
    """Asks for a key's value and version."""

    key: str


@message
@dataclass(frozen=True)
class GetReply:
    """`value` and `version` are "" and 0 unless `err` is OK."""

    value: str
    version: int
    err: Err


@message
@dataclass(frozen=True)
class PutArgs:
    """Sets a key's value, if `version` is the one it has (0: it does not exist yet)."""

    key: str
    value: str
    version: int


@message
@dataclass(frozen=True)
class PutReply:
    """How the put ended."""

    err: Err
