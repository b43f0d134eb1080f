"""`tester logs`: what servers printed and annotated, in time order, chosen by server, topic, time and text.

    journal --survey--> hosts, topics, how long annotations lasted          (once through it)
            --lines--> Line, Line, ... --list, or a column a server--> out  (and once more, a line at a time)

However long the run is, it takes little memory: nothing is kept of the lines but how long each annotation lasted.
A line is of the topic in brackets, an annotation; of a thread, printed or logged; or with an exclamation mark, a
diagnosis of the lab's. Colour only repeats what is there in words.
"""

from __future__ import annotations

import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from labrpc.errors import UsageError
from labrpc.journal import Annotated, Booted, Printed, Reported
from labrpc.network import is_clerk
from tester.kept import find_run, load
from tester.timeline.annotations import End, OpenAnnotations, duration_of

__all__ = ["show_logs"]

PRINTED = "print"
"""The topic of printed and logged lines."""

_NARROW = 60
"""Below so many columns the list has no column for topics."""
_SIDE_BY_SIDE = 80
_LEAST_COLUMN = 9
_WIDEST_TOPIC = 18

_HOW = (
    "what the code under test prints is here, by print(...) and the logging module, and what it notes by "
    'labrpc.annotate("topic", "text"), or with annotate("topic", "text"): ... for as long as that lasts'
)


def show_logs(
    out: Console,
    err: Console,
    *,
    run: str | None,
    root: Path,
    servers: Sequence[str] = (),
    topics: Sequence[str] = (),
    grep: str | None = None,
    start: float | None = None,
    end: float | None = None,
    columns: bool = False,
    list_topics: bool = False,
) -> int:
    """Prints the lines; the exit code to leave with.

    Args:
        run, root: as for `find_run`.
        servers: hosts, as `2` or `c0`; none: all.
        topics: tags of annotations, kinds of diagnoses, `PRINTED`; none: all.
        grep: a regular expression that texts must match somewhere.
        start, end: seconds of the run's clock.
        columns: a column a server, if the terminal has room for that.
        list_topics: only the topics, and how many lines each has.

    Raises:
        UsageError: there is no such run, server or topic, `grep` is no regular expression, or `start` is after `end`.
    """
    if start is not None and end is not None and start > end:
        raise UsageError(f"--from {start:g} is after --to {end:g}")
    chosen = _Chosen(frozenset(servers), frozenset(topics), _pattern(grep), _ns(start), _ns(end))
    with closing(load(find_run(run, root), err)) as journal:
        survey = _Survey.of(journal)
        survey.check(servers, topics)
        lines = (line for line in _lines(journal, survey) if chosen.takes(line))
        try:
            if list_topics:
                shown = _write_all(out, _topic_list(lines))
            else:
                form = _form(out, err, survey, servers, columns)
                shown = _write_all(out, (row for line in lines for row in form.rows(line)), form.header())
        except BrokenPipeError:  # whoever reads has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
    if not survey.count:
        err.print(Text(f"the run has no lines; {_HOW}"), soft_wrap=not err.is_terminal)
    elif not shown:
        err.print(Text(f"none of the run's {survey.count:,} lines is of those asked for"), soft_wrap=True)
    return 0


def _pattern(grep: str | None) -> re.Pattern[str] | None:
    try:
        return None if grep is None else re.compile(grep)
    except re.error as error:
        raise UsageError(f"--grep {grep!r} is no regular expression: {error}") from None


def _ns(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1e9)


# ------------------------------------------------------------------ lines


