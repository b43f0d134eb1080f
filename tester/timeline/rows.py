"""What happened in a run, in rows: one instant, one actor, a phrase. The terminal timeline is made of them.

    Reading --rows_of--> all rows --select--> those that matter near the failure, merged where they repeat

A row's weight says when it is worth a line: routine (a heartbeat, a save) only if all is asked for, key (a new leader,
a crash, a partition) also long before the failure.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from labrpc.codec import Record
from labrpc.network import is_clerk
from tester.timeline.page_words import kind_of, words
from tester.timeline.reading import Call, Message, Note, Reading

__all__ = ["DETAIL", "KEY", "ROUTINE", "Cited", "Gap", "Row", "between", "near", "rows_of"]

ROUTINE, DETAIL, KEY = range(3)

_QUESTIONS = ("get_state", "counter", "persist_bytes", "snapshot_bytes", "threads", "read_raft_state")
"""Control calls that change nothing; tests make so many of them that they would hide the rest."""

_LONG_NS = 100_000_000
"""An operation that took longer has a row also where it began."""

_MERGED_NS = 10_000_000
_MERGED_ROWS = 4
"""A row may join one of the same kind that is so few rows and so little time before it."""

_LOST = {"vote": "its vote", "append": "its append", "snapshot": "its snapshot", "heartbeat": "its heartbeat"}
"""Kinds of messages, as they are called where they are lost."""

_ENDS = {"disconnected": "connected", "paused": "resumed"}
"""Kinds of bands that have a word for their end."""

_LONG_NUMBER = re.compile(r"\b(\d{4})\d{9,}\b")
"""An id that clients or servers drew; only its start is shown."""

_AFTER = 6
"""How many rows after the focus are shown."""

_NOTES = {  # kind of note -> weight, how its text is shown
    "boot": (KEY, "{}"),
    "crash": (KEY, "{}"),
    "shutdown": (KEY, "{}"),
    "report": (KEY, "! {}"),
    "snapshot": (DETAIL, "{}"),
    "print": (DETAIL, "» {}"),
    "save": (ROUTINE, "{}"),
    "saved": (ROUTINE, "{}"),
}


@dataclass(slots=True)
class Row:
    """At `at` ns `actor` ("" is the test or the network) did what `text` says, to or towards `targets`.

    Attributes:
        order: of the event, as in `Reading`.
        kind: rows of one kind may merge.
        span: the first and the last log index that it is about.
        lost: whether it is a message that was lost.
        times: how many rows of equal text it stands for.
    """

    at: int
    order: int
    actor: str
    text: str
    weight: int
    kind: str = ""
    targets: tuple[str, ...] = ()
    term: int | None = None
    span: tuple[int, int] | None = None
    lost: bool = False
    times: int = 1
    cited: bool = False

    @property
    def phrase(self) -> str:
        """The text, with what it merges and whom it is for."""
        text = self.text
        if self.span is not None and "{span}" in text:
            first, last = self.span
            text = text.replace("{span}", str(first) if first == last else f"{first}–{last}")
        text = text.replace("{targets}", ", ".join(self.targets))
        return f"{text} (×{self.times})" if self.times > 1 else text


@dataclass(frozen=True)
class Gap:
    """`count` rows between `start` and `end` ns that are not shown."""

    count: int
    start: int
    end: int


@dataclass(frozen=True)
class Cited:
    """What a verdict names."""

    servers: frozenset[str]
    terms: frozenset[int]
    indices: frozenset[int]

    @classmethod
    def of(cls, verdict: str) -> Cited:
        """Read from the words server, term and index, each with the numbers that follow it."""

        def numbers(word: str) -> Iterator[str]:
            for found in re.findall(rf"\b{word}(?:s|es)? (\d+(?:(?:, | and | or )(?:for )?\d+)*)", verdict):
                yield from re.findall(r"\d+", found)

        return cls(
            frozenset(numbers("(?:server|candidate|leader)")),
            frozenset(map(int, numbers("term"))),
            frozenset(map(int, numbers("(?:index|indice)"))),
        )

    def names(self, row: Row) -> bool:
        """Whether `row` is about it: one of its servers, at one of its indices or, if it names none, in its terms."""
        if row.weight == ROUTINE or row.lost or not self.servers.intersection((row.actor, *row.targets)):
            return False
        if self.indices:
            return row.span is not None and any(row.span[0] <= index <= row.span[1] for index in self.indices)
        return row.term is not None and row.term in self.terms


# ------------------------------------------------------------------ all rows


def rows_of(reading: Reading) -> list[Row]:
    """All rows of a run, in order."""
    rows = [
        *_roles(reading),
        *_commits(reading),
        *(row for note in reading.notes if (row := _note(note)) is not None),
        *(row for message in reading.messages.values() for row in _message(message, reading)),
        *_calls(reading),
        *_intervals(reading),
        *_faults(reading),
    ]
    rows.sort(key=lambda row: row.order)
    _tell_once(rows)
    _tell_second_votes(rows)
    return rows


def _tell_once(rows: Iterable[Row]) -> None:
    """A candidate asks over and over; that a closed link loses that is worth a line once a term."""
    told = set()
    for row in rows:
        if row.kind == "lost vote" and row.text.endswith(")"):
            key = row.actor, row.targets, row.term
            if key in told:
                row.weight = ROUTINE
            told.add(key)


def _tell_second_votes(rows: Iterable[Row]) -> None:
    """A vote for another candidate than the first in a term is told as such."""
    first: dict[tuple[str, int | None], str] = {}
    for row in rows:
        if row.kind == "reply vote" and row.text.startswith("votes for"):
            (candidate,) = row.targets
            earlier = first.setdefault((row.actor, row.term), candidate)
            if earlier != candidate:
                row.text += f", after it voted for {earlier}"


def _roles(reading: Reading) -> Iterator[Row]:
    before: dict[str, str] = {}
    heard = _heard(reading)
    for span in reading.roles:
        was = before.get(span.lane, "F")
        before[span.lane] = span.role
        if span.order <= reading.left_out:
            continue
        if span.role == "C":
            text = f"stands for term {span.term}{_silence(heard.get(span.lane, ()), span.start)}"
            yield Row(span.start, span.order, span.lane, text, DETAIL, term=span.term)
        elif span.role == "L":
            yield Row(span.start, span.order, span.lane, f"leads term {span.term}", KEY, term=span.term)
        elif span.role == "F" and was == "L":
            yield Row(span.start, span.order, span.lane, f"steps down, in term {span.term}", KEY, term=span.term)


def _heard(reading: Reading) -> dict[str, list[tuple[int, str]]]:
    """server -> when it heard from a leader, and from whom"""
    heard: dict[str, list[tuple[int, str]]] = {}
    for message in reading.messages.values():
        if not message.reply_to and message.method in ("Raft.append_entries", "Raft.install_snapshot"):
            heard.setdefault(message.target, []).extend((at, message.source) for at in message.arrivals)
    for each in heard.values():
        each.sort()
    return heard


def _silence(heard: Sequence[tuple[int, str]], at: int) -> str:
    """For how long a server has not heard from a leader, if ever."""
    place = bisect_right(heard, (at, "~")) - 1
    if place < 0:
        return ""
    return f", {(at - heard[place][0]) / 1e9:.3f} s after hearing leader {heard[place][1]}"


def _commits(reading: Reading) -> Iterator[Row]:
    """A leader tells its followers of a higher commit index."""
    leading: dict[str, list[tuple[int, int]]] = {}
    for span in reading.roles:
        if span.role == "L":
            leading.setdefault(span.lane, []).append((span.start, span.end))
    before: dict[str, int] = {}
    for progress in reading.progress:
        index, lane = progress.commit_index, progress.lane
        was = before.get(lane, 0)
        before[lane] = index
        spans = leading.get(lane, ())
        place = bisect_right(spans, (progress.at, reading.end + 1)) - 1
        if index > was and progress.order > reading.left_out and place >= 0 and progress.at <= spans[place][1]:
            text = "commits index {span}"
            yield Row(progress.at, progress.order, lane, text, DETAIL, "commit", span=(was + 1, index))


def _note(note: Note) -> Row | None:
    at, order, host = note.at, note.order, note.host
    if note.kind == "apply":
        command = note.text.partition(": ")[2]
        return Row(at, order, host, _applied(note.value, command), DETAIL, "apply", span=_span(note.value))
    if note.kind == "annotate":
        return Row(at, order, host, f"[{note.topic}] {note.text}", DETAIL)
    weight, text = _NOTES[note.kind]
    if note.kind == "boot" and note.value == 1:
        weight = ROUTINE
    span = _span(note.value) if note.kind == "snapshot" else None
    return Row(at, order, host, text.format(note.text), weight, span=span)


def _applied(index: Any, command: str) -> str:
    command = _LONG_NUMBER.sub(r"\1…", command)
    return f"applies {index}: {command}" if type(index) is int else f"applies {command}"


def _span(index: Any) -> tuple[int, int] | None:
    return (index, index) if type(index) is int else None


def _message(message: Message, reading: Reading) -> Iterator[Row]:
    request = reading.messages.get(message.reply_to) if message.reply_to else None
    kind = kind_of(message, request)
    body = message.body.fields if isinstance(message.body, Record) else {}
    asked = request.body.fields if request is not None and isinstance(request.body, Record) else {}
    describe = _reply if message.reply_to else _request
    weight, text, span = describe(message, kind, body, asked)
    term = body.get("term")
    is_lost = message.dropped is not None and not message.arrivals
    row = Row(
        message.sent,
        message.order,
        message.source,
        text,
        ROUTINE if is_lost else weight,
        kind=f"{'reply' if message.reply_to else 'request'} {kind}",
        targets=(message.target,),
        term=term if type(term) is int else None,
        span=span,
    )
    yield row
    asked_in = asked.get("term")
    if body.get("vote_granted") is True and type(asked_in) is int and asked_in < message.receiver_term:
        late = f"is told only now: {message.source} voted for it in term {asked_in}"
        yield Row(
            message.arrivals[0], message.arrival_orders[0], message.target, late, DETAIL, term=message.receiver_term
        )
    if weight == DETAIL and not message.reply_to and len(message.arrivals) > 1:
        again = f"gets the {kind} of {'index {span} from ' if span else ''}{message.source} once more"
        yield Row(
            message.arrivals[1], message.arrival_orders[1], message.target, again, DETAIL, term=row.term, span=span
        )
    if message.dropped is not None and is_lost:
        what = f"{_LOST.get(kind, 'its')} {'reply' if message.reply_to else 'request'} to {{targets}}"
        if kind == "append" and span is not None:
            what = "its append of index {span} to {targets}"
        is_clients = is_clerk(message.source) or is_clerk(message.target)
        if is_clients:
            name = (request or message).method.rpartition(".")[2]
            what = f"its answer to {{targets}}'s {name}" if message.reply_to else f"its {name} to {{targets}}"
        matters = kind == "vote" or ((weight == DETAIL or is_clients) and message.reason == "lost")
        yield replace(
            row,
            at=message.dropped,
            order=message.drop_order,
            text=f"loses {what}{'' if message.reason == 'lost' else f' ({_brief(message.reason)})'}",
            weight=DETAIL if matters else ROUTINE,
            kind=f"lost {kind}",
            lost=True,
        )


def _brief(reason: str) -> str:
    """A loss's reason without the hosts, which the row has already."""
    return re.sub(r"^\S+ is (?=down|disconnected|cut)", "", reason) or "no reason given"


