"""What the page says of a message in a few words, and of its fields one by one, however long they are.

    AppendEntriesArgs(term=3, prev_log_index=4, entries=[...], ...)  -->  "append 5-7, term 3", kind append, fields

Kinds are what the page colours and filters by. A reply is of its request's kind.
"""

from __future__ import annotations

from typing import Any

from labrpc.codec import EnumRecord, Record
from labrpc.network import is_clerk
from tester.timeline.reading import Message

__all__ = ["KINDS", "fields_of", "kind_of", "label_of", "words"]

KINDS = ("vote", "append", "heartbeat", "snapshot", "client", "other")

_MOST_CHARACTERS = 160
"""Of a value; longer ones lose their end."""

_MOST_ITEMS = 6
"""Of a list, a tuple or a dict; and log entries of a message."""

_RAFT_KINDS = {"request_vote": "vote", "append_entries": "append", "install_snapshot": "snapshot"}


def kind_of(message: Message, request: Message | None) -> str:
    """One of `KINDS`.

    Args:
        request: what `message` replies to, if it is a reply.
    """
    asked = request or message
    name = asked.method.rpartition(".")[2]
    if name in _RAFT_KINDS:
        entries = asked.body.fields.get("entries") if isinstance(asked.body, Record) else None
        return "heartbeat" if name == "append_entries" and entries == [] else _RAFT_KINDS[name]
    return "client" if is_clerk(asked.source) or is_clerk(asked.target) else "other"


def label_of(message: Message, kind: str) -> str:
    """What `message` of `kind` says, short enough to stand on an arrow."""
    fields = message.body.fields if isinstance(message.body, Record) else {}
    name = message.method.rpartition(".")[2]
    said = _replied(fields, name, kind) if message.reply_to else _asked(fields, name, kind)
    return _clipped(said, 48)


def _asked(fields: dict[str, Any], name: str, kind: str) -> str:
    term = f", term {fields['term']}" if "term" in fields else ""
    if kind == "vote":
        return f"vote?{term}"
    if kind == "append":
        first = fields.get("prev_log_index")
        entries = fields.get("entries")
        if type(first) is int and isinstance(entries, list):
            last = first + len(entries)
            return f"append {first + 1}{f'-{last}' if len(entries) > 1 else ''}{term}"
    elif kind == "snapshot":
        return f"snapshot up to {fields.get('last_included_index', '?')}{term}"
    elif kind != "heartbeat":
        return f"{name} {words(next(iter(fields.values())))}" if fields else name
    return f"{kind}{term}"


def _replied(fields: dict[str, Any], name: str, kind: str) -> str:
    for field, yes, no in (("vote_granted", "vote yes", "vote no"), ("success", "ok", "refused")):
        if type(fields.get(field)) is bool:
            return f"{yes if fields[field] else no}, term {fields.get('term', '?')}"
    if "err" in fields:
        err = fields["err"]
        return err.member if isinstance(err, EnumRecord) else str(err)
    if kind == "snapshot":
        return f"snapshot received, term {fields.get('term', '?')}"
    return f"{name}: {words(next(iter(fields.values())))}" if fields else f"reply to {name}"


def fields_of(message: Message) -> tuple[str, tuple[str, ...], tuple[int | str, ...]]:
    """The type's name, the fields' names, and for each an int or words; nothing if the bytes were no message."""
    body = message.body
    if body is None:
        return "", (), ()
    if not isinstance(body, Record):
        return type(body).__name__, ("value",), (words(body),)
    first = body.fields.get("prev_log_index")
    values = tuple(
        value
        if type(value) is int and abs(value) < 2**53  # what a JavaScript number holds exactly
        else _entries(value, first)
        if name == "entries" and isinstance(value, list) and type(first) is int
        else words(value)
        for name, value in body.fields.items()
    )
    return body.type_name, tuple(body.fields), values


def _entries(entries: list[Any], previous: int) -> str:
    """A line an entry, with its index."""
    if not entries:
        return "none"
    lines = []
    for index, entry in enumerate(entries[:_MOST_ITEMS], previous + 1):
        if isinstance(entry, Record) and set(entry.fields) == {"term", "command"}:
            lines.append(f"{index}: term {entry.fields['term']}, {words(entry.fields['command'])}")
        else:
            lines.append(f"{index}: {words(entry)}")
    if len(entries) > _MOST_ITEMS:
        lines.append(f"… {len(entries) - _MOST_ITEMS} more, up to {previous + len(entries)}")
    return "\n".join(lines)


def words(value: Any) -> str:
    """`value` as it would be written in Python, shortened."""
    try:
        return _clipped(_words(value), _MOST_CHARACTERS)
    except RecursionError:  # a process may say what `encode` would not
        return f"a {type(value).__name__} of many levels"


def _words(value: Any) -> str:
    if isinstance(value, bytes):
        return repr(value) if len(value) <= 24 else f"{len(value)} bytes: {value[:16]!r}…"
    if isinstance(value, str):
        return repr(value[: _MOST_CHARACTERS + 1])
    if isinstance(value, Record):
        return f"{value.type_name}({_joined(f'{name}={_words(each)}' for name, each in _few(value.fields.items()))})"
    if isinstance(value, dict):
        items = (f"{_words(key)}: {_words(each)}" for key, each in _few(value.items()))
        return f"{{{_joined(items, len(value))}}}"
    if isinstance(value, list):
        return f"[{_joined(map(_words, value[:_MOST_ITEMS]), len(value))}]"
    if isinstance(value, tuple):
        return f"({_joined(map(_words, value[:_MOST_ITEMS]), len(value))}{',' if len(value) == 1 else ''})"
    return repr(value)


def _few(items: Any) -> list[Any]:
    return list(items)[:_MOST_ITEMS]


def _joined(texts: Any, count: int = 0) -> str:
    more = f", … {count - _MOST_ITEMS} more" if count > _MOST_ITEMS else ""
    return ", ".join(texts) + more


def _clipped(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