@dataclass(frozen=True, slots=True)
class Line:
    """What `host` ("" is the run) said at `at` ns, until `end` if that lasted."""

    at: int
    end: int
    host: str
    kind: str
    """print, annotate or report."""
    topic: str
    """The thread that printed, the annotation's tag, or the diagnosis's kind."""
    text: str

    @property
    def label(self) -> str:
        """The topic, and by its looks the kind."""
        return {"annotate": f"[{self.topic}]", "report": f"! {self.topic}"}.get(self.kind, self.topic)

    @property
    def prefix(self) -> str:
        """The label where the text follows at once."""
        return f"{self.label}:" if self.kind != "annotate" else self.label


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Which lines are asked for."""

    hosts: frozenset[str]
    topics: frozenset[str]
    pattern: re.Pattern[str] | None
    start: int | None
    end: int | None

    def takes(self, line: Line) -> bool:
        return (
            (not self.hosts or line.host in self.hosts)
            and (not self.topics or _topic_of(line) in self.topics)
            and (self.start is None or line.end >= self.start)
            and (self.end is None or line.at <= self.end)
            and (self.pattern is None or self.pattern.search(line.text) is not None)
        )


def _topic_of(line: Line) -> str:
    return PRINTED if line.kind == "print" else line.topic


@dataclass
class _Survey:
    """What must be known of all lines before the first can be shown."""

    hosts: dict[str, None] = field(default_factory=dict)
    """Those that were started, and those with lines."""
    speakers: set[str] = field(default_factory=set)
    topics: Counter[str] = field(default_factory=Counter)
    ends: dict[int, End[int]] = field(default_factory=dict)
    """Of annotations that lasted, by the number of their event."""
    widest: int = 0
    """The longest label of a line, in columns."""
    last: int = 0

    @classmethod
    def of(cls, events: Iterable[Any]) -> _Survey:
        survey = cls()
        annotations: OpenAnnotations[int] = OpenAnnotations()
        for number, event in enumerate(events):
            for end in annotations.take(event, number):
                survey.ends[end.annotation] = end
            survey.last = event.at
            if type(event) is Booted:
                survey.hosts[event.host] = None
            elif type(event) in _READERS:
                line = _READERS[type(event)](event)
                survey.topics[_topic_of(line)] += 1
                survey.speakers.add(line.host)
                survey.widest = max(survey.widest, cell_len(line.label))
        for end in annotations.finish(survey.last):
            survey.ends[end.annotation] = end
        for host in survey.speakers - {""}:
            survey.hosts[host] = None
        survey.hosts = dict.fromkeys(sorted(survey.hosts, key=lambda host: (is_clerk(host), len(host), host)))
        return survey

    @property
    def count(self) -> int:
        return self.topics.total()

    def check(self, servers: Sequence[str], topics: Sequence[str]) -> None:
        for server in servers:
            if server not in self.hosts:
                raise UsageError(f"the run has no server {server!r}; it has {', '.join(self.hosts) or 'none'}")
        for topic in topics:
            if self.count and topic not in self.topics:
                raise UsageError(f"no line has topic {topic!r}; there are {', '.join(sorted(self.topics))}")


def _lines(events: Iterable[Any], survey: _Survey) -> Iterator[Line]:
    """The lines in order."""
    for number, event in enumerate(events):
        reader = _READERS.get(type(event))
        if reader is not None:
            line = reader(event)
            end = survey.ends.get(number)
            if end is not None:
                text = f"{line.text} ({duration_of(end.at - line.at, end.by)})"
                line = Line(line.at, end.at, line.host, line.kind, line.topic, text)
            yield line


_READERS: dict[type, Any] = {
    Printed: lambda e: Line(e.at, e.at, e.host, "print", _clean(e.thread), _clean(e.text)),
    Annotated: lambda e: Line(e.at, e.at, e.host, "annotate", _clean(e.tag), _clean(e.text)),
    Reported: lambda e: Line(
        e.at, e.at, e.host, "report", _clean(e.kind), _clean(f"{e.text} at {e.site}" if e.site else e.text)
    ),
}

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _clean(text: str) -> str:
    """On one line, without colours of its own and without what a terminal would obey."""
    if text.isascii() and text.isprintable():
        return text
    text = _ESCAPES.sub("", text).expandtabs(4).rstrip("\r\n").replace("\n", " ⏎ ")
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _topic_list(lines: Iterable[Line]) -> Iterator[str]:
    kinds = Counter((_topic_of(line), line.kind) for line in lines)
    words = {"print": "  printed and logged lines", "report": "  diagnoses"}
    for (topic, kind), count in sorted(kinds.items(), key=lambda item: (-item[1], item[0])):
        yield f"{count:>9,}  {topic}{words.get(kind, '')}"


# ------------------------------------------------------------------ how they are shown


class _Paint:
    """Colours, if there are any: a server and a topic have the same in every run."""

    _PALETTE = (36, 33, 35, 32, 94, 96, 93, 95, 92, 34)

    def __init__(self, console: Console) -> None:
        self._is_on = console.is_terminal and not console.no_color and console.color_system is not None

    def __call__(self, text: str, code: int | str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._is_on and text else text

    def server(self, text: str, host: str) -> str:
        return self(text, f"1;{self._PALETTE[int(host) % 10 if host.isdecimal() else _number(host)]}")

    def label(self, text: str, line: Line) -> str:
        if line.kind == "print":
            return self(text, 2)
        return self(text, "1;31" if line.kind == "report" else self._PALETTE[_number(line.topic)])

    def text(self, text: str, line: Line, *, labelled: bool) -> str:
        """What `line` says, or a part of that; `labelled`: it begins with the prefix, or as much as has room."""
        if line.kind == "report":
            return self(text, "1;31")
        if not labelled:
            return text
        size = min(len(text), len(line.prefix))
        return self.label(text[:size], line) + text[size:]


def _number(name: str) -> int:
    return zlib.crc32(name.encode("utf-8", "replace")) % 10


class _List:
    """A line below the other: time, host, topic, text.

    Args:
        width: of the terminal; None: lines are as long as they are.
    """

    def __init__(self, survey: _Survey, paint: _Paint, width: int | None) -> None:
        self._paint = paint
        self._width = width
        self._time = _time_width(survey)
        self._host = max(2, *map(len, survey.hosts), 0)
        self._label = 0 if width is not None and width < _NARROW else min(survey.widest, _WIDEST_TOPIC)
        """Columns for the topic; 0: it stands before the text."""

    def header(self) -> str:
        if self._width is None:
            return ""
        topic = f"{'topic':{self._label}}  " if self._label else ""
        return self._paint(f"{'time':>{self._time}}  {'on':{self._host}}  {topic}text", 2)

    def rows(self, line: Line) -> Iterator[str]:
        host = self._paint.server(f"{line.host:{self._host}}", line.host)
        start = f"{self._paint(_time(line.at, self._time), 2)}  {host}  "
        indent = self._time + self._host + 4
        text = line.text
        if not self._label:
            text = f"{line.prefix} {text}"
        else:
            label = line.label if self._width is None else _clipped(line.label, self._label)
            start += self._paint.label(label, line) + " " * (self._label - cell_len(label) + 2)
            indent += self._label + 2
        parts = [text] if self._width is None else _wrapped(text, self._width - indent)
        for nth, part in enumerate(parts):
            yield (" " * indent if nth else start) + self._paint.text(part, line, labelled=not (self._label or nth))


class _Columns:
    """A column a host, time downwards."""

    def __init__(self, survey: _Survey, paint: _Paint, hosts: Sequence[str], width: int) -> None:
        self._paint = paint
        self._hosts = hosts
        self._time = _time_width(survey)
        self._width = width
        self.column = (width - self._time) // max(1, len(hosts)) - 3
        """The width of one's text."""

    def header(self) -> str:
        names = [
            _clipped(f"clerk {host[1:]}" if is_clerk(host) else f"server {host}", self.column) for host in self._hosts
        ]
        return self._row(self._paint(f"{'time':>{self._time}}", 2), map(self._paint.server, names, self._hosts))

    def rows(self, line: Line) -> Iterator[str]:
        time = self._paint(_time(line.at, self._time), 2)
        text = line.text if line.kind == "print" else f"{line.prefix} {line.text}"
        if not line.host:  # it is about the run as a whole
            for nth, part in enumerate(_wrapped(text, self._width - self._time - 2)):
                yield f"{' ' * self._time if nth else time}  {self._paint.text(part, line, labelled=not nth)}"
            return
        for nth, part in enumerate(_wrapped(text, self.column)):
            said = self._paint.text(part, line, labelled=line.kind != "print" and not nth)
            yield self._row(
                " " * self._time if nth else time, (said if host == line.host else "" for host in self._hosts)
            )

    def _row(self, time: str, cells: Iterable[str]) -> str:
        bar = self._paint("│", 2)
        return time + "".join(f" {bar} {cell}{' ' * (self.column - _width(cell))}" for cell in cells)


