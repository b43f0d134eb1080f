"""The services of kvraft on their clusters: what the judge sees of them, and the mistakes that graded tests catch."""

from __future__ import annotations

from pathlib import Path

import pytest

from labrpc.codec import decode_record
from labrpc.errors import CodeFault, UsageError
from labrpc.journal import Applied
from tester import mutants
from tester.graded import graded_test
from tester.mutants import Mutant
from tester.run import Options, Run
from tester.service_cluster import KVCluster, ReplicatedKVCluster, RSMCluster

ROOT = Path(__file__).parents[2]
MUTANTS = ROOT / "tests" / "mutants"


@pytest.fixture
def run(world):
    run = Run(7, Options(servers=world))
    yield run
    run.close()


def changed_rsm(tmp_path: Path, before: str, after: str) -> Path:
    """The reference with one change in kvraft/rsm.py."""
    Mutant("changed", "3B", "", "", "", "kvraft/rsm.py", before, after).plant(ROOT, tmp_path)
    return tmp_path


# ------------------------------------------------------------------ what the judge sees


IMPORT = "from raft import ApplyMsg, Raft\n"


@pytest.mark.parametrize(
    "imports", [IMPORT, "from raft.messages import ApplyMsg\nfrom raft.raft import Raft\n"], ids=["raft", "raft.raft"]
)
def test_what_a_service_is_given_to_apply_is_seen_however_it_imports_raft(tmp_path, imports):
    run = Run(3, Options(solution=changed_rsm(tmp_path, IMPORT, imports)))
    with RSMCluster(run, 3) as cluster:
        for _ in range(3):
            cluster.submit("inc")
        cluster.wait_for_counter(3, 3)
        assert [cluster.applied_by(index) for index in (1, 2, 3, 4)] == [3, 3, 3, 0]
        events = [event for event in cluster.journal if isinstance(event, Applied)]
        assert [decode_record(event.payload).command_index for event in events if event.host == "0"] == [1, 2, 3]


def test_a_raft_that_takes_more_arguments_is_seen_too(tmp_path):
    solution = changed_rsm(
        tmp_path, "Raft(peers, me, persister, self.apply_ch)", 'Raft(peers, me, persister, self.apply_ch, "x")'
    )
    source = (solution / "raft" / "raft.py").read_text()
    (solution / "raft" / "raft.py").write_text(
        source.replace("apply_ch: queue.Queue[Any]) -> None:", 'apply_ch: queue.Queue[Any], name: str = "") -> None:')
    )
    with RSMCluster(Run(3, Options(solution=solution)), 3) as cluster:
        cluster.submit("inc")
        assert cluster.applied_by(1) >= 1


def test_an_apply_ch_that_is_no_queue_is_refused(tmp_path):
    solution = changed_rsm(
        tmp_path, "self.apply_ch: queue.Queue[ApplyMsg] = queue.Queue(1)", "self.apply_ch = queue.SimpleQueue()"
    )
    expected = r"apply_ch must be a queue\.Queue, not SimpleQueue"
    with pytest.raises(CodeFault, match=expected), RSMCluster(Run(3, Options(solution=solution)), 1) as cluster:
        cluster.sleep(1)


def test_a_service_without_a_raft_is_told_so(tmp_path):
    solution = changed_rsm(tmp_path, "        self.raft = Raft(peers, me, persister, self.apply_ch)\n", "")
    run = Run(3, Options(solution=solution))
    with pytest.raises(CodeFault, match=r"the service has built no raft\.Raft"), RSMCluster(run, 1) as cluster:
        cluster.sleep(1)


def test_a_killed_replica_refuses_and_ends(run):
    with RSMCluster(run, 3) as cluster:
        leader, _ = cluster.submit("inc")
        cluster.shutdown(leader).assert_all_returned()
        assert cluster.server(leader).submit("inc") is None
        cluster.start(leader)
        assert cluster.submit("inc")[1] == 2


def test_a_dead_leaders_clients_find_the_new_one(run):
    with ReplicatedKVCluster(run, 3) as cluster:
        clerk = cluster.clerk()
        assert clerk.put("k", "one", 0) == "OK"
        cluster.crash(cluster.one_leader())
        assert clerk.put("k", "two", 1) == "OK"
        assert clerk.get("k") == ("two", 2, "OK")
        cluster.assert_linearizable()
        assert [operation.input.op for operation in cluster.clerks.history] == ["put", "put", "get"]


# ------------------------------------------------------------------ misuse of the handles


