"""A reading as columns of numbers and texts: small to store, quick to unpack, and all that the page knows of a run.

    Reading --> {"messages": {"sent": [differences], "from": [...], ...}, "notes": ..., "texts": [each once], ...}

Hosts are numbers: servers first, then clerks; -1 is the run as a whole. Times are ns; the columns `sent`, `at` and
`start` hold the difference to the row before.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from labrpc.network import is_clerk
from tester.porcupine.info import LinearizationInfo
from tester.porcupine.model import Model, NondeterministicModel
from tester.timeline.page_order import order_of
from tester.timeline.page_words import KINDS, fields_of, kind_of, label_of, words
from tester.timeline.reading import Band, Message, Reading

__all__ = ["data_of"]

_NOTE_KINDS: Final = ("boot", "crash", "shutdown", "save", "saved", "apply", "snapshot", "print", "annotate", "report")

_MOST_CHARACTERS = 2000
"""Of a printed line, an annotation or a report; longer ones lose their end."""


def data_of(
    reading: Reading,
    *,
    verdict_at: int | None = None,
    operations_verdict: tuple[Model | NondeterministicModel, LinearizationInfo] | None = None,
) -> dict[str, Any]:
    """What the page is made from, ready for JSON. The arguments are those of `page_html`."""
    return _Columns(reading).all(verdict_at, operations_verdict)


class _Interned:
    """Values by number, each once."""

    def __init__(self) -> None:
        self.all: list[Any] = []
        self._numbers: dict[Any, int] = {}

    def __call__(self, value: Any) -> int:
        number = self._numbers.get(value)
        if number is None:
            number = self._numbers[value] = len(self.all)
            self.all.append(value)
        return number


class _Columns:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        servers, clerks = _hosts(reading)
        self._hosts = [*servers, *clerks]
        self._servers = len(servers)
        self._number = {host: number for number, host in enumerate(self._hosts)}
        self._texts = _Interned()
        self._texts("")  # number 0: nothing
        self._shapes = _Interned()
        self._bodies = _Interned()
        self._calls = sorted(reading.calls, key=lambda call: call.start)

    def all(
        self,
        verdict_at: int | None,
        operations_verdict: tuple[Model | NondeterministicModel, LinearizationInfo] | None,
    ) -> dict[str, Any]:
        reading = self._reading
        order = None if operations_verdict is None else order_of(*operations_verdict, self._calls, reading.end)
        return {
            "hosts": self._hosts,
            "servers": self._servers,
            "events": reading.events,
            "end": reading.end,
            "verdict_at": verdict_at,
            "message_kinds": KINDS,
            "note_kinds": _NOTE_KINDS,
            "messages": self._messages(),
            "notes": self._notes(),
            "intervals": self._intervals(),
            "calls": self._call_columns(),
            "roles": self._roles(),
            "progress": self._progress(),
            "bands": [self._band(band) for band in sorted(reading.bands, key=lambda band: band.start)],
            "order": order,
            "shapes": self._shapes.all,
            "bodies": self._bodies.all,
            "texts": self._texts.all,
        }

    def _host(self, host: str) -> int:
        return self._number.get(host, -1)

    def _text(self, text: str) -> int:
        return self._texts(text if len(text) <= _MOST_CHARACTERS else f"{text[: _MOST_CHARACTERS - 1]}…")

    def _messages(self) -> dict[str, Any]:
        by_number = self._reading.messages
        rows = sorted(by_number.values(), key=lambda message: message.sent)
        places = {message.number: place for place, message in enumerate(rows)}
        kinds: list[str] = []
        again = []
        for place, message in enumerate(rows):
            request = by_number.get(message.reply_to) if message.reply_to else None
            kinds.append(kind_of(message, request))
            again += [[place, arrival - message.sent] for arrival in message.arrivals[1:]]
        return {
            "sent": _differences(message.sent for message in rows),
            "took": [_took(message) for message in rows],  # to its arrival, or its loss; null: neither was seen
            "lost": [self._text(message.reason or "lost") if _is_lost(message) else 0 for message in rows],
            "again": again,  # further arrivals of a message
            "from": [self._host(message.source) for message in rows],
            "to": [self._host(message.target) for message in rows],
            "method": [self._text(message.method) for message in rows],
            "kind": [KINDS.index(kind) for kind in kinds],
            "request": [  # how many rows above; 0: it is no reply
                place - places[message.reply_to] if message.reply_to in places else 0
                for place, message in enumerate(rows)
            ],
            "label": [self._text(label_of(message, kind)) for message, kind in zip(rows, kinds, strict=True)],
            "body": [self._body(message) for message in rows],
            "size": [message.size for message in rows],
        }

    def _body(self, message: Message) -> int:
        type_name, names, values = fields_of(message)
        return self._bodies((self._shapes((type_name, names)), *values))

    def _notes(self) -> dict[str, Any]:
        rows = sorted(self._reading.notes, key=lambda note: note.at)
        return {
            "at": _differences(note.at for note in rows),
            "host": [self._host(note.host) for note in rows],
            "kind": [_NOTE_KINDS.index(note.kind) for note in rows],
            "text": [self._text(note.text) for note in rows],
            "topic": [self._text(note.topic) for note in rows],
        }

    def _intervals(self) -> dict[str, Any]:
        rows = self._reading.intervals
        return {
            "start": _differences(interval.start for interval in rows),
            "took": [interval.end - interval.start for interval in rows],
            "host": [self._host(interval.lane) for interval in rows],
            "text": [self._text(interval.text) for interval in rows],
            "topic": [self._text(interval.topic) for interval in rows],
            "by": [interval.ended_by for interval in rows],
        }

    def _call_columns(self) -> dict[str, Any]:
        rows = self._calls
        return {
            "start": _differences(call.start for call in rows),
            "took": [None if call.end is None else call.end - call.start for call in rows],
            "host": [self._host(call.host) for call in rows],
            "text": [self._text(f"{call.name}({', '.join(map(words, call.args))})") for call in rows],
            "result": [0 if call.end is None else self._text(words(call.result)) for call in rows],
        }

    def _roles(self) -> dict[str, Any]:
        rows = self._reading.roles
        return {
            "start": _differences(span.start for span in rows),
            "took": [span.end - span.start for span in rows],
            "host": [self._host(span.lane) for span in rows],
            "role": [span.role for span in rows],
            "term": [span.term for span in rows],
        }

    def _progress(self) -> dict[str, Any]:
        rows = sorted(self._reading.progress, key=lambda progress: progress.at)
        return {
            "at": _differences(progress.at for progress in rows),
            "host": [self._host(progress.lane) for progress in rows],
            "last_index": [progress.last_index for progress in rows],
            "last_term": [progress.last_term for progress in rows],
            "commit_index": [progress.commit_index for progress in rows],
            "applied_index": [progress.applied_index for progress in rows],
        }

    def _band(self, band: Band) -> dict[str, Any]:
        groups = [group.split() for group in band.detail.split("|")] if band.kind == "partition" else []
        return {
            "kind": band.kind,
            "detail": band.detail,
            "start": band.start,
            "end": band.end,
            "hosts": [self._host(host) for host in band.hosts],
            "groups": [[self._number[host] for host in group if host in self._number] for group in groups],
        }


def _hosts(reading: Reading) -> tuple[list[str], list[str]]:
    """Servers and clerks, with those that were never seen to start."""
    servers, clerks = list(reading.servers), list(reading.clerks)
    known = {*servers, *clerks, ""}
    named = {host for message in reading.messages.values() for host in (message.source, message.target)}
    named |= {note.host for note in reading.notes} | {call.host for call in reading.calls}
    named |= {interval.lane for interval in reading.intervals}
    for host in sorted(named - known, key=lambda host: (len(host), host)):
        (clerks if is_clerk(host) else servers).append(host)
    return servers, clerks


def _is_lost(message: Message) -> bool:
    return message.dropped is not None and not message.arrivals


def _took(message: Message) -> int | None:
    end = message.arrivals[0] if message.arrivals else message.dropped
    return None if end is None else end - message.sent


def _differences(times: Iterable[int]) -> Sequence[int]:
    differences = []
    before = 0
    for time in times:
        differences.append(time - before)
        before = time
    return differences
