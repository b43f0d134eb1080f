"""Drawings for the pages: SVG that is text, follows the reader's light or dark scheme, loads nothing, and fits a phone.

    drawing = Drawing(400, 200, "What it shows, for those who do not see it")
    drawing.box(20, 20, 120, 40, "Raft", "one server", kind="code")
    drawing.svg()

A drawing is at most `WIDEST` across, so that on a phone its text is hardly smaller than the page's. No text may be
wider than its place in a wide font: that is an error, and not for the reader to see.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Literal

__all__ = ["WIDEST", "Drawing", "Kind"]

WIDEST = 420
"""Units; a phone has some 350 for a figure."""

Kind = Literal["plain", "code", "judge", "world", "data", "bad"]

_LIGHT = {
    "paper": "#ffffff", "edge": "#d0d7de", "ink": "#1f2328", "dim": "#57606a", "plain": "#f3f4f6",
    "plain-edge": "#8c959f", "code": "#ddf4e4", "code-edge": "#1a7f37", "judge": "#dcebff", "judge-edge": "#0b5cad",
    "world": "#fff0cf", "world-edge": "#9a6700", "data": "#efe3ff", "data-edge": "#7d3fb5",
    "bad": "#ffe1e0", "bad-edge": "#c01c28",
}  # fmt: skip
_DARK = {
    "paper": "#0d1117", "edge": "#30363d", "ink": "#e6edf3", "dim": "#9aa4af", "plain": "#1b2129",
    "plain-edge": "#7d8590", "code": "#12331d", "code-edge": "#56d364", "judge": "#10294a", "judge-edge": "#79c0ff",
    "world": "#3a2d0c", "world-edge": "#e3b341", "data": "#2e1f45", "data-edge": "#d2a8ff",
    "bad": "#45171a", "bad-edge": "#ff7b72",
}  # fmt: skip

_SIZES = {"": 12.0, "s": 10.5, "m": 11.0, "b": 12.0}
"""Class -> size of its text: plain, small, monospaced, bold."""
_WIDTHS = {"": 0.57, "s": 0.57, "m": 0.603, "b": 0.64}
"""Class -> the width of a character as part of its size, in the wide DejaVu fonts and on average."""


class Drawing:
    """A drawing of `width` by `height` units.

    Args:
        title: what a reader who sees no picture is told.

    Raises:
        ValueError: of its methods too: something does not fit.
    """

    def __init__(self, width: int, height: int, title: str) -> None:
        if width > WIDEST:
            raise ValueError(f"the drawing is {width} wide; a phone shows {WIDEST} at most")
        self.width, self.height, self.title = width, height, title
        self._pieces: list[str] = []

    def text(self, x: float, y: float, text: str, kind: str = "", *, anchor: str = "start", dim: bool = False) -> None:
        """A line of text with its base line at `y`. `kind`: a class of `_SIZES`; `anchor`: start, middle or end."""
        width = len(text) * _SIZES[kind] * _WIDTHS[kind]
        left = x - {"start": 0.0, "middle": width / 2, "end": width}[anchor]
        if left < 4 or left + width > self.width - 4:
            raise ValueError(f"{text!r} goes from {left:.0f} to {left + width:.0f}, of {self.width}")
        names = " ".join(name for name in (kind, "dim" if dim else "") if name)
        looks = f' class="{names}"' if names else ""
        looks += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._pieces.append(f'<text x="{x:g}" y="{y:g}"{looks}>{escape(text, quote=False)}</text>')

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *lines: str,
        kind: Kind = "plain",
        dashed: bool = False,
        first: str = "b",
        rest: str = "s",
    ) -> None:
        """A box with lines in its middle; the first is of class `first`, the others of class `rest`."""
        dashes = ' stroke-dasharray="5 4"' if dashed else ""
        self._pieces.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" '
            f'style="fill: var(--{kind}); stroke: var(--{kind}-edge)"{dashes}/>'
        )
        step = 15
        top = y + height / 2 - step * (len(lines) - 1) / 2 + 4
        for number, line in enumerate(lines):
            looks = rest if number else first
            taken = len(line) * _SIZES[looks] * _WIDTHS[looks]
            if taken > width - 6:
                raise ValueError(f"{line!r} needs {taken:.0f} of the {width - 6:g} that its box has")
            self.text(x + width / 2, top + number * step, line, looks, anchor="middle")

    def bar(self, x: float, y: float, width: float, height: float, kind: Kind) -> None:
        """A filled bar without an edge."""
        self._pieces.append(
            f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="2" style="fill: var(--{kind}-edge)"/>'
        )

    def line(self, *points: tuple[float, float], kind: str = "dim", dashed: bool = False) -> None:
        """A line through these points."""
        self._path(points, kind, dashed)

    def arrow(self, *points: tuple[float, float], kind: str = "ink", dashed: bool = False) -> None:
        """A line through these points, with a head at the last."""
        self._path(points, kind, dashed)
        (x0, y0), (x1, y1) = points[-2:]
        length = ((x1 - x0) ** 2 + (y1 - y0) ** 2) ** 0.5
        dx, dy = (x1 - x0) / length * 7, (y1 - y0) / length * 7
        corners = [(x1, y1), (x1 - dx - dy / 2, y1 - dy + dx / 2), (x1 - dx + dy / 2, y1 - dy - dx / 2)]
        shape = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        self._pieces.append(f'<polygon points="{shape}" style="fill: var(--{kind})"/>')

    def _path(self, points: Sequence[tuple[float, float]], kind: str, dashed: bool) -> None:
        shape = " ".join(f"{x:g},{y:g}" for x, y in points)
        dashes = ' stroke-dasharray="4 3"' if dashed else ""
        self._pieces.append(
            f'<polyline points="{shape}" style="fill: none; stroke: var(--{kind}); stroke-width: 1.4"{dashes}/>'
        )

    def svg(self) -> str:
        """The drawing as a file."""
        light, dark = (" ".join(f"--{name}: {value};" for name, value in each.items()) for each in (_LIGHT, _DARK))
        head = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" \
width="{self.width}" height="{self.height}" role="img">
<title>{escape(self.title, quote=False)}</title>
<style>
svg {{ {light} }}
@media (prefers-color-scheme: dark) {{ svg {{ {dark} }} }}
text {{ font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; font-size: 12px;
  fill: var(--ink); }}
.b {{ font-weight: 600; }} .s {{ font-size: 10.5px; }} .dim {{ fill: var(--dim); }}
.m {{ font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 11px; }}
</style>
<rect x=".5" y=".5" width="{self.width - 1}" height="{self.height - 1}" rx="6" \
style="fill: var(--paper); stroke: var(--edge)"/>"""
        return "\n".join([head, *self._pieces, "</svg>\n"])
