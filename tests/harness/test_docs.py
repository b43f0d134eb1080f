"""What the README and the pages of docs say: commands and Python run, stories are today's, handouts are whole."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shutil
import sys
import textwrap
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tester.graded import graded_tests
from tester.parts import PARTS
from tests.harness.documents import (
    DOCS,
    GALLERY,
    OWN,
    PAGES,
    ROOT,
    blocks_of,
    check,
    commands_of,
    differs,
    of_kind,
    run,
)

MOST_NOT_RUN = 7

CLUSTERS = {"cluster", "nodes", "files", "dask", "in the background", "failed", "example", "checkout"}
"""What test_docs_clusters.py runs."""


# ------------------------------------------------------------------ commands


@pytest.fixture(scope="module")
def student_tree(tmp_path_factory) -> Path:
    """What a student has whose work is done: the lab, its tests and pages, and the reference as the work."""
    tree = tmp_path_factory.mktemp("student") / "lab"
    tree.mkdir()
    for name in ("raft", "kvraft", "docs", "tests/labs"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("labrpc", "tester"):
        (tree / name).symlink_to(ROOT / name)
    shutil.copy(ROOT / "pyproject.toml", tree)
    return tree


@pytest.fixture(scope="module")
def skeleton(tmp_path_factory) -> Path:
    """What students are given."""
    command = pytest.importorskip("tester.release.command", reason="there is no tester release here")
    from rich.console import Console

    out: Path = tmp_path_factory.mktemp("release") / "lab"
    assert command.release(Console(quiet=True), out=out, force=False, git=False) == 0
    return out


@pytest.mark.parametrize("block", of_kind("console"), ids=str)
def test_what_a_page_says_is_printed(block, student_tree):
    check(student_tree, block)


@pytest.mark.parametrize("block", of_kind("console", "collected only"), ids=str)
def test_what_takes_long_selects_tests(block, student_tree):
    for command in commands_of(block):
        text, _, _ = command.text.partition("#")
        assert text.startswith("pytest ")
        printed, code = run(student_tree, f"{text} --collect-only -q -p no:xdist".replace(" -n 2", ""))
        assert code == 0, printed


@pytest.mark.parametrize("block", of_kind("console", "tree"), ids=str)
def test_what_a_page_says_is_printed_before_anything_is_written(block, skeleton):
    assert block.said == "skeleton"
    check(skeleton, block)


def test_few_blocks_are_not_run_and_each_says_why():
    left_out = of_kind("console", "not run") + of_kind("python", "not run")
    assert len(left_out) <= MOST_NOT_RUN, [str(block) for block in left_out]
    for block in left_out:
        assert len(block.said.split()) >= 3, f"{block} is not run, and does not say why"


def test_every_mark_is_known():
    marks = {
        "console": {"", "tree", "collected only", "not run", "story", *CLUSTERS},
        "python": {"", "fragment", "file", "not run", "cluster"},
        "diff": {"", "file"},
        "text": {"", "printed"},
    }
    for block in OWN:
        assert block.mark in marks.get(block.kind, {block.mark}), f"{block} has the comment {block.mark!r}"


def test_a_page_of_the_gallery_can_be_followed(tmp_path_factory):
    """The others have the same commands, but for names and seeds."""
    shapes = set()
    for page in sorted(GALLERY.glob("*.md")):
        for block in blocks_of(page):
            if block.kind == "console":
                planted = re.escape(page.stem)
                shape = re.sub(r"tests/labs/\S+|--seed \d+", "", re.sub(planted, "NAME", block.text))
                shapes.add(shape)
    assert len(shapes) == 1, shapes
    tree = tmp_path_factory.mktemp("checkout")
    for name in ("raft", "kvraft", "docs", "labrpc", "tester", "tests", "pyproject.toml"):
        (tree / name).symlink_to(ROOT / name)
    [block] = [block for block in blocks_of(GALLERY / "double-vote.md") if block.kind == "console"]
    codes = [run(tree, command.text)[1] for command in commands_of(block)]
    assert codes == [0, 1, 1], "it is planted, and caught twice"


# ------------------------------------------------------------------ Python


@pytest.mark.parametrize("block", of_kind("python"), ids=str)
def test_python_on_a_page_runs(block, monkeypatch):
    page = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", page)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block.text, str(block), "exec"), page.__dict__)
    following = OWN[OWN.index(block) + 1 :][:1]
    if following and following[0].mark == "printed":
        assert printed.getvalue() == following[0].text


def test_what_is_printed_follows_what_prints_it():
    for number, block in enumerate(OWN):
        if block.mark == "printed":
            before = OWN[number - 1]
            assert (before.kind, before.page) == ("python", block.page), f"{block} follows {before}"


@pytest.mark.parametrize("block", of_kind("python", "fragment"), ids=str)
def test_python_that_is_a_fragment_compiles(block):
    compile("def fragment():\n" + textwrap.indent(block.text, "    "), str(block), "exec")


@pytest.mark.parametrize("block", [*of_kind("python", "file"), *of_kind("diff", "file")], ids=str)
def test_what_is_from_a_file_is_in_it(block):
    assert block.text in (ROOT / block.said).read_text(encoding="utf-8")


# ------------------------------------------------------------------ stories


@pytest.fixture(scope="module")
def stories() -> ModuleType:
    """docs/stories.py."""
    spec = importlib.util.spec_from_file_location("stories", DOCS / "stories.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["stories"] = module
    spec.loader.exec_module(module)
    return module


def test_stories_are_what_their_runs_show_today(stories):
    old = [
        str(file.relative_to(ROOT))
        for file, text in stories.made_files().items()
        if not file.exists() or file.read_text(encoding="utf-8") != text
    ]
    assert not old, f"make stories writes {', '.join(old)} anew; read the prose around it again"


@pytest.mark.parametrize("page", sorted((DOCS / "handouts").glob("*.md")), ids=lambda page: page.stem)
def test_each_time_and_clerk_that_a_story_names_is_in_what_is_shown(page):
    text = page.read_text(encoding="utf-8")
    shown = "".join(block.text for block in blocks_of(page))
    for picture in re.findall(r"\]\((\S+\.svg)\)", text):
        shown += (page.parent / picture).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for time in re.findall(r"`(\d+\.\d{4})`", prose):
        assert time in shown, f"{page.name} tells of {time}, which its blocks do not show"


@pytest.mark.parametrize("name", ["no-consistency-check", "race"])
def test_a_story_can_be_followed(name, stories, student_tree, tmp_path):
    """Its commands print what its blocks show, where the mistake is the student's own."""
    [story] = [each for each in stories.load_stories() if each.name == name]
    tree = Path(shutil.copytree(student_tree, tmp_path / "lab", symlinks=True))
    if not story.is_program:
        stories.plant(story, tree)
    told = [block for block in OWN if block.mark == "story" and block.said.startswith(f"{name}/")]
    assert told
    for block in told:
        check(tree, block)


