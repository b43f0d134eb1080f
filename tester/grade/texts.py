"""Texts of submissions, made harmless before they are shown: verdicts hold whatever a submission printed.

plain      no control characters, no marks that turn the writing's direction, one line, not endless
Markup     HTML that is whole; every text that is put into it by `tag` is escaped
cell       a text that no spreadsheet takes for a formula
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

__all__ = ["Markup", "cell", "join", "plain", "plain_lines", "tag"]

LONGEST = 600
"""Characters of a text that is shown; the rest is left out, and that is said."""

_NO_TEXT = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Control characters, lone surrogates, and marks that are not seen and change how what stands around them is."""

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")
"""What a spreadsheet's formula may begin with; | and % are old programs' signs."""

_VOID = frozenset({"meta", "br", "hr"})


class Markup(str):
    """HTML in which every text is escaped already."""

    __slots__ = ()


def plain(text: str, longest: int = LONGEST) -> str:
    """One line of `text`, without anything that is not to be seen, of at most `longest` characters."""
    line = re.sub(r"\s*[\r\n]+\s*", " ", _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text[: 4 * longest])).strip()
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1].rstrip() + "…"


def plain_lines(data: bytes, most: int) -> tuple[str, bool]:
    """A file's text, in its lines, without anything that is not to be seen.

    Args:
        most: bytes of it that are shown.

    Returns:
        the text, and whether that is all of it.
    """
    text = data[:most].decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    return _NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text), len(data) <= most


def cell(text: str) -> str:
    """`text` for a table's cell: a formula gets an apostrophe before it, and so is a text."""
    line = plain(text)
    return f"'{line}" if line.startswith(_FORMULA) else line


def tag(name: str, /, *content: str, **attributes: str | int | float | bool | None) -> Markup:
    """An element. Content that is not `Markup` is a text, and is escaped, as attributes are.

    Args:
        attributes: `class_` is written class, `aria_label` aria-label. True: without a value; False, None: not at all.
    """
    written = "".join(
        f" {_attribute(key)}" if value is True else f' {_attribute(key)}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{join(content)}</{name}>")


def join(content: Iterable[str], between: str = "") -> Markup:
    """Pieces after each other, texts escaped; `between` too."""
    return Markup(_piece(between).join(map(_piece, content)))


def _piece(text: str) -> str:
    return text if isinstance(text, Markup) else _escaped(text)


def _escaped(text: str) -> str:
    return html.escape(_NO_TEXT.sub("\N{REPLACEMENT CHARACTER}", text))


def _attribute(key: str) -> str:
    return key.rstrip("_").replace("_", "-") if key != "viewBox" else key
