"""The site, its figures, the handouts to print: they are made without a warning, and no link leads nowhere."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest

from tests.harness.documents import DOCS, ROOT
from tests.harness.pages import IN_LIGHT_AND_DARK, Page

FIGURES = DOCS / "figures"


def script(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of docs, which are no package."""
    monkeypatch.syspath_prepend(str(folder))
    return importlib.import_module(name)


# ------------------------------------------------------------------ the site


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The site, as `make docs` makes it."""
    for module in ("sphinx", "furo", "myst_parser"):
        pytest.importorskip(module, reason=f"there is no {module} here: pip install 'raftlab[docs]'")
    out: Path = tmp_path_factory.mktemp("site")
    made = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-n", "-W", "--keep-going", "-b", "html", str(DOCS), str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return out


class Links(HTMLParser):
    """What a page of the site links to and loads, and what in it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src") and value:
                self.targets.append(value)
            if name in ("id", "name") and value:
                self.ids.add(value)


def test_the_site_is_made_without_a_warning_and_all_its_links_lead_somewhere(site):
    pages = {page: Links(page.read_text(encoding="utf-8")) for page in site.rglob("*.html")}
    assert len(pages) > 60, "pages, and the runs in them"
    wrong = []
    for page, links in pages.items():
        for target in links.targets:
            if re.match(r"(https?|mailto|data|javascript):", target):
                continue
            file, _, anchor = unquote(target).partition("#")
            path = (page.parent / file.partition("?")[0]).resolve() if file else page
            is_there = path.exists() and (not anchor or path not in pages or anchor in pages[path].ids)
            if not is_there:
                wrong.append(f"{page.relative_to(site)}: {target}")
    assert not wrong


def test_each_run_that_is_told_is_in_its_page(site, monkeypatch):
    timelines = script(DOCS, "timelines", monkeypatch)
    for name in timelines.names():
        run = site / "timelines" / f"{name}.html"
        assert f"<title>{name}: test_" in run.read_text(encoding="utf-8")
        told = [page for page in site.rglob("*.html") if f'<iframe src="../timelines/{name}.html"' in page.read_text()]
        assert len(told) == 1, f"{name} is shown in {len(told)} pages"
        if (site / "timelines" / f"{name}-history.html").exists():
            assert f"timelines/{name}-history.html" in told[0].read_text()
    assert (site / "timelines" / "never-maybe-history.html").exists()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("reference/raft", "raft.Raft.append_entries"),
        ("reference/kvraft", "kvraft.RSM.submit"),
        ("reference/labrpc", "labrpc.Persister.save"),
        ("reference/tester", "tester.raft_cluster.RaftCluster.one_leader"),
        ("reference/porcupine", "tester.porcupine.check_operations"),
    ],
)
def test_the_reference_has_all_packages(site, page, said):
    assert f'id="{said}"' in (site / f"{page}.html").read_text(encoding="utf-8")


@IN_LIGHT_AND_DARK
@pytest.mark.parametrize("width", [390, 1280], ids=["phone", "desktop"])
def test_pages_fit_and_their_runs_are_drawn(site, browser, width, color_scheme):
    context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=color_scheme)
    page = context.new_page()
    said: list[str] = []
    page.on("pageerror", lambda error: said.append(str(error)))
    for name in ("index", "handouts/3a", "gallery/double-vote", "reference/porcupine", "crosswalk", "guides/operator"):
        page.goto((site / f"{name}.html").as_uri())
        wider = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wider <= 0, f"{name} is {wider} px wider than {width} px"
    page.goto((site / "gallery" / "double-vote.html").as_uri())
    page.locator("figure.timeline").scroll_into_view_if_needed()
    run = page.frame_locator("figure.timeline iframe")
    run.locator("html[data-ready=true]").wait_for(state="attached", timeout=30_000)
    assert "server 0 voted for 6 and for 5" in run.locator("body").inner_text()
    assert said == []
    context.close()


# ------------------------------------------------------------------ figures


