"""`kvraft scenario`: plans, clocks, disks, recordings and verdicts; and runs, of a sound cluster and of broken ones."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kvraft.load import Histogram, Recorded
from kvraft.scenarios.clock import SkewedClock
from kvraft.scenarios.commands import run_scenario
from kvraft.scenarios.disk import BadDisk, FaultyFiles
from kvraft.scenarios.driver import Options, Run
from kvraft.scenarios.faults import FAULTS, Step, describe
from kvraft.scenarios.outcome import Happened, Outcome, Promise, calm_seconds, held_up_for, judge_recoveries
from kvraft.scenarios.plans import SCENARIOS, make_plan
from kvraft.scenarios.recording import Recording
from kvraft.scenarios.report import report_html
from kvraft.scenarios.verdict import check
from labrpc.errors import UsageError
from tests.harness.pages import HOSTILE, IN_LIGHT_AND_DARK, Page, assert_loads_nothing
from tests.harness.service.conftest import ROOT, environment, kvraft

# -------------------------------------------------------------- plans


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("reads", ["index", "lease"])
def test_a_plan_is_a_function_of_its_seed_and_fits_into_the_time(name, reads):
    plans = [make_plan(SCENARIOS[name], seed=seed, seconds=60, nodes=5, reads=reads) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    for step in plans[0]:
        assert 2 <= step.at < step.at + step.seconds <= 57
        assert FAULTS[step.fault].mark or step.target == "all"
        assert describe(step).count("{") == 0
        assert step.target in ("leader", "follower", "node", "minority", "all", "0", "1", "2", "3", "4")
    assert [step.at for step in plans[0]] == sorted(step.at for step in plans[0])


def test_with_leases_clocks_differ_by_less_than_those_allow():
    for name in ("clock-skew", "mixed"):
        for seed in range(20):
            plan = make_plan(SCENARIOS[name], seed=seed, seconds=60, nodes=5, reads="lease")
            rates = [step.strength for step in plan if step.fault == "skew"]
            assert all((1 + rate) / (1 - rate) < 1.05 for rate in rates)
            assert not [step for step in plan if step.fault == "jump"]


def test_mixed_has_every_fault_in_some_plan():
    plans = [make_plan(SCENARIOS["mixed"], seed=seed, seconds=60, nodes=5, reads="index") for seed in range(30)]
    assert {step.fault for plan in plans for step in plan} == set(FAULTS)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("nothing",), "no scenario 'nothing'; there are leader-churn, "),
        ((), "name a scenario"),
        (("mixed", "--seconds", "3"), "3 s are too few for a fault of mixed"),
        (("mixed", "--nodes", "2"), "nodes must be in 3..9, not 2"),
        (("mixed", "--reads", "dirty"), "reads must be one of index, lease, log"),
        (("mixed", "--clients", "0"), "clients must be at least 1"),
        (("mixed", "--election", "1"), "write SHORTEST-LONGEST"),
        (("mixed", "--election", "0.5-0.2"), "less than the longest"),
        (("mixed", "--report", "/nowhere/at/all.html"), "/nowhere/at is no directory"),
        (("mixed", "--keep", str(ROOT)), "is not empty; name a new directory"),
    ],
)
def test_misuse_is_told_in_a_line(options, text):
    done = kvraft("scenario", *options)
    assert done.returncode == 2
    assert text in done.stderr
    assert done.stderr.startswith("kvraft: ")
    assert done.stderr.count("\n") == 1


def test_the_list_says_what_each_shows():
    done = kvraft("scenario", "--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(SCENARIOS)


# -------------------------------------------------------------- clocks and disks


def test_a_skewed_clock_runs_at_its_rate_and_never_goes_back():
    clock = SkewedClock()
    clock.run_at(3.0)
    began, real = clock.monotonic(), time.monotonic()
    time.sleep(0.1)
    assert clock.monotonic() - began == pytest.approx(3 * (time.monotonic() - real), rel=0.05)
    before, wall = clock.monotonic(), clock.wall()
    clock.jump(-3600)
    assert clock.monotonic() >= before
    assert clock.wall() - wall == pytest.approx(-3600, abs=1)
    clock.jump(60)
    assert clock.monotonic() - before >= 60
    clock.run_at(0.5)
    assert clock.monotonic() - before >= 60
    for rate in (0, -1, float("inf")):
        with pytest.raises(ValueError, match="rate must be more than 0"):
            clock.run_at(rate)


def test_an_event_loop_sleeps_by_the_skewed_clock(monkeypatch):
    clock = SkewedClock()
    clock.run_at(4.0)
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    began = real()
    with asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
        runner.run(asyncio.sleep(1.0))
    assert 0.24 <= real() - began < 0.8


def test_a_bad_disk_is_slow_or_full(tmp_path):
    disk = BadDisk()
    files = FaultyFiles(tmp_path / "disk", disk)
    file = files.create("a")
    file.write(0, b"one")
    disk.delay = 0.1
    began = time.monotonic()
    file.fsync()
    assert time.monotonic() - began >= 0.1
    disk.is_full = True
    for write in (lambda: file.write(3, b"two"), lambda: files.create("b")):
        with pytest.raises(OSError, match="No space left") as raised:
            write()
        assert raised.value.errno == errno.ENOSPC
    assert files.read("a") == b"one"
    files.close()


# -------------------------------------------------------------- recordings


def recorded(tmp_path: Path, *operations: tuple[float, float | None], outcome: str = "OK") -> Recording:
    recording = Recording(tmp_path / "history.jsonl")
    for number, (called, returned) in enumerate(operations):
        result = outcome if returned is not None else "UNAVAILABLE"
        at = None if returned is None else 100.0 + returned
        recording.add(Recorded(number, "put", "a", (f"v{number}", number), result, 100.0 + called, at))
    recording.begin(100.0)
    return recording


def test_gaps_and_recoveries_are_read_off_the_answers(tmp_path):
    answers = [(at / 10, at / 10 + 0.005) for at in range(20)]
    answers += [
        (1.95, 3.205),
        (2.5, 3.25),
        (3.3, 3.31),
        (4.0, None),
        *((4 + at / 10, 4.01 + at / 10) for at in range(5)),
    ]
    recording = recorded(tmp_path, *answers)
    assert recording.gap(2.0, 3.0) == pytest.approx(3.205 - 1.905)
    assert recording.gap(0.5, 0.6) == pytest.approx(0.1, abs=0.01)
    assert recording.gap(1.0, 6.0) == pytest.approx(6.0 - 4.41, abs=0.01), "none until the end"
    assert recording.next_answer(2.0) == pytest.approx(1.25), "what was called before does not count"
    assert recording.next_answer(5.0) is None
    assert [(second.done, second.failed) for second in recording.seconds] == [(10, 0), (10, 0), (0, 0), (3, 0), (5, 1)]
    assert recording.between(0.0, 2.0)[0] == 10
    assert recording.between(0.5, 2.5)[0] == 10, "whole seconds only"
    recording.close()


def test_recoveries_are_judged_from_when_the_cluster_must_answer(tmp_path):
    recording = recorded(tmp_path, *((at / 10, at / 10 + 0.005) for at in [*range(20), *range(50, 100)]))
    kill = Step(at=2, seconds=1, fault="kill", target="leader")
    flap = Step(at=2, seconds=2.5, fault="flap", target="all", survivable=False)
    alone = [Happened(kill, [0], 2.0, 2.0, 3.0)]
    judge_recoveries(alone, recording, 10.0, 2.0)
    assert alone[0].is_late
    assert alone[0].recovery == pytest.approx(3.005)
    assert alone[0].gap == pytest.approx(3.1)
    judge_recoveries(alone, recording, 10.0, 4.0)
    assert not alone[0].is_late
    both = [Happened(kill, [0], 2.0, 2.0, 3.0), Happened(flap, [0], 2.5, 2.5, 4.5)]
    judge_recoveries(both, recording, 10.0, 1.0)
    assert [each.recovery for each in both] == [pytest.approx(0.505)] * 2, "from the end of both"
    assert not any(each.is_late for each in both)
    never = [Happened(kill, [0], 9.95, 9.95, 9.96)]
    judge_recoveries(never, recording, 10.0, 1.0)
    assert (never[0].recovery, never[0].is_late) == (None, False), "the run ended before it could"
    judge_recoveries(never, recording, 12.0, 1.0)
    assert never[0].is_late
    assert held_up_for(both[0], [(1.0, 1.5), (2.2, 0.1), (3.9, 5.0)], 1.0) == pytest.approx(0.5 + 0.1 + 0.1)
    assert calm_seconds(both, 10.0, 0.5) == [(0.0, 2.0), (5.0, 10.0)]
    recording.close()


def history(tmp_path: Path, *, is_stale: bool = False, keys: int = 20) -> Path:
    """Puts of which some are lost or MAYBE, and gets, one after the other; the last get of key 7 may be of the past."""
    recording = Recording(tmp_path / "history.jsonl")
    at = 0.0
    for round_ in range(10):
        for key in range(keys):
            name, at = f"key-{key}", at + 1.0
            value = f"{round_}-{key}"
            lost = (round_, key) in {(4, 3), (5, 5)}
            maybe = (round_, key) == (3, 11)
            outcome = "UNAVAILABLE" if lost else "MAYBE" if maybe else "OK"
            recording.add(
                Recorded(1000 * round_ + key, "put", name, (value, round_), outcome, at, None if lost else at + 0.5)
            )
            seen = (value, round_ + 1) if not (is_stale and (round_, key) == (9, 7)) else ("8-7", 9)
            recording.add(Recorded(99_999, "get", name, (), (*seen, "OK"), at + 0.6, at + 0.7))
    recording.add(Recorded(1, "put", "key-1", ("x", 0), "REFUSED", at, at + 1))
    recording.close()
    assert recording.outcomes["REFUSED"] == 1
    return recording.path


@pytest.mark.parametrize("slice_bytes", [1 << 20, 2_000], ids=["whole", "in slices"])
def test_histories_are_decided_key_by_key(tmp_path, slice_bytes):
    path = history(tmp_path)
    told: list[tuple[int, int]] = []
    checked = check(path, slice_bytes=slice_bytes, on_slice=lambda *each: told.append(each))
    assert (checked.result, checked.operations, checked.keys) == ("ok", 400, 20)
    assert told[-1][0] == told[-1][1]
    assert (len(told) > 5) == (slice_bytes == 2_000)
    path = history(tmp_path, is_stale=True)
    checked = check(path, slice_bytes=slice_bytes)
    assert (checked.result, checked.key) == ("illegal", "key-7")
    assert "version 9" in checked.explanation or "'8-7'" in checked.explanation
    assert checked.history.read_text().count("\n") == 21
    assert_loads_nothing(checked.page.read_text())
    assert not list(tmp_path.glob("slices-*"))


@pytest.mark.parametrize("is_stale", [False, True])
def test_the_tester_reads_what_is_recorded(tmp_path, is_stale):
    path = history(tmp_path, is_stale=is_stale)
    command = [sys.executable, "-m", "tester", "check-history", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=ROOT, check=False)
    assert done.returncode == is_stale, done.stderr
    assert json.loads(done.stdout)["model"] == "kv"


def test_a_history_that_is_none_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be checked"):
        check(tmp_path / "nowhere")
    (tmp_path / "damaged").write_text('{}\n{"client": 1}\n')
    with pytest.raises(UsageError, match="cannot be checked"):
        check(tmp_path / "damaged")


# -------------------------------------------------------------- the page


def outcome(**changes: Any) -> Outcome:
    times = Histogram()
    times.add(0.01, 500)
    recording_of = [(100, 0, 0.001, 0.01, 0.02, 0.1)] * 5 + [(0, 3, 0.0, 0.0, 0.0, 1.0)] * 2
    kill = Happened(Step(at=5, seconds=2, fault="kill", target="leader"), [1], 5.0, 5.0, 7.0, 2.0, None, False, True)
    values: dict[str, Any] = {
        "settings": {**vars(Options()), "scenario": "leader-churn"},
        "shows": "What it shows.",
        "promises": [Promise("linearizable", True, "10 operations"), Promise("recovered in time", False, "never")],
        "happened": [kill],
        "seconds": 7.0,
        "operations": 500,
        "outcomes": {"OK": 500, "UNAVAILABLE": 6},
        "throughput": (100.0, 70.0),
        "times": times,
        "series": recording_of,
        "roles": [(-1.0, 0, "follower", 1), (-1.0, 1, "leader", 1), (5.0, 1, "down", 0), (6.0, 0, "leader", 2)],
    }
    return Outcome(**{**values, **changes})


def test_the_page_says_the_verdict_first_and_loads_nothing():
    text = report_html(outcome())
    assert_loads_nothing(text)
    page = Page(text)
    texts = [each.strip() for each in page.texts if each.strip()]
    first = next(number for number, each in enumerate(texts) if each.startswith("Broken"))
    assert first < texts.index("Over time") < texts.index("Faults") < texts.index("Numbers")
    assert "SIGKILL to the leader (1)" in texts
    assert page.tags.count("svg") == 5, "roles, answers, times, availability, what failed"
    assert page.tags.count("script") == 0
    held = report_html(outcome(promises=[Promise("linearizable", True, "all")], series=[(100, 0, 0.1, 0.1, 0.1, 0.1)]))
    assert "Held: leader-churn" in held
    assert Page(held).tags.count("svg") == 4


@pytest.mark.parametrize("name", HOSTILE)
def test_texts_on_the_page_stay_texts(name):
    text = report_html(outcome(promises=[Promise("linearizable", False, HOSTILE[name].replace("\ud800", "?"))]))
    assert "<script" not in text
    assert "alert(1)" not in "".join(Page(text).tags)


@IN_LIGHT_AND_DARK
def test_the_page_fits_a_phone(open_in_browser, tmp_path):
    path = tmp_path / "run.html"
    path.write_text(report_html(outcome(history=Path("/a-long-path" * 20))))
    page = open_in_browser(path)
    page.set_viewport_size({"width": 380, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 380
    assert "Broken" in page.inner_text("h1")


def test_an_outcome_is_json_and_only_kept_promises_hold():
    told = json.loads(json.dumps(outcome().as_json()))
    assert told["held"] is False
    assert told["faults"][0]["recovery"] is None
    for kept, held, word in ((True, True, "Held"), (False, False, "Broken"), (None, False, "Undecided")):
        each = outcome(promises=[Promise("linearizable", kept, "")])
        assert (each.held, each.broken) == (held, kept is False)
        assert f"{word}: leader-churn" in report_html(each)


# -------------------------------------------------------------- runs

QUICK = ("--nodes", "3", "--clients", "8", "--rate", "200", "--election", "0.4-0.8")


def processes_of(folder: Path) -> list[str]:
    """What runs, of a run in `folder`."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = place.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command and "kvraft.scenarios" in command:
            found.append(command)
    return found


