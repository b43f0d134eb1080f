"""What a course wants, which seeds there are, who is late, what that comes to."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import pytest

from labrpc.errors import UsageError
from tester.grade import lateness
from tester.grade.course import Course, LateRule, TestRule, course_from, load_course
from tester.grade.intake import Taken, digest_of
from tester.grade.plan import check_runs, jobs_of
from tester.grade.records import Refusal, Submission
from tester.grade.seeds import HiddenSeeds, PublicSeeds, read_secret, read_seeds
from tester.grade.world import graded_here
from tester.graded import graded_tests
from tests.harness.grade.a_class import ROOT


def course(text: str, **options: object) -> Course:
    return course_from(tomllib.loads(text), "course.toml: ", **options)  # type: ignore[arg-type]


def rule(found: Course, test: str) -> TestRule:
    return next(each for each in found.tests if each.test == test)


# ------------------------------------------------------------------ course.toml


def test_the_example_loads_and_says_what_its_comments_say():
    found = load_course(ROOT / "docs" / "course.toml")
    assert found.name == "Distributed Systems, autumn 2026"
    assert found.parts == ("2A", "2B", "3A")
    backup, put = rule(found, "test_backup"), rule(found, "test_reliable_put")
    assert (backup.points, backup.policy, backup.threshold) == (15, "threshold", 0.9)
    assert backup.visibility == "after_due_date"
    assert (backup.earned(18), backup.earned(17)) == (15, 0)
    assert (put.policy, put.runs, put.visibility) == ("fraction", 10, "visible")
    assert found.late == LateRule(10, 50, 1)
    assert found.due_date() == datetime.datetime.fromisoformat("2026-10-01T23:59:00+02:00")


def test_without_a_file_every_run_must_pass_for_the_points_in_the_tests():
    found = load_course(None)
    assert found.parts == ("2A", "2B", "2C", "2D", "3A", "3B", "4A", "4B")
    assert {each.runs for each in found.tests} == {20}
    assert rule(found, "test_initial_election").points == 10
    assert rule(found, "test_initial_election").earned(19) == 0
    assert found.points_of("2A") == 30
    assert load_course(None, parts=["2B", "2A"], runs=3).parts == ("2A", "2B")


def test_what_skips_the_graders_world_is_not_graded():
    assert [test.name for test in graded_tests("3A") if test not in graded_here("3A")] == ["test_memory_many_clients"]


def test_a_part_goes_before_the_course_and_a_test_before_its_part():
    found = course(
        'runs = 5\npolicy = "fraction"\n[part.2A]\nruns = 7\npolicy = "threshold"\nthreshold = 0.5\n'
        '[test.test_re_election]\npolicy = "all"\nvisibility = "hidden"\nruns = 2'
    )
    assert rule(found, "test_initial_election") == TestRule("2A", "test_initial_election", 10, 7, "threshold", 0.5)
    assert rule(found, "test_re_election") == TestRule("2A", "test_re_election", 10, 2, "all", 1.0, "hidden")
    assert rule(found, "test_basic_agree").policy == "fraction"


def test_policies_are_exact():
    assert TestRule("2A", "t", 0.1, 3, "fraction").earned(1) == Fraction(1, 30)
    third = TestRule("2A", "t", 10, 10, "threshold", 0.7)
    assert (third.earned(7), third.earned(6)) == (10, 0), "7/10 is not below 0.7"
    with pytest.raises(UsageError, match="4 runs of t passed; there are 3"):
        TestRule("2A", "t", 1, 3).earned(4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name = 1", "course.toml: name is 1, not a text"),
        ("run = 3", "course.toml: run is no key of course.toml; is runs meant?"),
        ("runs = 0", "course.toml: runs is 0, not a whole number in 1..100000"),
        ("runs = true", "runs is True, not a whole number"),
        ("runs = 1.5", "runs is 1.5, not a whole number"),
        ('parts = ["2E"]', "parts names '2E', not one of 2A"),
        ("parts = []", "parts is [], not a list"),
        ('policy = "some"', "policy is 'some', not one of all, fraction, threshold"),
        ('[part.2A]\npolicy = "threshold"', 'part.2A.policy is "threshold", and no threshold is given'),
        ("threshold = 0", "threshold is 0, not a number above 0, at most 1"),
        ("threshold = nan", "threshold is nan, not a number"),
        ("[part.2A]\nrunns = 3", "part.2A.runns is no key of course.toml; is runs meant?"),
        ("[part.9Z]", "part.9Z: there is no part 9Z"),
        (
            "[test.test_re_elektion]",
            "test.test_re_elektion: there is no graded test test_re_elektion; is test_re_election",
        ),
        ("[test.test_re_election]\npoints = -1", "test.test_re_election.points is -1, not a number in 0.."),
        ('[test.test_re_election]\npoints = "5"', "test.test_re_election.points is '5'"),
        ("part = 3", "part is 3, not a table; write [part]"),
        ("[part]\n2A = 3", "part.2A is 3, not a table; write [part.2A]"),
        ('visibility = "seen"', "visibility is 'seen', not one of visible, hidden"),
        ("due = 2026-10-01", "due is 2026-10-01, not a time with its offset"),
        ("due = 2026-10-01T10:00:00", "not a time with its offset from UTC; write it as"),
        ("[late]\npercent_per_day = 101", "late.percent_per_day is 101, not a number in 0..100"),
        ("[late]\nper_day = 1", "late.per_day is no key of course.toml; is percent_per_day meant?"),
        ("late = 5", "late is 5, not a table"),
    ],
)
def test_a_mistake_is_told_with_the_keys_path(text, expected):
    with pytest.raises(UsageError) as caught:
        course(text)
    assert expected in str(caught.value)


def test_files_that_are_no_toml_are_told(tmp_path):
    (tmp_path / "c.toml").write_text("name =")
    for path, expected in ((tmp_path / "c.toml", "is not TOML"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(UsageError, match=expected):
            load_course(path)


# ------------------------------------------------------------------ lateness


@pytest.mark.parametrize(
    ("days", "taken"),
    [(0, 0), (0.04, 0), (1 / 24, 0), (0.05, 10), (1, 10), (1.0001, 20), (4.5, 50), (5, 50), (400, 50)],
)
def test_each_day_that_has_begun_costs_up_to_the_most(days, taken):
    assert LateRule(10, 50, 1).taken(Fraction(100), days) == taken


def taken(name: str, committed_at: float | None = None) -> Taken:
    return Taken(Submission(name, "d", {}), name, committed_at)


def days_of(found: Sequence[Taken]) -> dict[str, float]:
    return {each.original: each.result.days_late for each in found if isinstance(each.result, Submission)}


def test_a_file_says_who_is_late(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("\ufeffname,days_late\nann, 1.5\n\nzed,3\n")
    found, strange = lateness.by_file(path, load_course(None), [taken("ann"), taken("bob")])
    assert days_of(found) == {"ann": 1.5, "bob": 0.0}
    assert strange == [
        f"{path} names zed, and there is no such submission",
        f"{path} does not name bob: it counts as in time",
    ]
    due = course("due = 2026-10-01T12:00:00+02:00", parts=["2A"])
    path.write_text("email,timestamp,name\nx,2026-10-02T22:00:00Z,ann\ny,2026-09-01T00:00:00Z,bob\n")
    assert days_of(lateness.by_file(path, due, [taken("ann"), taken("bob")])[0]) == {"ann": 1.5, "bob": 0.0}


def test_commits_say_who_is_late():
    due = course("due = 1970-01-02T00:00:00Z", parts=["2A"])
    found, strange = lateness.by_commit(due, [taken("ann", 2.25 * 86400), taken("bob"), Taken(Refusal("c", "no"), "c")])
    assert days_of(found) == {"ann": 1.25, "bob": 0.0}
    assert strange == ["bob is no git repository: it counts as in time"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "its first line must name the columns"),
        ("name\nann", "its first line must name the columns"),
        ("name,days_late,timestamp\n", "its first line must name the columns"),
        ("name,days_late\nann,late\n", "line 2: 'late' is not a number of days"),
        ("name,days_late\nann,-1\n", "'-1' is not a number of days"),
        ("name,days_late\nann,nan\n", "'nan' is not a number of days"),
        ("name,days_late\nann,1,2\n", "line 2: 3 cells; there are 2 columns"),
        ("name,days_late\nann,1\nann,2\n", "line 3: ann is there twice"),
        ("name,timestamp\nann,2026-10-02\n", "write due = … in course.toml"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path, text, expected):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(UsageError) as caught:
        lateness.by_file(tmp_path / "s.csv", load_course(None), [taken("ann")])
    assert expected in str(caught.value)


def test_parts_due_at_different_times_have_no_due_date():
    two = course("[part.2A]\ndue = 2026-10-01T00:00:00Z\n[part.2B]\ndue = 2026-11-01T00:00:00Z", parts=["2A", "2B"])
    with pytest.raises(UsageError, match="not due at one time"):
        two.due_date()
    assert load_course(None).due_date() is None


# ------------------------------------------------------------------ seeds


SECRET = b"correct horse battery staple"


def test_hidden_seeds_are_of_the_submission_the_test_and_the_run():
    seeds = HiddenSeeds(SECRET)
    drawn = {seeds.seed(d, t, r) for d in ("a", "b") for t in ("x", "y") for r in range(50)}
    assert len(drawn) == 200
    assert all(0 <= seed < 1 << 63 for seed in drawn)
    assert max(drawn) >= 1 << 62
    assert seeds.seed("a", "x", 0) == HiddenSeeds(SECRET).seed("a", "x", 0)
    assert seeds.seed("a", "x", 0) != HiddenSeeds(SECRET + b".").seed("a", "x", 0)


def test_the_secret_is_in_nothing_that_is_shown():
    seeds = HiddenSeeds(SECRET)
    assert SECRET.decode() not in f"{seeds!r} {seeds.fingerprint}"
    assert seeds.fingerprint == HiddenSeeds(SECRET).fingerprint != HiddenSeeds(SECRET + b".").fingerprint


def test_a_secret_that_can_be_guessed_is_refused(tmp_path):
    (tmp_path / "secret").write_text("short\n")
    with pytest.raises(UsageError, match="5 characters, fewer than 16"):
        read_secret(tmp_path / "secret")
    with pytest.raises(UsageError, match="cannot be read"):
        read_secret(tmp_path / "none")
    (tmp_path / "secret").write_bytes(SECRET + b"\r\n")
    assert read_secret(tmp_path / "secret").fingerprint == HiddenSeeds(SECRET).fingerprint


def test_public_seeds_come_from_a_file(tmp_path):
    path = tmp_path / "seeds"
    path.write_text("# of this year\n7\n\n0x10  # sixteen\n9223372036854775807\n")
    assert read_seeds(path).seeds == (7, 16, (1 << 63) - 1)
    for text, expected in (
        ("x", "line 1: x is not a number"), ("-1", "seed -1 is not in 0.."), (str(1 << 63), "is not in 0.."),
        ("1\n1", "seed 1 is there twice"), ("", "there are no seeds"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(UsageError, match=expected):
            read_seeds(path)


# ------------------------------------------------------------------ jobs and points


def a_submission(name: str, *packages: str, days_late: float = 0.0) -> Submission:
    files = {f"{package}/__init__.py": name.encode() for package in packages}
    return Submission(name, digest_of(files), files, days_late=days_late)


def test_jobs_are_of_the_parts_that_there_is_something_for():
    found = load_course(None, parts=["2A", "3A", "4A"], runs=2)

    def parts(*packages: str) -> list[str]:
        return sorted({job.part for job in jobs_of(found, [a_submission("s", *packages)], PublicSeeds([1, 2]))})

    assert parts("raft", "kvraft") == ["2A", "3A", "4A"]
    assert parts("raft") == ["2A"]
    assert parts("kvraft") == ["3A"]
    twice = [a_submission("s", "raft"), a_submission("s", "raft")]
    jobs = list(jobs_of(found, twice, PublicSeeds([5, 6])))
    assert len(jobs) == 6, "equal submissions are run once"
    assert [(job.run, job.seed) for job in jobs] == [(0, 5)] * 3 + [(1, 6)] * 3


def test_more_runs_than_seeds_are_told():
    with pytest.raises(UsageError, match="20 runs of a test are wanted, and there are 2 seeds; give more, or --runs 2"):
        check_runs(load_course(None), PublicSeeds([1, 2]))
    check_runs(load_course(None), HiddenSeeds(SECRET))


def test_docs_name_every_key_of_course_toml():
    """What the example does not show, nobody finds."""
    text = (Path(ROOT) / "docs" / "course.toml").read_text(encoding="utf-8")
    keys = ["name", "parts", "runs", "due", "policy", "threshold", "visibility", "points", "percent_per_day"]
    keys += ["most_percent", "grace_hours"]
    assert [key for key in keys if f"\n{key} = " not in text] == []
