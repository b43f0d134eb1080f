"""The terminal timeline: time downwards, a lane a server with its role and term, and what each step is.

    journal events -> Rows (one instant, one actor, a phrase) -> a rich table

       time   0   1   2
     0.3181  C1  F0  F0   0 stands for term 1
     0.3193  C1  F1  F0   1 votes for 0, term 1

Roles and terms are what the messages tell: F follower, C candidate, L leader, - down, x cut off. What repeats is one
row with its count. Clients have no lane; what they ask and are told is among what happens. Nothing depends on colour
alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from labrpc.codec import Record
from labrpc.journal import (
    Annotated,
    Applied,
    Booted,
    Controlled,
    Delivered,
    Dropped,
    Faulted,
    Printed,
    Reported,
    Returned,
    Sent,
    Stopped,
)
from labrpc.network import is_clerk
from tester.payloads import message_body, value_of

__all__ = ["Row", "render", "rows_of"]

_MOST_PRINTED = 48
"""Characters of a printed line or a command that are shown here; the report has printed lines in full below."""

_QUESTIONS = ("get_state", "counter", "persist_bytes", "snapshot_bytes")
"""Control calls that change nothing; tests make so many of them that they would hide the rest."""

_ROLE_STYLE = {"F": "cyan", "C": "yellow", "L": "green", "-": "dim"}


@dataclass
class Row:
    """One line of the timeline: at `at` ns `actor` ("" is the test or the network) did what `phrases` say."""

    at: int
    actor: str
    phrases: list[str]
    state: dict[str, str]
    """Role and term of every lane after this instant, e.g. "L7"."""
    times: int = 1


class _Lane:
    def __init__(self) -> None:
        self.role = "F"
        self.term = 0
        self.isolated = False

    def saw(self, term: int) -> None:
        if term > self.term:
            self.term, self.role = term, "F"

    def __str__(self) -> str:
        return "-" if self.role == "-" else f"{self.role}{self.term}{'x' if self.isolated else ''}"


class _Reader:
    """Turns events into rows, following each server's role and term by its messages."""

    def __init__(self) -> None:
        self.lanes: dict[str, _Lane] = {}
        self.rows: list[Row] = []
        self._sent: dict[int, tuple[Sent, Record | None]] = {}
        self._repeated: dict[tuple[str, str], Row] = {}
        self._asked: dict[int, str] = {}
        """control -> what a client was asked to do."""

    def lane(self, name: str) -> _Lane:
        return self.lanes.setdefault(name, _Lane())

    def add(self, at: int, actor: str, phrase: str) -> None:
        rows = self.rows
        if rows and rows[-1].at == at and rows[-1].actor == actor and rows[-1].times == 1:
            rows[-1].phrases.append(phrase)
            rows[-1].state = self._states()
        else:
            rows.append(Row(at, actor, [phrase], self._states()))

    def add_repeated(self, at: int, actor: str, phrase: str) -> None:
        """As `add`, but the same phrase of the same actor again only counts, wherever it first stood."""
        row = self._repeated.get((actor, phrase))
        if row is not None:
            row.times += 1
            return
        self._repeated[actor, phrase] = row = Row(at, actor, [phrase], self._states())
        self.rows.append(row)

    def _states(self) -> dict[str, str]:
        return {name: str(lane) for name, lane in self.lanes.items()}

    def read(self, event: Any) -> None:
        match event:
            case Booted(host=host) if is_clerk(host):
                pass
            case Booted(at=at, host=host, incarnation=incarnation):
                self.lanes[host] = _Lane()
                if incarnation > 1:
                    self.add(at, host, f"restarts (incarnation {incarnation})")
            case Stopped(at=at, host=host, how=how):
                self.lane(host).role = "-"
                self.add(at, host, "crashes" if how == "crash" else "is shut down")
            case Sent():
                self._sent_message(event)
            case Delivered(at=at, message=message):
                self._delivered(at, message)
            case Dropped(at=at, message=message, reason=reason):
                self._dropped(at, message, reason)
            case Faulted(at=at, kind=kind, detail=detail):
                self._faulted(kind, detail)
                self.add(at, "", f"{kind} {detail}".strip())
            case Applied(at=at, host=host, payload=payload):
                self._applied(at, host, payload)
            case Controlled(at=at, host=host, control=control, name=name) if is_clerk(host):
                self._asked[control] = asked = f"{name}({', '.join(map(repr, value_of(event.payload) or ()))})"
                self.add(at, host, asked)
            case Returned(at=at, host=host, control=control) if is_clerk(host):
                self.add(at, host, f"{self._asked.pop(control, '')} -> {value_of(event.payload)!r}")
            case Controlled(at=at, host=host, name=name) if name not in _QUESTIONS:
                self.add(at, host, f"test: {name}()")
            case Printed(at=at, host=host, text=text):
                self.add(at, host, f"» {_short(text)}")
            case Annotated(at=at, host=host, tag=tag, text=text):
                self.add(at, host, f"[{tag}] {text}")
            case Reported(at=at, host=host, text=text):
                self.add(at, host, f"! {text}")

    def _faulted(self, kind: str, detail: str) -> None:
        if kind in ("disconnect", "connect"):
            self.lane(detail).isolated = kind == "disconnect"
        elif kind == "heal":
            for lane in self.lanes.values():
                lane.isolated = False

    def _sent_message(self, event: Sent) -> None:
        body = message_body(event.payload)
        self._sent[event.message] = (event, body)
        if is_clerk(event.source) or body is None or type(body.fields.get("term")) is not int:
            return
        lane, term = self.lane(event.source), body.term
        lane.saw(term)
        if event.reply_to:
            request = self._sent.get(event.reply_to, (None, None))[1]
            if "vote_granted" in body.fields:
                voted = "votes for" if body.vote_granted else "refuses"
                self.add(event.at, event.source, f"{voted} {event.target}, term {request.term if request else term}")
            elif body.fields.get("success") is False:
                self.add(event.at, event.source, f"rejects append of {event.target}")
        elif event.method == "Raft.request_vote":
            if lane.role != "C":
                lane.role = "C"
                self.add(event.at, event.source, f"stands for term {term}")
        elif event.method in ("Raft.append_entries", "Raft.install_snapshot"):
            won = lane.role != "L"
            lane.role = "L"
            entries = body.fields.get("entries") or ()
            if won:
                self.add(event.at, event.source, f"leads term {term}")
            elif entries:
                self.add(event.at, event.source, f"appends {len(entries)} to {event.target}")
            elif event.method == "Raft.install_snapshot":
                self.add(event.at, event.source, f"sends snapshot to {event.target}")
            else:
                self.add_repeated(event.at, event.source, f"heartbeats of term {term}")

    def _delivered(self, at: int, message: int) -> None:
        sent = self._sent.get(message)
        if sent is None:
            return
        event, body = sent
        if not is_clerk(event.target) and body is not None and type(body.fields.get("term")) is int:
            self.lane(event.target).saw(body.term)
        if event.reply_to:
            self._sent.pop(message, None)
            self._sent.pop(event.reply_to, None)

    def _dropped(self, at: int, message: int, reason: str) -> None:
        event, body = self._sent.pop(message, (None, None))
        if event is None or body is None:
            return
        if event.method == "Raft.request_vote":
            term = body.fields.get("term")
            if event.reply_to:
                self.add(at, event.source, f"its vote for {event.target} is lost: {reason}")
            else:
                self.add_repeated(at, event.source, f"vote requests of term {term} are lost: {reason}")

    def _applied(self, at: int, host: str, payload: bytes) -> None:
        body = message_body(payload)
        if body is not None and body.fields.get("command_valid"):
            self.add(at, host, f"applies {body.fields.get('command_index')}: {_short(str(body.fields.get('command')))}")


