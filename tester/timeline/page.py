"""A run as one HTML page, which needs no network and no server.

    Reading --page_data--> JSON, deflated --> page/page.html, .css, .js and the data in it --> one file

The page shows time from left to right: a lane a server with its role, term and log, a lane a clerk with its operations,
every message as an arrow, faults as bands, and the state of all servers at a cursor. What it says is computed here; the
page only draws. Its looks, colours and buttons are those of the page of a history (tester.porcupine.visualize).
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
import zlib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

from tester.porcupine.info import LinearizationInfo
from tester.porcupine.model import Model, NondeterministicModel
from tester.timeline.page_data import data_of
from tester.timeline.reading import Reading

__all__ = ["page_html", "write_page"]

_STYLES = (("tester.porcupine", "page.css"), ("tester.timeline", "page.css"))
_SCRIPTS = (
    "data.js", "view.js", "lanes.js", "intervals.js", "operations.js", "arrows.js", "drawing.js", "tips.js",
    "events.js", "panel.js", "search.js", "page.js",
)  # fmt: skip
"""In the order in which they are read: they are one module."""


def write_page(
    reading: Reading,
    path: str | os.PathLike[str],
    *,
    title: str,
    verdict: str | None = None,
    verdict_at: int | None = None,
    facts: Mapping[str, str] = MappingProxyType({}),
    operations_verdict: tuple[Model | NondeterministicModel, LinearizationInfo] | None = None,
) -> None:
    """Writes the page to `path`, in UTF-8. The other arguments are those of `page_html`."""
    page = page_html(
        reading,
        title=title,
        verdict=verdict,
        verdict_at=verdict_at,
        facts=facts,
        operations_verdict=operations_verdict,
    )
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write(page)


def page_html(
    reading: Reading,
    *,
    title: str,
    verdict: str | None = None,
    verdict_at: int | None = None,
    facts: Mapping[str, str] = MappingProxyType({}),
    operations_verdict: tuple[Model | NondeterministicModel, LinearizationInfo] | None = None,
) -> str:
    """The page's text, all of it: styles, scripts and data are inside.

    Args:
        title: which run it is, e.g. the test's name.
        verdict: the sentence that a failed run ended with; None: it did not fail.
        verdict_at: ns since the run began; by default a failed run's end. The page opens just before it.
        facts: what else to say of the run, e.g. its seed and the command that replays it.
        operations_verdict: the model and what the checker found of the clerks' operations; the order in which they took
            effect is then on their bars, or which of them can have none.

    Raises:
        ValueError: `verdict_at` is not a time of the run.
    """
    if verdict_at is None and verdict is not None:
        verdict_at = reading.end
    if verdict_at is not None and not 0 <= verdict_at <= reading.end:
        raise ValueError(f"verdict_at {verdict_at} is not in 0..{reading.end}; give ns since the run began")
    data = data_of(reading, verdict_at=verdict_at, operations_verdict=operations_verdict)
    parts = {
        "title": _text(title),
        "verdict": _text(verdict or ""),
        "history": _text(_history(data, verdict or "", operations_verdict)),
        "facts": "".join(f"<dt>{_text(name)}</dt><dd>{_text(fact)}</dd>" for name, fact in facts.items()),
        "css": "\n".join(_resource(package, name) for package, name in _STYLES),
        "js": "\n".join(_resource("tester.timeline", name) for name in _SCRIPTS),
        "data": _packed(data),
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _resource("tester.timeline", "page.html"))


def _history(
    data: dict[str, Any],
    verdict: str,
    operations_verdict: tuple[Model | NondeterministicModel, LinearizationInfo] | None,
) -> str:
    """Why the clerks' history is illegal, if it is, and the verdict does not say it already."""
    why = operations_verdict and operations_verdict[1].explanation
    if not why or why in verdict:
        return ""
    return f"The clerks' history is not linearizable: {data['order']['explanation']}"


def _resource(package: str, name: str) -> str:
    return resources.files(package).joinpath("page", name).read_text(encoding="utf-8")


def _text(text: str) -> str:
    """As HTML; what is no character, as lone surrogates and NUL, is shown as such."""
    return re.sub("[\ud800-\udfff\x00]", "\N{REPLACEMENT CHARACTER}", html.escape(text))


def _packed(data: object) -> str:
    """JSON, deflated, in letters that mean nothing in HTML."""
    written = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(written.encode("ascii"), 6)).decode("ascii")
