"""Honest clerks: a clerk's result is one that a server gave it, and MAYBE means what it says.

    Sent, Delivered --observe--> replies that have reached each clerk in its present operation --judge--> its result

Without this rule a clerk could answer from memory, or call every put a MAYBE, and no history would show it.
"""

from __future__ import annotations

from typing import Any

from labrpc.codec import EnumRecord, Record
from labrpc.coordinator import Coordinator
from labrpc.errors import InvariantViolation
from labrpc.journal import Delivered, Dropped, Sent
from labrpc.network import is_clerk
from tester.payloads import message_body
from tester.porcupine import KvInput, KvOutput

__all__ = ["ClerkRules"]

GET, PUT = "KV.get", "KV.put"


class _Attempt:
    """A request sent in the present operation, and the reply that came, if one did."""

    __slots__ = ("args", "message", "method", "reply")

    def __init__(self, message: int, method: str, args: Any) -> None:
        self.message = message
        self.method = method
        self.args = args
        self.reply: Any = None


class ClerkRules:
    """A listener of a journal, told by the test's handles when an operation begins and what came of it.

    Args:
        coordinator: the run; a violation ends it.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.requests: dict[str, int] = {}
        """clerk -> how many requests it has sent in all."""
        self._attempts: dict[str, list[_Attempt]] = {}
        """clerk -> what it has sent in its present operation, in order."""
        self._requests: dict[int, _Attempt] = {}
        """message -> the attempt that it is."""
        self._replies: dict[int, tuple[_Attempt, bytes]] = {}
        """message on its way -> the attempt that it answers, and what it says."""

    def observe(self, event: Any) -> None:
        """Takes in one event of the journal."""
        kind = type(event)
        if kind is Sent:
            if event.reply_to == 0 and is_clerk(event.source):
                self.requests[event.source] = self.requests.get(event.source, 0) + 1
                attempts = self._attempts.get(event.source)
                if attempts is not None:
                    attempt = _Attempt(event.message, event.method, message_body(event.payload))
                    attempts.append(attempt)
                    self._requests[event.message] = attempt
            elif event.reply_to in self._requests:
                self._replies[event.message] = self._requests[event.reply_to], event.payload
        elif kind in (Delivered, Dropped) and event.message in self._replies:
            attempt, payload = self._replies.pop(event.message)
            if kind is Delivered:
                attempt.reply = message_body(payload)

    def begin(self, clerk: str) -> None:
        """`clerk` begins an operation. What it has sent since the last one, which is over, counts for nothing."""
        for attempt in self._attempts.get(clerk, ()):
            del self._requests[attempt.message]
        self._attempts[clerk] = []

    def judge(self, clerk: str, asked: KvInput, result: KvOutput) -> None:
        """`clerk` has ended its operation with `result`.

        Raises:
            InvariantViolation: no reply says so, or the replies say otherwise.
        """
        attempts = self._attempts[clerk]
        self.begin(clerk)
        mine = [attempt for attempt in attempts if _is_about(attempt, asked)]
        if asked.op == "get":
            self._judge_get(clerk, asked, result, mine)
        else:
            self._judge_put(clerk, asked, result, mine)

    def _judge_get(self, clerk: str, asked: KvInput, result: KvOutput, attempts: list[_Attempt]) -> None:
        if result.err not in ("OK", "NO_KEY"):
            self._violation(clerk, f"get({asked.key!r}) returned {result.err}; a get ends in OK or NO_KEY")
        told = [
            (_err(a.reply), a.reply.fields.get("value"), a.reply.fields.get("version")) for a in _answered(attempts)
        ]
        if (result.err, result.value, result.version) not in told:
            self._violation(
                clerk,
                f"get({asked.key!r}) returned {result.err}, value {result.value!r}, version {result.version}, "
                "but no server told it so",
            )

    def _judge_put(self, clerk: str, asked: KvInput, result: KvOutput, attempts: list[_Attempt]) -> None:
        title = f"put({asked.key!r}, version {asked.version})"
        if result.err not in ("OK", "NO_KEY", "VERSION", "MAYBE"):
            self._violation(clerk, f"{title} returned {result.err}; a put ends in OK, NO_KEY, VERSION or MAYBE")
        told = [_err(attempt.reply) for attempt in _answered(attempts)]
        basis = "VERSION" if result.err == "MAYBE" else result.err
        if basis not in told:
            self._violation(clerk, f"{title} returned {result.err}, but no server answered {basis}")
        if result.err == "MAYBE" and len(attempts) == 1:
            self._violation(clerk, f"{title} returned MAYBE after its only attempt was refused: it did not take effect")
        if result.err == "VERSION" and any(attempt.reply is None for attempt in attempts):
            self._violation(
                clerk, f"{title} returned VERSION, but an attempt without an answer may have taken effect: MAYBE"
            )

    def _violation(self, clerk: str, text: str) -> None:
        at = self._coordinator.now / 1e9
        self._coordinator.fail(InvariantViolation(f"clerk {clerk[1:]}'s {text} at {at:.3f} s"))


def _answered(attempts: list[_Attempt]) -> list[_Attempt]:
    return [attempt for attempt in attempts if isinstance(attempt.reply, Record)]


def _is_about(attempt: _Attempt, asked: KvInput) -> bool:
    fields = attempt.args.fields if isinstance(attempt.args, Record) else {}
    if asked.op == "get":
        return attempt.method == GET and fields.get("key") == asked.key
    wanted = {"key": asked.key, "value": asked.value, "version": asked.version}
    return attempt.method == PUT and wanted.items() <= fields.items()  # a student's message may say more


def _err(reply: Record) -> str:
    err = reply.fields.get("err")
    return err.member if isinstance(err, EnumRecord) else str(err)
