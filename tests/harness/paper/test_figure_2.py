"""Figure 2, the boxes State, AppendEntries RPC and RequestVote RPC: one test a rule, on one real server."""

from __future__ import annotations

import pytest

from raft import AppendEntriesReply, RequestVoteArgs, RequestVoteReply
from tests.harness.paper.lone_server import Bench, commands, entries, heartbeat

# ------------------------------------------------------------------ State


def test_a_new_server_is_a_follower_in_term_0_with_an_empty_log(bench: Bench) -> None:
    """Fig. 2, State: the term starts at 0, the log empty; §5.2: servers start up as followers."""
    server = bench()
    assert server.state() == (0, False)
    server.stand()
    assert server.calls[0].args == RequestVoteArgs(term=1, candidate_id=0, last_log_index=0, last_log_term=0)


def test_the_term_survives_a_restart(bench: Bench) -> None:
    """Fig. 2, State: currentTerm is persistent."""
    server = bench()
    server.vote_for(1, 7, last=(0, 0))
    server.crash()
    server.restart()
    assert server.state() == (7, False)
    assert server.ask(heartbeat(6)) == AppendEntriesReply(7, False)


def test_a_vote_survives_a_restart(bench: Bench) -> None:
    """Fig. 2, State: votedFor is persistent; else two candidates of one term could get this server's vote."""
    server = bench()
    assert server.vote_for(1, 7).vote_granted
    server.crash()
    server.restart()
    assert server.vote_for(2, 7) == RequestVoteReply(7, False)
    assert server.vote_for(1, 7) == RequestVoteReply(7, True)


def test_the_vote_of_a_candidate_for_itself_survives_a_restart(bench: Bench) -> None:
    """Fig. 2, State: votedFor is persistent; the vote in it may be the server's own."""
    server = bench()
    term = server.stand()
    server.crash()
    server.restart()
    assert server.state() == (term, False)
    assert not server.vote_for(2, term).vote_granted


def test_the_log_survives_a_restart(bench: Bench) -> None:
    """Fig. 2, State: log[] is persistent, the commands and the terms of its entries."""
    server = bench()
    server.hold(1, 1, 3)
    server.crash()
    server.restart()
    assert server.log() == entries(1, 1, 3)


def test_a_shortened_log_survives_a_restart(bench: Bench) -> None:
    """Fig. 2, State: log[] is persistent, also when a conflict has made it shorter."""
    server = bench()
    server.hold(1, 2, 2, 2)
    assert server.ask(heartbeat(3, (1, 1), sent=entries(3, first=2))).success
    server.crash()
    server.restart()
    assert server.log_terms() == [1, 3]


def test_the_commit_index_is_volatile(bench: Bench) -> None:
    """Fig. 2, State: commitIndex and lastApplied start at 0; the next leader tells how far the log is committed."""
    server = bench()
    server.hold(1, 1, 1, commit=3)
    server.crash()
    server.restart()
    server.advance(0.2)
    assert server.applied == []
    server.ask(heartbeat(1, (3, 1), commit=2))
    server.advance(0.1)
    assert commands(server.applied) == [(1, "1@1"), (2, "2@1")]


def test_a_new_leader_takes_it_that_all_logs_are_as_long_as_its_own(bench: Bench) -> None:
    """Fig. 2, State: nextIndex starts at the leader's last log index + 1."""
    server = bench()
    server.hold(1, 1, 2)
    term = server.lead()
    for peer in server.peers:
        assert server.next_call(peer).args == heartbeat(term, (3, 2), leader=0)


def test_a_new_leader_takes_it_that_nobody_has_anything(bench: Bench) -> None:
    """Fig. 2, State: matchIndex starts at 0 in each term; what a peer had in an earlier one does not count."""
    server = bench(servers=3)
    server.lead()
    server.start("x")
    server.accept(server.next_call(1))
    server.accept(server.next_call(1))
    server.advance(0.01)
    assert commands(server.applied) == [(1, "x")]
    term = server.lead(5)
    server.start("y")
    server.advance(0.01)
    assert commands(server.applied) == [(1, "x")]
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    call = server.next_call(1)
    assert (call.args.prev_log_index, call.args.entries[0].command) == (0, "x")


# ------------------------------------------------------------------ AppendEntries RPC, receiver


@pytest.mark.parametrize("sent", [[], entries(1)], ids=["heartbeat", "entries"])
def test_entries_of_an_older_term_are_refused(bench: Bench, sent: list) -> None:
    """Fig. 2, AppendEntries receiver 1; §5.1: the reply has the newer term, and nothing changes."""
    server = bench()
    server.vote_for(2, 4)
    assert server.ask(heartbeat(3, sent=sent, commit=1)) == AppendEntriesReply(4, False)
    server.advance(0.1)
    assert (server.log(), server.applied) == ([], [])


