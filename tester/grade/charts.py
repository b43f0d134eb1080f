"""Small pictures in SVG, drawn with the page's colours. What they show is also said in words beside them."""

from __future__ import annotations

from collections.abc import Sequence

from tester.grade.texts import Markup, tag

__all__ = ["bar", "histogram", "interval_bar"]

_WIDTH, _HEIGHT = 100, 12


def bar(share: float) -> Markup:
    """How much of a whole, 0 to 1."""
    return _strip(_rect("fill", 0, share * _WIDTH, 2, 8))


def interval_bar(share: float, low: float, high: float) -> Markup:
    """A share, 0 to 1, with the interval it stands for."""
    return _strip(
        _rect("between", low * _WIDTH, max(1.0, (high - low) * _WIDTH), 2, 8),
        _rect("share", min(_WIDTH - 3.0, max(0.0, share * _WIDTH - 1.5)), 3, 0, 12),
    )


def histogram(counts: Sequence[int], edges: Sequence[str], *, label: str) -> Markup:
    """A column a count.

    Args:
        edges: what stands at the edges of the columns, one more than there are columns.
        label: what a reader who sees no picture is told.
    """
    width, height, gap, foot, margin = 34, 84, 4, 16, 14
    most = max(1, *counts)
    pieces: list[Markup] = []
    for place, count in enumerate(counts):
        if count:
            left, tall = margin + place * width + gap / 2, round(count / most * (height - 14), 1)
            pieces.append(_rect("fill", left, width - gap, height - tall, tall))
            pieces.append(_label(str(count), left + (width - gap) / 2, height - tall - 4, "count"))
    for place, edge in enumerate(edges):
        pieces.append(_label(edge, margin + place * width, height + 12, "axis"))
    across = width * len(counts) + 2 * margin
    pieces.append(tag("line", class_="axis", x1=margin, x2=across - margin, y1=height, y2=height))
    return tag(
        "svg", *pieces, viewBox=f"0 0 {across} {height + foot}", class_="histogram", role="img", aria_label=label
    )


def _strip(*pieces: Markup) -> Markup:
    track = _rect("track", 0, _WIDTH, 2, 8)
    return tag(
        "svg", track, *pieces, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", class_="strip", aria_hidden="true",
        preserveAspectRatio="none",
    )  # fmt: skip


def _rect(kind: str, left: float, width: float, top: float, height: float) -> Markup:
    return tag(
        "rect", class_=kind, x=_number(left), y=_number(top), width=_number(width), height=_number(height)
    )  # fmt: skip


def _label(text: str, middle: float, base: float, kind: str) -> Markup:
    return tag("text", text, class_=kind, x=_number(middle), y=_number(base), text_anchor="middle")


def _number(value: float) -> str:
    """The same digits everywhere."""
    return f"{value:.1f}".rstrip("0").rstrip(".")
