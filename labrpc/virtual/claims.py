"""What a child says is a claim: it is bounded, and belongs to what it was asked, or it is a verdict against the child.

    inbox --hear--> what it was asked     step --check--> a step that the coordinator can take, or BrokenClaim

A child can lie about itself: what it computes, and, within a step, how long it took. It cannot answer what it was not
asked, speak for another host, step out of its time, or cost the judge more than `Bounds` say. Texts are made
harmless: they may end in a terminal or on a page.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from labrpc import frames
from labrpc.codec import CodecError, decode_record
from labrpc.errors import CodeFault

__all__ = ["Bounds", "BrokenClaim", "Budget", "Claims", "harmless"]

_SLACK_NS = 1_000_000_000
"""How much later than its quantum a step may say that it ended: a message may be long to read."""

_REPORTS = frozenset(
    {"boot", "deadlock", "died", "foreign-release", "missing", "misuse", "output", "rpc-under-lock", "spin", "threads"}
)
_MOST_NAME = 1_000
_MOST_TEXT = 10_000
_MOST_DETAIL = 200_000


@dataclass(frozen=True)
class Bounds:
    """How much a host may say. What the lab's tests ask of a server stays far below all of them.

    Attributes:
        frame_bytes, effects: of one step, which is a millisecond of CPU at most.
        message_bytes: of an RPC's argument or reply, an applied message, or a control's result.
        save_bytes: of one save, raft state and snapshot.
        pending_save_bytes: of all saves that are not durable yet.
        pending_calls: RPCs whose outcome it was not told yet.
        reports: diagnoses of one incarnation.
        step_wall_s: wall time of one step.
        run_bytes: of everything that all hosts of a run say.
        run_wall_s: wall time that the steps of all hosts of a run take.
    """

    frame_bytes: int = 64 << 20
    effects: int = 50_000
    message_bytes: int = 16 << 20
    save_bytes: int = 32 << 20
    pending_save_bytes: int = 256 << 20
    pending_calls: int = 100_000
    reports: int = 1_000
    step_wall_s: float = 30.0
    run_bytes: int = 1 << 30
    run_wall_s: float = 300.0


class BrokenClaim(Exception):
    """A host said what cannot be, or too much; the text goes on after its name."""


class Budget:
    """What all hosts of a run may use together.

    Args:
        bounds: of which this counts `run_bytes` and `run_wall_s`.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._bytes: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._bytes_left = bounds.run_bytes
        self._seconds_left = bounds.run_wall_s

    def spend(self, title: str, size: int, seconds: float) -> CodeFault | None:
        """The host called `title` has said `size` bytes in a step of so many wall seconds.

        Returns what is wrong, of the host that used most; None if the run may go on.
        """
        self._bytes[title] = self._bytes.get(title, 0) + size
        self._seconds[title] = self._seconds.get(title, 0.0) + seconds
        self._bytes_left -= size
        self._seconds_left -= seconds
        if self._bytes_left < 0:
            worst = max(self._bytes, key=lambda name: self._bytes[name])
            return CodeFault(
                f"{worst}: the run's servers and clerks said more than {_size(self._bounds.run_bytes)}, and it most of "
                "them"
            )
        if self._seconds_left < 0:
            worst = max(self._seconds, key=lambda name: self._seconds[name])
            return CodeFault(
                f"{worst}: the run's servers and clerks took more than {self._bounds.run_wall_s:g} s of wall time, and "
                "it most of them",
                is_of_the_machine=True,
            )
        return None


