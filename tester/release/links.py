"""Links in the student's pages: what leads to a page that students do not have is text."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator

__all__ = ["dead_links", "without_dead_links"]

_LINK = re.compile(r"!?\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)


def without_dead_links(file: str, text: str, files: Collection[str]) -> str:
    """The page `file`, with each link to what is not among `files` replaced by its own text."""
    pieces, end = [], 0
    for link in _dead(file, text, files):
        pieces += [text[end : link.start()], link["text"]]
        end = link.end()
    return "".join([*pieces, text[end:]])


def dead_links(file: str, text: str, files: Collection[str]) -> list[str]:
    """The targets that are not among `files`."""
    return [link["target"] for link in _dead(file, text, files)]


def _dead(file: str, text: str, files: Collection[str]) -> Iterator[re.Match[str]]:
    code = [range(*block.span()) for block in _FENCED.finditer(text)]
    for link in _LINK.finditer(text):
        target = link["target"].partition("#")[0]
        if not target or ":" in target or any(link.start() in block for block in code):
            continue
        path = posixpath.normpath(posixpath.join(posixpath.dirname(file), target))
        if path not in files and not any(each.startswith(f"{path}/") for each in files):
            yield link
