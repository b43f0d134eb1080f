"""How Sphinx makes the site: `make docs`.

docs/**/*.md --on_source: what only a browser can show--> Sphinx --> docs/_build/html
docs/timelines.py --> timelines/NAME.html, in iframes        docs/_build/handouts, if made --> print/
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))
sys.path.insert(0, str(DOCS.parent))

import timelines  # noqa: E402  (found by the lines above)

project = "raftlab"
author = "the raftlab authors"
copyright = "the raftlab authors"
release = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
suppress_warnings = ["myst.header"]  # the gallery's pages begin their sections where they like

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_use_type_comments = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
default_role = "code"
highlight_language = "text"  # drawings in docstrings are no Python

# What Python itself documents: the site is built without a network, so nothing is known of it. Type variables and the
# machinery inside are on no page either.
nitpick_ignore_regex = [
    (r"py:.*", r"(collections\.abc|os|pathlib|queue|types|typing)\..*"),
    (r"py:.*", r"collections\.abc\.Callable\[\["),
    (r"py:class", r"labrpc\.(api|codec)\.[A-Z]"),
    (
        r"py:class",
        r"labrpc\.(virtual|real)\..*|labrpc\.(climate|coordinator|disturbance|ledger|streams)\..*|Coordinator|True|False",
    ),
]

html_theme = "furo"
html_title = "raftlab"
html_copy_source = False
html_show_sphinx = False
html_static_path = ["site"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}

HANDOUTS = DOCS / "_build" / "handouts"
"""Where docs/printing.py puts what is printed."""

_GALLERY_PICTURE = re.compile(r"^!\[[^\]]*\]\((?P<name>[\w-]+)\.svg\)$", re.MULTILINE)
_STORY = re.compile(r"<!-- story: (?P<name>[\w-]+)/report -->\n.*?<!-- end -->\n", re.DOTALL)


def on_source(app: Any, docname: str, source: list[str]) -> None:
    """Puts in what the Markdown itself, which is also read elsewhere, does not have."""
    text = source[0]
    frame = functools.partial(_frame, Path(app.outdir) / "timelines")
    if docname == "gallery/README":
        pages = "\n".join(re.findall(r"^\| \d+ \| \[[^\]]+\]\(([\w-]+)\.md\)", text, re.MULTILINE))
        text += f"\n```{{toctree}}\n:hidden:\n\n{pages}\n```\n"
    elif docname.startswith("gallery/"):
        text = _GALLERY_PICTURE.sub(lambda found: frame(found["name"], "Look into this run") + found[0], text)
    elif docname.startswith("handouts/"):
        text = _STORY.sub(lambda found: found[0] + "\n" + frame(found["name"], "Look into the whole run"), text)
        name = docname.removeprefix("handouts/")
        if (HANDOUTS / f"{name}.pdf").exists():
            text = re.sub(r"\A(# .*\n)", rf"\1\n{_print_links(name)}", text)
    elif docname == "index" and (HANDOUTS / "all.pdf").exists():
        link = '<a href="print/all.pdf">all handouts as one PDF</a>, <a href="print/index.html">each of them</a>'
        text = text.replace("<!-- print -->", f'<p class="print">To print: {link}.</p>')
    source[0] = text


def _frame(folder: Path, name: str, title: str) -> str:
    """A run's page in this page."""
    page = f"../timelines/{name}.html"
    history = ""
    if (folder / f"{name}-history.html").exists():
        history = f', <a href="../timelines/{name}-history.html">what its clients saw</a>'
    return (
        f'<figure class="timeline"><iframe src="{page}" title="{title}: {name}" loading="lazy"></iframe>'
        f'<figcaption>{title}: <a href="{page}">on a page of its own</a>{history}.</figcaption></figure>\n\n'
    )


def _print_links(name: str) -> str:
    return (
        f'<p class="print">To print: <a href="../print/{name}.pdf">PDF</a>, '
        f'<a href="../print/{name}.html">one page of HTML</a>.</p>\n\n'
    )


_sentences: dict[str, list[str]] = {}


def on_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Before napoleon: drawings and code, which our docstrings indent, are literal blocks."""
    lines[:] = list(_with_literal_blocks(lines))
    _sentences[name] = list(lines)


def on_parsed_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """After napoleon, which takes what is before the colon of an attribute's sentence for a type."""
    if what in ("attribute", "data", "property"):
        lines[:] = _sentences[name]


def _with_literal_blocks(lines: list[str]) -> Iterator[str]:
    in_text, in_block = False, False
    for before, line in zip(["", *lines], lines, strict=False):
        indented = line.startswith("    ")
        if line.strip() and not indented:
            in_text, in_block = True, False
        elif indented and not before.strip() and in_text and not in_block:
            yield from ("::", "")
            in_block = True
        if not line.strip() or not indented or in_block:
            yield line
            continue
        in_text = False  # a section of napoleon's
        yield line


def on_start(app: Any) -> None:
    """Makes the runs' pages; RAFTLAB_NO_TIMELINES leaves them out, for who works on the text."""
    if app.builder.name == "html" and not os.environ.get("RAFTLAB_NO_TIMELINES"):
        timelines.write(Path(app.outdir) / "timelines")


def on_finished(app: Any, error: Exception | None) -> None:
    """Adds what is linked from the pages, and made by others."""
    if error is not None or app.builder.name != "html":
        return
    out = Path(app.outdir)
    if HANDOUTS.exists():
        shutil.copytree(HANDOUTS, out / "print", dirs_exist_ok=True)


def setup(app: Any) -> None:
    app.connect("builder-inited", on_start)
    app.connect("source-read", on_source)
    app.connect("autodoc-process-docstring", on_docstring, priority=400)  # napoleon has 500
    app.connect("autodoc-process-docstring", on_parsed_docstring, priority=600)
    app.connect("build-finished", on_finished)
