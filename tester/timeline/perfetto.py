"""A run as a trace for Perfetto (ui.perfetto.dev, or its trace processor's SQL): the Trace Event Format, in JSON.

    Reading --trace_events--> {"ph": "X", "pid": 3, "tid": 5, "ts": 310215.307, "dur": 1204.5, ...} --> one file

A process is the run, the network, a server or a clerk; a thread of it is one kind of thing that happens there:

    role          slices: follower, candidate, leader or down, and the term; last, commit and applied index as counters
    operations    slices: what a clerk was asked, to its answer; of a server (`controls`): what the test called
    calls         slices: a request from its sending to the reply's arrival, or to the loss of either
    handlers      slices: a request from its arrival to the reply's sending
    annotations   slices: the annotations that lasted
    notes, disk, applied, life     instants: prints, annotations, reports; saves; applies; starts and ends
    faults, lost  of the network: slices while a fault holds; instants with the reason why a message was dropped

An arrow leads from each sending to each arrival. What would overlap in a thread goes to a second one, `calls 2`.
Perfetto draws an arrow from the end of a slice to the start of one; so within a call, sending and reply are slices of
1 ns, as is the reply within a handler, and calls and handlers last to the end of that. Times are microseconds: numbers
that, multiplied by 1,000 and cut off, are ns since the run began, as Perfetto takes them, in runs of up to 26 days.
"""

from __future__ import annotations

import bisect
import heapq
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from labrpc.network import is_clerk
from tester.timeline.page_words import fields_of, kind_of, label_of, words
from tester.timeline.reading import Message, Reading

__all__ = ["trace_events", "trace_lines"]

_RUN: Final = ""
_NETWORK: Final = "network"

_ROWS: Final = (
    "verdict", "role", "operations", "controls", "handlers", "calls", "annotations", "notes", "disk", "applied", "life",
    "faults", "lost",
)  # fmt: skip
"""Of a process, from above."""

_ROLES: Final = {"F": "follower", "C": "candidate", "L": "leader", "-": "down"}  # "": there are none

_NOTE_ROWS: Final = {
    "boot": "life", "crash": "life", "shutdown": "life", "save": "disk", "saved": "disk", "apply": "applied",
    "snapshot": "applied",
}  # fmt: skip
"""Other kinds are on the row of notes."""


def trace_lines(reading: Reading, *, title: str = "", verdict: str | None = None) -> Iterator[bytes]:
    """The file, a line an event, in UTF-8. The arguments are those of `trace_events`, and the run's title."""
    other = {"title": title, "verdict": verdict, "events": reading.events}
    yield f'{{"displayTimeUnit":"ns","otherData":{_json(other)},"traceEvents":['.encode()
    comma = "\n"
    for event in trace_events(reading, verdict=verdict):
        yield f"{comma}{_json(event)}".encode()
        comma = ",\n"
    yield b"\n]}\n"


def trace_events(reading: Reading, *, verdict: str | None = None) -> list[dict[str, Any]]:
    """The events of the format: first what names processes and threads, then by time.

    Args:
        verdict: the sentence that a failed run ended with; None: it did not fail.
    """
    return _Trace(reading, verdict).events()


@dataclass(slots=True, eq=False)
class _Slice:
    """Something on a row of a host from `start` to before `end`, in ns; an instant if `end` is None."""

    host: str
    row: str
    start: int
    end: int | None
    name: str
    category: str
    args: dict[str, Any] = field(default_factory=dict)
    inside: _Slice | None = None
    """What it is a part of, if anything."""
    arrows: list[dict[str, Any]] = field(default_factory=list)
    """What leaves it, or arrives, at its start."""
    lane: int = 0
    """Which of the threads that the row needs."""

    @property
    def track(self) -> tuple[str, str, int]:
        return self.host, self.row, self.inside.lane if self.inside else self.lane


