"""The terminal timeline: time downwards, a lane a server with its role and term, one for clients, and what happens.

       time   0     1     2    clients
     0.3181   C1    F0    F0           0 stands for term 1
     0.3193   C1◄───F1    F0           1 votes for 0, term 1
   ┏ 0.4840   L1a   F1b   F1b   1…     == partition 0 | 1 2
   ┃ 0.5120   L1a   F1b   F1b   c3     put('x', '1', 0) …

Roles and terms are what the messages tell: F follower, C candidate, L leader, - down; x is cut off from all, z is
paused, and a, b, … are the sides of a partition. The clients' lane names the client that acts, or how many wait. The
bracket on the left spans a fault of the whole network. Nothing depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence

from rich.text import Text

from labrpc.network import is_clerk
from tester.timeline.reading import Band, Reading, RoleSpan
from tester.timeline.rows import Cited, Gap, Row, between, near, rows_of

__all__ = ["LEGEND", "lines"]

LEGEND = "role (F follower, C candidate, L leader, - down) and term of each server"

_MARKS = {
    "*": "* is about what the verdict names",
    "x": "x cut off",
    "z": "z paused",
    "a": "a, b sides of the partition",
    "✕": "✕ lost",
    "┃": "┃ a fault of the network lasts",
    "…": "1… a client waits",
}
"""What is explained below a timeline that has it."""

_MOST_LINES = 54
_MOST_TEXT = 160
"""Characters of a phrase; the report has printed lines in full below."""

_LEAST_PHRASE = 26
"""Characters that a phrase needs beside the lanes; with fewer there are no lanes."""

_ROLE_STYLE = {"F": "cyan", "C": "yellow", "L": "green", "-": "dim"}
_SIDES = "abcdefgh"
_BRACKETS = 3


def lines(
    reading: Reading,
    *,
    width: int,
    full: bool = False,
    start: int | None = None,
    end: int | None = None,
    hosts: Collection[str] = (),
    verdict: str = "",
    focus: int | None = None,
) -> Iterator[Text]:
    """The timeline, line by line.

    Without `full`, `start` and `end` it is what matters near the failure, in at most 60 lines.

    Args:
        width: of the terminal, in characters.
        full: also show heartbeats, replies, saves, control calls that only look, and messages lost.
        start, end: ns; everything between them is shown.
        hosts: only what these hosts did or were sent, and faults.
        verdict: of the run; rows about the servers, terms and indices that it names are marked with *.
        focus: ns, where the failure is; None: at the end.
    """
    rows = between(rows_of(reading), full=full, start=start or 0, end=end, hosts=hosts)
    drawing = _Drawing(reading, width)
    if full or start is not None or end is not None:
        cited = Cited.of(verdict)
        for row in rows:
            row.cited = cited.names(row)
        yield from drawing.draw(rows)
        return
    most = _MOST_LINES
    while True:
        drawn = list(drawing.draw(near(rows, most=most, focus=focus, cited=Cited.of(verdict))))
        if len(drawn) <= _MOST_LINES + 4 or most <= 4:
            break
        most -= max(1, len(drawn) - _MOST_LINES - 4)
        most = max(most, 4)
    yield from drawn


class _Drawing:
    """Rows as lines of one reading; `draw` may be called again."""

    def __init__(self, reading: Reading, width: int) -> None:
        self._reading = reading
        self._servers = reading.servers
        self._width = width
        self._states = _States(reading)
        self._clients = 4 if reading.clerks else 0
        self._brackets = min(_BRACKETS, _most_at_once(self._states.network_bands))
        self._lane = self._states.widest + 2
        beside = self._brackets + 11 + self._lane * len(self._servers) + self._clients + 1
        self._has_lanes = width - beside >= _LEAST_PHRASE
        self._beside = beside if self._has_lanes else self._brackets + 11
        self._room = max(12, width - self._beside)

    def draw(self, rows: Iterable[Row | Gap]) -> Iterator[Text]:
        """A heading, and each row in one or more lines."""
        self._states.restart()
        if self._has_lanes:
            lanes = "".join(f"{name:<{self._lane}}" for name in self._servers)
            clients = "cli " if self._clients else ""
            yield Text(f"{' ' * self._brackets}     time  {lanes}{clients} what happens", style="bold", end="")
        nothing = True
        marks: set[str] = set()
        for row in rows:
            nothing = False
            if isinstance(row, Gap):
                yield from self._gap(row)
            else:
                yield from self._row(row)
                marks.update(self._marks(row))

        if nothing:
            yield Text("nothing but what is routine", style="dim", end="")
        explained = "; ".join(text for mark, text in _MARKS.items() if mark in marks)
        if explained:
            yield from _wrapped(Text(explained, style="dim", end=""), self._width)

    def _marks(self, row: Row) -> Iterator[str]:
        """The marks in the line of `row`, which has just been drawn, that need to be explained."""
        if row.cited:
            yield "*"
        if row.lost and self._has_lanes:
            yield "✕"
        if self._states.brackets(self._brackets, row.order).strip():
            yield "┃"
        if self._clients and self._has_lanes and self._states.waiting and not is_clerk(row.actor):
            yield "…"
        for mark in "xz":
            if any(self._states.of(name).endswith(mark) for name in self._servers):
                yield mark
        if any(self._states.of(name)[-1:] in _SIDES for name in self._servers):
            yield "a"

    def _gap(self, gap: Gap) -> Iterator[Text]:
        rows = "1 row" if gap.count == 1 else f"{gap.count} rows"
        yield Text(f"{' ' * self._brackets}       …   {rows} up to {gap.end / 1e9:.4f} s", style="dim", end="")

    def _row(self, row: Row) -> Iterator[Text]:
        self._states.advance(row.order)
        line = Text(end="")
        line.append(self._states.brackets(self._brackets, row.order), style="magenta")
        line.append("*" if row.cited else " ", style="bold red")
        line.append(f"{row.at / 1e9:8.4f}  ", style="dim")
        if self._has_lanes:
            self._draw_lanes(line, row)
            if self._clients:
                acts = row.actor if is_clerk(row.actor) else self._states.waiting
                line.append(f"{acts:<4}", style="bold reverse" if acts and acts == row.actor else "dim")
            line.append(" ")
        for number, text in enumerate(_wrapped(self._phrase(row), self._room)):
            if number:
                brackets = self._states.brackets(self._brackets, row.order).replace("┏", "┃").replace("┗", " ")
                line = Text(brackets, style="magenta", end="")
                line.append(" " * (self._beside - self._brackets))
            line.append_text(text)
            line.rstrip()
            yield line

    def _draw_lanes(self, line: Text, row: Row) -> None:
        """Each lane's role and term, and the message's arrow from its source to its targets."""
        places = {name: number for number, name in enumerate(self._servers)}
        source = places.get(row.actor)
        targets = [places[name] for name in row.targets if name in places]
        drawn = source is not None and targets
        low = min([source, *targets]) if drawn and source is not None else 0
        high = max([source, *targets]) if drawn and source is not None else 0
        line_of, heads = ("┄", "✕✕") if row.lost else ("─", "◄►")
        for number, name in enumerate(self._servers):
            state = self._states.of(name)
            style = _ROLE_STYLE.get(state[:1], "")
            inside = drawn and low <= number <= high
            if inside and number != source and number not in targets:
                state = line_of * len(state)
                style = "dim"
            line.append(state, style=f"bold reverse {style}" if name == row.actor else style)
            room = self._lane - len(state)
            if not drawn or source is None or not low <= number < high:
                line.append(" " * room)
                continue
            left = heads[0] if number in targets and number < source else line_of
            right = heads[1] if number + 1 in targets and number + 1 > source else line_of
            line.append(left + line_of * (room - 2) + right, style="red" if row.lost else "bold")

    def _phrase(self, row: Row) -> Text:
        text = row.phrase
        text = text if len(text) <= _MOST_TEXT else f"{text[: _MOST_TEXT - 1]}…"
        text = " ".join(text.split("\n"))
        if not row.actor:
            return Text(f"== {text}", style="bold magenta")
        actor = row.actor
        if not self._has_lanes and not is_clerk(actor):
            actor = f"{actor} {self._states.of(actor)}"
        return Text.assemble((f"{actor} ", "bold"), text)


def _wrapped(text: Text, room: int) -> Iterator[Text]:
    """Pieces of at most `room` characters, broken at spaces where there are any."""
    while len(text) > room:
        place = text.plain.rfind(" ", room // 2, room + 1)
        cut = place if place > 0 else room
        yield text[:cut]
        text = text[cut + 1 if place > 0 else cut :]
    yield text


class _States:
    """Every lane's state at one row after the other."""

    def __init__(self, reading: Reading) -> None:
        self.network_bands = [band for band in reading.bands if not band.hosts]
        self._changes = sorted(_changes(reading), key=lambda change: change[0])
        widths = [len(_role_text(span)) for span in reading.roles]
        marks = 2 if any(band.kind in ("disconnected", "paused", "partition") for band in reading.bands) else 0
        self.widest = max([2, *widths]) + min(marks, 1)
        self.restart()

    def restart(self) -> None:
        """Back to the start of the run."""
        self._next = 0
        self._roles: dict[str, str] = {}
        self._cut_off: set[str] = set()
        self._paused: set[str] = set()
        self._side: dict[str, str] = {}
        self._waiting = 0

    def advance(self, order: int) -> None:
        """On to event `order` inclusive."""
        changes = self._changes
        while self._next < len(changes) and changes[self._next][0] <= order:
            _, what, host, value = changes[self._next]
            self._next += 1
            if what == "role":
                self._roles[host] = value
            elif what == "waiting":
                self._waiting += int(value)
            elif what == "partition":
                self._side = {
                    name: _SIDES[min(number, len(_SIDES) - 1)]
                    for number, group in enumerate(value.split("|") if value else ())
                    for name in group.split()
                }
            else:
                held = self._cut_off if what == "disconnected" else self._paused
                (held.add if value else held.discard)(host)

    def of(self, server: str) -> str:
        """Role, term and whether it is cut off, e.g. L7x."""
        role = self._roles.get(server, "")
        if role == "-":
            return role
        mark = "x" if server in self._cut_off else "z" if server in self._paused else self._side.get(server, "")
        return f"{role}{mark}" or " "

    @property
    def waiting(self) -> str:
        """How many operations clients wait for."""
        return f"{self._waiting}…" if self._waiting else ""

    def brackets(self, count: int, order: int) -> str:
        """The brackets of the faults of the whole network at event `order`."""
        slots = [" "] * count
        busy: list[int] = [0] * count
        for band in self.network_bands:
            if band.order > order:
                break
            slot = next((number for number in range(count) if busy[number] < band.order), None)
            if slot is None:
                continue
            busy[slot] = 1 << 62 if band.end_order is None else band.end_order
            if busy[slot] >= order:
                slots[slot] = "┏" if band.order == order else "┗" if busy[slot] == order else "┃"
        return "".join(slots)


def _role_text(span: RoleSpan) -> str:
    """Role and term, as L7; "-" if it is down, "" where there are no roles."""
    return span.role if span.role in ("-", "") else f"{span.role}{span.term}"


def _changes(reading: Reading) -> Iterator[tuple[int, str, str, str]]:
    """(order, what, host, new value)"""
    for span in reading.roles:
        yield span.order, "role", span.lane, _role_text(span)
    for call in reading.calls:
        if is_clerk(call.host):
            yield call.order, "waiting", call.host, "1"
            if call.end is not None:
                yield call.end_order, "waiting", call.host, "-1"
    for band in reading.bands:
        if band.kind in ("disconnected", "paused"):
            for value, order in (("1", band.order), ("", band.end_order)):
                if order is not None:
                    yield order, band.kind, band.hosts[0], value
        elif band.kind == "partition":
            yield band.order, "partition", "", band.detail
            if band.end_order is not None:
                yield band.end_order, "partition", "", ""


def _most_at_once(bands: Sequence[Band]) -> int:
    ends = [(band.order, 1) for band in bands]
    ends += [(band.end_order + 1, -1) for band in bands if band.end_order is not None]
    most = now = 0
    for _, change in sorted(ends):
        now += change
        most = max(most, now)
    return most
