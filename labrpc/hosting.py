"""What a host does for the program on it, whatever its clock and its threads are: handlers, controls, notes, reports.

    inbox item --Host--> thread --HostBase--> handler or control --> effect

The virtual and the real host are both made of this; they differ in what time and a thread is.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from labrpc import frames
from labrpc.api import Handler, handlers_of
from labrpc.codec import CodecError, Registry, decode, encode
from labrpc.errors import HarnessError, UsageError
from labrpc.sandbox import deeds
from labrpc.streams import Streams

__all__ = ["HostBase", "HostEnd"]


class HostBase:
    """One incarnation of one server or clerk.

    Args:
        settings: who it is.
        files: the files of the code under test, each with the short path to show.
        streams: its random streams.
    """

    loader: Any
    """Its own copies of the modules under test."""

    def __init__(self, settings: frames.HostSettings, files: dict[str, str], streams: Streams) -> None:
        self.settings = settings
        self.name = settings.name
        self.streams = streams
        self.registry = Registry()
        self.ends: list[HostEnd] = []
        self.config: Any = None
        self._files = files
        self._handlers: dict[str, Handler] | None = None
        self._early: list[frames.Request] = []
        self._controls: object | None = None
        self._early_controls: list[frames.Control] = []
        self._output_bytes = 0
        self._annotation_count = 0

    # -------------------------------------------------------------- what the two kinds do each in its own way

    def emit(self, effect: frames.Effect) -> None:
        """Has `effect` happen."""
        raise NotImplementedError

    def instant(self) -> int:
        """The instant of an effect that happens now. ns."""
        raise NotImplementedError

    def running_name(self) -> str:
        """The name of the running thread; "" outside the host's threads."""
        raise NotImplementedError

    def running_site(self) -> str:
        """file:line of the code under test that the running thread is in, or ""."""
        raise NotImplementedError

    def call(self, target: str, method: str, args: Any, timeout: float | None) -> Any | None:
        """See `ClientEnd.call`."""
        raise NotImplementedError

    # -------------------------------------------------------------- the program and its handlers

    def start_program(self, item: frames.Boot) -> bool:
        """Boots the program, on the running thread. Returns whether it has started; if not, that is reported."""
        try:
            module = self.loader.import_module(item.program)
            controls = module.boot(self)
        except (Exception, SystemExit) as error:
            if not self._report_missing(error):
                text = f"{_outgrown(error)}it did not start: {_describe(error)}"
                self.report("boot", text, self._site_of(error), self._traceback(error))
            return False
        self._controls = controls
        return True

    def respond(self, item: frames.Request) -> tuple[bytes | None, str]:
        """Runs the handler that `item` is for, on the running thread: (its reply, how the caller misused it)."""
        try:
            function, argument = self._resolve(item)
        except UsageError as error:
            return None, str(error)
        try:
            reply = function(argument)
            payload = encode(reply)
        except Exception as error:
            self.report_death(self.running_name(), error)
            return None, ""
        handler = self._handlers[item.method]  # type: ignore[index]
        if handler.reply_type is not None and type(reply) is not handler.reply_type:
            code = function.__func__.__code__  # type: ignore[attr-defined]
            self.report(
                "misuse",
                f"handler {item.method} returned {type(reply).__name__}, "
                f"its annotation says {handler.reply_type.__name__}",
                f"{self.short_path(code.co_filename)}:{code.co_firstlineno}",
            )
            return None, ""
        return payload, ""

    def _resolve(self, item: frames.Request) -> tuple[Callable[[Any], Any], Any]:
        handlers = self._handlers or {}
        handler = handlers.get(item.method)
        if handler is None:
            service, _, _ = item.method.partition(".")
            known = sorted({name.partition(".")[0] for name in handlers})
            if service not in known:
                raise UsageError(f"{self.name} has no service {service}; it has {', '.join(known) or 'none'}")
            methods = ", ".join(sorted(name for name in handlers if name.startswith(f"{service}.")))
            raise UsageError(f"{self.name} has no method {item.method}; it has {methods}")
        try:
            argument = decode(item.payload)
        except CodecError as error:
            raise UsageError(f"{self.name} cannot read the argument of {item.method}: {error}") from None
        if handler.argument_type is not None and type(argument) is not handler.argument_type:
            raise UsageError(f"{item.method} takes {handler.argument_type.__name__}, not {type(argument).__name__}")
        return handler.function, argument

    def run_control(self, item: frames.Control) -> bytes:
        """Calls the control that `item` names, on the running thread; what it returned."""
        function = getattr(self._controls, item.name, None)
        if function is None:
            raise HarnessError(f"the program of {self.name} has no control {item.name}")
        return encode(function(*decode(item.payload)))

    # -------------------------------------------------------------- the program's side (`ProgramHost`)

    def serve(self, *services: object) -> None:
        """Opens the host's handlers to the network: requests that came before are handled now."""
        handlers: dict[str, Handler] = {}
        for service in services:
            handlers.update(handlers_of(service))
        self._handlers = handlers

    def apply(self, message: Any) -> None:
        """Tells the judge that the server handed `message` to its service."""
        self.emit(frames.Apply(self.instant(), encode(message)))

    # -------------------------------------------------------------- output

    def annotate(self, tag: str, text: str) -> int:
        """See `labrpc.annotate`. Returns the annotation's number; 0: there is none, for there was too much output."""
        tag, text = _sendable(tag), _sendable(text)
        if not self._has_room_for(len(tag) + len(text) + 2):
            return 0
        self._annotation_count += 1
        self.emit(frames.Annotation(self.instant(), self._annotation_count, tag, text))
        return self._annotation_count

    def end_annotation(self, number: int) -> None:
        if number:
            self.emit(frames.AnnotationEnd(self.instant(), number))

    def output(self, text: str) -> None:
        """A line that server code printed or logged."""
        if self._has_room_for(len(text) + 1):
            self.emit(frames.Output(self.instant(), _sendable(self.running_name()), _sendable(text)))

    def _has_room_for(self, size: int) -> bool:
        """Whether `size` more bytes of output are within the limit. The first time that they are not is reported."""
        limit = self.settings.output_limit
        if self._output_bytes > limit:
            return False
        self._output_bytes += size
        if self._output_bytes > limit:
            text = f"it printed and annotated more than {limit} bytes; do it less often"
            self.report("output", text, self.running_site())
            return False
        return True

    # -------------------------------------------------------------- reports

    def report(self, kind: str, text: str, site: str = "", detail: str = "") -> None:
        self.emit(frames.Report(self.instant(), kind, _sendable(text), _sendable(site), _sendable(detail)))

    def misuse(self, text: str) -> None:
        """A mistake in how server code uses the lab: it fails the test, even if the exception is swallowed."""
        self.report("misuse", text, self.running_site())

    def report_death(self, thread: str, error: BaseException) -> None:
        """Thread `thread` died of `error`."""
        if not self._report_missing(error):
            text = f"{_outgrown(error)}thread {thread or 'main'} died: {_describe(error)}"
            self.report("died", text, self._site_of(error), self._traceback(error))

    def _report_missing(self, error: BaseException) -> bool:
        """Whether `error` says that a function under test is not written yet: then that is reported, in its words."""
        frames_below = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        if not isinstance(error, NotImplementedError) or not frames_below:
            return False
        code = frames_below[-1].f_code
        if not self.is_server_file(code.co_filename):
            return False
        text = str(error)
        what = f"{code.co_qualname} is not implemented yet"
        self.report("missing", f"{what}; {text}" if text else what, self._site_of(error))
        return True

    def is_server_file(self, filename: str) -> bool:
        return filename in self._files

    def short_path(self, filename: str) -> str:
        return self._files.get(filename, filename)

    def _site_of(self, error: BaseException) -> str:
        """file:line of the innermost frame of the code under test in `error`'s traceback, or "" if there is none."""
        if isinstance(error, SyntaxError) and error.filename:
            return f"{self.short_path(error.filename)}:{error.lineno}"
        site = ""
        for frame, line in traceback.walk_tb(error.__traceback__):
            if self.is_server_file(frame.f_code.co_filename):
                site = f"{self.short_path(frame.f_code.co_filename)}:{line}"
        return site

    def _traceback(self, error: BaseException) -> str:
        shown = [entry for entry in traceback.extract_tb(error.__traceback__) if self.is_server_file(entry.filename)]
        lines = traceback.format_list(shown) + traceback.format_exception_only(error)
        return "".join(lines).rstrip()


class HostEnd:
    """The `ClientEnd` of a host to `target`."""

    __slots__ = ("_host", "target")

    def __init__(self, host: HostBase, target: str) -> None:
        self._host = host
        self.target = target

    def call(self, method: str, args: Any, timeout: float | None = None) -> Any | None:
        return self._host.call(self.target, method, args, timeout)

    def __repr__(self) -> str:
        return f"<end to {self.target}>"


def _sendable(text: str) -> str:
    """`text` with half characters, which UTF-8 lacks, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _outgrown(error: BaseException) -> str:
    """What to say first of an error that a sandbox's limit is behind."""
    return f"its process {deeds.DEEDS['memory']}: " if isinstance(error, MemoryError) and deeds.is_watching() else ""


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