def test_a_story_that_is_no_longer_so_is_named(stories, monkeypatch):
    monkeypatch.setattr(stories, "load_stories", lambda: [stories.Story("spin", "test_total", 1, "deadlock", ())])
    with pytest.raises(stories.UsageError, match="story spin: test_total under seed 1 says: server 0: thread keeper"):
        stories.made_files()


def test_a_story_is_of_a_mistake_that_the_gallery_does_not_show(stories):
    shown = {page.stem for page in GALLERY.glob("*.json")}
    assert shown
    assert not shown & {story.name for story in stories.load_stories()}


def test_lines_are_counted_without_words(stories, tmp_path):
    file = tmp_path / "code.py"
    file.write_text('class A:\n    @property\n    def f(self):\n        """Two\n        lines."""\n\n        # why\n'
                    "        return (\n            1\n        )\n\n    def g(self): ...\n")  # fmt: skip
    assert stories.functions_of(file) == {"A.f": 5, "A.g": 1}


def test_each_function_is_counted_for_one_part(stories):
    table: dict[str, dict[str, list[str]]] = tomllib.loads((DOCS / "stories.toml").read_text())["lines"]
    assert table.keys() == PARTS.keys()
    counted = [(file, name) for files in table.values() for file, names in files.items() for name in names]
    assert len(counted) == len(set(counted))
    for file in {file for file, _ in counted} - {"raft/rules.py"}:
        lacking = stories.functions_of(ROOT / file).keys() - {name for each, name in counted if each == file}
        assert lacking <= {"StateMachine.do_op", "StateMachine.snapshot", "StateMachine.restore"}, f"{file}: {lacking}"


# ------------------------------------------------------------------ handouts


@pytest.mark.parametrize("part", PARTS)
def test_a_handout_tells_of_every_graded_test_and_its_points(part):
    text = (DOCS / "handouts" / f"{part.lower()}.md").read_text(encoding="utf-8")
    told = {name: int(points) for name, points in re.findall(r"^- `(test_\w+)` \((\d+) points?\):", text, re.MULTILINE)}
    assert told == {test.name: test.points for test in graded_tests(part)}


@pytest.mark.parametrize("part", PARTS)
def test_a_handout_quotes_nothing_of_the_reference(part):
    """No line of 25 characters or more of the reference's code is on it, but for interfaces."""
    text = (DOCS / "handouts" / f"{part.lower()}.md").read_text(encoding="utf-8")
    for file in [*(ROOT / "raft").glob("*.py"), *(ROOT / "kvraft").glob("*.py")]:
        for line in file.read_text(encoding="utf-8").splitlines():
            code = line.strip()
            if len(code) >= 25 and not code.startswith(("def ", "class ", "import ", "from ", '"""', "@")):
                assert code not in text, f"{file.name}: {code}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_within_the_project_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            assert re.fullmatch(r"https://[a-z0-9.-]+\.[a-z]+(/[^\s<>\"]*)?", link), f"{link} is no address"
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors_of(target), f"{link}: there are {', '.join(anchors_of(target))}"


def anchors_of(page: Path) -> list[str]:
    """The names of a page's headings, as MyST and GitHub make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]


def test_every_graded_test_is_in_the_crosswalk():
    text = (DOCS / "crosswalk.md").read_text(encoding="utf-8")
    for part in PARTS:
        for test in graded_tests(part):
            assert f"`{test.name}`" in text, test.name


# ------------------------------------------------------------------ the comparison itself


@pytest.mark.parametrize(
    ("shown", "printed", "wrong"),
    [
        (("a", "b"), "a\nb\n", ""),
        (("a", "b"), "a\nx\nb\n", "b"),
        (("a", "…", "b"), "a\nx\ny\nb\n", ""),
        (("a",), "a\nb\n", "the end; but there is more: b"),
        (("a", "…"), "a\nb\n", ""),
        (("… 1 passed …",), "tests/a.py 1 passed in 0.31s\n", ""),
        (("took 0.31s",), "took 0.99s", ""),
        (("…", "b"), "a\nc\n", "b"),
    ],
)
def test_output_is_compared_line_by_line(shown: tuple[str, ...], printed: str, wrong: Any):
    assert differs(shown, printed) == wrong
