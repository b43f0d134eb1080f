"""What server code calls: ends to call other servers by, handlers they call back, notes on the timeline.

    reply = peers[2].call("Raft.request_vote", args)      # None: lost, refused, dead or late

    class Raft:
        @rpc
        def request_vote(self, args: RequestVoteArgs) -> RequestVoteReply: ...

What travels is copied: two servers never share an object.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from labrpc import context
from labrpc.errors import UsageError

__all__ = ["Annotation", "ClientEnd", "Handler", "annotate", "handlers_of", "rpc"]

F = TypeVar("F", bound=Callable[..., Any])


@runtime_checkable
class ClientEnd(Protocol):
    """One end of a connection to one server."""

    def call(self, method: str, args: Any, timeout: float | None = None) -> Any | None:
        """Calls handler `method` ("Service.method") there with `args`, and waits for the reply.

        Returns the reply, or None if the request or the reply was lost, the server refused or died, or `timeout`
        seconds went by. It always returns, without a timeout after as long as the network likes: up to 7 s. A reply
        that comes later is discarded. Never call it while holding a lock.

        Raises:
            UsageError: no such method there, or `args` is not what its handler takes, or cannot be encoded.
        """


class Handler(NamedTuple):
    """A bound `@rpc` method and the types its annotations promise (None: any)."""

    function: Callable[[Any], Any]
    argument_type: type | None
    reply_type: type | None


def rpc(function: F) -> F:
    """Method decorator: other servers may call it, as "Service.method". It takes one annotated argument.

    A service is named after its class, unless the class has a `service_name`.
    """
    function.__rpc__ = True  # type: ignore[attr-defined]
    return function


def handlers_of(service: object) -> dict[str, Handler]:
    """The handlers of `service` by their full names.

    Raises:
        UsageError: it has none, or one lacks annotations; the text names the file and line.
    """
    cls = type(service)
    prefix = getattr(cls, "service_name", cls.__name__)
    found: dict[str, Handler] = {}
    for name in dir(cls):
        function = getattr(cls, name, None)
        if getattr(function, "__rpc__", False):
            argument_type, reply_type = _annotated_types(function, f"{cls.__name__}.{name}")
            found[f"{prefix}.{name}"] = Handler(getattr(service, name), argument_type, reply_type)
    if not found:
        raise UsageError(f"service {prefix} has no handlers: mark its RPC methods with @rpc")
    return found


class Annotation:
    """A note on the timeline: an instant, or, once it is ended, the time from `annotate` to there.

    As a context manager it lasts for the block, or until its server is gone. Any thread of the server may end it.
    """

    __slots__ = ("_host", "_number")

    def __init__(self, host: context.Environment | None, number: int) -> None:
        self._host = host
        self._number = number

    def end(self) -> None:
        """It has lasted until now. More calls do nothing."""
        host, self._host = self._host, None
        if host is not None and host is context.here():
            host.end_annotation(self._number)

    def __enter__(self) -> Annotation:
        if self._host is not None and self._host is context.here():
            self._host.prolong_annotation(self._number)
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()


def annotate(tag: str, text: str) -> Annotation:
    """Puts a note on this server's lane of the timeline; `tag` names its topic. It never changes the run.

        annotate("vote", f"for {candidate}")                # an instant

        with annotate("election", f"term {term}"):          # an interval
            ...

        waiting = annotate("commit", f"index {index}")      # an interval from here ...
        waiting.end()                                       # ... to here, perhaps on another thread

    It counts as output, of which a server may have so much. Outside a host it does nothing, so that server code can be
    tested on its own.
    """
    host = context.here()
    return Annotation(host, 0 if host is None else host.annotate(str(tag), str(text)))


def _annotated_types(function: Any, title: str) -> tuple[type | None, type | None]:
    code = function.__code__
    names = code.co_varnames[1 : code.co_argcount]
    site = f"{code.co_filename}:{code.co_firstlineno}"
    if len(names) != 1:
        raise UsageError(f"handler {title} takes {len(names)} arguments, must take one message, at {site}")
    hints = function.__annotations__
    if any(isinstance(hint, str) for hint in hints.values()):
        try:
            hints = typing.get_type_hints(function)
        except NameError as error:
            raise UsageError(f"handler {title} has an annotation that does not resolve: {error}, at {site}") from None
    missing = [name for name in (*names, "return") if name not in hints]
    if missing:
        raise UsageError(
            f"handler {title} lacks the annotation of {' and '.join(missing)}, at {site}; "
            f"write `def {function.__name__}(self, args: SomeArgs) -> SomeReply`"
        )
    return _checkable(hints[names[0]]), _checkable(hints["return"])


def _checkable(hint: Any) -> type | None:
    return hint if isinstance(hint, type) and typing.get_origin(hint) is None else None
