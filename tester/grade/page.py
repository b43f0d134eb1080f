"""The frame of a results page, and what pages are built of. A page is one file: it loads nothing and runs no script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from typing import NamedTuple
from urllib.parse import quote

from tester.grade.charts import interval_bar
from tester.grade.scores import TestScore, percent, shown
from tester.grade.texts import Markup, join, tag

__all__ = ["Column", "anchor", "badge", "code", "link", "passes", "points", "render", "table"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


class Column(NamedTuple):
    """A table's column: its title, and the class of its cells."""

    title: str
    kind: str = ""


def render(title: str, body: Sequence[Markup]) -> bytes:
    """The whole page, in UTF-8."""
    css = resources.files("tester.grade").joinpath("page", "results.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", Markup(css)),
    )
    return f"<!doctype html>\n{tag('html', head, tag('body', *body), lang='en')}\n".encode()


def table(
    caption: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    foot: Sequence[str] = (),
    *,
    stacked: bool = False,
) -> Markup:
    """A table whose rows begin with their heading.

    Args:
        stacked: on narrow screens each row is a block, its cells below each other; else the table scrolls.
    """
    head = tag("tr", *(tag("th", column.title, scope="col", class_=column.kind or None) for column in columns))
    content = [tag("caption", caption), tag("thead", head), tag("tbody", *(_row(row, columns) for row in rows))]
    if foot:
        content.append(tag("tfoot", _row(foot, columns)))
    whole = tag("table", *content, class_="stacked" if stacked else None)
    return whole if stacked else tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _row(cells: Sequence[str], columns: Sequence[Column]) -> Markup:
    first, *rest = cells
    written = [tag("th", first, scope="row", class_=columns[0].kind or None)]
    for cell, column in zip(rest, columns[1:], strict=True):
        written.append(
            tag("td", cell, class_=column.kind or None, data_label=f"{column.title}:" if column.title else None)
        )
    return tag("tr", *written)


def code(name: str) -> Markup:
    """A name in the code; a long one may be broken after each underscore."""
    return tag("code", join(name.split("_"), Markup("_<wbr>")))


def badge(text: str, kind: str) -> Markup:
    """A word on colour: `good`, `bad`, `doubt` or `none`."""
    return tag("span", text, class_=f"badge {kind}")


def link(text: str, *path: str, fragment: str = "") -> Markup:
    """To a file beside the page, by the names that lead there."""
    target = "/".join(name if name == ".." else quote(name, safe="") for name in path)
    return tag("a", text, href=target + (f"#{quote(fragment)}" if fragment else ""))


def anchor(test: TestScore) -> str:
    """The place of a test on its student's page."""
    return f"{test.rule.part}-{test.rule.test}"


def points(test: TestScore) -> Markup:
    """Of a test: `3.33 of 5`, or that they are pending."""
    of = tag("span", f" of {shown(test.of)}", class_="of")
    return join([badge("pending", "doubt") if test.points is None else shown(test.points), of])


def passes(test: TestScore) -> Markup:
    """How many runs passed, drawn with the interval and said."""
    if test.interval is None:
        return Markup("–")
    low, high = test.interval
    said = f"{len(test.passed)} of {test.counted}, {percent(low)}–{percent(high)} %"
    return join([interval_bar(len(test.passed) / test.counted, low, high), tag("small", said)])