class Claims:
    """What one incarnation was asked, and whether what it says fits that.

    Args:
        output_limit: bytes that it may print and annotate.
    """

    def __init__(self, bounds: Bounds, output_limit: int) -> None:
        self._bounds = bounds
        self._output_left = output_limit + _MOST_TEXT
        self._ends: frozenset[str] = frozenset()
        self._requests: set[int] = set()
        self._controls: dict[int, int] = {}
        self._calls = 0
        self._waiting = 0
        """Calls whose outcome it was not told."""
        self._saves = 0
        self._pending: deque[int] = deque()
        """The sizes of the saves that are not durable."""
        self._pending_bytes = 0
        self._annotations = 0
        self._reports = 0

    def hear(self, inbox: list[frames.InboxItem]) -> None:
        """It is given `inbox`."""
        for item in inbox:
            kind = type(item)
            if kind is frames.Request:
                self._requests.add(item.call)  # type: ignore[union-attr]
            elif kind is frames.Reply:
                self._waiting -= 1
            elif kind is frames.Control:
                number = item.control  # type: ignore[union-attr]
                self._controls[number] = self._controls.get(number, 0) + 1
            elif kind is frames.Boot:
                self._ends = frozenset(item.ends)  # type: ignore[union-attr]

    def check(self, now: int, limit: int, effects: list[frames.Effect], clock: int, wake: int | None) -> None:
        """It says that this is what it did in the step from `now` on.

        Raises:
            BrokenClaim: that cannot be.
        """
        if len(effects) > self._bounds.effects:
            raise BrokenClaim(f"did more than {self._bounds.effects} things in one step, a millisecond of CPU at most")
        last = now
        for effect in effects:
            if effect.at < last:
                raise BrokenClaim(_OUT_OF_TIME)
            last = effect.at
            _CHECKS[type(effect)](self, effect)
        if not last <= max(clock, now) <= now + limit + _SLACK_NS or (wake is not None and wake < 0):
            raise BrokenClaim(_OUT_OF_TIME)

    def _call(self, effect: frames.Call) -> None:
        self._calls += 1
        self._waiting += 1
        if effect.call != self._calls:
            raise BrokenClaim(f"numbered its call {self._calls} as {effect.call}")
        if effect.target not in self._ends:
            raise BrokenClaim(f"called {harmless(effect.target, 40)!r}, to which it has no end")
        if len(effect.method) > _MOST_NAME or not effect.method.isprintable():
            raise BrokenClaim("called a method whose name is no name")
        self._check_size(effect.payload, "an RPC's argument")
        if self._waiting > self._bounds.pending_calls:
            raise BrokenClaim(f"has more than {self._bounds.pending_calls} calls under way")

    def _answer(self, effect: frames.Answer) -> None:
        if effect.call not in self._requests:
            raise BrokenClaim("answered a request that it was not sent")
        self._requests.discard(effect.call)
        effect.error = harmless(effect.error, _MOST_TEXT)
        self._check_size(effect.payload or b"", "an RPC's reply")

    def _save(self, effect: frames.Save) -> None:
        self._saves += 1
        size = len(effect.raft_state) + len(effect.snapshot or b"")
        self._pending.append(size)
        self._pending_bytes += size + 1_000
        if effect.number != self._saves:
            raise BrokenClaim(f"numbered its save {self._saves} as {effect.number}")
        if size > self._bounds.save_bytes:
            raise BrokenClaim(f"saved more than {_size(self._bounds.save_bytes)} at once")
        if self._pending_bytes > self._bounds.pending_save_bytes:
            raise BrokenClaim(f"has more than {_size(self._bounds.pending_save_bytes)} of saves under way")

    def _saved(self, effect: frames.Saved) -> None:
        if not self._pending or effect.number != self._saves - len(self._pending) + 1:
            raise BrokenClaim(f"claims that save {effect.number} is durable, which is not the next to be")
        self._pending_bytes -= self._pending.popleft() + 1_000

    def _apply(self, effect: frames.Apply) -> None:
        self._check_size(effect.payload, "an applied message")

    def _result(self, effect: frames.Result) -> None:
        asked = self._controls.get(effect.control, 0)
        if not asked:
            raise BrokenClaim("answered a control call that it was not sent")
        self._controls[effect.control] = asked - 1
        self._check_size(effect.payload, "a result")
        try:
            decode_record(effect.payload)
        except CodecError:
            raise BrokenClaim("returned what is no value") from None

    def _output(self, effect: frames.Output) -> None:
        self._print(len(effect.text) + 1)
        effect.text = harmless(effect.text, _MOST_DETAIL, keeps="\t")
        effect.thread = harmless(effect.thread, _MOST_NAME)

    def _annotation(self, effect: frames.Annotation) -> None:
        self._annotations += 1
        if effect.number != self._annotations:
            raise BrokenClaim(f"numbered its annotation {self._annotations} as {effect.number}")
        self._print(len(effect.tag) + len(effect.text) + 2)
        effect.tag, effect.text = harmless(effect.tag, _MOST_NAME), harmless(effect.text, _MOST_DETAIL, keeps="\t\n")

    def _annotation_end(self, effect: frames.AnnotationEnd) -> None:
        if not 0 < effect.number <= self._annotations:
            raise BrokenClaim("ended an annotation that it did not make")

    def _report(self, effect: frames.Report) -> None:
        self._reports += 1
        if effect.kind not in _REPORTS or self._reports > self._bounds.reports:
            raise BrokenClaim("reported on itself what it could not")
        effect.text = harmless(effect.text, _MOST_TEXT, keeps="\n")
        effect.site = harmless(effect.site, _MOST_NAME)
        effect.detail = harmless(effect.detail, _MOST_DETAIL, keeps="\t\n")

    def _print(self, size: int) -> None:
        self._output_left -= size
        if self._output_left < 0:
            raise BrokenClaim("printed and annotated more than it may")

    def _check_size(self, payload: bytes, what: str) -> None:
        if len(payload) > self._bounds.message_bytes:
            raise BrokenClaim(f"sent {what} of more than {_size(self._bounds.message_bytes)}")


_OUT_OF_TIME = "claims instants that are out of order or out of its step"

_CHECKS: dict[type, Callable[[Claims, Any], None]] = {
    frames.Call: Claims._call,
    frames.Answer: Claims._answer,
    frames.Save: Claims._save,
    frames.Saved: Claims._saved,
    frames.Apply: Claims._apply,
    frames.Result: Claims._result,
    frames.Output: Claims._output,
    frames.Annotation: Claims._annotation,
    frames.AnnotationEnd: Claims._annotation_end,
    frames.Report: Claims._report,
}


def harmless(text: str, most: int, *, keeps: str = "") -> str:
    """`text`, cut after `most` characters, with all that is not printed (but `keeps`) written as an escape."""
    if len(text) > most:
        text = f"{text[:most]}… ({len(text) - most} more characters)"
    if text.isprintable():
        return text
    return "".join(
        each if each in keeps or each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def _size(count: int) -> str:
    return f"{count >> 30} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"
