"""What a run's events mean: one reading, from which every picture and every text about a run is made.

    journal events --read--> Reading --> terminal timeline, HTML page, Perfetto trace, logs, stories

Roles, terms, log and commit indices are what the messages tell (Fig. 2), so they need no help from the code under
test; for code with other messages there are just no roles. Times are ns since the run began. Much happens at one
instant: `order`, an event's number in the journal, tells what came first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from labrpc.codec import Record
from labrpc.journal import (
    Annotated,
    AnnotationEnded,
    Applied,
    Booted,
    Controlled,
    Delivered,
    Dropped,
    Faulted,
    Printed,
    Reported,
    Returned,
    Saved,
    Saving,
    Sent,
    Stopped,
)
from labrpc.network import is_clerk
from labrpc.virtual.claims import harmless
from tester.payloads import message_body, value_of
from tester.timeline.annotations import End, OpenAnnotations

__all__ = ["Band", "Call", "Interval", "Message", "Note", "Progress", "Reading", "RoleSpan", "read"]


@dataclass(slots=True)
class Message:
    """One message from host to host, a request or (`reply_to` is not 0) the reply to one."""

    number: int
    reply_to: int
    source: str
    target: str
    method: str
    sent: int
    size: int
    body: Any
    """What it says: a `Record`, or None if its bytes are no value."""
    arrivals: list[int] = field(default_factory=list)
    dropped: int | None = None
    reason: str = ""
    """Why it was dropped."""
    order: int = 0
    drop_order: int = 0
    arrival_orders: list[int] = field(default_factory=list)
    receiver_term: int = 0
    """The term that its target was in when it first arrived, as far as its messages tell."""


@dataclass(slots=True)
class RoleSpan:
    """`lane` was in `role` (F follower, C candidate, L leader, - down) and `term` from `start` to `end`.

    Where nobody ever sent a message of Raft, `role` is "" while it is up.
    """

    lane: str
    start: int
    end: int
    role: str
    term: int
    order: int = 0


@dataclass(slots=True)
class Progress:
    """From `at` on, as far as its messages tell: the indices of `lane`'s last entry, commit and apply."""

    at: int
    lane: str
    last_index: int
    last_term: int
    commit_index: int
    applied_index: int
    order: int = 0


@dataclass(slots=True)
class Band:
    """A fault of `kind` that held from `start` to `end`; `hosts` are those it is about, none: the whole network."""

    kind: str
    detail: str
    start: int
    end: int
    hosts: tuple[str, ...] = ()
    order: int = 0
    end_order: int | None = None
    """None: it held to the end of the run."""


@dataclass(slots=True)
class Call:
    """A control call of the test: on a server, or (an operation) on a client. `end` None: it did not return."""

    host: str
    number: int
    name: str
    args: tuple[Any, ...]
    start: int
    end: int | None = None
    result: Any = None
    order: int = 0
    end_order: int = 0


@dataclass(slots=True)
class Note:
    """Something that happened on a host at one instant.

    `kind` is one of boot, crash, shutdown, save, saved, apply, snapshot, print, annotate, report; `topic` is the tag of
    an annotation, the thread of a printed line, the kind of a report.
    """

    at: int
    host: str
    kind: str
    text: str
    topic: str = ""
    value: Any = None
    """The index of what was applied, the number of a save, or the incarnation that began or ended."""
    order: int = 0


@dataclass(slots=True)
class Interval:
    """An annotation of `lane` that lasted; one that did not is a `Note`. Those of one lane may overlap.

    `ended_by` is code, crash, shutdown, or run: it held to the run's end.
    """

    lane: str
    topic: str
    text: str
    start: int
    end: int
    ended_by: str = "code"
    order: int = 0
    end_order: int = 0


