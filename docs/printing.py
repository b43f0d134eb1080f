"""The handouts to print: `make handouts`.

    docs/handouts/NAME.md --Markdown--> NAME.html --WeasyPrint--> NAME.pdf;  all of them --> all.html --> all.pdf

    python docs/printing.py [FOLDER]       by default docs/_build/handouts
    python docs/printing.py --html FOLDER  without the PDFs, for which WeasyPrint and Pango are needed

Each page is whole in itself: its pictures are in it, and it loads nothing. Paper has no dark scheme and no links, so
pictures are light, and of a page that is not printed the text says where it is. The same handouts make the same HTML.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
import tomllib
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

__all__ = ["HANDOUTS", "all_html", "handout_html", "light", "names", "write"]

DOCS = Path(__file__).parent
HANDOUTS = DOCS / "handouts"

# A4, with margins of which a printer with Letter paper (18 mm less high) takes 9 mm at both ends.
_CSS = """
@page { size: A4; margin: 20mm 18mm 22mm; @top-right { content: string(title); font: 8pt sans-serif; color: #57606a; }
  @bottom-center { content: counter(page) " / " counter(pages); font: 8pt sans-serif; color: #57606a;
    vertical-align: top; padding-top: 4mm; } }
@page :first { @top-right { content: none; } }
* { box-sizing: border-box; }
html { color-scheme: light; background: #fff; color: #1f2328; }
body { font: 10.5pt/1.42 Charter, "Bitstream Charter", Cambria, "DejaVu Serif", serif; margin: 0; }
h1, h2, h3, nav, .of, th { font-family: "Helvetica Neue", Arial, "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 20pt; line-height: 1.15; margin: 0 0 6pt; string-set: title content(); }
h2 { font-size: 13pt; margin: 15pt 0 4pt; break-after: avoid; }
h3 { font-size: 11pt; margin: 11pt 0 3pt; break-after: avoid; }
p, ul, ol { margin: 0 0 6.5pt; } li { margin: 0 0 3.5pt; } p, li { orphans: 2; widows: 2; }
ul, ol { padding-left: 16pt; }
a { color: #0b5cad; text-decoration: none; }
a[href^="http"]::after { content: " (" attr(href) ")"; font-size: 8.5pt; color: #57606a; overflow-wrap: anywhere; }
code, pre { font-family: ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { font-size: 8.7pt; overflow-wrap: anywhere; }
pre { font-size: 7.4pt; line-height: 1.32; background: #f6f8fa; border: .5pt solid #d0d7de; border-radius: 3pt;
  padding: 5pt 6pt; margin: 0 0 8pt; white-space: pre-wrap; overflow-wrap: anywhere; box-decoration-break: clone; }
pre code { font-size: inherit; } pre .go { color: inherit !important; } pre { break-inside: avoid; }
table { border-collapse: collapse; width: 100%; margin: 0 0 8pt; font-size: 9.5pt; }
th, td { border-bottom: .5pt solid #d0d7de; padding: 3pt 5pt 3pt 0; text-align: left; vertical-align: top; }
tr { break-inside: avoid; } thead:not(:has(th:not(:empty))) { display: none; }
img { max-width: 100%; height: auto; } p:has(> img:only-child) { text-align: center; break-inside: avoid; }
blockquote { margin: 0 0 6.5pt; padding-left: 9pt; border-left: 2pt solid #d0d7de; }
.of { font-size: 8.5pt; color: #57606a; margin: 0 0 12pt; }
.where { font-size: 8.5pt; color: #57606a; }
article + article, nav + article { break-before: page; }
nav ol { list-style: none; padding: 0; } nav li { margin: 0 0 5pt; }
nav a::after { content: leader(". ") target-counter(attr(href), page); color: #57606a; }
@media screen { body { max-width: 48rem; margin: 2rem auto; padding: 0 1rem; font-size: 12pt; }
  pre, code { font-size: 9.5pt; } nav a::after { content: none; } }
"""


def names() -> list[str]:
    """The handouts, in the order of the course."""
    return sorted(page.stem for page in HANDOUTS.glob("*.md"))


def handout_html(name: str) -> str:
    """One handout as a page."""
    return _page(_title(name), f'<article id="{name}">{_body(name, lambda other: f"{other}.html")}</article>')


def all_html() -> str:
    """All of them as one page, with a list of contents."""
    rows = "\n".join(f'<li><a href="#{name}">{escape(_title(name))}</a></li>' for name in names())
    articles = "\n".join(f'<article id="{name}">{_body(name, lambda other: f"#{other}")}</article>' for name in names())
    start = f"<nav><h1>raftlab: the handouts</h1>{_version()}<ol>{rows}</ol></nav>"
    return _page("raftlab: the handouts", f"{start}\n{articles}")


def light(svg: str) -> str:
    """A picture in its light colours, each written out: what prints knows neither variables nor schemes."""
    start = re.search(r"svg \{ (--[^}]*)\}", svg)
    colours = dict(re.findall(r"--([\w-]+): (#\w+);", start[1])) if start else {}
    svg = re.sub(r"@media \(prefers-color-scheme: dark\) \{.*?\} \}\n", "", svg, flags=re.DOTALL)
    svg = re.sub(r"svg \{ --[^}]*\}\n", "", svg)
    svg = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], svg)
    # A font in one line, as CSS has it, is not read; nor are the names of a system's own fonts.
    svg = re.sub(r"font: (\w+) [^;]*monospace;", r'font-size: \1; font-family: "DejaVu Sans Mono", monospace;', svg)
    return svg.replace("ui-monospace, SFMono-Regular, ", "").replace('system-ui, "Segoe UI", Roboto, ', "")


def write(folder: Path, *, pdf: bool) -> list[Path]:
    """Writes all pages, and their PDFs if `pdf`; the files.

    Raises:
        ImportError, OSError: WeasyPrint, or the Pango that it needs, is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pages = {**{name: handout_html(name) for name in names()}, "all": all_html()}
    rows = [
        f'<li>{escape(_title(name))}: <a href="{name}.html">page</a>, <a href="{name}.pdf">PDF</a></li>'
        for name in names()
    ]
    rows.append('<li>All of them: <a href="all.html">page</a>, <a href="all.pdf">PDF</a></li>')
    written = [folder / "index.html"]
    written[0].write_text(_page("To print", f"<h1>To print</h1><ul>{''.join(rows)}</ul>"), encoding="utf-8")
    for name, page in pages.items():
        written.append(folder / f"{name}.html")
        written[-1].write_text(page, encoding="utf-8")
    if pdf:
        from weasyprint import HTML

        for name, page in pages.items():
            written.append(folder / f"{name}.pdf")
            HTML(string=page).write_pdf(written[-1])
    return written


def _page(title: str, body: str) -> str:
    code = HtmlFormatter(style="default").get_style_defs("pre")
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}{code}</style>\n{body}\n</html>\n"
    )


def _title(name: str) -> str:
    first = (HANDOUTS / f"{name}.md").read_text(encoding="utf-8").partition("\n")[0]
    return first.removeprefix("# ")


def _version() -> str:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return f'<p class="of">raftlab {project["version"]}</p>'


def _body(name: str, link: Callable[[str], str]) -> str:
    """The handout's text. `link`: a handout's name -> where it is."""
    markdown = MarkdownIt("commonmark", {"highlight": _highlighted}).enable("table")
    markdown.add_render_rule("softbreak", lambda *_: " ")
    text = (HANDOUTS / f"{name}.md").read_text(encoding="utf-8")
    text = re.sub(r"^<!-- .*? -->\n", "", text, flags=re.MULTILINE)
    html = markdown.render(text)
    html = re.sub(r'<img src="([^"]+)" alt="([^"]*)" />', _picture, html)
    html = re.sub(r'<a href="([^"]+)">(.*?)</a>', lambda found: _linked(found, link), html, flags=re.DOTALL)
    return html.replace("</h1>", f"</h1>{_version()}", 1)


def _highlighted(code: str, language: str, _: str) -> str:
    try:
        return highlight(code, get_lexer_by_name(language), HtmlFormatter(nowrap=True))
    except ClassNotFound:
        return escape(code)


def _picture(found: re.Match[str]) -> str:
    path = (HANDOUTS / found[1]).resolve()
    data = base64.b64encode(light(path.read_text(encoding="utf-8")).encode()).decode()
    width = ' width="340"' if path.parent.name == "figures" else ""
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{found[2]}"{width}>'


def _linked(found: re.Match[str], link: Callable[[str], str]) -> str:
    target, text = found[1], found[2]
    if target.startswith(("http://", "https://", "#")):
        return found[0]
    file, _, _ = target.partition("#")
    path = (HANDOUTS / file).resolve()
    if path.parent == HANDOUTS.resolve() and path.suffix == ".md":
        return f'<a href="{link(path.stem)}">{text}</a>'
    where = path.relative_to(DOCS.resolve().parent).as_posix()
    return text if where in text else f'{text} <span class="where">({where})</span>'


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0."""
    parser = argparse.ArgumentParser(description="Make the handouts to print.")
    parser.add_argument("folder", type=Path, nargs="?", default=DOCS / "_build" / "handouts")
    parser.add_argument("--html", action="store_true", help="no PDFs")
    options = parser.parse_args(arguments)
    files = write(options.folder, pdf=not options.html)
    print(f"{len(files)} files written into {options.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