def test_a_sound_cluster_holds_and_leaves_nothing_behind(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "kvraft",
            "scenario",
            "leader-churn",
            "--seconds",
            "8",
            *QUICK,
            "--json",
            "-",
            "--report",
            str(tmp_path / "run.html"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environment(), "TMPDIR": str(tmp_path)},
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["held"]
    assert told["operations"] > 500
    assert [fault["fault"] for fault in told["faults"]] == ["kill"]
    assert told["faults"][0]["recovery"] is not None
    assert len({term for _, _, role, term in told["roles"] if role == "leader"}) > 1, "another one took over"
    assert "HELD: every promise was kept" in done.stderr
    assert "\x1b" not in done.stderr
    assert_loads_nothing((tmp_path / "run.html").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["run.html"]
    assert not processes_of(tmp_path)


@pytest.mark.parametrize(
    ("mistake", "broken"), [("forgets", {"linearizable", "no acknowledged write lost"}), ("stale", {"linearizable"})]
)
def test_a_broken_store_is_found_out(tmp_path, monkeypatch, mistake, broken, capsys):
    monkeypatch.setenv("BROKEN_NODE", mistake)
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    options = Options(
        nodes=3,
        seconds=8,
        clients=8,
        rate=300,
        keys=20,
        election=(0.4, 0.8),
        module="tests.harness.programs.broken_node",
    )
    outcome = run_scenario("partition-leader", options)
    found = {promise.name for promise in outcome.promises if not promise.kept}
    assert "linearizable" in found
    assert broken <= found
    assert not outcome.held
    said = capsys.readouterr().err
    assert "BROKEN: linearizable" in said
    assert f"data, logs and history.jsonl are in {outcome.folder}" in said
    assert (outcome.folder / "culprit.jsonl").exists()
    assert (outcome.folder / "node-0").is_dir()
    assert not processes_of(tmp_path)


def start_a_run(tmp_path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "kvraft", "scenario", "kill-minority", "--seconds", "60", *QUICK],
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "TMPDIR": str(tmp_path)},
        cwd=ROOT,
    )
    while "begins: SIGKILL" not in (line := process.stderr.readline()):
        assert line, "it has ended"
    assert len(processes_of(tmp_path)) >= 3
    return process


