"""`--break server=2,time=3.2` and `--break server=2,line=raft/raft.py:278` as breaks of the debugger."""

from __future__ import annotations

import math
import re

from labrpc.errors import UsageError
from labrpc.virtual.debugger import Break

__all__ = ["parse_break", "parse_time"]

_KEYS = ("server", "time", "line")
_EXAMPLE = "--break server=2,time=3.2"


def parse_break(text: str, *, server: str = "") -> Break:
    """A break as written on a command line. A clerk is a host as well: `server=c0`.

    Args:
        server: which one is meant where `text` names none.

    Raises:
        UsageError: it is none; the text says what is wrong, and how one looks.
    """
    values: dict[str, str] = {"server": server} if server else {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if not equals or key not in _KEYS or (key in values and key != "server"):
            raise UsageError(f"--break {text}: {part!r} is not one of server=, time= and line=; write {_EXAMPLE}")
        values[key] = value
    if not re.fullmatch(r"c?\d+", values.get("server", "")):
        raise UsageError(f"--break {text} does not name a server by its number; write {_EXAMPLE}")
    if server and values["server"] != server:
        raise UsageError(f"--break {text} is of server {values['server']}, but server {server} is replayed by itself")
    if "time" not in values and "line" not in values:
        raise UsageError(f"--break {text} says neither when nor where; write {_EXAMPLE}")
    at = parse_time(f"--break {text}", values["time"]) if "time" in values else 0
    if "line" not in values:
        return Break(values["server"], at)
    file, _, line = values["line"].rpartition(":")
    if not file or not line.isdecimal():
        raise UsageError(f"--break {text}: {values['line']} is no line; write --break server=2,line=raft/raft.py:278")
    return Break(values["server"], at, file, int(line))


def parse_time(option: str, text: str) -> int:
    """Virtual seconds as ns.

    Raises:
        UsageError: `text` is no number of 0 or more.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < 1e9:
        raise UsageError(f"{option}: {text} is no time; give seconds of the run's own clock, 0 or more")
    return round(seconds * 1e9)