class _Trace:
    def __init__(self, reading: Reading, verdict: str | None) -> None:
        self._reading = reading
        self._slices: list[_Slice] = []
        self._arrows = 0
        self._stops: dict[str, list[int]] = defaultdict(list)
        for note in reading.notes:
            if note.kind in ("crash", "shutdown"):
                self._stops[note.host].append(note.at)
        self._roles()
        self._calls_of_the_test()
        self._messages()
        self._notes()
        self._faults()
        if verdict is not None:
            self._add(_RUN, "verdict", reading.end, None, verdict, "verdict")

    def events(self) -> list[dict[str, Any]]:
        _spread(self._slices)
        pids = {host: pid for pid, host in enumerate(self._hosts(), 1)}
        tracks = {each.track for each in self._slices}
        ordered = sorted(tracks, key=lambda track: (pids[track[0]], _ROWS.index(track[1]), track[2]))
        ids = {track: (pids[track[0]], tid) for tid, track in enumerate(ordered, len(pids) + 1)}
        names = [event for host, pid in pids.items() for event in _names_process(host, pid)]
        for track, (pid, tid) in ids.items():
            name = track[1] + (f" {track[2] + 1}" if track[2] else "")
            names += [
                _metadata("thread_name", pid, tid, name=name),
                _metadata("thread_sort_index", pid, tid, sort_index=tid),
            ]
        timed = [(each.start, event) for each in self._slices for event in _drawn(each, *ids[each.track])]
        timed += self._counters(pids)
        timed.sort(key=lambda pair: pair[0])  # stable: an arrow's end comes right after the slice that it is in
        return names + [event for _, event in timed]

    def _add(self, host: str, row: str, start: int, end: int | None, name: str, category: str, **args: Any) -> _Slice:
        self._slices.append(_Slice(host, row, start, end, name, category, args))
        return self._slices[-1]

    def _hosts(self) -> list[str]:
        """In the order in which they are shown."""
        hosts = {each.host for each in self._slices} | {each.lane for each in self._reading.progress}
        special = (_RUN, _NETWORK)
        named = sorted(hosts - set(special), key=lambda host: (is_clerk(host), len(host), host))
        return [host for host in special if host in hosts] + named

    # -------------------------------------------------------------- servers and clerks

    def _roles(self) -> None:
        for span in self._reading.roles:
            if not span.role:
                continue
            role = _ROLES[span.role]
            name = role if span.role == "-" else f"{role}, term {span.term}"
            self._add(span.lane, "role", span.start, span.end, name, "role", role=role, term=span.term)

    def _calls_of_the_test(self) -> None:
        for call in self._reading.calls:
            row = "operations" if is_clerk(call.host) else "controls"
            name = f"{call.name}({', '.join(map(words, call.args))})"
            if call.end is None:
                self._add(call.host, row, call.start, self._reading.end, name, row, returned=False)
            else:
                self._add(call.host, row, call.start, call.end, name, row, returned=True, result=words(call.result))

    def _notes(self) -> None:
        for note in self._reading.notes:
            row = _NOTE_ROWS.get(note.kind, "notes")
            topic = {"topic": note.topic} if note.topic else {}
            self._add(note.host, row, note.at, None, note.text or note.kind, note.kind, **topic)
        for each in self._reading.intervals:
            name = f"{each.topic}: {each.text}" if each.text else each.topic
            self._add(each.lane, "annotations", each.start, each.end, name, "annotate", ended_by=each.ended_by)

    # -------------------------------------------------------------- messages

    def _messages(self) -> None:
        messages = self._reading.messages
        replies: dict[int, list[Message]] = defaultdict(list)
        for message in messages.values():
            if message.reply_to:
                replies[message.reply_to].append(message)
        for message in messages.values():
            if message.dropped is not None:
                self._lost(message, messages.get(message.reply_to))
            if not message.reply_to:
                self._call(message, replies[message.number])
            elif message.reply_to not in messages:
                self._stray(message)

    def _call(self, request: Message, replies: list[Message]) -> None:
        """A request and its replies: the slice at the caller, those at the server, and the arrows between them."""
        kind = kind_of(request, None)
        label = label_of(request, kind)
        end = self._end_of_call(request, replies)
        call = self._add(
            request.source, "calls", request.sent, end + 1, f"{label} → {request.target}", kind, **_said(request)
        )
        if request.dropped is not None:
            call.args["lost"] = request.reason or "lost"
        sending = self._part(call, request.sent, "request") if request.arrivals else call
        left = sorted(replies, key=lambda reply: reply.sent)
        for arrival in sorted(request.arrivals):
            reply = left.pop(0) if left and left[0].sent >= arrival else None
            end = self._life_after(request.target, arrival) if reply is None else reply.sent
            name = f"{label} ← {request.source}"
            handler = self._add(request.target, "handlers", arrival, end + 1, name, kind, message=request.number)
            self._arrow(request, sending, handler)
            if reply is None:
                handler.args["replied"] = False
            else:
                self._reply(reply, kind, handler, call)
        for reply in left:  # to an arrival that was not seen
            self._stray(reply)

    def _reply(self, reply: Message, kind: str, handler: _Slice, call: _Slice) -> None:
        label = handler.args["reply"] = label_of(reply, kind)
        if reply.dropped is not None:
            handler.args["reply_lost"] = reply.reason or "lost"
        sending = self._part(handler, reply.sent, label) if reply.arrivals else handler
        for arrival in reply.arrivals:
            if call.end == arrival + 1:
                call.args["reply"] = label
                place = self._part(call, arrival, label)
            else:  # it came again
                name = f"{label} ← {reply.source}, again"
                place = self._add(reply.target, "calls", arrival, arrival + 1, name, kind, message=reply.number)
            self._arrow(reply, sending, place)

    def _stray(self, message: Message) -> None:
        """A message without a request."""
        kind = kind_of(message, None)
        label = label_of(message, kind)
        name = f"{label} → {message.target}"
        sending = self._add(message.source, "handlers", message.sent, message.sent + 1, name, kind, **_said(message))
        for arrival in message.arrivals:
            name = f"{label} ← {message.source}"
            place = self._add(message.target, "calls", arrival, arrival + 1, name, kind, message=message.number)
            self._arrow(message, sending, place)

    def _part(self, whole: _Slice, at: int, name: str) -> _Slice:
        part = self._add(whole.host, whole.row, at, at + 1, name, whole.category)
        part.inside = whole
        return part

    def _arrow(self, message: Message, start: _Slice, end: _Slice) -> None:
        self._arrows += 1
        arrow = {"name": "reply" if message.reply_to else "request", "cat": "message", "id": self._arrows}
        start.arrows.append({**arrow, "ph": "s"})
        end.arrows.append({**arrow, "ph": "f", "bp": "e"})

    def _lost(self, message: Message, request: Message | None) -> None:
        label = label_of(message, kind_of(message, request))
        self._add(
            _NETWORK,
            "lost",
            message.sent if message.dropped is None else message.dropped,
            None,
            f"{message.source} → {message.target} {label}: {message.reason or 'lost'}",
            "lost",
            message=message.number,
            reason=message.reason,
            sent=message.sent,
        )

    def _end_of_call(self, request: Message, replies: list[Message]) -> int:
        arrivals = [arrival for reply in replies for arrival in reply.arrivals]
        if arrivals:
            return max(request.sent, min(arrivals))
        lost = [message.dropped for message in (request, *replies) if message.dropped is not None]
        return max(request.sent, *lost) if lost else self._life_after(request.source, request.sent)

    def _life_after(self, host: str, at: int) -> int:
        """When `host` next stops, or the run ends."""
        stops = self._stops[host]
        place = bisect.bisect_left(stops, at)
        return stops[place] if place < len(stops) else self._reading.end

    # -------------------------------------------------------------- the network

    def _faults(self) -> None:
        for band in self._reading.bands:
            name = f"{band.kind} {band.detail}".rstrip()
            self._add(_NETWORK, "faults", band.start, band.end, name, band.kind, hosts=" ".join(band.hosts))

    def _counters(self, pids: dict[str, int]) -> Iterator[tuple[int, dict[str, Any]]]:
        for each in self._reading.progress:
            values = {"last": each.last_index, "commit": each.commit_index, "applied": each.applied_index}
            pid = pids[each.lane]
            yield (
                each.at,
                {"name": "index", "ph": "C", "ts": _microseconds(each.at), "pid": pid, "tid": pid, "args": values},
            )