_Described = tuple[int, str, tuple[int, int] | None]


def _request(message: Message, kind: str, body: dict[str, Any], _: dict[str, Any]) -> _Described:
    if kind == "vote":
        return ROUTINE, "asks {targets} for a vote", None
    if kind == "heartbeat":
        return ROUTINE, "sends a heartbeat to {targets}", None
    if kind == "append":
        previous, entries = body.get("prev_log_index"), body.get("entries")
        if type(previous) is int and isinstance(entries, list):
            terms = {entry.fields.get("term") for entry in entries if isinstance(entry, Record)} - {body.get("term")}
            older = f" (term {', '.join(map(str, sorted(terms, key=str)))})" if terms else ""
            return DETAIL, f"appends index {{span}}{older} to {{targets}}", (previous + 1, previous + len(entries))
        return DETAIL, "appends to {targets}", None
    if kind == "snapshot":
        index = body.get("last_included_index")
        return DETAIL, "sends {targets} its snapshot of index {span}", _span(index)
    argument = words(next(iter(body.values()))) if body else ""
    return ROUTINE, f"asks {{targets}}: {message.method.rpartition('.')[2]} {argument}".rstrip(), None


def _reply(message: Message, kind: str, body: dict[str, Any], asked: dict[str, Any]) -> _Described:
    term = asked.get("term", body.get("term"))
    if "vote_granted" in body:
        return DETAIL, f"{'votes for' if body['vote_granted'] else 'refuses'} {{targets}}, term {term}", None
    if body.get("success") is False:
        return DETAIL, f"rejects the append of {{targets}}, term {term}", None
    return ROUTINE, f"answers {{targets}}: {words(next(iter(body.values()), None))}", None


