"""The network's policy: what becomes of each message. Pure: it holds no clock, no queue, no thread.

    fate = network.send("0", "1", size)     deliver after these delays, or drop for this reason

One object decides in every world, so that a fault means the same on virtual and on real clocks. Each random decision
is number n (the n-th message of that link) of a named stream such as `net/0->1/drop`; 0 is the benign choice.
A fault that begins is event n of its kind (`event/cut`), and can be left out; one that ends is not: it can do no harm.

Hosts are named: servers "0", "1", …, clerks "c0", "c1", …; methods take a server's number or a name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from labrpc.climate import Climate
from labrpc.errors import UsageError
from labrpc.streams import Events, Stream, Streams

__all__ = ["Counts", "Fate", "Network", "host_title", "is_clerk"]

MS = 1_000_000

# The Go labs' labrpc has the same figures, so that its timing advice to students carries over; see `Climate`, too.
_DEAD_NOTICE_NS = 100 * MS
_LONG_DELAY_NS = 7_000 * MS
_IN_TURN = 333
"""Replies of 1000 that are not held back."""
_REORDER_LEAST_NS = 200 * MS
_REORDER_MOST_NS = 2_200 * MS
_DUPLICATE_LATER_NS = 10 * MS

_LEAST_LATENCY_NS = MS // 5
_MOST_LATENCY_NS = 2 * MS


class Fate(NamedTuple):
    """What becomes of message `number` of its link: delivered once after each of `delays`, or dropped for `reason`."""

    number: int
    delays: tuple[int, ...]
    reason: str = ""


@dataclass
class Counts:
    """Traffic so far. `rpcs` are requests sent from server to server, whatever became of them."""

    rpcs: int = 0
    bytes: int = 0


class _Link:
    """The random streams of one direction between two hosts, and how many messages it has carried."""

    __slots__ = (
        "counts",
        "delay",
        "drop",
        "duplicate",
        "gap",
        "is_between_servers",
        "jitter",
        "jitter_ns",
        "late",
        "notice",
        "number",
        "reorder",
    )

    def __init__(self, streams: Streams, source: str, target: str, counts: Counts, jitter_ns: int) -> None:
        name = f"{source}->{target}"
        self.jitter_ns = jitter_ns
        """A message takes up to so much longer than the fastest."""
        self.number = 0
        self.counts = counts
        """The target's."""
        self.is_between_servers = not (is_clerk(source) or is_clerk(target))
        self.jitter, self.late, self.drop, self.delay, self.reorder, self.gap, self.duplicate, self.notice = (
            streams.weather(f"{name}/{purpose}")
            for purpose in ("jitter", "late", "drop", "delay", "reorder", "reorder-delay", "duplicate", "notice")
        )


Listener = Callable[[str, str], None]


