"""One server's life, told from its recorded inbox while a fresh host lives it again.

0.318103     -> 1  Raft.request_vote RequestVoteArgs(term=1, ...)        what it sends
0.322200  1 ->     reply to Raft.request_vote: RequestVoteReply(...)     what comes in
0.322301           | won term 1                                          what it prints
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from rich.console import Console
from rich.text import Text

from labrpc import frames
from labrpc.network import host_title
from labrpc.virtual.inbox import Born, Difference, Ended, Inbox, Lived, Stepped, size_of
from labrpc.virtual.steps import Step
from tester.payloads import value_of
from tester.timeline.page_words import words

__all__ = ["Told", "both_in_words", "tell_life"]

_STYLES = {"in": "cyan", "out": "green", "own": "bold", "life": "bold yellow", "fault": "bold red", "": ""}


class Told(NamedTuple):
    """What became of a replay."""

    steps: int
    messages: int
    """Calls and answers that it sent, with each step's effects equal."""
    difference: Difference | None


class _Line(NamedTuple):
    at: int
    kind: str
    text: str


def tell_life(console: Console, inbox: Inbox, lived: Iterator[Lived]) -> Told:
    """Prints each step as it is lived."""
    teller = _Teller(inbox.head.host)
    steps = messages = 0
    difference = None
    for each in lived:
        lines = list(teller.lines_of(each))
        if each.difference is not None:  # what differs is told by itself
            lines = [line for line in lines if line.at <= each.difference.at]
        for line in lines:
            console.print(
                Text(f"{line.at / 1e9:11.6f}  "), Text(line.text, style=_STYLES[line.kind]), sep="", soft_wrap=True
            )
        if isinstance(each.record, Stepped):
            steps += 1
            messages += sum(isinstance(effect, frames.Call | frames.Answer) for effect in each.effects)
        difference = each.difference
    return Told(steps, messages, difference)


class _Teller:
    """Knows which call a reply answers, and which request an answer."""

    def __init__(self, host: str) -> None:
        self._title = host_title(host)
        self._calls: dict[tuple[int, int], tuple[str, str]] = {}
        self._requests: dict[tuple[int, int], str] = {}
        self._controls: dict[tuple[int, int], str] = {}

    def lines_of(self, lived: Lived) -> Iterator[_Line]:
        record = lived.record
        if isinstance(record, Born):
            return
        if isinstance(record, Ended):
            yield _Line(record.at, "life", f"{self._title} is gone, incarnation {record.incarnation}")
            return
        for item in record.inbox:
            kind, text = self._came(record.incarnation, item)
            yield _Line(record.now, kind, text)
        for effect in lived.effects:
            kind, text = self.deed(record.incarnation, effect)
            if text:
                yield _Line(effect.at, kind, text)

    def _came(self, incarnation: int, item: frames.InboxItem) -> tuple[str, str]:
        if isinstance(item, frames.Boot):
            size = f"{len(item.raft_state)} bytes of state and {len(item.snapshot)} of snapshot"
            disk = size if item.raft_state or item.snapshot else "nothing"
            return "life", f"{self._title} starts, incarnation {incarnation}, with {disk} on its disk"
        if isinstance(item, frames.Request):
            self._requests[incarnation, item.call] = item.method
            return "in", f"<- {item.method} {_said(item.payload)}"
        if isinstance(item, frames.Reply):
            target, method = self._calls.pop((incarnation, item.call), ("?", "?"))
            what = item.error or (_said(item.payload) if item.payload is not None else "nothing comes back")
            return "in", f"<- {target} to {method}: {what}"
        if isinstance(item, frames.Control):
            self._controls[incarnation, item.control] = item.name
            given = value_of(item.payload) or ()
            return "in", f"<- the test calls {item.name}({', '.join(map(words, given))})"
        if isinstance(item, frames.SetClock):
            return "in", f"its clock is {item.offset_ns / 1e9:g} s ahead and runs {item.drift_ppm} ppm fast"
        return "in", "its threads are counted"

    def deed(self, incarnation: int, effect: frames.Effect) -> tuple[str, str]:
        """The kind and the words of `effect`; no words for what need not be said."""
        if isinstance(effect, frames.Call):
            self._calls[incarnation, effect.call] = (effect.target, effect.method)
            return "out", f"-> {effect.target} {effect.method} {_said(effect.payload)}"
        if isinstance(effect, frames.Answer):
            method = self._requests.pop((incarnation, effect.call), "?")
            said = effect.error or (_said(effect.payload) if effect.payload is not None else "its handler died")
            return "out", f"-> answers {method}: {said}"
        if isinstance(effect, frames.Result):
            return "out", f"-> {self._controls.pop((incarnation, effect.control), '?')} gives {_said(effect.payload)}"
        if isinstance(effect, frames.Save):
            snapshot = "" if effect.snapshot is None else f" and a snapshot of {size_of(effect.snapshot)}"
            return "", f"saves {size_of(effect.raft_state)} bytes{snapshot}, number {effect.number}"
        if isinstance(effect, frames.Saved):
            return "", f"save {effect.number} is durable"
        if isinstance(effect, frames.Apply):
            return "", f"applies {_said(effect.payload)}"
        if isinstance(effect, frames.Output):
            return "own", f"| {effect.text}"
        if isinstance(effect, frames.Annotation):
            return "own", f"# {effect.tag}: {effect.text}"
        if isinstance(effect, frames.Report):
            return "fault", f"! {effect.text}{f' at {effect.site}' if effect.site else ''}"
        return "", ""


def both_in_words(host: str, difference: Difference) -> tuple[str, str]:
    """What was and what is, in full where the short texts are the same."""
    was, now = (_in_words(host, deed, whole=False) for deed in (difference.was, difference.now))
    if was != now:
        return was, now
    return _in_words(host, difference.was, whole=True), _in_words(host, difference.now, whole=True)


def _in_words(host: str, deed: frames.Effect | Step | None, *, whole: bool) -> str:
    if deed is None:
        return "nothing"
    if isinstance(deed, Step):
        wake = "when something comes" if deed.wake is None else f"at {deed.wake / 1e9:.9f} s"
        return f"its clock is at {deed.clock / 1e9:.9f} s after this step, and it goes on {wake}"
    text = _Teller(host).deed(0, deed)[1]
    if whole:
        contents = [getattr(deed, name, None) for name in ("raft_state", "snapshot", "payload")]
        text += "".join(f": {value_of(each) or each!r}" for each in contents if each)
    return f"{deed.at / 1e9:.9f} s  {text}"


def _said(payload: bytes) -> str:
    return words(value_of(payload))
