"""The autograder's zip, unpacked and run as Gradescope would, elsewhere than in /autograder."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from labrpc.errors import UsageError
from tester.cli import app
from tester.grade.gradescope import Settings, autograder_zip
from tester.grade.gradescope_run import days_late
from tester.grade.results_json import fault_json
from tests.harness.conftest import ROOT
from tests.harness.grade.gradescope_format import assert_is_gradescope

SECRET = "0123456789abcdef"
CREATED, DUE = "2026-10-03T11:59:00+02:00", "2026-10-01T23:59:00+02:00"
LATER = {"assignment": {"due_date": CREATED}}

GRADES = """
import json, sys
from pathlib import Path
import tester
from tester.grade import results
from tester.grade.course import load_course
from tester.grade.records import Job, Outcome, Status, Submission

options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
out, folder = Path(options["--out"]), Path(sys.argv[1])
late = float(Path(options["--submitted"]).read_text().split(",")[-1])
taken = {path.relative_to(folder / "submission").as_posix(): path.read_bytes() for path in folder.rglob("*.py")}
course = load_course(Path(options["--course"]), parts=["2A"], runs=3)
seen = {"argv": sys.argv[1:], "names": sorted(path.name for path in folder.iterdir()), "files": sorted(taken),
        "code": tester.__file__, "secret": Path(options["--hidden-seed-file"]).read_text()}
print(json.dumps(seen))

class Grades:
    def submissions(self): return [Submission("submission", "d", taken, days_late=late)]
    def refusals(self): return []
    def artefacts(self, job): return {}
    def outcomes(self, digest):
        for rule in course.tests:
            for run in range(3):
                fails = rule.test == "test_re_election" and run == 1
                job = Job("d", rule.part, rule.test, run, 70 + run)
                yield Outcome(job, Status.FAILED if fails else Status.PASSED, "no leader" if fails else "")

results.write(Grades(), course, out)
"""

STOPS = """
import signal, sys, time
from pathlib import Path
from tester.grade.records import Job, Outcome, Status, Submission
from tester.grade.store import Store

options = dict(zip(sys.argv[2::2], sys.argv[3::2]))
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
store = Store(Path(options["--out"]))
taken = Submission("submission", "d", {"raft/__init__.py": b""})
jobs = [Job("d", "2A", test, run, run) for test in ("test_initial_election", "test_re_election") for run in range(3)]
store.begin([taken], jobs, suite="s", seeds="hidden x")
for job in jobs[:4]:
    store.add(Outcome(job, Status.PASSED))