def _short(text: str) -> str:
    return text if len(text) <= _MOST_PRINTED else text[: _MOST_PRINTED - 1] + "…"


def rows_of(events: Iterable[Any]) -> tuple[list[str], list[Row]]:
    """The lanes, one a server, and all rows of a run."""
    reader = _Reader()
    for event in events:
        reader.read(event)
    lanes = sorted(reader.lanes, key=lambda name: (len(name), name))
    return lanes, reader.rows


def render(events: Iterable[Any], *, last: int = 24) -> Table:
    """The last `last` rows as a rich table."""
    lanes, rows = rows_of(events)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1), show_edge=False)
    table.add_column("time", justify="right", no_wrap=True, style="dim", min_width=7)
    for lane in lanes:
        table.add_column(lane, no_wrap=True, min_width=3)
    table.add_column("what happens", overflow="fold")
    hidden = max(0, len(rows) - last)
    if hidden:
        table.add_row("", *[""] * len(lanes), Text(f"… {hidden} earlier rows", style="dim"))
    for row in rows[hidden:]:
        table.add_row(f"{row.at / 1e9:.4f}", *(_state(row, lane) for lane in lanes), _phrase(row))
    return table


def _state(row: Row, lane: str) -> Text:
    state = row.state.get(lane, "")
    style = _ROLE_STYLE.get(state[:1], "")
    return Text(state, style=f"bold reverse {style}" if lane == row.actor else style)


def _phrase(row: Row) -> Text:
    text = "; ".join(row.phrases) + (f" (×{row.times})" if row.times > 1 else "")
    if not row.actor:
        return Text(f"== {text}", style="bold magenta")
    actor = f"clerk {row.actor[1:]}" if is_clerk(row.actor) else row.actor
    return Text.assemble((f"{actor} ", "bold"), text)