def test_entries_are_refused_by_a_log_that_is_too_short(bench: Bench) -> None:
    """Fig. 2, AppendEntries receiver 2; §5.3: the hint says where the log ends."""
    server = bench()
    server.hold(1, 1)
    reply = server.ask(heartbeat(2, (5, 2), sent=entries(2, first=6)))
    assert reply == AppendEntriesReply(2, False, conflict_term=0, conflict_index=3)
    assert server.log_terms() == [1, 1]


def test_entries_are_refused_where_the_terms_before_them_differ(bench: Bench) -> None:
    """Fig. 2, AppendEntries receiver 2; §5.3: the hint is the conflicting term and where it begins."""
    server = bench()
    server.hold(1, 2, 2, 2)
    reply = server.ask(heartbeat(3, (4, 3), sent=entries(3, first=5)))
    assert reply == AppendEntriesReply(3, False, conflict_term=2, conflict_index=2)
    assert server.log_terms() == [1, 2, 2, 2]


@pytest.mark.parametrize("prev", [(6, 1), (2, 2)], ids=["too short", "other term"])
def test_a_heartbeat_is_refused_like_any_message_that_does_not_fit(bench: Bench, prev: tuple[int, int]) -> None:
    """Fig. 2, AppendEntries receiver 2: a heartbeat is no exception. Nothing is committed on its word."""
    server = bench()
    server.hold(1, 1)
    reply = server.ask(heartbeat(2, prev, commit=2))
    assert (reply.term, reply.success) == (2, False)
    server.advance(0.1)
    assert server.applied == []


def test_a_conflicting_entry_is_removed_with_all_that_follow_it(bench: Bench) -> None:
    """Fig. 2, AppendEntries receiver 3: even those of the tail that the message does not replace."""
    server = bench()
    server.hold(1, 2, 2, 2, 2)
    assert server.ask(heartbeat(3, (1, 1), sent=entries(2, 3, first=2))).success
    assert server.log() == entries(1, 2, 3)


@pytest.mark.parametrize(
    ("prev", "sent"),
    [((1, 1), entries(1, first=2)), ((0, 0), entries(1, 1)), ((1, 1), [])],
    ids=["one entry", "from the start", "heartbeat"],
)
def test_a_delayed_shorter_message_removes_nothing(bench: Bench, prev: tuple[int, int], sent: list) -> None:
    """Fig. 2, AppendEntries receiver 3: only a conflict cuts the log. The leader may count on what follows."""
    server = bench()
    server.hold(1, 1, 1, 1)
    assert server.ask(heartbeat(1, prev, sent=sent)).success
    assert server.log() == entries(1, 1, 1, 1)


def test_entries_that_are_new_are_appended(bench: Bench) -> None:
    """Fig. 2, AppendEntries receiver 4: what is there stays, what is missing comes behind it."""
    server = bench()
    server.hold(1, 1)
    assert server.ask(heartbeat(2, (1, 1), sent=entries(1, 2, 2, first=2))).success
    assert server.log() == entries(1, 1, 2, 2)


def test_a_message_that_comes_twice_changes_nothing_the_second_time(bench: Bench) -> None:
    """Fig. 2, AppendEntries receiver 3 and 4; §5.5: RPCs are idempotent."""
    server = bench()
    message = heartbeat(1, sent=entries(1, 1), commit=1)
    first, second = server.ask(message), server.ask(message)
    assert first == second == AppendEntriesReply(1, True)
    server.advance(0.1)
    assert server.log() == entries(1, 1)
    assert commands(server.applied) == [(1, "1@1")]


@pytest.mark.parametrize(
    ("leader_commit", "applied"), [(0, 0), (1, 1), (3, 3), (9, 3)], ids=["none", "first", "all", "beyond"]
)
def test_the_commit_index_is_the_lesser_of_leader_commit_and_the_last_new_entry(
    bench: Bench, leader_commit: int, applied: int
) -> None:
    """Fig. 2, AppendEntries receiver 5."""
    server = bench()
    server.ask(heartbeat(1, sent=entries(1, 1, 1), commit=leader_commit))
    server.advance(0.1)
    assert len(server.applied) == applied


def test_nothing_is_committed_beyond_what_the_message_has_checked(bench: Bench) -> None:
    """Fig. 2, AppendEntries receiver 5: the last *new* entry bounds it; the tail may be an old leader's."""
    server = bench()
    server.hold(1, 2, 2)
    server.ask(heartbeat(3, (1, 1), commit=3))
    server.advance(0.1)
    assert commands(server.applied) == [(1, "1@1")]


