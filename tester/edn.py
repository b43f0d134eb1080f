"""EDN, the notation of Clojure's data, as far as Jepsen's histories use it, read line by line.

    {:process 0, :type :ok, :f :cas, :value [0 4]}  ->  {Keyword("process"): 0, ..., Keyword("value"): (0, 4)}

A parser of our own, because those on PyPI read a text as a whole and name no line in their errors. A file may be
larger than memory: only the form that is being read is held. Vectors, lists and sets become tuples; tags, as in
`#jepsen.history.Op{...}`, are skipped, and what they tag is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from labrpc.errors import UsageError

__all__ = ["EdnError", "Keyword", "Symbol", "parse_forms", "read_forms"]


class EdnError(UsageError):
    """A text that is not EDN; the message begins with the line."""


@dataclass(frozen=True, slots=True)
class Keyword:
    """`:name`."""

    name: str

    def __str__(self) -> str:
        return f":{self.name}"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A bare word."""

    name: str

    def __str__(self) -> str:
        return self.name


_TOKEN: Final = re.compile(
    r"""[\s,]+ | ;.*
    | (?P<open> \#?\{ | [\[(] )
    | (?P<close> [\])}] )
    | (?P<string> "(?:[^"\\]|\\.)*" )
    | (?P<tag> \#[A-Za-z][^\s,;"()\[\]{}]* )
    | (?P<character> \\(?:[A-Za-z0-9]+|.) )
    | (?P<atom> [^\s,;"()\[\]{}\\\#][^\s,;"()\[\]{}\\]* )
    """,
    re.VERBOSE,
)
_CLOSES: Final = {"[": "]", "(": ")", "{": "}", "#{": "}"}
_NAMES: Final = {"nil": None, "true": True, "false": False}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", '"': '"', "\\": "\\"}
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))")
_CHARACTERS: Final = {"newline": "\n", "space": " ", "tab": "\t", "return": "\r"}
_INTEGER: Final = re.compile(r"([+-]?[0-9]+)N?")
_NUMBER: Final = re.compile(r"([+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)M?")
_LONGEST_INTEGER: Final = 1000


@dataclass(slots=True)
class _Open:
    """A collection whose end has not come."""

    bracket: str
    line: int
    items: list[Any]


def read_forms(lines: Iterable[str], *, first_line: int = 1) -> Iterator[tuple[int, Any]]:
    """Each form with the number of the line on which it ends. One vector around all of them is looked through.

    Raises:
        EdnError: on the line where the text stops being EDN; of a collection that is never closed, where it opens.
    """
    inside: list[_Open] = []
    around: int | None = None  # where the vector around all forms opened
    for number, line in enumerate(lines, first_line):
        for kind, text in _tokens(line, number):
            if kind == "open":
                if text == "[" and not inside and around is None:
                    around = number
                else:
                    inside.append(_Open(text, number, []))
                continue
            if kind == "close":
                if not inside and around and text == "]":
                    around = 0
                    continue
                value = _closed(inside, text, number)
            else:
                value = _atom(kind, text, number)
            if inside:
                inside[-1].items.append(value)
            else:
                yield number, value
    if inside or around:
        opened = inside[0] if inside else _Open("[", around or first_line, [])
        raise EdnError(
            f"line {opened.line}: the {opened.bracket} that opens here is never closed; is the file cut off?"
        )


def parse_forms(text: str, line: int) -> list[Any]:
    """All forms of one line's text.

    Raises:
        EdnError: the text is not EDN; the message names `line`.
    """
    inside: list[_Open] = []
    forms: list[Any] = []
    for kind, token in _tokens(text, line):
        if kind == "open":
            inside.append(_Open(token, line, []))
            continue
        value = _closed(inside, token, line) if kind == "close" else _atom(kind, token, line)
        (inside[-1].items if inside else forms).append(value)
    if inside:
        raise EdnError(f"line {line}: a {inside[0].bracket} is never closed")
    return forms


def _tokens(text: str, line: int) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise EdnError(f"line {line}: no EDN at column {at + 1}: {text[at : at + 30].rstrip()!r}")
        at = match.end()
        if match.lastgroup is not None and match.lastgroup != "tag":
            yield match.lastgroup, match[0]


def _closed(inside: list[_Open], bracket: str, line: int) -> Any:
    if not inside:
        raise EdnError(f"line {line}: a {bracket} closes what nothing opened")
    opened = inside.pop()
    if _CLOSES[opened.bracket] != bracket:
        raise EdnError(f"line {line}: a {bracket} closes the {opened.bracket} of line {opened.line}")
    if opened.bracket != "{":
        return tuple(opened.items)
    if len(opened.items) % 2:
        raise EdnError(f"line {line}: a map with a key and no value: {opened.items[-1]}")
    try:
        return dict(zip(opened.items[::2], opened.items[1::2], strict=True))
    except TypeError as error:
        raise EdnError(f"line {line}: a map as the key of a map is more than is read here") from error


def _atom(kind: str, text: str, line: int) -> Any:
    if kind == "string":
        return _ESCAPE.sub(lambda escape: _unescaped(escape, line), text[1:-1])
    if kind == "character":
        return _CHARACTERS.get(text[1:], text[1:])
    if text in _NAMES:
        return _NAMES[text]
    if text[0] == ":":
        return Keyword(text[1:])
    if match := _INTEGER.fullmatch(text):
        if len(text) > _LONGEST_INTEGER:
            raise EdnError(f"line {line}: an integer of {len(text)} digits; at most {_LONGEST_INTEGER} are read")
        return int(match[1])
    if match := _NUMBER.fullmatch(text):
        return float(match[1])
    return Symbol(text)


def _unescaped(escape: re.Match[str], line: int) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    if escape[2] not in _ESCAPES:
        raise EdnError(f"line {line}: \\{escape[2]} is no escape of a string")
    return _ESCAPES[escape[2]]
