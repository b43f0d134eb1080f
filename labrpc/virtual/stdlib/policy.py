"""Which modules of the standard library server code may import, and what to use instead of those it may not."""

from __future__ import annotations

__all__ = ["ALLOWED", "PRIVATE", "REFUSED"]

ALLOWED = frozenset(
    """
    __future__ abc array ast base64 binascii bisect bz2 calendar cmath codecs collections collections.abc colorsys
    contextlib contextvars copy copyreg csv dataclasses decimal difflib enum errno fractions functools graphlib
    hashlib heapq hmac html inspect ipaddress itertools json keyword lzma math numbers operator pdb reprlib re
    string struct textwrap tomllib types typing unicodedata warnings weakref zlib
    """.split()  # noqa: SIM905 - a table of words
)
"""Modules that server code gets as they are: they keep no time, no threads and no randomness."""

PRIVATE = frozenset(
    {
        "concurrent.futures",
        "concurrent.futures._base",
        "concurrent.futures.thread",
        "logging",
        "pprint",
        "sched",
        "statistics",
    }
)
"""Modules that are executed anew for each host, on top of its own `threading`, `time`, `random` and `sys`."""

_THREADS = "use threading, queue and concurrent.futures.ThreadPoolExecutor"
_RPC = "servers talk through the ClientEnds they are given: end.call(...)"
_FILES = "a server has no files; keep what must survive a crash with the persister"
_ENCODE = "use labrpc.encode and labrpc.decode, which keep every type and run no code"

REFUSED = {
    "_asyncio": _THREADS,
    "_queue": "use queue",
    "_random": "use random",
    "_thread": "use threading",
    "asyncio": _THREADS,
    "atexit": "nothing runs when a host loses its power; stop in kill()",
    "concurrent.futures.process": "a server is one process; use ThreadPoolExecutor",
    "ctypes": "a server is plain Python",
    "dbm": _FILES,
    "fileinput": _FILES,
    "gc": "collections are at fixed points of a run; use weakref or close things yourself",
    "glob": _FILES,
    "gzip": "use zlib.compress",
    "http": _RPC,
    "importlib": "use an import statement",
    "logging.config": "use logging.basicConfig",
    "logging.handlers": "use logging.basicConfig: its output becomes lines of the journal",
    "marshal": _ENCODE,
    "mmap": _FILES,
    "multiprocessing": _THREADS,
    "pathlib": _FILES,
    "pickle": _ENCODE,
    "resource": "a host's limits are the test's",
    "runpy": "use an import statement",
    "select": _RPC,
    "selectors": _RPC,
    "shelve": _FILES,
    "shutil": _FILES,
    "signal": "no signal reaches a server; the test calls kill()",
    "socket": _RPC,
    "socketserver": _RPC,
    "sqlite3": _FILES,
    "ssl": _RPC,
    "subprocess": "a server is one process; use threading",
    "tempfile": _FILES,
    "timeit": "use time.perf_counter",
    "tracemalloc": "memory is the process's, not the server's",
    "unittest": "tests are in tests/, outside the server",
    "urllib": _RPC,
    "xmlrpc": _RPC,
    "zoneinfo": "a host's clock is in UTC; use datetime.timezone",
}
"""What to use instead of a module that is refused."""
