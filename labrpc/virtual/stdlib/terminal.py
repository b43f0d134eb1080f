"""What server code prints to on a host: streams whose lines become output in the journal, and no input or files."""

from __future__ import annotations

import io
import traceback as real_traceback
from collections.abc import Callable
from sys import _getframe
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn

from labrpc.context import HostEnded
from labrpc.errors import UsageError
from labrpc.virtual.stdlib.waiting import current_host

if TYPE_CHECKING:
    from labrpc.virtual.host import Host

__all__ = ["HostInput", "HostStream", "builtins_for", "io_namespace", "stderr", "stdout", "traceback_namespace"]

_NO_FILES = "server code has no files: keep what must survive a crash with the persister, and print() the rest"
_NO_INPUT = "server code has no input: what it works on comes in calls"


class HostStream(io.TextIOBase):
    """A text stream of a host: every line written to it is one line of output."""

    encoding = "utf-8"
    errors = "backslashreplace"

    def __init__(self, host: Host, name: str) -> None:
        super().__init__()
        self._host = host
        self._line = ""
        self._mu = Lock()
        """Where threads are real, two may write at once."""
        self.name = name

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self._host.ended and self._host.current is not None:  # else it is a __del__ while the host is cleared away
            raise HostEnded
        with self._mu:
            *lines, self._line = "".join((self._line, text)).split("\n")  # runs no code of a subclass of str
        for line in lines:
            self._host.output(line)
        return len(text)

    def flush(self) -> None:
        with self._mu:
            line, self._line = self._line, ""
        if line:
            self._host.output(line)

    def close(self) -> None:
        self.flush()  # and stays open: it is the host's


class HostInput(io.TextIOBase):
    """The standard input of a host: reading it is a mistake."""

    name = "<stdin>"

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> NoReturn:
        raise UsageError(_NO_INPUT)

    def readline(self, size: int = -1, /) -> NoReturn:  # type: ignore[override]
        raise UsageError(_NO_INPUT)


def _stream(host: Host, name: str) -> HostStream:
    stream: HostStream | None = host.stdlib.get(name)
    if stream is None:
        stream = host.stdlib[name] = HostStream(host, f"<{name}>")
    return stream


def stdout(host: Host) -> HostStream:
    """The host's standard output."""
    return _stream(host, "stdout")


def stderr(host: Host) -> HostStream:
    """The host's standard error; its lines are output too."""
    return _stream(host, "stderr")


def _refuse_open(*args: object, **kwargs: object) -> NoReturn:
    raise UsageError(_NO_FILES)


def _refuse_input(*args: object) -> NoReturn:
    raise UsageError(_NO_INPUT)


def builtins_for(host: Host) -> dict[str, object]:
    """The builtins that are different on `host`: `print` writes output, `open` and `input` raise `UsageError`."""

    def host_print(
        *values: object, sep: str | None = None, end: str | None = None, file: Any = None, flush: bool = False
    ) -> None:
        if file is None:
            sys = host.stdlib.get("sys")  # whose stdout server code may have replaced
            file = sys.stdout if sys is not None else stdout(host)
        # One write: str() of a value may run code under test, and other threads print meanwhile.
        text = (" " if sep is None else sep).join(map(str, values)) + ("\n" if end is None else end)
        file.write(text)
        if flush:
            file.flush()

    host_print.__name__ = host_print.__qualname__ = "print"
    return {"print": host_print, "open": _refuse_open, "input": _refuse_input}


def io_namespace() -> dict[str, Any]:
    """The contents of a host's `io`: everything but files."""
    refused = {"FileIO", "open", "open_code"}
    public = {name: value for name, value in vars(io).items() if not name.startswith("_") and name not in refused}
    return {**public, "__all__": [name for name in io.__all__ if name in public], "open": _refuse_open}


_FILE_POSITIONS = {"print_exc": 1, "print_exception": 4, "print_last": 1, "print_list": 1, "print_tb": 2}


def traceback_namespace() -> dict[str, Any]:
    """The contents of a host's `traceback`: what prints does so to the host's standard error."""
    public = {name: value for name, value in vars(real_traceback).items() if not name.startswith("_")}
    printing = {name: _printing(getattr(real_traceback, name), position) for name, position in _FILE_POSITIONS.items()}
    return {**public, "__all__": list(real_traceback.__all__), **printing, "print_stack": _print_stack}


def _printing(function: Callable[..., None], position: int) -> Callable[..., None]:
    """`function` with the host's standard error as the default of its argument `file`, at `position`."""

    def printing(*args: Any, **kwargs: Any) -> None:
        before, after = args[:position], args[position + 1 :]
        file = args[position] if len(args) > position else kwargs.pop("file", None)
        if after or len(args) > position:
            function(*before, file or stderr(current_host()), *after, **kwargs)
        else:
            function(*before, file=file or stderr(current_host()), **kwargs)

    printing.__name__ = printing.__qualname__ = function.__name__
    return printing


def _print_stack(f: Any = None, limit: int | None = None, file: Any = None) -> None:
    real_traceback.print_stack(f or _getframe(1), limit, file or stderr(current_host()))