def test_figures_are_what_their_scripts_draw(monkeypatch):
    made = script(FIGURES, "make", monkeypatch).made_files()
    assert {path.name for path in made} == {path.name for path in FIGURES.glob("*.svg")}
    old = [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    assert not old, f"make figures draws {', '.join(old)} anew"


@pytest.mark.parametrize("figure", sorted(FIGURES.glob("*.svg")), ids=lambda path: path.stem)
def test_a_figure_is_text_in_both_schemes_and_fits_a_phone(figure):
    text = figure.read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert len(re.findall("<text ", text)) >= 10
    width = re.search(r'viewBox="0 0 (\d+) ', text)
    assert width is not None
    assert int(width[1]) <= 420
    assert "<title>" in text
    assert Page(text).loads == []
    light, dark = (set(re.findall(r"--([\w-]+):", each)) for each in text.split("@media")[:2])
    assert light == dark, "each colour is there in both"
    assert set(re.findall(r"var\(--([\w-]+)\)", text)) <= light


def test_a_text_that_does_not_fit_its_place_is_an_error(monkeypatch):
    drawing = script(FIGURES, "drawing", monkeypatch).Drawing(200, 100, "a figure")
    drawing.box(10, 10, 100, 40, "it fits")
    with pytest.raises(ValueError, match="of the 94 that its box has"):
        drawing.box(10, 10, 100, 40, "this is too long for a small box")
    with pytest.raises(ValueError, match="goes from 150"):
        drawing.text(150, 50, "off the edge")


def test_a_figure_that_is_too_wide_for_a_phone_is_an_error(monkeypatch):
    with pytest.raises(ValueError, match="700 wide"):
        script(FIGURES, "drawing", monkeypatch).Drawing(700, 100, "a figure")


# ------------------------------------------------------------------ handouts to print


@pytest.fixture
def printing(monkeypatch) -> ModuleType:
    pytest.importorskip("pygments", reason="there is no Pygments here")
    return script(DOCS, "printing", monkeypatch)


def test_every_handout_is_printed_once(printing, tmp_path):
    written = printing.write(tmp_path, pdf=False)
    names = printing.names()
    assert {path.name for path in written} == {f"{name}.html" for name in [*names, "all", "index"]}
    assert names == sorted(page.stem for page in (DOCS / "handouts").glob("*.md"))
    for name in names:
        links = Links((tmp_path / f"{name}.html").read_text(encoding="utf-8"))
        for target in links.targets:
            assert re.match(r"https://|data:image/svg", target) or (tmp_path / target).exists() or target[0] == "#", (
                target
            )
    everything = Links((tmp_path / "all.html").read_text(encoding="utf-8"))
    assert set(names) <= everything.ids
    for target in everything.targets:
        assert target.startswith(("https://", "data:image/svg")) or target[1:] in everything.ids, target


def test_a_picture_is_printed_in_its_light_colours(printing):
    picture = (DOCS / "handouts" / "vote-outlives-its-term-picture.svg").read_text(encoding="utf-8")
    printed = printing.light(picture)
    assert "var(" in picture
    assert "@media" in picture
    assert "var(" not in printed
    assert "@media" not in printed
    assert "#ffffff" in printed
    assert "#0d1117" not in printed


def test_what_is_not_printed_is_named(printing):
    page = printing.handout_html("2a")
    assert 'The double vote <span class="where">(docs/gallery/double-vote.md)</span>' in page
    assert "gallery/double-vote.md" not in "".join(Links(page).targets)


def test_a_handout_is_a_pdf(printing, tmp_path):
    try:
        weasyprint = importlib.import_module("weasyprint")
    except ImportError:
        pytest.skip("there is no WeasyPrint here: pip install 'raftlab[docs]'")
    except OSError as error:
        pytest.skip(f"WeasyPrint does not find Pango: {error}")
    file = tmp_path / "2a.pdf"
    weasyprint.HTML(string=printing.handout_html("2a")).write_pdf(file, uncompressed_pdf=True)
    content = file.read_bytes()
    assert content.startswith(b"%PDF-")
    assert 2 <= len(re.findall(rb"/Type /Page\b", content)) <= 8, "pages"