@dataclass
class Reading:
    """A whole run."""

    servers: list[str] = field(default_factory=list)
    clerks: list[str] = field(default_factory=list)
    messages: dict[int, Message] = field(default_factory=dict)
    roles: list[RoleSpan] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)
    bands: list[Band] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    """In the order in which they began."""
    events: int = 0
    end: int = 0
    """The time of the last event."""
    left_out: int = 0
    """How many events at the start were only followed, for roles and terms: what is here is of those after them."""
    begin: int = 0
    """The time of the first event that was not left out."""

    @property
    def what_is_left_out(self) -> str:
        """In a sentence; "" if nothing is."""
        first = f"the run is long: its first {self.left_out:,} events, up to {self.begin / 1e9:.3f} s, are left out"
        return first if self.left_out else ""


def read(events: Iterable[Any], *, last: int | None = None) -> Reading:
    """The reading of a journal's events, given in order.

    Args:
        last: how many events at the end of a long run are enough; up to twice as many are read. None: all.
    """
    reader = _Reader()
    for event in events:
        if last is not None and reader.unpruned >= 2 * last:
            reader.prune(last, event.at)
        reader.take(event)
    return reader.finish()


class _Server:
    """What is known of one server while reading."""

    __slots__ = (
        "applied_index",
        "commit_index",
        "followed",
        "last_index",
        "last_term",
        "order",
        "role",
        "since",
        "term",
    )

    def __init__(self, at: int, order: int, before: _Server | None = None) -> None:
        """A new incarnation; of the one `before` it has what was persistent."""
        self.role, self.since, self.order = "F", at, order
        self.term: int = before.term if before else 0
        self.last_index: int = before.last_index if before else 0
        self.last_term: int = before.last_term if before else 0
        self.commit_index = self.applied_index = 0
        self.followed = 0
        """The last term whose leader it has followed."""


_SWITCHES = {  # kind of event -> (kind of band, whether it begins or ends it)
    "disconnect": ("disconnected", True),
    "connect": ("disconnected", False),
    "cut": ("cut", True),
    "mend": ("cut", False),
    "pause": ("paused", True),
    "resume": ("paused", False),
    "unreliable": ("unreliable", True),
    "reliable": ("unreliable", False),
}
_LONGEST_TEXT = 10_000
_HEALED = ("disconnected", "cut", "partition")
_WEATHER = {"long reordering": "off", "long delays": "off", "duplication": "0 of 1000"}
"""Faults of the whole network whose detail says whether they are on, and what it says when they are off."""


