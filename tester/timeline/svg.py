"""Lines of the terminal as an SVG picture, for pages that show no terminal.

It brings its own background, follows the reader's light or dark scheme, and loads nothing: any monospaced font does,
for every piece of text has its place, and long ones their length.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from html import escape

from rich.console import Console
from rich.style import Style
from rich.text import Text

__all__ = ["svg"]

_CHARACTER = 7.8
_LINE = 18
_MARGIN = 12
_LONG = 4
"""A text of more characters is told how long it is."""

_WORDS = re.compile(r"\S+(?: \S+)*")
"""What stands together: wider gaps are none of the font's business."""

_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<title>{title}</title>
<style>
svg {{ --paper: #ffffff; --edge: #d0d7de; --ink: #1f2328; --red: #c01c28; --green: #116329; --yellow: #7d4e00;
  --cyan: #0b5c77; --magenta: #8a2a8a; }}
@media (prefers-color-scheme: dark) {{ svg {{ --paper: #0d1117; --edge: #30363d; --ink: #e6edf3; --red: #ff7b72;
  --green: #7ee787; --yellow: #e3b341; --cyan: #79c0ff; --magenta: #d2a8ff; }} }}
text {{ font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink); }}
.b {{ font-weight: 700; }} .d {{ opacity: .6; }}
{colours}
.reverse {{ fill: var(--paper); }}
</style>
<rect x=".5" y=".5" width="{inner_width}" height="{inner_height}" rx="6" style="fill: var(--paper); \
stroke: var(--edge)"/>
"""

_COLOURS = ("red", "green", "yellow", "cyan", "magenta")


def svg(lines: Iterable[Text], *, width: int, title: str) -> str:
    """The picture.

    Args:
        lines: each of at most `width` characters; colours are the five of `_COLOURS`.
        title: what a reader who sees no picture is told.
    """
    drawn = list(lines)
    across, down = round(width * _CHARACTER) + 2 * _MARGIN, len(drawn) * _LINE + 2 * _MARGIN
    colours = "\n".join(f".{name} {{ fill: var(--{name}); }}" for name in _COLOURS)
    head = _HEAD.format(
        width=across, height=down, inner_width=across - 1, inner_height=down - 1, title=escape(title), colours=colours
    )
    console = Console(file=io.StringIO(), width=width, color_system="standard", force_terminal=True, no_color=False)
    body = [piece for number, line in enumerate(drawn) for piece in _line(line, number, console)]
    return "\n".join([head.rstrip("\n"), *body, "</svg>\n"])


def _line(line: Text, number: int, console: Console) -> Iterator[str]:
    top = _MARGIN + number * _LINE
    column = 0
    for text, style in _pieces(line, console):
        if style.reverse:
            yield (
                f'<rect x="{_x(column)}" y="{top}" width="{len(text) * _CHARACTER:.1f}" height="{_LINE - 2}" '
                f'style="fill: var(--{_colour(style) or "ink"})"/>'
            )
        for words in _WORDS.finditer(text):
            shown, place = words[0], _x(column + words.start())
            length = f' textLength="{len(shown) * _CHARACTER:.1f}"' if len(shown) > _LONG else ""
            yield f'<text x="{place}" y="{top + 13}"{_classes(style)}{length}>{escape(shown, quote=False)}</text>'
        column += len(text)


def _pieces(line: Text, console: Console) -> Iterator[tuple[str, Style]]:
    """The line's runs of equal style."""
    piece, last = "", Style.null()
    for segment in line.render(console):
        style = segment.style or Style.null()
        if piece and style != last:
            yield piece, last
            piece = ""
        piece, last = piece + segment.text, style
    if piece:
        yield piece, last


def _x(column: int) -> str:
    return f"{_MARGIN + column * _CHARACTER:.1f}"


def _colour(style: Style) -> str:
    return style.color.name if style.color is not None and style.color.name in _COLOURS else ""


def _classes(style: Style) -> str:
    colour = "reverse" if style.reverse else _colour(style)
    names = [name for name, wanted in ((colour, bool(colour)), ("b", style.bold), ("d", style.dim)) if wanted]
    return f' class="{" ".join(names)}"' if names else ""