time.sleep(60)
"""


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Path, Path]:
    """course.toml and the secret."""
    course, secret = tmp_path / "course.toml", tmp_path / "secret"
    course.write_text('name = "Systems"\n[late]\npercent_per_day = 10\n')
    secret.write_text(f"{SECRET}\n")
    return course, secret


@pytest.fixture
def autograder(tmp_path: Path, inputs: tuple[Path, Path]) -> Callable[..., Path]:
    """Unpacks the zip into a folder that stands for /autograder, with a submission, and a command that grades."""

    def unpack(grade: str, *, minutes: float = 10, metadata: Mapping[str, Any] | None = None) -> Path:
        root = tmp_path / "autograder"
        content = autograder_zip(*inputs, Settings(parts=("2A",), runs=3))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            archive.extractall(root / "source")
            for info in archive.infolist():
                (root / "source" / info.filename).chmod(info.external_attr >> 16 & 0o777)
        settings = root / "source" / "settings.json"
        stub = root / "stub.py"
        stub.write_text(grade)
        settings.write_text(json.dumps({**json.loads(settings.read_text()), "grade": [str(stub)], "minutes": minutes}))
        for name in ("raft/__init__.py", "raft/raft.py", ".git/HEAD"):
            path = root / "submission" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("x = 1\n")
        (root / "submission" / "raft" / "pipe").symlink_to("/etc/passwd")
        os.mkfifo(root / "submission" / "fifo")
        if metadata is not None:
            (root / "submission_metadata.json").write_text(json.dumps(metadata))
        return root

    return unpack


def _run(root: Path, python: str = sys.executable) -> tuple[dict[str, Any], str]:
    """results.json, and what only the instructor sees."""
    environment = {"PATH": os.environ["PATH"], "AUTOGRADER_ROOT": str(root), "AUTOGRADER_PYTHON": python}
    done = subprocess.run(
        [root / "source" / "run_autograder"], env=environment, cwd=root, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return json.loads((root / "results" / "results.json").read_text()), done.stdout + done.stderr


# ---------------------------------------------------------------------- the zip


def test_the_same_inputs_give_the_same_bytes(inputs: tuple[Path, Path]) -> None:
    assert autograder_zip(*inputs, Settings()) == autograder_zip(*inputs, Settings())
    assert autograder_zip(*inputs, Settings()) != autograder_zip(*inputs, Settings(runs=2))


def test_the_zip_holds_what_grades_and_no_solution(inputs: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(io.BytesIO(autograder_zip(*inputs, Settings()))) as archive:
        modes = {info.filename: info.external_attr >> 16 & 0o777 for info in archive.infolist()}
        texts = {name: archive.read(name).decode("utf-8", "replace") for name in modes}
    labs = {f"raftlab/tests/labs/{path.name}" for path in (ROOT / "tests" / "labs").glob("*.py")}
    assert labs < modes.keys()
    assert {"raftlab/tester/cli.py", "raftlab/labrpc/api.py", "raftlab/tester/timeline/page/page.js"} < modes.keys()
    assert (modes["setup.sh"], modes["run_autograder"], modes["secret"]) == (0o755, 0o755, 0o600)
    assert [name for name in modes if name.startswith(("raftlab/raft/", "raftlab/kvraft/"))] == [
        "raftlab/kvraft/__init__.py", "raftlab/raft/__init__.py",
    ]  # fmt: skip
    assert not [name for name in modes if "__pycache__" in name or name.endswith(".pyc") or "mutants/" in name]
    assert [name for name, text in texts.items() if SECRET in text] == ["secret"]
    solution = {path.read_text() for package in ("raft", "kvraft") for path in (ROOT / package).rglob("*.py")}
    assert len(solution) > 8
    assert not [name for name, text in texts.items() if text in solution]


def test_what_is_installed_has_an_exact_version(inputs: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(io.BytesIO(autograder_zip(*inputs, Settings()))) as archive:
        needed = archive.read("requirements.txt").decode().split()
        pinned = archive.read("raftlab/constraints.txt").decode()
    assert len(needed) > 5
    for each in needed:
        assert f"\n{re.split('[<>=]', each)[0]}==" in pinned


def test_the_image_is_set_up_with_what_there_is(tmp_path: Path, autograder: Callable[..., Path]) -> None:
    root, log = autograder(GRADES), tmp_path / "log"
    (root / "source" / "secret").chmod(0o644)
    tools = tmp_path / "tools"
    tools.mkdir()
    fake_python = f"#!/bin/sh\\necho venv-python \\$* >> {log}\\n"
    fake_venv = f'mkdir -p "$3/bin"; printf "{fake_python}" > "$3/bin/python"; chmod +x "$3/bin/python"'
    for name, body in {
        "apt-get": f'echo apt-get $* >> {log}; case "$*" in *python3.13*) exit 100;; esac',
        "python3.12": f"echo python3.12 $* >> {log}; {fake_venv}",
        "bwrap": "exit 1",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)

    environment = {"PATH": f"{tools}:{os.environ['PATH']}", "AUTOGRADER_ROOT": str(root)}
    subprocess.run([root / "source" / "setup.sh"], env=environment, check=True, timeout=60, capture_output=True)

    said = log.read_text()
    assert "apt-get install -y --no-install-recommends bubblewrap" in said
    assert "apt-get install -y --no-install-recommends python3.12 python3.12-venv" in said
    assert "python3.11" not in said
    assert f"-m pip install --disable-pip-version-check --no-input -c {root}/source/raftlab/constraints.txt" in said
    assert stat.S_IMODE((root / "source" / "secret").stat().st_mode) == 0o600


# ---------------------------------------------------------------------- a submission


def test_a_submission_is_graded_and_has_results(autograder: Callable[..., Path]) -> None:
    root = autograder(GRADES, metadata={"created_at": CREATED, "assignment": {"due_date": DUE}})

    results, stdout = _run(root)

    assert_is_gradescope(results)
    seen = json.loads(next(line for line in stdout.splitlines() if line.startswith("{")))
    assert seen["code"].startswith(str(root / "source" / "raftlab"))
    assert seen["names"] == ["submission"]
    assert seen["files"] == ["raft/__init__.py", "raft/raft.py"]
    assert seen["secret"].strip() == SECRET
    assert seen["argv"][-4:] == ["--parts", "2A", "--runs", "3"]
    assert "1.5 days late: 4 of 20 points are taken off" in results["output"]
    assert results["score"] == 16.0
    failing = results["tests"][1]
    assert failing["output"].splitlines()[0] == "passes 2 of 3, 95 % interval 21–94 %"
    assert "replay: tester replay test_re_election --seed 71" in failing["output"]


def test_when_the_time_is_over_what_was_not_run_is_unresolved(autograder: Callable[..., Path]) -> None:
    root = autograder(STOPS, minutes=1 + 4 / 60)

    results, stdout = _run(root)

    assert_is_gradescope(results)
    assert results["score"] == 10.0
    assert "score" not in results["tests"][1]
    assert "2 of 3 runs were not made" in results["tests"][1]["output"]
    assert "2 tests are unresolved, for no fault of the submission" in results["output"]
    assert "stopped after 4 s" in stdout


@pytest.mark.parametrize(
    ("grade", "what"),
    [
        ("raise SystemExit(2)", "tester grade ended with exit code 2"),
        ("import os; os.kill(os.getpid(), 9)", "tester grade ended with exit code -9"),
        ("", "FileNotFoundError in the autograder"),
    ],
    ids=["refuses", "is killed", "writes nothing"],
)
def test_a_failure_of_ours_is_said_and_has_no_score(autograder: Callable[..., Path], grade: str, what: str) -> None:
    results, _ = _run(autograder(grade))
    assert_is_gradescope(results, scored=False)
    assert "The grading itself failed. This is not the submission's fault" in results["output"]
    assert results["output"].endswith(what)
    assert SECRET not in json.dumps(results)


@pytest.mark.parametrize("python", ["/nowhere/python", "killed"])
def test_results_say_so_when_not_even_python_runs(autograder: Callable[..., Path], tmp_path: Path, python: str) -> None:
    if python == "killed":
        python = str(tmp_path / "python")
        Path(python).write_text("#!/bin/sh\nkill -9 $$\n")
        Path(python).chmod(0o755)
    results, _ = _run(autograder(GRADES), python)
    assert_is_gradescope(results, scored=False)
    assert "it may have run out of memory or time" in results["output"]


def test_a_fault_has_no_score_at_all() -> None:
    fault = fault_json("x")
    assert "score" not in fault
    assert "tests" not in fault


# ---------------------------------------------------------------------- lateness


@pytest.mark.parametrize(
    ("metadata", "days"),
    [
        ({"created_at": CREATED, "assignment": {"due_date": DUE}}, 1.5),
        ({"created_at": DUE, "assignment": {"due_date": CREATED}}, 0.0),
        ({"created_at": "2026-10-03T09:59:00Z", "assignment": {"due_date": DUE}}, 1.5),
        ({"created_at": CREATED, "assignment": {"due_date": DUE}, "users": [LATER, {}]}, 0.0),
        ({"created_at": CREATED, "assignment": {"due_date": None}}, 0.0),
        ({"created_at": CREATED, "assignment": None}, 0.0),
        ({"created_at": "yesterday", "assignment": {"due_date": DUE}}, 0.0),
        ({"created_at": "2026-10-03T11:59:00", "assignment": {"due_date": DUE}}, 0.0),
        ([], 0.0),
    ],
)  # fmt: skip
def test_lateness_is_that_of_the_metadata(tmp_path: Path, metadata: object, days: float) -> None:
    (tmp_path / "m.json").write_text(json.dumps(metadata))
    assert days_late(tmp_path / "m.json") == pytest.approx(days)


def test_without_metadata_a_submission_is_in_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert days_late(tmp_path / "none.json") == 0
    assert "it counts as in time" in capsys.readouterr().out


# ---------------------------------------------------------------------- the command


def test_the_command_writes_a_zip_that_only_its_owner_reads(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    course, secret = inputs
    out = tmp_path / "autograder.zip"
    options = ["gradescope", "--course", str(course), "--hidden-seed-file", str(secret), "--out", str(out)]

    done = CliRunner().invoke(app, [*options, "--parts", "2A, 2B", "--runs", "5", "--minutes", "20"])

    assert done.exit_code == 0, done.output
    with zipfile.ZipFile(out) as archive:
        settings = json.loads(archive.read("settings.json"))
    assert settings["options"] == ["--parts", "2A,2B", "--runs", "5"]
    assert settings["minutes"] == 20
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parts": ("2Z",)}, "there is no part 2Z"),
        ({"minutes": 2}, "2 minutes are too few"),
        ({"secret": "short"}, "fewer than 16"),
        ({"course": "nmae = 1"}, "nmae"),
        ({"course": None}, "cannot be read"),
    ],
)
def test_mistakes_are_found_before_anything_is_uploaded(
    inputs: tuple[Path, Path], change: dict[str, Any], message: str
) -> None:
    course, secret = inputs
    if "secret" in change:
        secret.write_text(change.pop("secret"))
    if "course" in change:
        text = change.pop("course")
        course.unlink() if text is None else course.write_text(text)
    with pytest.raises(UsageError, match=message):
        autograder_zip(course, secret, Settings(**change))


def test_a_place_that_is_no_checkout_is_refused(tmp_path: Path, inputs: tuple[Path, Path]) -> None:
    with pytest.raises(UsageError, match="checkout of the project"):
        autograder_zip(*inputs, Settings(), root=tmp_path)
