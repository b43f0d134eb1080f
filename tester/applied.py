"""What servers have applied, and the rules of applying: in order, without gaps, and the same command everywhere.

    Applied events --observe--> per server: index -> command      (read by tests: how many have index 7?)

An incarnation starts anew: what it has applied counts from its own first command or snapshot on. Where snapshots are
opaque (a service's own state, not the list of commands), only their place in the order is judged.
"""

from __future__ import annotations

from typing import Any

from labrpc.codec import CodecError, Record, decode_record, encode
from labrpc.coordinator import Coordinator
from labrpc.errors import InvariantViolation
from labrpc.journal import Applied, Booted, Stopped
from tester.payloads import value_of

__all__ = ["AppliedLogs"]


class AppliedLogs:
    """A listener of a journal.

    Args:
        coordinator: the run; a violation ends it.
        opaque_snapshots: whether snapshots are something else than encoded (index, commands).
    """

    def __init__(self, coordinator: Coordinator, *, opaque_snapshots: bool = False) -> None:
        self._coordinator = coordinator
        self._opaque = opaque_snapshots
        self._logs: dict[str, dict[int, Any]] = {}
        """server -> index -> command, as its present incarnation has applied them."""
        self._last: dict[str, int] = {}
        """server -> the highest index it has applied; not there while it has started from an opaque snapshot only."""
        self._highest = 0
        """The highest index that any server has applied as a command."""
        self._agreed: dict[int, tuple[bytes, str]] = {}
        """index -> (encoded command, the server that applied it first)."""

    def servers_that_applied(self, index: int) -> int:
        """How many servers' present incarnations have applied `index`."""
        return sum(index in log for log in self._logs.values())

    def command(self, index: int) -> Any:
        """The command that was applied at `index`; KeyError if none was."""
        return decode_record(self._agreed[index][0])

    def last_index(self, server: str) -> int:
        """The highest index that the server's present incarnation has applied."""
        return self._last.get(server, 0)

    def observe(self, event: Any) -> None:
        """Takes in one event of the journal.

        Raises:
            InvariantViolation: in the test, through the coordinator.
        """
        kind = type(event)
        if kind is Applied:
            message = value_of(event.payload)
            fields = message.fields if isinstance(message, Record) else {}
            if fields.get("snapshot_valid") and type(fields.get("snapshot_index")) is int:
                self._on_snapshot(event.host, fields["snapshot_index"], fields.get("snapshot"))
            elif fields.get("command_valid") and type(fields.get("command_index")) is int:
                self._on_command(event.host, fields["command_index"], fields.get("command"))
            elif not fields or fields.get("snapshot_valid") or fields.get("command_valid"):
                self._violation(f"server {event.host} put {_short(message)} into apply_ch, which is no ApplyMsg")
        elif kind is Booted:
            self._logs[event.host] = {}
            if self._opaque and event.snapshot_size:
                self._last.pop(event.host, None)
            else:
                self._last[event.host] = 0
        elif kind is Stopped:
            self._logs.pop(event.host, None)

    def _on_command(self, server: str, index: int, command: Any) -> None:
        last = self._last.get(server)
        if (
            last is None
        ):  # restarted from a snapshot whose index only the service knows: any committed index may be next
            expected = min(index, self._highest + 1)
        else:
            expected = last + 1
        if index != expected:
            self._violation(
                f"server {server} applied index {index} when index {expected} was next "
                "(Fig. 2: entries are applied in log order, each once)"
            )
        self._agree(server, index, command)
        self._last[server] = index
        self._highest = max(self._highest, index)
        self._logs.setdefault(server, {})[index] = command

    def _on_snapshot(self, server: str, index: int, snapshot: Any) -> None:
        last = self._last.get(server, 0)
        if index < last:
            self._violation(
                f"server {server} applied a snapshot of index {index} after it had applied index {last} "
                "(§7: a snapshot must not take the state back)"
            )
        if not self._opaque:
            log = self._logs.setdefault(server, {})
            for position, command in enumerate(self._commands(server, index, snapshot), start=1):
                self._agree(server, position, command)
                log[position] = command
        self._last[server] = index

    def _commands(self, server: str, index: int, snapshot: Any) -> list[Any]:
        try:
            last, commands = decode_record(snapshot)
        except (CodecError, TypeError, ValueError):
            last, commands = -1, []
        if not isinstance(commands, list | tuple) or last != index or len(commands) != index:
            self._violation(
                f"server {server} applied a snapshot at index {index} whose content is not the state at that index "
                "(§7: a snapshot is the state at its last included index)"
            )
        return list(commands)

    def _agree(self, server: str, index: int, command: Any) -> None:
        try:
            data = encode(command)
        except CodecError as error:
            self._violation(f"server {server} applied a command at index {index} that is no value: {error}")
            return
        known, first = self._agreed.setdefault(index, (data, server))
        if known != data:
            self._violation(
                f"server {server} applied {_short(command)} at index {index}, where server {first} had applied "
                f"{_short(decode_record(known))} (§5.4.3, State Machine Safety)"
            )

    def _violation(self, text: str) -> None:
        self._coordinator.fail(InvariantViolation(f"{text} at {self._coordinator.now / 1e9:.3f} s"))


def _short(command: Any) -> str:
    try:
        text = repr(command)
    except RecursionError:
        text = f"a {type(command).__name__} of many levels"
    return text if len(text) <= 40 else f"{text[:37]}…"