class Network:
    """The links between all hosts and every fault a test can put on them.

    Args:
        streams: the run's streams; this uses `net/…` and `event/…` only.
        latency_ns: one-way latency of a quiet link on average; None draws it for the run, 0.2–2 ms.
        climate: how it is on the whole.
    """

    def __init__(self, streams: Streams, *, latency_ns: int | None = None, climate: Climate | None = None) -> None:
        self._streams = streams.sub("net")
        self._events = Events(streams)
        if latency_ns is None:
            spread = _MOST_LATENCY_NS - _LEAST_LATENCY_NS
            latency_ns = _LEAST_LATENCY_NS + self._streams.stream("latency").at(0, spread + 1)
        if latency_ns < 0:
            raise UsageError(f"latency_ns {latency_ns} must be 0 or more")
        self.latency_ns = latency_ns
        self.climate = climate or Climate()
        self._is_slow = self._draw_slow()
        self._kept_per_thousand = 1000 - self.climate.lost_per_thousand
        self._links: dict[tuple[str, str], _Link] = {}
        self._reliable = True
        self._long_reordering = False
        self._long_delays = False
        self._duplicates_per_thousand = 0
        self._isolated: set[str] = set()
        self._cut: set[tuple[str, str]] = set()
        self._group: dict[str, int] = {}
        self._deleted: set[str] = set()
        self._faulty = False
        """Whether any link at all may be closed; false lets the common case skip the look-ups."""
        self._counts: dict[str, Counts] = {}
        self.total = Counts()
        self.listeners: list[Listener] = []
        """Called with (kind, detail) when a fault begins or ends, for the journal."""
        self.clock_listeners: list[Callable[[str, int, int], None]] = []
        self.pause_listeners: list[Callable[[str, bool], None]] = []

    # -------------------------------------------------------------- weather

    @property
    def reliable(self) -> bool:
        """False: each message is delayed, and requests and replies are lost: 0–26 ms and 10 % each, by the standard."""
        return self._reliable

    @reliable.setter
    def reliable(self, value: bool) -> None:
        if not value and not self._events.happens("unreliable"):
            return
        self._reliable = bool(value)
        self._tell("reliable" if value else "unreliable", "")

    @property
    def long_reordering(self) -> bool:
        """True: two replies of three are held back 0.2–2.2 s."""
        return self._long_reordering

    @long_reordering.setter
    def long_reordering(self, value: bool) -> None:
        if value and not self._events.happens("long reordering"):
            return
        self._long_reordering = bool(value)
        self._tell("long reordering", "on" if value else "off")

    @property
    def long_delays(self) -> bool:
        """True: a call over a closed link fails only after 0–7 s, not 0–0.1 s."""
        return self._long_delays

    @long_delays.setter
    def long_delays(self, value: bool) -> None:
        if value and not self._events.happens("long delays"):
            return
        self._long_delays = bool(value)
        self._tell("long delays", "on" if value else "off")

    def duplicate(self, per_thousand: int) -> None:
        """From now on `per_thousand` of 1000 messages arrive twice."""
        if not 0 <= per_thousand <= 1000:
            raise UsageError(f"per_thousand {per_thousand} is not in 0..1000")
        if per_thousand and not self._events.happens("duplication", str(per_thousand)):
            return
        self._duplicates_per_thousand = per_thousand
        self._tell("duplication", f"{per_thousand} of 1000")

    # -------------------------------------------------------------- closing links

    def disconnect(self, host: int | str) -> None:
        """Cuts `host` from everybody, both ways."""
        if not self._events.happens("disconnect", _name(host)):
            return
        self._isolated.add(_name(host))
        self._changed("disconnect", _name(host))

    def connect(self, host: int | str) -> None:
        """Ends `disconnect`. Cuts and partitions stay."""
        self._isolated.discard(_name(host))
        self._changed("connect", _name(host))

    def is_connected(self, host: int | str) -> bool:
        """Whether `host` is neither disconnected nor deleted."""
        return _name(host) not in self._isolated and _name(host) not in self._deleted

    def cut(self, source: int | str, target: int | str) -> None:
        """Loses what `source` sends to `target`; the other way stays open."""
        if not self._events.happens("cut", f"{_name(source)}->{_name(target)}"):
            return
        self._cut.add((_name(source), _name(target)))
        self._changed("cut", f"{_name(source)}->{_name(target)}")

    def mend(self, source: int | str, target: int | str) -> None:
        """Ends `cut`."""
        self._cut.discard((_name(source), _name(target)))
        self._changed("mend", f"{_name(source)}->{_name(target)}")

    def enable(self, source: int | str, target: int | str, enabled: bool) -> None:
        """Opens or closes the end that `source` calls `target` by: requests that way and their replies back."""
        for pair in ((source, target), (target, source)):
            (self.mend if enabled else self.cut)(*pair)

    def partition(self, *groups: Iterable[int | str]) -> None:
        """Lets hosts talk within their group only. Hosts in no group reach everybody.

        Raises:
            UsageError: a host is in two groups.
        """
        assigned: dict[str, int] = {}
        named = [[_name(host) for host in group] for group in groups]
        for number, group in enumerate(named):
            for host in group:
                if assigned.setdefault(host, number) != number:
                    raise UsageError(f"host {host} is in two groups of the partition")
        sides = " | ".join(" ".join(group) for group in named)
        if not self._events.happens("partition", sides):
            return
        self._group = assigned
        self._changed("partition", sides)

    def heal(self) -> None:
        """Ends all partitions, cuts and disconnections. Deleted servers stay deleted."""
        self._isolated.clear()
        self._cut.clear()
        self._group = {}
        self._changed("heal", "")

    def delete_server(self, server: int | str) -> None:
        """Nothing reaches `server`, and no reply it has sent or will send is delivered; `add_server` ends that."""
        self._deleted.add(_name(server))
        self._changed("delete", _name(server))

    def add_server(self, server: int | str) -> None:
        """Puts a deleted server back on the network; used when it restarts."""
        if _name(server) in self._deleted:
            self._deleted.discard(_name(server))
            self._changed("add", _name(server))

    def is_open(self, source: str, target: str) -> bool:
        """Whether a message from `source` to `target` would pass now."""
        return not self._faulty or not self._closed(source, target)

    def _closed(self, source: str, target: str) -> str:
        """Why the link is closed, "" if it is open."""
        for host in (source, target):
            if host in self._deleted:
                return f"{host} is down"
            if host in self._isolated:
                return f"{host} is disconnected"
        if (source, target) in self._cut:
            return f"{source}->{target} is cut"
        here, there = self._group.get(source), self._group.get(target)
        if here is not None and there is not None and here != there:
            return "partitioned"
        return ""

    # -------------------------------------------------------------- time

    def pause(self, host: int | str) -> None:
        """Stops `host`'s process: it does nothing, and what arrives waits. Time goes on elsewhere."""
        if not self._events.happens("pause", _name(host)):
            return
        self._tell("pause", _name(host))
        for listener in self.pause_listeners:
            listener(_name(host), True)

    def resume(self, host: int | str) -> None:
        """Ends `pause`: the host finds what has come in, and its timers overdue."""
        self._tell("resume", _name(host))
        for listener in self.pause_listeners:
            listener(_name(host), False)

    def set_clock(self, host: int | str, *, offset: float = 0.0, drift: float = 0.0) -> None:
        """Sets `host`'s own clock `offset` seconds ahead, and `drift` fast (0.01: one per cent).

        Raises:
            UsageError: the clock would run backwards or more than twice as fast, or `offset` is no number.
        """
        if not math.isfinite(offset):
            raise UsageError(f"offset {offset} is not a number of seconds")
        if not -0.9 <= drift <= 1.0:
            raise UsageError(f"drift {drift} is not in -0.9..1.0")
        change = f"{_name(host)} offset {offset:g} s, drift {drift:g}"
        if (offset or drift) and not self._events.happens("clock", change):
            return
        self._tell("clock", change)
        for listener in self.clock_listeners:
            listener(_name(host), round(offset * 1e9), round(drift * 1e6))

    # -------------------------------------------------------------- traffic

    def send(self, source: str, target: str, size: int, *, is_reply: bool = False) -> Fate:
        """Decides on one message of `size` bytes, and counts it."""
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = self._new_link(source, target)
        number = link.number
        link.number = number + 1
        self.total.bytes += size
        link.counts.bytes += size
        if link.is_between_servers and not is_reply:
            self.total.rpcs += 1
            link.counts.rpcs += 1

        if self._faulty:
            reason = self._closed(source, target)
            if reason:
                return Fate(number, (), reason)
        climate, kept = self.climate, self._kept_per_thousand
        if not self._reliable and link.drop.at(number, 1000, kept) >= kept:
            return Fate(number, (), "lost")  # a drawn 0 must be the benign choice: the highest are lost
        jitter_ns = link.jitter_ns
        delay = self.latency_ns - self.latency_ns // 4 + (link.jitter.at(number, jitter_ns + 1) if jitter_ns else 0)
        if climate.late_per_thousand:
            delay += _upper(link.late, number, climate.late_per_thousand, climate.late_ns) or 0
        if not self._reliable:
            delay += link.delay.at(number, climate.delay_ns)
        if is_reply and self._long_reordering and link.reorder.at(number, 1000, _IN_TURN) >= _IN_TURN:
            delay += _REORDER_LEAST_NS + link.gap.at(number, _REORDER_MOST_NS - _REORDER_LEAST_NS)
        duplicated = self._duplicates_per_thousand
        if link.is_between_servers and duplicated < climate.duplicated_per_thousand:
            duplicated = climate.duplicated_per_thousand
        if duplicated:
            later = _upper(link.duplicate, number, duplicated, _DUPLICATE_LATER_NS)
            if later is not None:
                return Fate(number, (delay, delay + 1 + later))
        return Fate(number, (delay,))

    def notice(self, source: str, target: str, number: int, *, closed: bool) -> int:
        """How long after message `number` of the link was lost its caller gives up, in ns.

        A message lost on an open link (`closed` False) costs no more than its own delay would have; on a closed one
        the caller waits as for a dead server.
        """
        link = self._links[source, target]
        if not closed:
            return self.latency_ns + link.delay.at(number, self.climate.delay_ns)
        return self.latency_ns + link.notice.at(number, _LONG_DELAY_NS if self._long_delays else _DEAD_NOTICE_NS)

    def counts(self, host: int | str) -> Counts:
        """What was sent to `host` so far."""
        return self._counts.setdefault(_name(host), Counts())

    def _new_link(self, source: str, target: str) -> _Link:
        jitter_ns = self.latency_ns // 2 + self.climate.spread_ns
        if self._is_slow(source, target):
            jitter_ns += self.climate.slow_ns
        return _Link(self._streams, source, target, self.counts(target), jitter_ns)

    def _draw_slow(self) -> Callable[[str, str], bool]:
        """Whether a link is one of the slow ones."""
        host = self._streams.stream("slow-host").at(0, 3)
        other = (host + 1 + self._streams.stream("slow-link").at(0, 2)) % 3
        match self.climate.slow:
            case "host":
                return lambda source, target: str(host) in (source, target)
            case "link":
                return lambda source, target: (source, target) == (str(host), str(other))
            case "way":
                return lambda source, target: not (is_clerk(source) or is_clerk(target)) and int(source) < int(target)
        return lambda source, target: False

    def _changed(self, kind: str, detail: str) -> None:
        self._faulty = bool(self._isolated or self._cut or self._group or self._deleted)
        self._tell(kind, detail)

    def _tell(self, kind: str, detail: str) -> None:
        for listener in self.listeners:
            listener(kind, detail)


def _upper(stream: Stream, number: int, per_thousand: int, most_ns: int) -> int | None:
    """What befalls `per_thousand` of 1000 decisions, in [0, `most_ns`]; None: nothing does."""
    share = 1000 * per_thousand
    harmless = 1_000_000 - share
    value = stream.at(number, 1_000_000, harmless)
    return None if value < harmless else (value - harmless) * most_ns // share


def is_clerk(host: str) -> bool:
    """Whether `host` is a client of the service, not a server."""
    return host.startswith("c")


def host_title(name: str) -> str:
    """`server 2` or `clerk 1`, for people."""
    return f"clerk {name[1:]}" if is_clerk(name) else f"server {name}"


def _name(host: int | str) -> str:
    return str(host)
