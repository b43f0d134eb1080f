"""The judge's rules: each catches what breaks it, by name and paper section, and nothing that a correct Raft may do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from labrpc.codec import Record, encode
from labrpc.errors import InvariantViolation
from labrpc.journal import Delivered, Dropped, Sent
from tester import mutants
from tester.graded import graded_test
from tester.invariants import RaftInvariants
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run

ROOT = Path(__file__).parents[2]


class Wire:
    """Hand-made messages in front of the rules; `saved` False is a probe that finds nothing durable."""

    now = 3_214_000_000

    def __init__(self, servers: int = 5, *, saved: bool = True, paper_only: bool = False) -> None:
        self.saved = saved
        self.count = 0
        self.rules = RaftInvariants(self, self, servers)  # type: ignore[arg-type]
        if not paper_only:  # most tests make leaders without the votes they need
            self.send(0, 1, "vote_in_another_way", "Ballot", term=1)

    def fail(self, error: BaseException) -> None:
        raise error

    def rival_that_wins(self, voter: int, candidate: int, args: Record) -> int | None:
        return None if self.saved else next(n for n in range(5) if n not in (voter, candidate))

    def send(
        self, source: int, target: int, method: str, kind: str, reply_to: int = 0, incarnation: int = 1, **fields: Any
    ) -> int:
        self.count += 1
        payload = encode(Record(kind, fields))
        self.rules.observe(
            Sent(self.now, self.count, reply_to, str(source), incarnation, str(target), f"Raft.{method}", payload)
        )
        return self.count

    def ask_vote(self, source: int, target: int, term: int, incarnation: int = 1, **more: Any) -> int:
        fields = {"term": term, "candidate_id": source, "last_log_index": 0, "last_log_term": 0, **more}
        return self.send(source, target, "request_vote", "RequestVoteArgs", 0, incarnation, **fields)

    def answer_vote(
        self, request: int, voter: int, candidate: int, term: int, granted: bool = True, incarnation: int = 1
    ) -> int:
        fields = {"term": term, "vote_granted": granted}
        return self.send(voter, candidate, "request_vote", "RequestVoteReply", request, incarnation, **fields)

    def append(self, source: int, target: int, term: int, incarnation: int = 1) -> int:
        return self.send(
            source, target, "append_entries", "AppendEntriesArgs", incarnation=incarnation, term=term, leader_id=source
        )


def test_two_votes_in_one_term_are_named_with_time_and_section():
    wire = Wire()
    first, second = wire.ask_vote(0, 2, 7), wire.ask_vote(4, 2, 7)
    wire.answer_vote(first, 2, 0, 7)
    with pytest.raises(InvariantViolation) as caught:
        wire.answer_vote(second, 2, 4, 7)
    assert str(caught.value) == "server 2 voted for 0 and for 4 in term 7 (§5.2: at most one vote per term) at 3.214 s"


def test_a_candidate_that_votes_for_another_has_voted_twice():
    wire = Wire()
    wire.ask_vote(2, 1, 7)
    request = wire.ask_vote(0, 2, 7)
    with pytest.raises(InvariantViolation, match="server 2 voted for 2 and for 0 in term 7"):
        wire.answer_vote(request, 2, 0, 7)


def test_two_leaders_of_one_term_are_named():
    wire = Wire()
    wire.append(0, 1, 3)
    with pytest.raises(
        InvariantViolation, match=r"servers 0 and 4 both lead term 3 \(§5.2: at most one leader per term\)"
    ):
        wire.append(4, 1, 3)


def test_a_restarted_server_below_a_term_it_had_sent_is_named():
    wire = Wire()
    wire.append(1, 0, 5, incarnation=1)
    with pytest.raises(InvariantViolation, match="server 1 came back from its crash in term 4, but had sent term 5"):
        wire.append(1, 0, 4, incarnation=2)


def test_a_vote_that_is_not_durable_when_answered_is_named():
    wire = Wire(saved=False)
    request = wire.ask_vote(0, 2, 7)
    with pytest.raises(InvariantViolation, match="server 2 answered before it had saved"):
        wire.answer_vote(request, 2, 0, 7)


def test_a_leader_that_has_not_saved_its_own_vote_is_named():
    wire = Wire(saved=False)
    wire.ask_vote(0, 1, 7)
    with pytest.raises(InvariantViolation, match="server 0 leads term 7 without having saved its vote for itself"):
        wire.append(0, 1, 7)


def test_a_leader_without_a_majority_is_named():
    wire = Wire(paper_only=True)
    wire.answer_vote(wire.ask_vote(0, 1, 7), 1, 0, 7)
    wire.answer_vote(wire.ask_vote(0, 2, 7), 2, 0, 7, granted=False)
    with pytest.raises(InvariantViolation, match=r"server 0 leads term 7 with 2 of 5 votes \(§5\.2"):
        wire.append(0, 1, 7)


def test_a_leader_that_asked_nobody_is_named():
    with pytest.raises(InvariantViolation, match=r"server 0 leads term 7 with 1 of 3 votes"):
        Wire(3, paper_only=True).append(0, 1, 7)


def test_a_leader_with_a_majority_of_votes_is_fine():
    wire = Wire(paper_only=True)
    for voter in (1, 2):
        wire.answer_vote(wire.ask_vote(0, voter, 7), voter, 0, 7)
    wire.append(0, 1, 7)


def repeated_answer(wire: Wire) -> None:
    for request in (wire.ask_vote(0, 2, 7), wire.ask_vote(0, 2, 7)):
        wire.answer_vote(request, 2, 0, 7)


def refusals(wire: Wire) -> None:
    first, second = wire.ask_vote(0, 2, 7), wire.ask_vote(4, 2, 7)
    wire.answer_vote(first, 2, 0, 7)
    wire.answer_vote(second, 2, 4, 7, granted=False)


def votes_in_different_terms(wire: Wire) -> None:
    for term, candidate in ((7, 0), (8, 4), (9, 1)):
        wire.answer_vote(wire.ask_vote(candidate, 2, term), 2, candidate, term)


def pre_votes(wire: Wire) -> None:
    wire.ask_vote(2, 1, 8, pre_vote=True)
    for candidate in (0, 4):
        wire.answer_vote(wire.ask_vote(candidate, 2, 8, pre_vote=True), 2, candidate, 8)


def late_messages_of_an_old_leader(wire: Wire) -> None:
    wire.append(0, 1, 3)
    wire.append(4, 1, 4)
    wire.append(0, 2, 3)


def terms_of_one_incarnation_out_of_order(wire: Wire) -> None:
    wire.append(0, 1, 5)
    wire.append(0, 2, 3)  # a thread that was stalled with an older message in hand


def a_restart_in_the_same_term(wire: Wire) -> None:
    wire.append(0, 1, 5)
    wire.ask_vote(0, 1, 6)
    wire.send(0, 1, "request_vote", "RequestVoteReply", 99, incarnation=2, term=6, vote_granted=False)


def messages_of_another_shape(wire: Wire) -> None:
    wire.send(0, 1, "request_vote", "Ballot", round=3)
    wire.send(0, 1, "append_entries", "Beat", term="seven")
    wire.send(0, 1, "request_vote", "RequestVoteArgs", term=3, candidate="zero")
    wire.rules.observe(Sent(0, 900, 0, "0", 1, "1", "Raft.append_entries", b"\xc1"))
    wire.rules.observe(Sent(0, 901, 0, "0", 1, "1", "KV.get", b""))


def lost_and_late_votes(wire: Wire) -> None:
    lost = wire.ask_vote(0, 2, 7)
    wire.rules.observe(Dropped(0, lost, "lost"))
    vote = wire.answer_vote(wire.ask_vote(0, 3, 7), 3, 0, 7)
    wire.rules.observe(Delivered(0, vote))


@pytest.mark.parametrize(
    "behaviour",
    [
        repeated_answer,
        refusals,
        votes_in_different_terms,
        pre_votes,
        late_messages_of_an_old_leader,
        terms_of_one_incarnation_out_of_order,
        a_restart_in_the_same_term,
        messages_of_another_shape,
        lost_and_late_votes,
    ],
    ids=lambda behaviour: behaviour.__name__,
)
def test_what_a_correct_raft_may_do_breaks_no_rule(behaviour):
    behaviour(Wire())


def test_a_leader_with_a_majority_besides_itself_needs_no_vote_of_its_own():
    wire = Wire(saved=True)
    votes = [wire.answer_vote(wire.ask_vote(0, voter, 7), voter, 0, 7) for voter in (1, 2, 3)]
    for vote in votes:
        wire.rules.observe(Delivered(0, vote))
    wire.saved = False
    wire.append(0, 1, 7)


# ------------------------------------------------------------------ the probe, on real servers


def variant(tmp_path: Path, before: str, after: str) -> Path:
    """The reference with `before` replaced."""
    mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, tmp_path)
    text = (ROOT / "raft" / "raft.py").read_text()
    assert before in text
    (tmp_path / "raft" / "raft.py").write_text(text.replace(before, after))
    return tmp_path


SAVE = "self.latest_save = self.persister.save_async(encode(state), snapshot)"


def elect(solution: Path | None, seed: int, servers: str = "threads") -> None:
    run = Run(seed, Options(solution=solution, servers=servers))
    try:
        cluster = RaftCluster(run, 5)
        for _ in range(2):
            leader = cluster.one_leader()
            cluster.crash(leader)
            cluster.one_leader()
            cluster.start(leader)
    finally:
        run.close()


def test_saving_synchronously_under_the_lock_is_as_good(tmp_path):
    solution = variant(tmp_path, SAVE, "self.persister.save(encode(state), snapshot)")
    for seed in range(10):
        elect(solution, seed)


def test_answering_while_the_disk_still_writes_is_caught(tmp_path):
    solution = variant(tmp_path, SAVE, "self.persister.save_async(encode(state), snapshot)")
    caught = []
    for seed in range(10):
        try:
            elect(solution, seed)
        except InvariantViolation as violation:
            caught.append(str(violation))
    assert len(caught) >= 3, "two of three seeds have a disk that takes time"
    assert [verdict for verdict in caught if "saved" not in verdict] == []


@pytest.mark.parametrize("seed", range(2))
def test_a_raft_that_never_saves_is_good_enough_until_part_2c(tmp_path, seed):
    solution = variant(tmp_path, SAVE, "pass")

    def attempt(test: str) -> Exception | None:
        run = Run(seed, Options(solution=solution))
        try:
            return graded_test(test).attempt(run)
        finally:
            run.close()

    for test in ("test_re_election", "test_many_elections", "test_basic_agree", "test_rejoin"):
        assert attempt(test) is None
    for test in ("test_persist_basic", "test_persist_more", "test_persist_partitioned_leader"):
        assert isinstance(attempt(test), InvariantViolation)


@pytest.mark.parametrize(
    ("mutant", "expected"),
    [
        ("double-vote", "at most one vote per term"),
        ("vote-not-saved", "answered before it had saved"),
        ("candidacy-not-saved", "without having saved its vote for itself"),
        ("leader-by-plurality", "by the votes of a majority"),
    ],
)
def test_mutants_are_caught_by_name(tmp_path, world, mutant, expected):
    solution = mutants.load(ROOT / "tests" / "mutants" / f"{mutant}.toml").plant(ROOT, tmp_path)
    verdicts = set()
    for seed in range(6):
        run = Run(seed, Options(solution=solution, servers=world))
        try:
            cluster = RaftCluster(run, 5 if mutant != "leader-by-plurality" else 4)
            for _ in range(6):
                cut = cluster.random.sample(list(range(cluster.n)), 2)
                for server in cut:
                    cluster.network.disconnect(server)
                cluster.sleep(1)
                for server in cut:
                    cluster.network.connect(server)
                cluster.one_leader()
        except AssertionError as error:
            verdicts.add(str(error))
        finally:
            run.close()
    assert any(expected in verdict for verdict in verdicts), verdicts


def test_probing_leaves_no_trace_in_the_run(monkeypatch):
    def journal_hash() -> str:
        run = Run(5)
        cluster = RaftCluster(run, 3)
        cluster.one_leader()
        run.close()
        return run.journal_hash

    with_probe = journal_hash()
    monkeypatch.setattr("tester.probe.DurabilityProbe.rival_that_wins", lambda *_: None)
    assert journal_hash() == with_probe


# ------------------------------------------------------------------ candidates that ask before they have saved


def test_a_candidacy_lost_in_a_crash_may_be_followed_by_a_vote_for_another():
    wire = Wire()
    wire.ask_vote(2, 1, 7)
    request = wire.ask_vote(0, 2, 7)
    wire.answer_vote(request, 2, 0, 7, incarnation=2)


def test_a_candidacy_that_a_crash_took_back_leaves_the_server_in_its_old_term():
    wire = Wire()
    wire.ask_vote(2, 1, 7)
    wire.append(2, 1, 6, incarnation=2)


def test_a_leader_that_comes_back_and_votes_for_another_in_its_term_has_voted_twice():
    wire = Wire()
    wire.ask_vote(2, 1, 7)
    wire.append(2, 1, 7)
    request = wire.ask_vote(0, 2, 7)
    with pytest.raises(InvariantViolation, match="server 2 voted for 2 and for 0 in term 7"):
        wire.answer_vote(request, 2, 0, 7, incarnation=2)


def test_who_has_voted_for_another_does_not_stand_in_that_term_after_a_crash():
    wire = Wire()
    request = wire.ask_vote(0, 2, 7)
    wire.answer_vote(request, 2, 0, 7)
    with pytest.raises(InvariantViolation, match="server 2 voted for 0 and for 2 in term 7"):
        wire.ask_vote(2, 1, 7, incarnation=2)


def test_a_server_that_asks_for_votes_in_a_term_below_the_one_it_answered_in_has_gone_back():
    wire = Wire()
    request = wire.ask_vote(0, 2, 7)
    wire.answer_vote(request, 2, 0, 7)
    with pytest.raises(InvariantViolation, match="server 2 came back from its crash in term 6, but had sent term 7"):
        wire.ask_vote(2, 1, 6, incarnation=2)