def _form(out: Console, err: Console, survey: _Survey, servers: Sequence[str], columns: bool) -> _List | _Columns:
    paint = _Paint(out)
    if columns:
        wanted = [host for host in survey.hosts if host in servers or not servers]
        wanted = [host for host in wanted if host in survey.speakers or not is_clerk(host)]
        form = _Columns(survey, paint, wanted, out.width)
        if out.width >= _SIDE_BY_SIDE and form.column >= _LEAST_COLUMN:
            return form
        hint = "choose some by --server" if out.width >= _SIDE_BY_SIDE else f"{_SIDE_BY_SIDE} are needed"
        text = f"{out.width} columns are too few for {len(wanted)} side by side: {hint}; as a list"
        err.print(Text(text, style="dim"), soft_wrap=True)
    return _List(survey, paint, out.width if out.is_terminal else None)


def _write_all(out: Console, rows: Iterable[str], header: str = "") -> int:
    """Writes each as it comes, the header before the first; how many there were."""
    encoding = getattr(out.file, "encoding", None) or "utf-8"
    count = 0
    for count, row in enumerate(rows, 1):
        for text in (header, row) if count == 1 and header else (row,):
            out.file.write(f"{text.rstrip()}\n".encode(encoding, "replace").decode(encoding))
    out.file.flush()
    return count


def _time_width(survey: _Survey) -> int:
    return max(8, len(_time(survey.last, 0)))


def _time(at: int, width: int) -> str:
    return f"{at / 1e9:>{width}.4f}"


def _width(text: str) -> int:
    return cell_len(_ESCAPES.sub("", text))


def _clipped(text: str, width: int) -> str:
    return text if cell_len(text) <= width else f"{set_cell_size(text, width - 1).rstrip()}…"


def _wrapped(text: str, width: int) -> list[str]:
    """`text` in lines of at most `width` columns, broken at blanks where there are any."""
    width = max(width, 2)
    lines = []
    while cell_len(text) > width:
        fits = len(text) if text.isascii() else next(n for n in range(len(text)) if cell_len(text[: n + 1]) > width)
        fits = min(fits, width)
        blank = text.rfind(" ", 0, fits + 1)
        cut = blank if blank > 0 and text[:blank].strip() else fits
        lines.append(text[:cut].rstrip())
        text = text[cut:].lstrip(" ")
    return [*lines, text]