def _spread(slices: list[_Slice]) -> None:
    """Gives each slice the first lane of its row in which it overlaps no other; instants are in lane 0."""
    rows: dict[tuple[str, str], list[_Slice]] = defaultdict(list)
    for each in slices:
        if each.end is not None and each.inside is None:
            rows[each.host, each.row].append(each)
    for row in rows.values():
        busy: list[tuple[int, int]] = []  # until when, which lane
        free: list[int] = []
        for each in sorted(row, key=lambda each: each.start):
            while busy and busy[0][0] <= each.start:
                heapq.heappush(free, heapq.heappop(busy)[1])
            each.lane = heapq.heappop(free) if free else len(busy)
            heapq.heappush(busy, (each.end or each.start, each.lane))


def _drawn(each: _Slice, pid: int, tid: int) -> Iterator[dict[str, Any]]:
    place = {"ts": _microseconds(each.start), "pid": pid, "tid": tid}
    event: dict[str, Any] = {"name": each.name, "cat": each.category, **place, "args": each.args}
    if each.end is None:
        yield {**event, "ph": "i", "s": "g" if each.row == "verdict" else "t"}
    else:
        yield {**event, "ph": "X", "dur": _microseconds(each.end - each.start)}
    for arrow in each.arrows:
        yield {**arrow, **place}


def _names_process(host: str, pid: int) -> list[dict[str, Any]]:
    special = {_RUN: "run", _NETWORK: _NETWORK}
    name = special.get(host) or (f"clerk {host[1:]}" if is_clerk(host) else f"server {host}")
    return [
        _metadata("process_name", pid, pid, name=name),
        _metadata("process_sort_index", pid, pid, sort_index=pid),
    ]


def _metadata(kind: str, pid: int, tid: int, **args: Any) -> dict[str, Any]:
    return {"name": kind, "ph": "M", "ts": 0, "pid": pid, "tid": tid, "args": args}


def _said(message: Message) -> dict[str, Any]:
    type_name, names, values = fields_of(message)
    return {
        "message": message.number,
        "method": message.method,
        "bytes": message.size,
        type_name or "undecoded": dict(zip(names, values, strict=True)),
    }


def _microseconds(ns: int) -> float:
    """The number that Perfetto, which multiplies by 1,000 and cuts off, takes for `ns`."""
    us = ns / 1000
    return us if int(us * 1000) >= ns else math.nextafter(us, math.inf)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
