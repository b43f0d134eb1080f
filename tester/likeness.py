"""When are two failures the same one? Alike in kind and in words, whatever the numbers.

    server 1 voted for 1 and for 6 in term 2 (§5.2: …) at 0.870 s
    server A voted for A and for B in term # (§5.2: …) at # s

Servers and clients are named in the order in which they appear, so that who plays which part still counts. What names
a rule or a place in the code stays as it is: sections, figures, `raft/raft.py:212`.
"""

from __future__ import annotations

import re

from tester.report import verdict

__all__ = ["Likeness", "likeness", "pattern"]

Likeness = tuple[str, str]
"""(type of the exception, its verdict with numbers taken out)."""

_NOT_LINEARIZABLE = "the history is not linearizable"

_TOKEN = re.compile(
    r"(?P<kept>§[\d.]+|Fig(?:ure|\.) ?\d+|[\w./-]+\.py:\d+)"
    r"|(?P<list>(?<=\[)\d+(?=\])|\d+(?:(?:, | and )\d+)+)"
    r"|(?P<who>\b(?:server|clerk|candidate|for|granted) )(?P<number>\d+)\b"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<other>\d+(?:\.\d+)?)"
)


def likeness(error: BaseException) -> Likeness:
    """What `error` has in common with every failure that counts as the same."""
    return type(error).__name__, pattern(verdict(error))


def pattern(text: str) -> str:
    """A verdict with its numbers taken out: equal for alike failures, as far as the text tells."""
    names: dict[str, str] = {}

    def abstract(match: re.Match[str]) -> str:
        if match["kept"]:
            return match["kept"]
        if match["list"]:
            return "#…"
        if match["number"]:
            return match["who"] + names.setdefault(match["number"], chr(ord("A") + len(names)))
        return "'…'" if match["text"] else "#"

    if text.startswith(_NOT_LINEARIZABLE):  # why not is told in as many words as there are histories
        text = _NOT_LINEARIZABLE
    return _TOKEN.sub(abstract, text)