def test_a_run_that_is_ended_early_gives_the_verdict_of_what_ran(tmp_path):
    process = start_a_run(tmp_path)
    process.send_signal(signal.SIGTERM)  # Ctrl-C has the same handler
    said = process.stderr.read()
    assert process.wait(60) == 0, said
    process.stderr.close()
    assert "HELD" in said
    assert list(tmp_path.iterdir()) == []
    assert not processes_of(tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nodes that are stopped stay")
def test_a_run_that_is_killed_leaves_nothing_behind_either(tmp_path):
    process = start_a_run(tmp_path)
    process.kill()
    process.wait()
    process.stderr.close()
    deadline = time.monotonic() + 20
    while (processes_of(tmp_path) or list(tmp_path.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_of(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nodes_in_every_kind_of_trouble_come_back(tmp_path, monkeypatch):
    """Every fault once, one soon after the other."""
    plan = [
        Step(
            at=1.0 + number * 0.25, seconds=0.2, fault=fault, target="node", strength=0.1, draw=number, survivable=False
        )
        for number, fault in enumerate(FAULTS)
    ]
    options = Options(nodes=3, seconds=plan[-1].at + 2, clients=4, rate=100, election=(0.4, 0.8))
    run = Run(SCENARIOS["mixed"], options, tmp_path)
    run.plan = plan
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    outcome = run.run()
    assert outcome.held, outcome.promises
    assert {each.step.fault for each in outcome.happened} == set(FAULTS)
    assert not [note for note in outcome.notes if "failed" in note]
    assert not processes_of(tmp_path)