def _calls(reading: Reading) -> Iterator[Row]:
    told: dict[str, list[tuple[int, str]]] = {}
    """clerk -> when replies came, and who sent them"""
    for message in reading.messages.values():
        if message.reply_to and message.arrivals and is_clerk(message.target):
            told.setdefault(message.target, []).append((message.arrivals[0], message.source))
    for replies in told.values():
        replies.sort()
    for call in reading.calls:
        if is_clerk(call.host):
            yield from _operation(call, reading.end, told.get(call.host, ()))
        else:
            yield _control(call)


def _operation(call: Call, end: int, told: Sequence[tuple[int, str]]) -> Iterator[Row]:
    text = _text_of(call)
    took = (end if call.end is None else call.end) - call.start
    if took > _LONG_NS or call.end is None:
        yield Row(call.start, call.order, call.host, f"{text} …", DETAIL)
    if call.end is not None:
        place = bisect_right(told, (call.end, "~")) - 1
        told_by = told[place][1:] if place >= 0 and told[place][0] >= call.start else ()
        by = ", told by {targets}" if told_by else ""
        late = f", after {took / 1e9:.3f} s" if took > _LONG_NS else ""
        text = f"{text} -> {words(call.result)}{by}{late}"
        yield Row(call.end, call.end_order, call.host, text, DETAIL, targets=told_by)