def test_a_client_does_one_thing_at_a_time(run):
    with KVCluster(run) as cluster:
        clerk = cluster.clerk()
        cluster.spawn(lambda: clerk.get("k"))
        with pytest.raises(UsageError, match="clerk c0 is in an operation"):
            cluster.spawn(lambda: clerk.get("k")).join()


def test_part_3a_has_one_server(run):
    with pytest.raises(UsageError, match="part 3A has 1 server, not 3"):
        KVCluster(run, servers=3)


def test_a_lock_that_is_not_held_cannot_be_set_free(run):
    with KVCluster(run) as cluster, pytest.raises(CodeFault, match=r"clerk 0: .*lock l is not held by this Lock"):
        cluster.clerk().lock("l").release()


def test_a_lock_that_is_held_cannot_be_taken_again(run):
    with KVCluster(run) as cluster:
        lock = cluster.clerk().lock("l")
        lock.acquire()
        lock.release()
        lock.acquire()
        with pytest.raises(CodeFault, match=r"clerk 0: .*lock l is held by this Lock"):
            lock.acquire()


def test_a_client_that_gets_no_answer_is_named(run):
    with KVCluster(run) as cluster:
        clerk = cluster.clerk()
        cluster.network.disconnect(0)
        with pytest.raises(CodeFault, match=r"clerk 0 did not answer get\(\) within 30 s"):
            clerk.get("k")


# ------------------------------------------------------------------ planted mistakes


@pytest.mark.parametrize(
    ("mutant", "test", "verdict"),
    [
        ("put-ignores-version", "test_reliable_put", "does nothing"),
        ("put-without-lock", "test_put_concurrent", "version"),
        ("never-maybe", "test_unreliable_put", "may have taken effect: MAYBE"),
        ("always-maybe", "test_reliable_put", "its only attempt was refused"),
        ("maybe-taken-for-ok", "test_linearizable", "no server answered OK"),
        ("no-resend", "test_unreliable_put", "no server answered VERSION"),
        ("lock-not-tested-after-maybe", "test_lock_many_clients_unreliable", "held"),
        ("lock-retakes-blindly", "test_lock_many_clients_unreliable", "did not answer acquire"),
        ("submit-without-check-of-id", "test_rsm_leader_partition", "a request was"),
        ("submit-waits-for-ever", "test_rsm_leader_partition", "did not answer submit"),
        ("submit-hangs-after-kill", "test_rsm_shutdown", "still runs"),
        ("reader-stops-after-kill", "test_rsm_restart_submit", "still runs"),
        ("answered-before-agreed", "test_rsm_basic", "the counter is"),
        ("snapshot-without-restore", "test_rsm_snapshot", "the counter is"),
        ("no-snapshots", "test_rsm_snapshot", "2000 are allowed"),
        ("get-from-own-state", "test_one_partition", "given an old state"),
        ("clerk-waits-for-a-dead-leader", "test_one_partition", "did not answer get"),
        ("applies-twice-after-failover", "test_concurrent", "put"),
        ("slow-submit", "test_speed", "ms on average"),
        ("snapshot-holds-history", "test_snapshot_size", "bytes of a store with one key"),
        ("snapshot-misses-versions", "test_snapshot_recover", "the key has version"),
        ("snapshot-from-leader-ignored", "test_snapshot_rpc", "has lost key"),
        ("lease-longer-than-an-election", "test_old_leader", "not linearizable"),
        ("submit-knows-its-entry-by-the-request", "test_rsm_leader_partition", "a request was taken for another"),
        ("snapshot-beside-the-applying", "test_rsm_snapshot", "increments"),
        ("empty-values-not-in-snapshot", "test_snapshot_rpc", "lost its value"),
        ("equal-put-is-ok", "test_basic", "had version 1 by then"),
        ("lock-without-pause", "test_lock_many_clients", "400 are allowed"),
        ("clerk-without-pause", "test_no_majority", "400 are allowed"),
    ],
)
def test_the_graded_tests_catch_it(tmp_path, mutant, test, verdict):
    solution = mutants.load(MUTANTS / f"{mutant}.toml").plant(ROOT, tmp_path)
    verdicts = [failure(test, Run(seed, Options(solution=solution, schedule="uniform"))) for seed in (1, 2, 3)]
    assert any(verdicts), "it passes under 3 seeds"
    assert [found for found in verdicts if found and verdict not in found] == []


def failure(test: str, run: Run) -> str:
    """What `test` fails with in `run`, "" if it passes."""
    error = graded_test(test).attempt(run)
    run.close()
    if error is not None and not isinstance(error, AssertionError):
        raise error
    return str(error or "")
