"""Shrinking: the search, what a run records, what is left out of it, and a shrunk run as a student meets it."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labrpc.errors import InvariantViolation, UsageError
from labrpc.ledger import Decision, Ledger
from labrpc.network import Network
from labrpc.streams import Streams
from tester import mutants
from tester.graded import graded_test
from tester.likeness import likeness
from tester.raft_cluster import RaftCluster
from tester.run import Options, Plan, Run
from tester.shrink import Budget, Shrinker, parse_budget
from tester.shrunk import ShrunkRun
from tester.story import origin_of, tell, tell_how_many

ROOT = Path(__file__).parents[2]
LABS = ROOT / "tests" / "labs"

CALM = settings(deadline=None, max_examples=40)

# ------------------------------------------------------------------ the search

items = st.lists(st.integers(0, 400), min_size=1, max_size=60, unique=True)
LEVELS = (lambda item: item % 3, lambda item: item % 12)


@given(items, st.data())
@settings(CALM)
def test_what_the_failure_needs_is_found_exactly(items: list[int], data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.sampled_from(items)))
    shrinker = Shrinker(items, needed.issubset, levels=LEVELS)
    assert shrinker.shrink() == [item for item in items if item in needed]
    assert shrinker.is_complete


@given(items, st.integers(0, 2**32), st.integers(1, 10))
@settings(CALM)
def test_whatever_the_failure_does_no_single_item_is_left_too_many(items: list[int], salt: int, share: int) -> None:
    def fails(kept: frozenset[int]) -> bool:  # chaotic, as runs are
        return len(kept) == len(items) or hash((salt, *sorted(kept))) % 10 < share

    shrinker = Shrinker(items, fails, levels=LEVELS)
    left = shrinker.shrink()
    assert fails(frozenset(left))
    assert not any(fails(frozenset(left) - {item}) for item in left)


@given(items, st.integers(0, 2**32), st.integers(1, 40))
@settings(CALM)
def test_a_budget_of_runs_is_kept_no_set_is_tried_twice_and_the_best_is_returned(
    items: list[int], salt: int, runs: int
) -> None:
    def search() -> tuple[list[frozenset[int]], list[int], list[frozenset[int]]]:
        tried, failed = [], [frozenset(items)]

        def fails(kept: frozenset[int]) -> bool:
            tried.append(kept)
            if hash((salt, *sorted(kept))) % 3 == 0:
                failed.append(kept)
            return failed[-1] is kept

        return tried, Shrinker(items, fails, levels=LEVELS, budget=Budget(runs=runs)).shrink(), failed

    tried, left, failed = search()
    assert len(tried) <= runs
    assert len(set(tried)) == len(tried)
    assert frozenset(left) == min(failed, key=len)
    assert search()[:2] == (tried, left), "the same search twice is the same"


@given(items, st.integers(1, 20))
@settings(CALM)
def test_a_budget_of_seconds_is_kept(items: list[int], seconds: int) -> None:
    now = 0

    def fails(kept: frozenset[int]) -> bool:
        nonlocal now
        now += 1
        return False

    Shrinker(items, fails, budget=Budget(seconds=seconds, clock=lambda: now)).shrink()
    assert now <= seconds


def test_what_had_no_effect_is_left_out_without_a_try() -> None:
    tried = []

    def fails(kept: frozenset[int]) -> bool:
        tried.append(kept)
        return 7 in kept

    shrinker = Shrinker(range(1000), fails, in_effect=lambda: [7])
    assert shrinker.shrink() == [7]
    assert len(tried) < 50


def test_whole_groups_go_before_single_items() -> None:
    shrinker = Shrinker(range(4096), lambda kept: {17, 18} <= kept, levels=[lambda item: item // 64])
    assert shrinker.shrink() == [17, 18]
    assert shrinker.runs < 150


def test_items_must_differ() -> None:
    with pytest.raises(UsageError, match="3 items to shrink, only 2 of them different"):
        Shrinker([1, 2, 1], lambda kept: True)


@pytest.mark.parametrize(
    ("text", "seconds", "runs"),
    [("60s", 60, 10_000), ("2m", 120, 10_000), ("1.5", 1.5, 10_000), ("200runs", float("inf"), 200)],
)
def test_a_budget_is_read(text: str, seconds: float, runs: int) -> None:
    budget = parse_budget(text)
    assert (budget.seconds, budget.runs) == (seconds, runs)


@pytest.mark.parametrize("text", ["", "x", "-1s", "0s", "0runs", "1.5runs", "1h"])
def test_a_budget_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a budget of"):
        parse_budget(text)


# ------------------------------------------------------------------ the same failure


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("server 1 voted for 6 and for 0 in term 2", "server 3 voted for 1 and for 2 in term 9 at 7.1 s", False),
        ("server 1 voted for 6 and for 0 at 0.8 s", "server 3 voted for 1 and for 2 at 7.1 s", True),
        ("server 1 voted for 6 and for 0 at 0.8 s", "server 1 voted for 1 and for 0 at 0.8 s", False),
        ("two lead (§5.2: at most one)", "two lead (§5.3: at most one)", False),
        ("thread t died at raft/raft.py:21", "thread t died at raft/raft.py:22", False),
        ("put('k', version 3) returned OK", "put('kk', version 14) returned OK", True),
        ("no leader among servers 0 and 1 yet", "no leader among servers 0 and 1 and 4 yet", True),
        ("the history is not linearizable: x", "the history is not linearizable: y", True),
        ("started 1, applied [1, 2]", "started 2, applied [3]", True),
    ],
)  # fmt: skip
def test_failures_are_the_same_whatever_the_numbers_and_not_whoever_plays_which_part(one, other, alike):
    assert (likeness(InvariantViolation(one)) == likeness(InvariantViolation(other))) is alike
    assert likeness(AssertionError(one)) != likeness(InvariantViolation(one))


# ------------------------------------------------------------------ recording, leaving out


def live(run: Run) -> RaftCluster:
    """Some seconds of a cluster with every kind of trouble."""
    cluster = RaftCluster(run, 3, reliable=False)
    network = cluster.network
    for number in range(6):
        network.long_reordering = number % 2 == 1
        cluster.server(number % 3).start(number)
        network.disconnect(number % 3)
        network.cut(0, 1)
        network.duplicate(300)
        cluster.sleep(0.3)
        cluster.crash((number + 1) % 3, before_effect=number % 3)
        cluster.sleep(0.2)
        if cluster.server((number + 1) % 3).is_up:
            cluster.crash((number + 1) % 3)
        network.heal()
        cluster.start((number + 1) % 3)
        cluster.sleep(0.4)
    return cluster


def lived(seed: int, plan: Plan, servers: str = "threads") -> tuple[str, list[Decision]]:
    run = Run(seed, Options(servers=servers), plan=plan)
    try:
        live(run)
        return run.journal_hash, run.decisions
    finally:
        run.close()


def values(decisions: list[Decision]) -> dict[tuple[str, int], int]:
    return {(decision.stream, decision.number): decision.value for decision in decisions}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_run_is_its_recorded_decisions_and_all_else_calm(seed):
    plain, none = lived(seed, Plan())
    recorded, decisions = lived(seed, Plan(recorded=True))
    assert none == []
    assert recorded == plain, "recording changes nothing"
    kinds = {origin_of(decision.stream).kind for decision in decisions}
    assert {"disconnect", "cut", "crash", "start", "unreliable", "jitter", "delay", "drop", "notice"} <= kinds
    again, same = lived(seed, Plan(values(decisions), calm=True, recorded=True))
    assert again == plain
    assert values(same) == values(decisions)


def test_a_stall_is_found_again_though_steps_of_its_thread_were_not_booked_when_it_blocked(tmp_path):
    """Steps that are booked after a thread has blocked are none of what it does next."""
    options = Options(solution=planted("applies-on-many-threads", tmp_path))

    def attempt(plan: Plan) -> tuple[str, str, list[Decision]]:
        run = Run(37, options, plan=plan)
        try:
            error = graded_test("test_unreliable_agree").attempt(run)
            return str(error), run.journal_hash, run.decisions
        finally:
            run.close()

    verdict, journal_hash, decisions = attempt(Plan(recorded=True))
    assert "applied index" in verdict
    assert attempt(Plan(values(decisions), calm=True))[:2] == (verdict, journal_hash)


def test_a_part_of_a_run_is_the_same_run_in_both_worlds():
    _, decisions = lived(2, Plan(recorded=True))
    part = Plan(values(decisions[::3]), calm=True)
    assert lived(2, part)[0] == lived(2, part, "processes")[0]


def test_hosts_in_processes_are_not_recorded():
    with pytest.raises(UsageError, match="recorded with --servers threads"):
        lived(1, Plan(recorded=True), "processes")


def test_nothing_is_recorded_of_a_calm_run():
    _, decisions = lived(1, Plan(calm=True, recorded=True))
    assert decisions == []


FAULTS = {
    "disconnect": lambda network: network.disconnect(0),
    "cut": lambda network: network.cut(0, 1),
    "partition": lambda network: network.partition([0], [1]),
    "unreliable": lambda network: setattr(network, "reliable", False),
    "long reordering": lambda network: setattr(network, "long_reordering", True),
    "long delays": lambda network: setattr(network, "long_delays", True),
    "duplication": lambda network: network.duplicate(1000),
    "pause": lambda network: network.pause(0),
    "clock": lambda network: network.set_clock(0, drift=0.1),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_left_out_fault_does_not_happen_and_the_next_does(kind):
    ledger = Ledger()
    network = Network(Streams(1, {(f"event/{kind}", 0): 0}, ledger=ledger))
    told: list[str] = []
    network.listeners.append(lambda kind, detail: told.append(kind))
    FAULTS[kind](network)
    assert told == []
    assert network.is_open("0", "1")
    assert network.reliable
    assert not network.long_reordering
    assert not network.long_delays
    FAULTS[kind](network)
    assert told == [kind]
    assert [(decision.stream, decision.number) for decision in ledger] == [(f"event/{kind}", 1)]


def test_a_left_out_crash_takes_the_start_after_it_with_it():
    run = Run(1, plan=Plan({("event/crash", 0): 0}))
    try:
        cluster = RaftCluster(run, 3)
        cluster.sleep(0.1)
        cluster.crash(0)
        assert cluster.server(0).is_up
        cluster.start(0)
        with pytest.raises(UsageError, match="is running"):
            cluster.start(0)
        cluster.crash(0)
        assert not cluster.server(0).is_up
        cluster.start(0)
        assert cluster.server(0).is_up
    finally:
        run.close()


def test_a_left_out_start_is_one_of_a_server_that_is_down_and_what_is_demanded_stays():
    run = Run(1, plan=Plan(calm=True))
    try:
        cluster = RaftCluster(run, 3)
        leader = cluster.one_leader()
        assert cluster.server(leader).start("left out") is None
        assert cluster.one("demanded", 3) == 1
    finally:
        run.close()


# ------------------------------------------------------------------ the story


def test_decisions_are_told_in_sentences_with_their_times():
    decisions = [
        Decision("event/disconnect", 0, 1, 485_000_000, "0"),
        Decision("event/crash", 0, 1, 300_000_000, "2 before effect 3"),
        Decision("host/1/1/stall/Raft.append#4.0", 31, 3_100_000, 902_000_000, "Raft.append at raft/raft.py:2"),
        Decision("cluster-1/event/start", 7, 1, 1_000_000_000, "4 'x'"),
        Decision("crash/1/survive", 1, 2, 2_000_000_000, ""),
        Decision("host/1/1/stall/Raft.append#4.0", 40, 1, 3_000_000_000, "Raft.append at raft/raft.py:2"),
        Decision("host/1/1/turn/ticker#0.2", 1, 2, 4_000_000_000, "ticker\nRaft.append\nworker"),
        Decision("host/1/1/disk/latency", 1, 2_000_000, 5_000_000_000, ""),
        Decision("host/1/1/disk/sync", 1, 2_000_000, 6_000_000_000, ""),
    ]  # fmt: skip
    assert [(sentence.at / 1e9, sentence.text) for sentence in tell(decisions, [[], []])] == [
        (0.3, "server 2 crashes in place of the effect that is number 3 from now"),
        (0.485, "the test cuts off server 0"),
        (0.902, 'server 1\'s thread "Raft.append" is stalled for 3.1 ms at raft/raft.py:2'),
        (1.0, "the test gives server 4 command 'x'"),
        (2.0, "server 1 crashes, and of its saves that were pending 2 survive"),
        (3.0, 'server 1\'s thread "Raft.append" gives way to one of higher priority at raft/raft.py:2'),
        (4.0, 'server 1\'s thread "ticker" goes ahead of "Raft.append", "worker"'),
        (5.0, "an asynchronous save of server 1 takes 2 ms"),
        (6.0, "a synchronous save of server 1 takes 2 ms"),
    ]
    assert tell_how_many(decisions * 3, decisions) == "2 faults, 1 command and 6 decisions of 27 remain"
    assert tell_how_many(decisions, decisions[:1]) == "1 fault of 9 remains"
    assert tell_how_many(decisions, []) == "nothing of 9 remains: the run fails though all is calm"


def test_what_befell_a_message_is_told_with_its_number_and_name():
    run = Run(2, plan=Plan(recorded=True))
    try:
        cluster = live(run)
        texts = [sentence.text for sentence in tell(run.decisions, [cluster.journal])]
    finally:
        run.close()
    patterns = (
        r"message \d+, server \d's vote request to server \d, takes [\d.]+ (ms|µs) longer",
        r"message \d+, server \d's answer to server \d's (heartbeat|append of \d+), ",
        r"server \d learns [\d.]+ ms later that nothing comes of message \d+, server \d's heartbeat to server \d",
    )
    for pattern in patterns:
        assert any(re.fullmatch(f"{pattern}.*", text) for text in texts), pattern
    assert not any("decision" in text for text in texts), "every kind has its sentence"


# ------------------------------------------------------------------ the file

GOOD = {"format": "raftlab-shrunk", "version": 1, "test": "t", "seed": 3, "decisions": [["net/latency", 0, 7]]}


def test_a_shrunk_run_is_written_and_read(tmp_path):
    run = ShrunkRun("test_x", 7, {("event/cut", 2): 1, ("net/0->1/drop", 5): 999}, of=312, schedule="pct")
    run.save(tmp_path / "a" / "b.json")
    assert ShrunkRun.load(tmp_path / "a" / "b.json") == run
    assert json.loads((tmp_path / "a" / "b.json").read_text())["version"] == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "is not JSON"),
        ("[]", 'its "format" must be "raftlab-shrunk"'),
        (json.dumps({**GOOD, "version": 2}), "its version is 2; this raftlab reads version 1"),
        (json.dumps({**GOOD, "extra": 2}), "look at extra"),
        (json.dumps({**GOOD, "seed": -1}), "seed is -1, not a number of 0 or more"),
        (json.dumps({**GOOD, "seed": True}), "seed is True"),
        (json.dumps({**GOOD, "test": 4}), "test is 4, not a test's name"),
        (json.dumps({**GOOD, "schedule": "x"}), "schedule is 'x', not one of mix, uniform, swarm, pct, none"),
        (json.dumps({**GOOD, "decisions": 4}), "decisions is 4, not a list"),
        (json.dumps({**GOOD, "decisions": [["a", 0, 1], ["a", 0]]}), r"decision 1 is \['a', 0\], not a stream"),
        (json.dumps({**GOOD, "decisions": [["a", 0, 1.5]]}), "decision 0 is"),
    ],
)
def test_a_malformed_file_is_refused_and_what_is_wrong_is_said(tmp_path, content, expected):
    file = tmp_path / "shrunk.json"
    file.write_text(content)
    with pytest.raises(UsageError, match=f"--shrunk {re.escape(str(file))}.*{expected}"):
        ShrunkRun.load(file)


# ------------------------------------------------------------------ as a student meets it


def planted(name: str, folder: Path) -> Path:
    return mutants.load(ROOT / "tests" / "mutants" / f"{name}.toml").plant(ROOT, folder / name)


@pytest.mark.parametrize(
    ("mutant", "test", "seed", "schedule", "most", "times"),
    [
        ("double-vote", "test_2a_election.py::test_many_elections", "0", "mix", 3, 1),
        ("append-not-saved", "test_2c_persistence.py::test_persist_basic", "1", "mix", 3, 2),
        ("double-vote", "test_2a_election.py::test_many_elections", "0", "pct", 4, 1),
        ("double-vote", "test_2a_election.py::test_many_elections", "0", "swarm", 4, 1),
    ],
    ids=["double-vote", "append-not-saved", "under pct", "under swarm"],
)
def test_a_failing_run_gets_small_and_replays(
    run_pytest, tmp_path, pytester, mutant, test, seed, schedule, most, times
):
    solution = planted(mutant, tmp_path)
    command = ["--seed", seed, "--solution", str(solution), "--schedule", schedule]
    found = [
        run_pytest(*command, "--shrink", "--shrink-budget", "300runs", tests=str(LABS / test)) for _ in range(times)
    ]
    texts = [result.stdout.str() for result in found]
    assert {result.ret for result in found} == {1}
    hashes = [re.search(r"hash (\w+)", text)[1] for text in texts]
    assert len(set(hashes)) == 1, "the same search finds the same run"
    assert re.search(r"shrunk  in \d+ runs? and [\d.]+ s\n", texts[0])
    assert re.search(r"of \d+ remains?:", texts[0])
    assert "shrinking" not in found[0].stderr.str(), "no progress where no terminal is"

    name = test.rpartition("::")[2]
    file = pytester.path / ".raftlab" / "shrunk" / f"{name}-{seed}.json"
    assert len(ShrunkRun.load(file).decisions) <= most

    replay = shlex.split(re.search(r"replay  pytest (.+)", texts[0])[1])
    assert "--solution" in replay
    named = [] if schedule == "mix" else ["--schedule", schedule]
    assert replay[-2 - len(named) :] == [*named, "--shrunk", f".raftlab/shrunk/{name}-{seed}.json"]
    assert ShrunkRun.load(file).schedule == schedule
    again = run_pytest(*replay, tests=None).stdout.str()
    assert re.search(r"hash (\w+)", again)[1] == hashes[0]
    verdict = texts[0].partition("___\n")[2].partition("\n")[0]
    assert verdict in again


def test_a_test_s_own_claim_is_not_shrunk_into_one_that_a_correct_raft_breaks(run_pytest, tmp_path):
    """Without the cuts, what is started is applied: the assertion would accuse anybody."""
    (tmp_path / "test_claim.py").write_text(
        "def test_claim(raft_cluster):\n"
        "    cluster = raft_cluster(servers=3)\n"
        "    leader = cluster.one_leader()\n"
        "    cluster.disconnect((leader + 1) % 3)\n"
        "    cluster.server(leader).start(7)\n"
        "    cluster.sleep(1)\n"
        "    assert cluster.applied_by(1) == 0, 'applied'\n"
    )
    result = run_pytest("--seed", "1", "--shrink", tests=str(tmp_path / "test_claim.py"))
    assert re.search(r"1 fault and 1 command of \d+ remain:", result.stdout.str())


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--shrink", "--shrink-budget", "soon"], "a budget of soon makes no sense; write it as 60s, 2m or 200runs"),
        (["--shrunk", "nowhere.json"], "--shrunk nowhere.json: No such file"),
        (["--shrunk", "GOOD", "--seed", "4"], "is of seed 3, not 4; leave --seed out"),
        (["--shrunk", "GOOD", "--runs", "4"], "does not go with --runs 4"),
    ],
    ids=["budget", "no-file", "seed", "runs"],
)
def test_bad_options_are_refused_in_one_line(run_pytest, pytester, arguments, expected):
    (pytester.path / "GOOD").write_text(json.dumps(GOOD))
    result = run_pytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert expected in result.stderr.str()


def test_a_shrunk_run_is_of_one_test(run_pytest, pytester):
    (pytester.path / "GOOD").write_text(json.dumps(GOOD))
    result = run_pytest("--shrunk", "GOOD", "-k", "re_election")
    assert "--shrunk GOOD is a run of t, not of test_re_election" in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["test_initial_election", "--seed", "1"], "test_initial_election passes under seed 1: there is nothing to"),
        (["test_nothing", "--seed", "1"], "there is no graded test test_nothing"),
        (["nowhere.py::test_x", "--seed", "1"], "nowhere.py is no file"),
        (["test_re_election", "--seed", "x"], "--seed x is not a number"),
        (["test_re_election", "--seed", "1", "--budget", "x"], "a budget of x makes no sense"),
    ],
    ids=["passes", "no-test", "no-file", "seed", "budget"],
)
def test_the_command_says_what_it_cannot_shrink(pytester, arguments, expected):
    result = pytester.run(sys.executable, "-m", "tester", "shrink", *arguments)
    assert result.ret == 2
    assert expected in result.stderr.str()
