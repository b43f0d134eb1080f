"""The terminal timeline: a lane a server, time downwards, the last steps before the end of the run.

    journal events -> Rows (one instant, a phrase in each lane it concerns) -> a rich table

Each row's lanes show role and term as far as the messages tell: F follower, C candidate, L leader. Repeated heartbeats
are folded into one row. Nothing depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from labrpc.codec import CodecError, Record, decode_record
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
    Sent,
    Stopped,
)

__all__ = ["Row", "render", "rows_of"]

_ROLE_STYLE = {"F": "cyan", "C": "yellow", "L": "green", "-": "dim"}


@dataclass
class Row:
    """One line of the timeline: what happened at `at` ns, by lane; `band` is for what concerns the whole cluster."""

    at: int
    cells: dict[str, list[str]] = field(default_factory=dict)
    band: str = ""
    state: dict[str, str] = field(default_factory=dict)
    """Role and term of every lane after this instant, e.g. "L 7"."""
    fold: str = ""
    """Rows in a row with equal, non-empty `fold` are one row."""
    folded: int = 0


class _Lane:
    def __init__(self) -> None:
        self.role = "F"
        self.term = 0
        self.votes: set[str] = set()

    def saw(self, term: int) -> None:
        if term > self.term:
            self.term, self.role = term, "F"

    def __str__(self) -> str:
        return "-" if self.role == "-" else f"{self.role} {self.term}"


class _Reader:
    """Turns events into rows, following each server's role and term by its messages."""

    def __init__(self) -> None:
        self.lanes: dict[str, _Lane] = {}
        self.rows: list[Row] = []
        self._sent: dict[int, tuple[Sent, Record | None]] = {}

    def lane(self, name: str) -> _Lane:
        return self.lanes.setdefault(name, _Lane())

    def add(self, at: int, lane: str, phrase: str, *, fold: str = "") -> None:
        rows = self.rows
        if fold and rows and rows[-1].fold == fold:
            rows[-1].folded += 1
            return
        if rows and rows[-1].at == at and not rows[-1].band and lane and not fold and not rows[-1].fold:
            rows[-1].cells.setdefault(lane, []).append(phrase)
            rows[-1].state = self._states()
            return
        row = Row(at, fold=fold)
        if lane:
            row.cells[lane] = [phrase]
        else:
            row.band = phrase
        row.state = self._states()
        rows.append(row)

    def _states(self) -> dict[str, str]:
        return {name: str(lane) for name, lane in self.lanes.items()}

    def read(self, event: Any) -> None:
        match event:
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
                self.add(at, "", f"{kind} {detail}".strip())
            case Applied(at=at, host=host, payload=payload):
                self._applied(at, host, payload)
            case Controlled(at=at, host=host, name=name) if name not in ("get_state",):
                self.add(at, host, f"test: {name}()")
            case Printed(at=at, host=host, text=text):
                self.add(at, host, f"» {text}")
            case Annotated(at=at, host=host, tag=tag, text=text):
                self.add(at, host, f"[{tag}] {text}")
            case Reported(at=at, host=host, text=text):
                self.add(at, host, f"! {text}")

    def _sent_message(self, event: Sent) -> None:
        body = _record(event.payload)
        self._sent[event.message] = (event, body)
        if body is None or type(body.fields.get("term")) is not int:
            return
        lane, term = self.lane(event.source), body.term
        lane.saw(term)
        if event.reply_to:
            request = self._sent.get(event.reply_to, (None, None))[1]
            if "vote_granted" in body.fields:
                voted = "votes for" if body.vote_granted else "refuses"
                lane.saw(term)
                self.add(event.at, event.source, f"{voted} {event.target}, term {request.term if request else term}")
            elif body.fields.get("success") is False:
                self.add(event.at, event.source, f"rejects append of {event.target}")
        elif event.method == "Raft.request_vote":
            if lane.role != "C" or lane.votes != {f"{term}"}:
                lane.role, lane.term, lane.votes = "C", term, {f"{term}"}
                self.add(event.at, event.source, f"stands for term {term}")
        elif event.method in ("Raft.append_entries", "Raft.install_snapshot"):
            won = lane.role != "L"
            lane.role, lane.term = "L", term
            entries = body.fields.get("entries") or ()
            if won:
                self.add(event.at, event.source, f"leads term {term}")
            elif entries:
                self.add(event.at, event.source, f"appends {len(entries)} to {event.target}")
            elif event.method == "Raft.install_snapshot":
                self.add(event.at, event.source, f"sends snapshot to {event.target}")
            else:
                self.add(event.at, event.source, "heartbeats", fold=f"{event.source} {term}")

    def _delivered(self, at: int, message: int) -> None:
        sent = self._sent.get(message)
        if sent is None:
            return
        event, body = sent
        if body is not None and type(body.fields.get("term")) is int:
            self.lane(event.target).saw(body.term)
        if event.reply_to:
            self._sent.pop(message, None)
            self._sent.pop(event.reply_to, None)

    def _dropped(self, at: int, message: int, reason: str) -> None:
        event, body = self._sent.pop(message, (None, None))
        if event is None or body is None:
            return
        if event.method == "Raft.request_vote":
            what = f"its vote for {event.target}" if event.reply_to else f"its request to {event.target}"
            self.add(at, event.source, f"x {what}: {reason}", fold="")

    def _applied(self, at: int, host: str, payload: bytes) -> None:
        body = _record(payload)
        if body is not None and body.fields.get("command_valid"):
            self.add(at, host, f"applies {body.fields.get('command_index')}: {str(body.fields.get('command'))[:20]}")


def _record(payload: bytes) -> Record | None:
    try:
        body = decode_record(payload)
    except CodecError:
        return None
    return body if isinstance(body, Record) else None


def rows_of(events: Iterable[Any]) -> tuple[list[str], list[Row]]:
    """The lanes (servers first, then clerks) and all rows of a run."""
    reader = _Reader()
    for event in events:
        reader.read(event)
    lanes = sorted(reader.lanes, key=lambda name: (name.startswith("c"), len(name), name))
    return lanes, reader.rows


def render(events: Iterable[Any], *, last: int = 24) -> Table:
    """The last `last` rows as a rich table."""
    lanes, rows = rows_of(events)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, expand=False)
    table.add_column("time", justify="right", no_wrap=True, style="dim")
    for lane in lanes:
        table.add_column(f"clerk {lane[1:]}" if lane.startswith("c") else f"server {lane}", overflow="fold", ratio=1)
    hidden = max(0, len(rows) - last)
    if hidden:
        table.add_row("", Text(f"… {hidden} earlier rows", style="dim"))
    for row in rows[hidden:]:
        table.add_row(f"{row.at / 1e9:.4f}", *_cells(row, lanes))
    return table


def _cells(row: Row, lanes: list[str]) -> list[Text]:
    if row.band:
        return [Text(f"══ {row.band} ══", style="bold magenta")] + [Text("")] * (len(lanes) - 1)
    cells = []
    for lane in lanes:
        state = row.state.get(lane, "-")
        style = _ROLE_STYLE.get(state[0], "")
        phrases = row.cells.get(lane)
        text = Text(state, style=f"bold {style}" if phrases else f"dim {style}")
        if phrases:
            more = f" ×{row.folded + 1}" if row.folded else ""
            text.append(f" {'; '.join(phrases)}{more}", style="default not dim")
        cells.append(text)
    return cells
