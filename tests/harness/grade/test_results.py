"""What is written of a made-up class: for Gradescope, for spreadsheets, for people."""

from __future__ import annotations

import csv
import html
import json
import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labrpc.errors import HarnessError, UsageError
from tester.grade.records import Refusal
from tester.grade.results import write
from tester.grade.texts import cell, plain, tag
from tester.grade.tree import MADE, Tree
from tests.harness.grade.gradescope_format import assert_is_gradescope
from tests.harness.grade.made_up import (
    COURSE,
    FAILED,
    HARNESS,
    PASSED,
    MadeUpStore,
    a_class,
    a_course,
    outcomes,
    submission,
)
from tests.harness.pages import HOSTILE, IN_LIGHT_AND_DARK


def _written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _results(folder: Path, name: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((folder / "submissions" / name / "results.json").read_text())
    return data


def _rows(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / "class.csv").open(encoding="utf-8", newline="") as file:
        return {row["submission"]: row for row in csv.DictReader(file)}


def _one(verdict: str, statuses: list[Any] | None = None, name: str = "ada") -> MadeUpStore:
    """A class of one, whose first test fails now and then."""
    taken = submission(name)
    known = [run for rule in COURSE.tests[1:] for run in outcomes(taken.digest, rule, [PASSED] * rule.runs)]
    known += outcomes(taken.digest, COURSE.tests[0], statuses or [PASSED] * 17 + [FAILED] * 3, verdict)
    return MadeUpStore([taken], [], {taken.digest: known})


# ---------------------------------------------------------------------- results.json


def test_every_results_json_has_the_documented_fields_only(tmp_path: Path) -> None:
    write(a_class(), COURSE, tmp_path)
    files = sorted(tmp_path.glob("submissions/*/results.json"))
    assert len(files) == 13
    for file in files:
        assert_is_gradescope(json.loads(file.read_text()))


def test_a_test_says_its_passes_verdict_and_replay_command(tmp_path: Path) -> None:
    store = _one("no leader within 5.{run} s")
    failed = next(run.job for run in store.outcomes(store.taken[0].digest) if run.status is FAILED)
    store.kept[failed] = {"report.txt": b"no leader\n  timeline\n"}
    seed = failed.seed
    write(store, COURSE, tmp_path)

    result = _results(tmp_path, "ada")
    first = result["tests"][0]

    assert first["output"] == (
        "passes 17 of 20, 95 % interval 64–95 %\n\n"
        "3 runs: no leader within 5.17 s\n"
        f"replay: tester replay test_initial_election --seed {seed}\n\n"
        f"report of seed {seed}:\n\nno leader\n  timeline"
    )
    assert (first["score"], first["max_score"], first["status"], first["number"]) == (0.0, 10.0, "failed", "1.1")
    assert first["tags"] == ["2A", "flaky"]
    assert result["tests"][1]["status"] == "passed"
    assert result["score"] == 70.0


def test_a_test_whose_points_are_pending_has_no_score(tmp_path: Path) -> None:
    write(_one("no leader", [HARNESS] + [PASSED] * 19), COURSE, tmp_path)

    result = _results(tmp_path, "ada")

    assert "score" not in result["tests"][0]
    assert "status" not in result["tests"][0]
    assert result["score"] == 70.0
    assert "1 test is unresolved, for no fault of the submission" in result["output"]
    assert "the total will be 70 to 80 points" in result["output"]
    assert result["extra_data"]["raftlab"]["final"] is False


def test_a_refused_submission_says_why_and_gets_nothing(tmp_path: Path) -> None:
    write(a_class(), COURSE, tmp_path)
    result = _results(tmp_path, "zz-broken")
    assert result["score"] == 0.0
    assert "submission.zip is no archive" in result["output"]


def test_lateness_and_notes_are_said(tmp_path: Path) -> None:
    write(a_class(), COURSE, tmp_path)
    assert "1.5 days late: 3.8 of 19 points are taken off" in _results(tmp_path, "student-04")["output"]
    partial = _results(tmp_path, "student-03")
    assert "kvraft/ is not there: its parts get no points" in partial["output"]
    assert partial["tests"][-1]["output"] == "not run: kvraft/ is not in the submission"
    assert partial["extra_data"]["raftlab"]["final"] is True


def test_visibility_is_the_courses(tmp_path: Path) -> None:
    rules = [replace(rule, visibility="hidden") if rule.part == "4B" else rule for rule in COURSE.tests]
    write(a_class(), a_course(rules), tmp_path)

    result = _results(tmp_path, "student-05")
    page = (tmp_path / "submissions" / "student-05" / "report.html").read_text(encoding="utf-8")

    assert [test["visibility"] for test in result["tests"]] == ["visible"] * 6 + ["hidden"] * 2
    assert "test_snapshot_rpc" not in page.replace("<wbr>", "")
    assert not list(tmp_path.glob("submissions/student-05/failures/test_snapshot*"))


# ---------------------------------------------------------------------- class.csv and class.json


def test_the_table_adds_up(tmp_path: Path) -> None:
    write(a_class(), COURSE, tmp_path)

    rows = _rows(tmp_path)

    assert list(rows) == [f"student-{number:02}" for number in range(12)] + ["zz-broken"]
    for name, row in rows.items():
        if row["status"] == "final":
            earned = sum(float(row[f"{rule.part} {rule.test}"]) for rule in COURSE.tests)
            assert earned == pytest.approx(sum(float(row[part]) for part in ("2A", "2B", "4B")))
            assert float(row["total"]) == pytest.approx(earned - float(row["late deduction"]))
            assert float(row["total"]) == _results(tmp_path, name)["score"]
    assert (rows["student-05"]["status"], rows["student-05"]["2A test_initial_election"]) == ("pending", "pending")
    assert (rows["student-05"]["total at least"], rows["student-05"]["total at most"]) == ("15.5", "16.5")
    assert rows["zz-broken"]["refused"].startswith("submission.zip is no archive")


@pytest.mark.parametrize(
    "name", ["=cmd|'/c calc'!A1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x")', "|x", "%x", "\t=1", "\n=1"]
)
def test_no_text_is_a_formula(tmp_path: Path, name: str) -> None:
    store = MadeUpStore([replace(submission("ada"), notes=(name,))], [Refusal("bob", name)])
    write(store, COURSE, tmp_path)
    rows = _rows(tmp_path)
    for text in (cell(name), rows["ada"]["notes"], rows["bob"]["refused"]):
        assert text.startswith(("'", "x")) or text[0].isalnum()


def test_class_json_holds_what_the_results_say(tmp_path: Path) -> None:
    write(a_class(), COURSE, tmp_path)
    data = json.loads((tmp_path / "class.json").read_text())
    for name, theirs in data["submissions"].items():
        ours = _results(tmp_path, name)
        assert (theirs["score"], theirs["extra_data"]) == (ours["score"], ours["extra_data"])
    assert data["refused"] == {"zz-broken": "submission.zip is no archive: its central directory is not there"}


# ---------------------------------------------------------------------- the same bytes, ours alone


def test_the_same_outcomes_give_the_same_bytes(tmp_path: Path) -> None:
    first, again, other_times = a_class(), a_class(), a_class()
    again.taken.reverse()
    for digest, known in again.known.items():
        again.known[digest] = known[::-1]
    for digest, known in other_times.known.items():
        other_times.known[digest] = [replace(run, cpu_s=run.cpu_s * 3, attempts=2) for run in known]
    for store, folder in ((first, "a"), (again, "b"), (other_times, "c"), (first, "a")):
        write(store, COURSE, tmp_path / folder)
    written = _written(tmp_path / "a")
    assert len(written) > 100
    assert _written(tmp_path / "b") == written
    assert _written(tmp_path / "c") == written


def test_what_is_gone_is_removed_if_it_was_ours(tmp_path: Path) -> None:
    store = a_class(4)
    write(store, COURSE, tmp_path)
    gone = tmp_path / "submissions" / "student-02"
    changed = gone / "results.json"
    changed.write_text("corrected by hand")
    theirs = tmp_path / "submissions" / "student-01" / "remarks.txt"
    theirs.write_text("talked to them")

    del store.taken[1:3]
    write(store, COURSE, tmp_path)

    assert [path.name for path in gone.rglob("*")] == ["results.json"]
    assert changed.read_text() == "corrected by hand"
    assert [path.name for path in theirs.parent.rglob("*")] == ["remarks.txt"]
    assert (tmp_path / "submissions" / "student-00" / "report.html").exists()


def test_a_writing_that_was_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Tree(tmp_path) as tree:
        tree.write("submissions/eve/results.json", b"{}")
        raise KeyboardInterrupt
    with (tmp_path / "made.log").open("a") as log:
        log.write('["submissions/eve/rep')

    write(_one(""), COURSE, tmp_path)

    assert not (tmp_path / "submissions" / "eve").exists()
    assert not (tmp_path / "made.log").exists()
    assert not list(tmp_path.rglob(".new-*"))


def test_removal_follows_no_link_out_of_the_results(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    write(_one(""), COURSE, out)
    (out / "submissions").rename(elsewhere)
    (out / "submissions").symlink_to(elsewhere)

    with Tree(out):
        pass

    assert (elsewhere / "ada" / "results.json").exists()
    assert not (out / "class.csv").exists()


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tree(tmp_path) as tree:
        tree.write("class.csv", b"old")

    def full_disk(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(UsageError, match="No space left"), Tree(tmp_path) as tree:
        tree.write("class.csv", b"new")
    assert (tmp_path / "class.csv").read_bytes() == b"old"
    assert not list(tmp_path.glob(".new-*"))


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a//b", ".", MADE, "a\\b"])
def test_no_path_leads_out_of_the_results(tmp_path: Path, path: str) -> None:
    with pytest.raises(HarnessError), Tree(tmp_path / "out") as tree:
        tree.write(path, b"")
    assert not (tmp_path / "x").exists()


def test_an_artefact_with_a_path_for_a_name_is_refused(tmp_path: Path) -> None:
    store = _one("no leader")
    failed = next(run for run in store.outcomes(store.taken[0].digest) if run.status is FAILED)
    store.kept[failed.job] = {"../../../x.html": b""}
    with pytest.raises(HarnessError, match="no name for a file"):
        write(store, COURSE, tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_the_users_mistake(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot write results"):
        write(_one(""), COURSE, tmp_path / "out")


def test_a_file_in_the_way_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="cannot write results"):
        write(_one(""), COURSE, tmp_path / "out")


# ---------------------------------------------------------------------- texts of submissions


@given(st.text(st.characters(codec=None), max_size=40))
def test_no_text_becomes_markup(text: str) -> None:
    for markup in (tag("p", text), tag("p", "x", title=text)):
        found = _Tags()
        found.feed(markup)
        found.close()
        assert found.tags == ["p"]
        assert markup.encode("utf-8").count(b"<") == 2


@given(st.text(st.characters(codec=None), max_size=2000))
def test_plain_texts_are_one_line_that_files_can_hold(text: str) -> None:
    line = plain(text)
    assert len(line) <= 600
    assert not [char for char in line if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char != "\t"]
    assert not set(line) & set("\u200b\u200e\u200f\u202a\u202e\u2066\u2069\ufeff")
    line.encode("utf-8")


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_verdicts_stay_texts_on_every_page(tmp_path: Path, text: str) -> None:
    store = _one(text)
    failed = [run for run in store.outcomes(store.taken[0].digest) if run.status is FAILED]
    store.kept[failed[0].job] = {"report.txt": text.encode("utf-8", "surrogatepass")}
    store.taken[0] = replace(store.taken[0], notes=(text,))
    store.refused.append(Refusal("mallory", text))
    harmless = _one("harmless")
    harmless.kept[failed[0].job] = {"report.txt": b"harmless"}
    harmless.taken[0] = replace(harmless.taken[0], notes=("harmless",))
    harmless.refused.append(Refusal("mallory", "harmless"))

    write(store, COURSE, tmp_path / "hostile")
    write(harmless, COURSE, tmp_path / "harmless")

    for page in ("index.html", "submissions/ada/report.html", "submissions/mallory/report.html"):
        seen, expected = _Tags(), _Tags()
        seen.feed((tmp_path / "hostile" / page).read_text(encoding="utf-8"))
        expected.feed((tmp_path / "harmless" / page).read_text(encoding="utf-8"))
        assert seen.tags == expected.tags
        assert seen.links == expected.links


class _Tags(HTMLParser):
    """The tags of a page, and where its links lead."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        attributes = dict(attrs)
        self.links += [value or "" for key, value in attrs if key in ("href", "src", "action", "srcset")]
        if attributes.get("id"):
            self.ids.add(attributes["id"] or "")


def _read(page: Path) -> _Tags:
    found = _Tags()
    found.feed(page.read_text(encoding="utf-8"))
    return found


# ---------------------------------------------------------------------- pages


def test_pages_load_nothing_and_their_links_lead_somewhere(tmp_path: Path) -> None:
    store = a_class()
    store.taken[2] = replace(store.taken[2], name="ümit & co #1?")
    write(store, COURSE, tmp_path)
    pages = [tmp_path / "index.html", *tmp_path.glob("submissions/*/report.html")]
    for page in pages:
        text, found = page.read_text(encoding="utf-8"), _read(page)
        assert "script" not in found.tags
        assert "default-src 'none'" in html.unescape(text)
        assert not any(loader in text for loader in ("http:", "https:", "url(", "@import", "src="))
        for link in found.links:
            path, _, fragment = link.partition("#")
            target = (page.parent / unquote(path)) if path else page
            assert target.is_file(), link
            if fragment:
                assert unquote(fragment) in _read(target).ids, link


def test_the_class_page_names_what_stands_out(tmp_path: Path) -> None:
    write(a_class(), COURSE, tmp_path)
    text = (tmp_path / "index.html").read_text(encoding="utf-8").replace("<wbr>", "")
    sections = {part.partition('"')[0]: part for part in text.split('<h2 id="')[1:]}
    assert set(sections) == {
        "scores", "parts", "hardest", "verdicts", "unresolved", "refused", "flaky", "submissions", "tests",
    }  # fmt: skip
    hardest = sections["hardest"]
    longest = "test_snapshot_unreliable_recover_concurrent_partition_linearizable"
    assert hardest.index(longest) < hardest.index("test_snapshot_rpc") < hardest.index("test_initial_election")
    assert sections["unresolved"].count("student-05") == 4  # two rows, link and text
    assert "the first: server 2 voted for 1" in sections["unresolved"]
    assert "central directory" in sections["refused"]
    assert "student-00" not in sections["flaky"]
    assert ">11</td>" in sections["verdicts"]


def test_a_class_without_failures_has_no_sections_about_them(tmp_path: Path) -> None:
    write(a_class(1), COURSE, tmp_path)
    ids = _read(tmp_path / "index.html").ids
    assert {"scores", "submissions"} <= ids
    assert not ids & {"hardest", "verdicts", "unresolved", "flaky"}


def test_an_empty_class_has_a_page(tmp_path: Path) -> None:
    write(MadeUpStore(), COURSE, tmp_path)
    assert "submissions graded" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_report_is_shown_and_cut_when_it_is_endless(tmp_path: Path) -> None:
    store = _one("no leader")
    failed = next(run for run in store.outcomes(store.taken[0].digest) if run.status is FAILED)
    store.kept[failed.job] = {"report.txt": b"line\n" * 100_000, "timeline.html": b"<p>"}
    write(store, COURSE, tmp_path)
    page = (tmp_path / "submissions" / "ada" / "report.html").read_text(encoding="utf-8")
    assert "The rest is in the report" in page
    assert len(page) < 100_000


@IN_LIGHT_AND_DARK
def test_pages_fit_the_screen_and_can_be_read(tmp_path: Path, open_in_browser: Callable[..., Any]) -> None:
    write(a_class(6, verdict=lambda place: "x" * 400), COURSE, tmp_path)
    for page in ("index.html", "submissions/student-05/report.html", "submissions/zz-broken/report.html"):
        opened = open_in_browser(tmp_path / page)
        for width in (360, 1280):
            opened.set_viewport_size({"width": width, "height": 800})
            assert opened.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.evaluate(_LEAST_CONTRAST) >= 4.5
        assert opened.evaluate("[...document.querySelectorAll('table')].every(t => t.caption && t.tHead)")


def test_a_student_comes_from_the_class_to_a_failure_by_keyboard(
    tmp_path: Path, open_in_browser: Callable[..., Any]
) -> None:
    write(a_class(6), COURSE, tmp_path)
    page = open_in_browser(tmp_path / "submissions" / "student-05" / "report.html")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("location.hash") == "#2A-test_initial_election"
    page.evaluate("document.querySelector('summary').focus()")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('details').open")
    assert "seed" in page.inner_text("details pre")


_LEAST_CONTRAST = """() => {
  const parse = colour => colour.match(/[\\d.]+/g).map(Number);
  const linear = v => v <= 10 ? v / 3294.6 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => [r, g, b].map(linear)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = node => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let least = 21;
  for (const node of document.querySelectorAll('body *')) {
    const said = [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    if (!said || node.closest('svg')) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    least = Math.min(least, (a + .05) / (b + .05));
  }
  return least;
}"""
"""The least contrast of any text to what is behind it."""