def test_the_commit_index_never_falls(bench: Bench) -> None:
    """Fig. 2, AppendEntries receiver 5: only a higher leaderCommit counts; a delayed one does no harm."""
    server = bench()
    server.hold(1, 1, 1, commit=3)
    server.ask(heartbeat(1, (3, 1), commit=1))
    server.ask(heartbeat(1, (3, 1), sent=entries(1, first=4), commit=4))
    server.advance(0.1)
    assert [index for index, _ in commands(server.applied)] == [1, 2, 3, 4]


# ------------------------------------------------------------------ RequestVote RPC, receiver


def test_a_candidate_of_an_older_term_is_refused(bench: Bench) -> None:
    """Fig. 2, RequestVote receiver 1; §5.1: the reply has the newer term."""
    server = bench()
    server.vote_for(1, 5)
    assert server.vote_for(1, 4) == RequestVoteReply(5, False)


def test_the_first_candidate_that_asks_gets_the_vote(bench: Bench) -> None:
    """Fig. 2, RequestVote receiver 2; §5.2: first come, first served."""
    server = bench()
    assert server.vote_for(3, 1) == RequestVoteReply(1, True)


def test_a_second_candidate_of_the_same_term_is_refused(bench: Bench) -> None:
    """Fig. 2, RequestVote receiver 2; §5.2: one vote a term, whatever the second one's log."""
    server = bench()
    server.vote_for(3, 1, last=(0, 0))
    assert server.vote_for(2, 1, last=(9, 1)) == RequestVoteReply(1, False)


def test_the_same_candidate_gets_the_vote_again(bench: Bench) -> None:
    """Fig. 2, RequestVote receiver 2; §5.5: it asks again when the first reply was lost."""
    server = bench()
    replies = [server.vote_for(3, 1) for _ in range(3)]
    assert replies == [RequestVoteReply(1, True)] * 3


def test_each_term_has_a_vote_of_its_own(bench: Bench) -> None:
    """Fig. 2, State: votedFor is of the current term, null when a new one begins."""
    server = bench()
    assert server.vote_for(1, 1).vote_granted
    assert server.vote_for(2, 2).vote_granted
    assert not server.vote_for(1, 2).vote_granted


def test_a_heartbeat_of_a_new_term_leaves_the_vote_free_in_it(bench: Bench) -> None:
    """Fig. 2, State: votedFor is null in a term that the server has entered without voting."""
    server = bench()
    server.vote_for(1, 1)
    server.ask(heartbeat(2))
    assert server.vote_for(3, 2) == RequestVoteReply(2, True)


def test_a_heartbeat_of_the_same_term_does_not_free_the_vote(bench: Bench) -> None:
    """Fig. 2, State; §5.2: the vote is for the whole term, though the term has its leader now."""
    server = bench()
    server.vote_for(1, 2)
    server.ask(heartbeat(2, leader=3))
    assert server.vote_for(4, 2) == RequestVoteReply(2, False)


@pytest.mark.parametrize(
    "last", [(3, 2), (4, 2), (1, 3), (9, 3)], ids=["same log", "longer", "shorter, later term", "longer, later term"]
)
def test_a_vote_is_granted_to_a_candidate_whose_log_is_as_good(bench: Bench, last: tuple[int, int]) -> None:
    """Fig. 2, RequestVote receiver 2; §5.4.1: the later last term wins, with equal terms the longer log."""
    server = bench()
    server.hold(1, 2, 2)
    assert server.vote_for(1, 4, last=last) == RequestVoteReply(4, True)


@pytest.mark.parametrize(
    "last", [(2, 2), (9, 1), (1, 1), (0, 0)], ids=["shorter", "longer, older term", "both", "empty"]
)
def test_a_vote_is_refused_to_a_candidate_whose_log_is_older(bench: Bench, last: tuple[int, int]) -> None:
    """Fig. 2, RequestVote receiver 2; §5.4.1."""
    server = bench()
    server.hold(1, 2, 2)
    assert server.vote_for(1, 4, last=last) == RequestVoteReply(4, False)


def test_a_refusal_for_the_log_leaves_the_vote_to_another(bench: Bench) -> None:
    """Fig. 2, RequestVote receiver 2: a vote that was not given is not used up."""
    server = bench()
    server.hold(1, 2)
    assert not server.vote_for(1, 4, last=(1, 1)).vote_granted
    assert server.vote_for(2, 4, last=(2, 2)).vote_granted