def _control(call: Call) -> Row:
    text = f"test: {_text_of(call)}"
    if call.end is None:
        return Row(call.start, call.order, call.host, f"{text} …", DETAIL)
    is_routine = call.name in _QUESTIONS or (call.name == "start" and _is_refused(call.result))
    weight = ROUTINE if is_routine else DETAIL
    return Row(call.end, call.end_order, call.host, f"{text} -> {words(call.result)}", weight)


def _text_of(call: Call) -> str:
    return f"{call.name}({', '.join(map(words, call.args))})"


def _is_refused(result: Any) -> bool:
    """Whether that is what `start` says on a server that does not lead."""
    return isinstance(result, tuple) and result[-1:] == (False,)


def _intervals(reading: Reading) -> Iterator[Row]:
    for interval in reading.intervals:
        text = f"[{interval.topic}] {interval.text}"
        yield Row(interval.start, interval.order, interval.lane, f"{text} …", DETAIL)
        if interval.ended_by == "code":
            took = (interval.end - interval.start) / 1e9
            yield Row(interval.end, interval.end_order, interval.lane, f"{text}, until now: {took:.4f} s", DETAIL)


def _faults(reading: Reading) -> Iterator[Row]:
    for band in reading.bands:
        what = f"{band.kind} {'{targets}' if band.hosts else band.detail}".strip()
        if band.order > reading.left_out:
            yield Row(band.start, band.order, "", what, KEY, "fault", band.hosts)
        if band.end_order is not None and band.end_order != band.order:
            what = what.replace(band.kind, _ENDS.get(band.kind, f"end of {band.kind}"))
            yield Row(band.end, band.end_order, "", what, KEY, "fault", band.hosts)