class _Reader:
    def __init__(self) -> None:
        self._reading = Reading()
        self._servers: dict[str, _Server] = {}
        self._open_bands: dict[tuple[str, str], Band] = {}
        self._open_calls: dict[int, Call] = {}
        self._annotations: OpenAnnotations[Note] = OpenAnnotations()
        self._has_raft = False
        """Whether a message of Raft was sent."""
        self._lasted: set[int] = set()
        """The `order` of annotations that turned out to be intervals."""
        self._take: dict[type, Any] = {
            Booted: self._booted,
            Stopped: self._stopped,
            Sent: self._sent,
            Delivered: self._delivered,
            Dropped: self._dropped,
            Saving: self._saving,
            Saved: self._saved,
            Applied: self._applied,
            Controlled: self._controlled,
            Returned: self._returned,
            Faulted: self._faulted,
            Printed: lambda e: self._note(e.at, e.host, "print", e.text, e.thread),
            Annotated: self._annotated,
            AnnotationEnded: lambda e: self._end_intervals(self._annotations.take(e)),
            Reported: lambda e: self._note(
                e.at, e.host, "report", f"{e.text} {e.site and f'at {e.site}'}".strip(), e.kind
            ),
        }

    def take(self, event: Any) -> None:
        self._reading.events += 1
        self._reading.end = max(self._reading.end, event.at)
        self._take[type(event)](event)

    @property
    def unpruned(self) -> int:
        """How many events are read in full so far."""
        return self._reading.events - self._reading.left_out

    def prune(self, last: int, now: int) -> None:
        """Forgets what ended before the latest `last` events."""
        reading = self._reading
        reading.left_out = first = reading.events - last
        reading.messages = {each.number: each for each in reading.messages.values() if each.order > first}
        reading.notes = [note for note in reading.notes if note.order > first]
        reading.intervals = [interval for interval in reading.intervals if interval.end_order > first]
        reading.begin = min((each.at for each in reading.notes), default=now)
        reading.begin = min([reading.begin, *(each.sent for each in reading.messages.values())])
        reading.calls = [call for call in reading.calls if call.end is None or call.end_order > first]
        reading.bands = [band for band in reading.bands if band.end_order is None or band.end_order > first]
        reading.roles = [span for span in reading.roles if span.end >= reading.begin]
        before = {each.lane: each for each in reading.progress if each.order <= first}
        reading.progress = [*before.values(), *(each for each in reading.progress if each.order > first)]

    def finish(self) -> Reading:
        reading = self._reading
        for name, server in self._servers.items():
            self._end_span(name, server, reading.end, is_last=True)
        if not self._has_raft:
            for span in reading.roles:
                span.role = "-" if span.role == "-" else ""
        for band in self._open_bands.values():
            band.end = reading.end
        self._end_intervals(self._annotations.finish(reading.end))
        reading.intervals.sort(key=lambda interval: interval.order)
        reading.notes = [note for note in reading.notes if note.order not in self._lasted]
        reading.roles.sort(key=lambda span: (span.start, span.end))
        reading.servers = sorted(self._servers, key=lambda name: (len(name), name))
        reading.clerks.sort(key=lambda name: (len(name), name))
        return reading

    def _annotated(self, event: Annotated) -> None:
        self._note(event.at, event.host, "annotate", event.text, event.tag)
        self._annotations.take(event, self._reading.notes[-1])

    def _end_intervals(self, ends: list[End[Note]]) -> None:
        for note, end, by in ends:
            self._lasted.add(note.order)
            self._reading.intervals.append(
                Interval(note.host, note.topic, note.text, note.at, end, by, note.order, self._reading.events)
            )

    def _note(self, at: int, host: str, kind: str, text: str, topic: str = "", value: Any = None) -> None:
        self._reading.notes.append(Note(at, host, kind, text, topic, value, self._reading.events))

    # -------------------------------------------------------------- lives

    def _booted(self, event: Booted) -> None:
        self._annotations.take(event)
        if is_clerk(event.host):
            if event.host not in self._reading.clerks:
                self._reading.clerks.append(event.host)
            return
        old = self._servers.get(event.host)
        if old is not None:
            self._end_span(event.host, old, event.at)
        self._servers[event.host] = server = _Server(event.at, self._reading.events, old)
        self._progress(event.at, event.host, server)
        text = "starts" if event.incarnation == 1 else f"restarts (incarnation {event.incarnation})"
        self._note(event.at, event.host, "boot", text, value=event.incarnation)

    def _stopped(self, event: Stopped) -> None:
        self._end_intervals(self._annotations.take(event))
        kind, text = ("crash", "crashes") if event.how == "crash" else ("shutdown", "is shut down")
        self._note(event.at, event.host, kind, text, value=event.incarnation)
        if not is_clerk(event.host):
            server = self._servers.setdefault(event.host, _Server(event.at, self._reading.events))
            self._turn(event.at, event.host, server, "-", server.term)

    # -------------------------------------------------------------- roles and terms

    def _turn(self, at: int, name: str, server: _Server, role: str, term: int) -> None:
        if (role, term) != (server.role, server.term):
            self._end_span(name, server, at)
            server.role, server.term, server.since, server.order = role, term, at, self._reading.events

    def _end_span(self, name: str, server: _Server, at: int, *, is_last: bool = False) -> None:
        if at > server.since or is_last:
            self._reading.roles.append(RoleSpan(name, server.since, at, server.role, server.term, server.order))

    def _saw_term(self, at: int, name: str, term: Any) -> _Server | None:
        """`name` knows of `term` now: a higher one makes it a follower."""
        server = self._servers.get(name)
        if server is None or server.role == "-" or type(term) is not int:
            return None
        if term > server.term:
            self._turn(at, name, server, "F", term)
        return server

    def _progress(self, at: int, name: str, server: _Server) -> None:
        self._reading.progress.append(
            Progress(
                at,
                name,
                server.last_index,
                server.last_term,
                server.commit_index,
                server.applied_index,
                self._reading.events,
            )
        )

    # -------------------------------------------------------------- messages

    def _sent(self, event: Sent) -> None:
        body = message_body(event.payload)
        message = Message(
            event.message, event.reply_to, event.source, event.target, event.method, event.at, len(event.payload), body
        )
        message.order = self._reading.events
        self._has_raft = self._has_raft or event.method.startswith("Raft.")
        self._reading.messages[event.message] = message
        if not isinstance(body, Record):
            return
        fields = body.fields
        server = self._saw_term(event.at, event.source, fields.get("term"))
        if server is None:
            return
        if event.reply_to:
            self._replied(event, server, fields)
        elif fields["term"] == server.term:
            if event.method == "Raft.request_vote":
                if server.role == "L" or server.followed == server.term:
                    return  # sent late: the election it is of is over
                self._turn(event.at, event.source, server, "C", server.term)
                self._has_log(event.at, event.source, server, fields.get("last_log_index"), fields.get("last_log_term"))
            elif event.method in ("Raft.append_entries", "Raft.install_snapshot"):
                self._turn(event.at, event.source, server, "L", server.term)
                self._led(event, server, fields)

    def _led(self, event: Sent, server: _Server, fields: dict[str, Any]) -> None:
        index, term = _end_of(fields)
        if index >= server.last_index:
            self._has_log(event.at, event.source, server, index, term)
        self._committed(event.at, event.source, server, fields.get("leader_commit"))

    def _replied(self, event: Sent, server: _Server, fields: dict[str, Any]) -> None:
        request = self._reading.messages.get(event.reply_to)
        if request is None or not isinstance(request.body, Record):
            return
        asked = request.body.fields
        if event.method == "Raft.append_entries" and fields.get("success") is True:
            server.followed = fields["term"]
            if server.role == "C" and fields.get("term") == server.term:
                self._turn(event.at, event.source, server, "F", server.term)
            index, term = _end_of(asked)
            entries = asked.get("entries")
            if entries or index > server.last_index:
                self._has_log(event.at, event.source, server, index, term)
            commit = asked.get("leader_commit")
            if type(commit) is int:
                self._committed(event.at, event.source, server, min(commit, index))

    def _has_log(self, at: int, name: str, server: _Server, index: Any, term: Any) -> None:
        if type(index) is int and (index, term) != (server.last_index, server.last_term):
            server.last_index, server.last_term = index, term if type(term) is int else 0
            self._progress(at, name, server)

    def _committed(self, at: int, name: str, server: _Server, index: Any) -> None:
        if type(index) is int and index > server.commit_index:
            server.commit_index = index
            self._progress(at, name, server)

    def _delivered(self, event: Delivered) -> None:
        message = self._reading.messages.get(event.message)
        if message is not None:
            if not message.arrivals and message.target in self._servers:
                message.receiver_term = self._servers[message.target].term
            message.arrivals.append(event.at)
            message.arrival_orders.append(self._reading.events)
            if isinstance(message.body, Record):
                self._saw_term(event.at, message.target, message.body.fields.get("term"))

    def _dropped(self, event: Dropped) -> None:
        message = self._reading.messages.get(event.message)
        if message is not None:
            message.dropped, message.reason, message.drop_order = event.at, event.reason, self._reading.events

    # -------------------------------------------------------------- disk, service, test

    def _saving(self, event: Saving) -> None:
        snapshot = f" and a snapshot of {event.snapshot_size}" if event.snapshot_size >= 0 else ""
        self._note(event.at, event.host, "save", f"saves {event.raft_state_size} bytes{snapshot}", value=event.number)

    def _saved(self, event: Saved) -> None:
        self._note(event.at, event.host, "saved", f"save {event.number} is durable", value=event.number)

    def _applied(self, event: Applied) -> None:
        body = value_of(event.payload)
        fields = body.fields if isinstance(body, Record) else {}
        index = fields.get("command_index")
        kind, text = "apply", f"applies {index}: {_shown(fields.get('command'))}"
        if fields.get("snapshot_valid"):
            index = fields.get("snapshot_index")
            kind, text = "snapshot", f"takes the snapshot of index {index}"
        self._note(event.at, event.host, kind, text, value=index)
        server = self._servers.get(event.host)
        if server is not None and type(index) is int and index > server.applied_index:
            server.applied_index = index
            server.commit_index = max(server.commit_index, index)
            server.last_index = max(server.last_index, index)
            self._progress(event.at, event.host, server)

    def _controlled(self, event: Controlled) -> None:
        args = value_of(event.payload)
        call = Call(
            event.host, event.control, event.name, tuple(args) if isinstance(args, tuple | list) else (), event.at
        )
        call.order = self._reading.events
        self._reading.calls.append(call)
        self._open_calls[event.control] = call

    def _returned(self, event: Returned) -> None:
        call = self._open_calls.pop(event.control, None)
        if call is not None:
            call.end, call.result, call.end_order = event.at, value_of(event.payload), self._reading.events

    # -------------------------------------------------------------- faults

    def _faulted(self, event: Faulted) -> None:
        kind, detail, at = event.kind, event.detail, event.at
        if kind in _SWITCHES:
            band, begins = _SWITCHES[kind]
            self._switch(at, band, detail, begins)
        elif kind == "heal":
            for key in [key for key in self._open_bands if key[0] in _HEALED]:
                self._end_band(at, key)
        elif kind == "partition":
            self._switch(at, kind, "", False)
            self._switch(at, kind, "", True, text=detail)
        elif kind in _WEATHER:
            self._switch(at, kind, "", False)
            if detail != _WEATHER[kind]:
                self._switch(at, kind, "", True, text=detail)
        elif kind == "clock":
            order = self._reading.events
            self._reading.bands.append(Band(kind, detail, at, at, (detail.split(" ", 1)[0],), order, order))

    def _switch(self, at: int, kind: str, which: str, begins: bool, *, text: str | None = None) -> None:
        key = kind, which
        if not begins:
            self._end_band(at, key)
        elif key not in self._open_bands:
            hosts = tuple(which.split("->")) if which else ()
            detail = which if text is None else text
            band = self._open_bands[key] = Band(kind, detail, at, at, hosts, self._reading.events)
            self._reading.bands.append(band)

    def _end_band(self, at: int, key: tuple[str, str]) -> None:
        band = self._open_bands.pop(key, None)
        if band is not None:
            band.end, band.end_order = at, self._reading.events


def _end_of(fields: dict[str, Any]) -> tuple[int, int]:
    """Index and term of the last entry that an append, or a snapshot, brings its receiver's log to."""
    if "last_included_index" in fields:
        return _int(fields.get("last_included_index")), _int(fields.get("last_included_term"))
    entries = fields.get("entries")
    if not isinstance(entries, list | tuple):
        entries = ()
    index = _int(fields.get("prev_log_index")) + len(entries)
    last = entries[-1] if entries else None
    return index, _int(last.fields.get("term") if isinstance(last, Record) else fields.get("prev_log_term"))


def _shown(value: Any) -> str:
    """`value`, which may be anything, for a terminal."""
    try:
        return harmless(str(value), _LONGEST_TEXT)
    except RecursionError:
        return f"a {type(value).__name__} of many levels"


def _int(value: Any) -> int:
    return value if type(value) is int else 0
