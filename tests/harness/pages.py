"""HTML pages as tests look at them: what is in the text, before any browser has it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

__all__ = ["HOSTILE", "IN_LIGHT_AND_DARK", "Page", "assert_loads_nothing"]

HOSTILE = {
    "end of script": "</script><script>alert(1)</script>",
    "comment": "<!-- <script>",
    "quotes": "\"'`${1}\\",
    "lines": "a\nb\r\n\u2028\u2029\x00",
    "lone surrogate": "\ud800",
    "placeholder": "{{css}}{{js}}{{data}}",
    "markup": "&lt;<b>bold</b>",
}
"""Texts that must stay texts."""

IN_LIGHT_AND_DARK = pytest.mark.parametrize("color_scheme", ["light", "dark"])


class Page(HTMLParser):
    """The scripts of a page, its texts, and what it would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.loads: list[tuple[str, str, str | None]] = []
        self.tags: list[str] = []
        self.texts: list[str] = []
        self._script: dict[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [(tag, name, value) for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self._script = dict(attrs) if tag == "script" else None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.texts.append(data)
        else:
            self.scripts.append((self._script, data))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._script = None


def assert_loads_nothing(text: str) -> None:
    """Demands that a page is whole in itself."""
    assert Page(text).loads == []
    for loader in ("http:", "https:", "//cdn", "url(", "@import", "fetch(", "XMLHttpRequest", "WebSocket", "import("):
        assert loader not in text
    assert "default-src 'none'" in text