# ------------------------------------------------------------------ some rows


def between(
    rows: Iterable[Row], *, full: bool = False, start: int = 0, end: int | None = None, hosts: Collection[str] = ()
) -> list[Row]:
    """The rows from `start` to `end` (ns, inclusive), merged; without the routine unless `full`.

    Args:
        hosts: if given, rows with none of these hosts are left out; faults stay.
    """
    found = (
        row
        for row in rows
        if (full or row.weight > ROUTINE)
        and start <= row.at
        and (end is None or row.at <= end)
        and (not hosts or not row.actor or not {row.actor, *row.targets}.isdisjoint(hosts))
    )
    return _merged(found)


def near(rows: Sequence[Row], *, most: int, focus: int | None = None, cited: Cited | None = None) -> list[Row | Gap]:
    """At most `most` rows: what led up to `focus` (ns; None: the end), and before it what is key or cited.

    Rows are as `between` gives them. `Gap`s stand for what is left out between two of them.
    """
    if cited is not None:
        for row in rows:
            row.cited = cited.names(row)
    place = len(rows) if focus is None else bisect_right(rows, focus, key=lambda row: row.at)
    stop = min(len(rows), place + _AFTER)
    if stop <= most:
        chosen = set(range(stop))
    else:
        chosen = set(range(max(0, stop - most * 2 // 3), stop))
        early = range(min(chosen) - 1, -1, -1)
        worth = [number for number in early if rows[number].cited]
        worth += [number for number in early if rows[number].weight == KEY and not rows[number].cited]
        chosen.update(worth[: most - len(chosen)])
    shown: list[Row | Gap] = []
    hidden: list[Row] = []
    for number, row in enumerate(rows):
        if number not in chosen:
            hidden.append(row)
            continue
        shown += _gap(hidden)
        hidden = []
        shown.append(row)
    return [*shown, *_gap(hidden)]


def _gap(rows: Sequence[Row]) -> Sequence[Row | Gap]:
    """What stands for `rows`; a single one may as well be shown."""
    return [Gap(len(rows), rows[0].at, rows[-1].at)] if len(rows) > 1 else rows


def _merged(rows: Iterable[Row]) -> list[Row]:
    merged: list[Row] = []
    for row in rows:
        # What is told of a span must not be told before what led to its end.
        most = 1 if row.kind in ("apply", "commit") else _MERGED_ROWS
        for earlier in merged[-1 : -most - 1 : -1]:
            if row.at - earlier.at <= _MERGED_NS and _joins(earlier, row):
                break
        else:
            merged.append(replace(row))
    return merged


def _joins(earlier: Row, row: Row) -> bool:
    """Makes `earlier` stand for `row` as well, if it can."""
    if earlier.actor != row.actor or earlier.kind != row.kind:
        return False
    if row.kind in ("apply", "commit") and earlier.span and row.span and earlier.span[1] + 1 == row.span[0]:
        earlier.text = "applies {span}" if row.kind == "apply" else earlier.text
        earlier.span = earlier.span[0], row.span[1]
    elif row.targets and row.text == earlier.text and row.span == earlier.span and not row.kind.startswith("reply"):
        if row.targets[0] in earlier.targets:
            earlier.times += 1
        else:
            earlier.targets = *earlier.targets, *row.targets
            if not row.actor:
                earlier.order = row.order  # faults: what the lanes show is what they are after all of them
    elif row.kind and row.text == earlier.text and row.span == earlier.span and row.targets == earlier.targets:
        earlier.times += 1
    else:
        return False
    return True
