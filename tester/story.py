"""What was not calm in a run, one sentence a decision, with its virtual time.

    ledger's decisions + the journal's messages --> (0.871 s, "message 37, server 3's vote request to …, is lost")

A decision of the network is about the n-th message of a link; which one that is, the journal tells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence, Sized
from typing import Any, NamedTuple

from labrpc.journal import Sent
from labrpc.ledger import Decision
from labrpc.network import host_title
from labrpc.virtual.scheduler import GIVE_WAY_NS
from tester.payloads import message_body

__all__ = ["COMMANDS", "Origin", "Sentence", "origin_of", "tell", "tell_how_many"]

COMMANDS = ("start", "submit")
"""The kinds of events that give servers work; the others are faults."""

_MOST_SHOWN = 40
"""Characters of a command that are shown."""

_STREAM = re.compile(r"(?:cluster-(?P<cluster>\d+)/)?(?P<family>event|net|host|crash)/(?P<rest>.+)")


class Origin(NamedTuple):
    """Where a decision comes from.

    `family` is event, net, host or crash; `kind` is disconnect, crash, start, …, jitter, drop, …, stall, turn, save,
    sync save, survive; `place` is a link such as `0->1`, a host, or "" for the whole run.
    """

    cluster: int
    family: str
    kind: str
    place: str


class Sentence(NamedTuple):
    """At `at` ns, in words."""

    at: int
    text: str


def origin_of(stream: str) -> Origin:
    """Where the decisions of `stream` come from."""
    match = _STREAM.fullmatch(stream)
    if match is None:
        return Origin(0, "", stream, "")
    cluster, family, parts = int(match["cluster"] or 0), match["family"], match["rest"].split("/")
    if family == "host":
        kind = {"latency": "save", "sync": "sync save"}[parts[3]] if parts[2] == "disk" else parts[2]
        return Origin(cluster, family, kind, parts[0])
    if family == "crash":
        return Origin(cluster, family, "survive", parts[0])
    return Origin(cluster, family, parts[-1], parts[0] if len(parts) > 1 else "")


def tell_how_many(before: Sized, after: Sequence[Decision]) -> str:
    """How much is left of a run: `4 faults and 2 decisions of 312 remain`."""
    counts = {"fault": 0, "command": 0, "decision": 0}
    for decision in after:
        _, family, kind, _ = origin_of(decision.stream)
        counts["decision" if family != "event" else "command" if kind in COMMANDS else "fault"] += 1
    named = [f"{n} {noun}{'' if n == 1 else 's'}" for noun, n in counts.items() if n]
    if not named:
        return f"nothing of {len(before)} remains: the run fails though all is calm"
    listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    return f"{listed} of {len(before)} {'remains' if len(after) == 1 else 'remain'}"


def tell(decisions: Iterable[Decision], journals: Sequence[Iterable[Any]]) -> list[Sentence]:
    """One sentence a decision, in the order of time.

    Args:
        journals: the events of each cluster of the run.
    """
    known = list(decisions)
    origins = [origin_of(decision.stream) for decision in known]
    links = {(origin.cluster, origin.place) for origin in origins if origin.family == "net"}
    sent: dict[tuple[int, str], list[Sent]] = {link: [] for link in links}
    requests: dict[tuple[int, int], Sent] = {}
    for cluster, events in enumerate(journals) if links else ():
        for event in events:
            if type(event) is Sent:
                sent.get((cluster, f"{event.source}->{event.target}"), []).append(event)
                if not event.reply_to:
                    requests[cluster, event.message] = event
    sentences = []
    for decision, origin in zip(known, origins, strict=True):
        messages = sent.get((origin.cluster, origin.place), [])
        if decision.number < len(messages):
            message = messages[decision.number]
            name = _message(message, requests.get((origin.cluster, message.reply_to)))
            sentences.append(Sentence(decision.at, _about_message(origin.kind, decision.value, name, message)))
        else:
            sentences.append(Sentence(decision.at, _about_run(origin, decision)))
    return sorted(sentences, key=lambda sentence: sentence.at)


def _about_message(kind: str, value: int, name: str, message: Sent) -> str:
    match kind:
        case "jitter" | "delay":
            return f"{name}, takes {_span(value)} longer"
        case "late":
            return f"{name}, is late"
        case "drop":
            return f"{name}, is lost"
        case "reorder":
            return f"{name}, is held back for at least 200 ms"
        case "reorder-delay":
            return f"{name}, is held back {_span(value)} more"
        case "duplicate":
            return f"{name}, arrives twice"
        case "notice":
            return f"{host_title(message.source)} learns {_span(value)} later that nothing comes of {name}"
    return f"{name}: {kind} {value}"


def _about_run(origin: Origin, decision: Decision) -> str:
    host, detail, value = host_title(origin.place), decision.detail, decision.value
    match origin.kind:
        case "stall":
            thread, _, site = detail.rpartition(" at ")
            place = f" at {site}" if site else ""
            if value == GIVE_WAY_NS:
                return f'{host}\'s thread "{thread}" gives way to one of higher priority{place}'
            return f'{host}\'s thread "{thread}" is stalled for {_span(value)}{place}'
        case "turn":
            first, *others = (f'"{name}"' for name in detail.split("\n"))
            return f"{host}'s thread {first} goes ahead of {', '.join(others)}"
        case "sync save":
            return f"a synchronous save of {host} takes {_span(value)}"
        case "save":
            return f"an asynchronous save of {host} takes {_span(value)}"
        case "survive":
            return f"{host} crashes, and of its saves that were pending {value} survive"
    tell_event = _EVENTS.get(origin.kind)
    if origin.family == "event" and tell_event is not None:
        return tell_event(detail)
    return f"decision {decision.number} of {decision.stream} is {value}"


def _crash(detail: str) -> str:
    server, _, when = detail.partition(" ")
    crashes = f"{host_title(server)} crashes"
    return f"{crashes} in place of the effect that is number {when.rpartition(' ')[2]} from now" if when else crashes


def _cut(detail: str) -> str:
    source, _, target = detail.partition("->")
    return f"the test cuts the way from {host_title(source)} to {host_title(target)}"


def _give(detail: str) -> str:
    server, _, command = detail.partition(" ")
    shown = command if len(command) <= _MOST_SHOWN else f"{command[: _MOST_SHOWN - 1]}…"
    return f"the test gives {host_title(server)} command {shown}"


_EVENTS: dict[str, Callable[[str], str]] = {
    "disconnect": lambda detail: f"the test cuts off {host_title(detail)}",
    "cut": _cut,
    "partition": lambda detail: f"the test parts the hosts: {detail}",
    "unreliable": lambda _: "the network becomes unreliable",
    "long reordering": lambda _: "the network begins to hold replies back",
    "long delays": lambda _: "calls over closed links begin to fail late",
    "duplication": lambda detail: f"the network begins to deliver {detail} of 1000 messages twice",
    "pause": lambda detail: f"the test pauses {host_title(detail)}",
    "clock": lambda detail: f"the test sets the clock of {detail}",
    "crash": _crash,
    "start": _give,
    "submit": _give,
}


def _message(message: Sent, request: Sent | None) -> str:
    """`message 37, server 3's vote request to server 1`."""
    source, target = host_title(message.source), host_title(message.target)
    if message.reply_to:
        return f"message {message.message}, {source}'s answer to {target}'s {_noun(request or message)}"
    return f"message {message.message}, {source}'s {_noun(message)} to {target}"


def _noun(request: Sent) -> str:
    match request.method:
        case "Raft.request_vote":
            return "vote request"
        case "Raft.install_snapshot":
            return "snapshot"
        case "Raft.append_entries":
            entries = _entries(request.payload)
            return f"append of {len(entries)}" if entries else "heartbeat"
    return request.method.rpartition(".")[2]


def _entries(payload: bytes) -> list[Any]:
    body = message_body(payload)
    entries = None if body is None else body.fields.get("entries")
    return entries if isinstance(entries, list) else []


def _span(ns: int) -> str:
    if ns >= 1_000_000_000:
        return f"{ns / 1e9:.2f} s"
    return f"{ns / 1e6:.3g} ms" if ns >= 10_000 else f"{ns / 1e3:.3g} µs"
