"""Sentences of §5 that Figure 2 does not have, or that need more than one of its rules: on one real server."""

from __future__ import annotations

from itertools import pairwise

import pytest

from raft import AppendEntriesArgs, AppendEntriesReply, RequestVoteArgs, RequestVoteReply
from tests.harness.paper.lone_server import (
    LONGEST_TIMEOUT,
    RPC_TIMEOUT,
    SHORTEST_TIMEOUT,
    Bench,
    LoneServer,
    commands,
    entries,
    heartbeat,
    terms,
)


def accept_all(server: LoneServer) -> None:
    """Every peer accepts the next message it gets."""
    for peer in server.peers:
        server.accept(server.next_call(peer))


# ------------------------------------------------------------------ §5.1, the basics


def test_peers_are_called_in_parallel(bench: Bench) -> None:
    """§5.1: RPCs go out in parallel, so that a peer that does not answer delays no other."""
    server = bench()
    server.stand()
    sent_at = [call.at_ns for call in server.calls]
    assert len(sent_at) == 4
    assert max(sent_at) - min(sent_at) < 1_000_000


def test_a_peer_that_is_dead_does_not_delay_the_others(bench: Bench) -> None:
    """§5.1: the leader goes on with those who answer."""
    server = bench()
    server.lead()
    for peer in (1, 2):
        server.accept(server.next_call(peer))
    start = server.now_ns
    for number in range(10):
        server.start(number)
        for peer in (1, 2):
            server.accept(server.next_call(peer))
        server.advance(0.001)
    assert [command for _, command in commands(server.applied)] == list(range(10))
    assert (server.now_ns - start) / 1e9 < RPC_TIMEOUT / 2


@pytest.mark.parametrize("role", ["candidate", "leader"])
def test_a_message_without_an_answer_is_sent_again(bench: Bench, role: str) -> None:
    """§5.1: RPCs are retried if no response comes in a timely manner."""
    server = bench()
    server.lead() if role == "leader" else server.stand()
    first = server.next_call(3)
    second = server.next_call(3)
    assert second.args == first.args
    assert second.at_ns - first.at_ns <= 200_000_000


def test_at_most_one_message_to_a_peer_is_under_way(bench: Bench) -> None:
    """§5.1: the next call waits for the reply or gives up the last one. So many commands do not make many messages."""
    server = bench()
    server.lead()
    for number in range(50):
        server.start(number)
        server.advance(0.003)
    server.advance(0.4)
    for peer in server.peers:
        sent_at = [call.at_ns for call in server.calls if call.to == peer and isinstance(call.args, AppendEntriesArgs)]
        gaps = [later - earlier for earlier, later in pairwise(sent_at)]
        assert min(gaps) >= RPC_TIMEOUT * 1e9


def test_threads_do_not_become_more(bench: Bench) -> None:
    """§5.1: whatever peers, commands and elections do, the server's threads are as many as at its start."""
    server = bench()
    at_start = sorted(server.threads())
    for _ in range(3):
        term = server.lead()
        for number in range(20):
            server.start(number)
        server.advance(2.0)  # nobody answers
        server.ask(heartbeat(term + 1, leader=2))
        server.advance(2.0)  # nor does anybody vote for it
    assert sorted(server.threads()) == at_start


# ------------------------------------------------------------------ §5.2, elections


def test_election_timeouts_are_drawn_anew_each_time(bench: Bench) -> None:
    """§5.2: random timeouts spread the servers out, and a split vote is soon followed by a decision."""
    server = bench()
    stood_at = []
    for term in range(1, 16):
        server.wait_for(lambda term=term: server.state()[0] == term, f"stand for term {term}", 1.0)
        stood_at.append(server.now_ns / 1e9)
    timeouts = [later - earlier for earlier, later in pairwise(stood_at)]
    assert all(SHORTEST_TIMEOUT * 0.99 <= timeout <= LONGEST_TIMEOUT * 1.01 for timeout in timeouts)
    assert max(timeouts) - min(timeouts) > (LONGEST_TIMEOUT - SHORTEST_TIMEOUT) / 2


def test_servers_do_not_have_the_same_timeout(bench: Bench) -> None:
    """§5.2: else they would all stand at once and split the vote."""
    stood_at = set()
    for me in range(5):
        server = bench(me=me)
        server.stand()
        stood_at.add(server.now_ns // 1_000_000)
    assert len(stood_at) == 5


def test_a_split_vote_is_decided_in_a_later_term(bench: Bench) -> None:
    """§5.2: without a majority nobody leads the term, and the next election begins from nothing."""
    server = bench()
    term = server.stand()
    server.answer(server.next_call(1), RequestVoteReply(term, True))
    for peer in (2, 3, 4):
        server.answer(server.next_call(peer), RequestVoteReply(term, False))
    assert server.stand() == term + 1
    server.accept(server.next_call(2))
    server.advance(0.01)
    assert server.state() == (term + 1, False), "the vote of the earlier term was counted"
    server.accept(server.next_call(3))
    assert server.state() == (term + 1, True)


def test_the_only_server_of_a_cluster_leads_it_alone(bench: Bench) -> None:
    """§5.2: its own vote is a majority; §5.3: so is its own copy of an entry."""
    server = bench(servers=1)
    server.wait_for(lambda: server.state()[1], "lead")
    server.start("x")
    server.advance(0.1)
    assert commands(server.applied) == [(1, "x")]


def test_a_candidate_and_its_own_term_wait_for_nobody(bench: Bench) -> None:
    """§5.2: a term ends without a leader; the voters are free in the next one, this server too."""
    server = bench()
    server.stand(3)
    assert server.vote_for(4, 4) == RequestVoteReply(4, True)
    assert server.state() == (4, False)


# ------------------------------------------------------------------ §5.3, replication


def test_followers_learn_from_the_next_message_what_is_committed(bench: Bench) -> None:
    """§5.3: the leader puts its commit index into every message, heartbeats included."""
    server = bench(servers=3)
    server.lead()
    accept_all(server)
    server.start("x")
    accept_all(server)
    start = server.now_ns
    server.advance(0.15)
    later = server.calls_since(start, AppendEntriesArgs)
    assert {call.to for call in later} == {1, 2}
    assert {call.args.leader_commit for call in later} == {1}


def test_a_follower_that_is_slow_is_served_until_it_has_everything(bench: Bench) -> None:
    """§5.3: the leader goes on even after the entry is committed and its client has an answer."""
    server = bench(servers=3)
    server.lead()
    server.accept(server.next_call(1))
    server.start("x")
    server.accept(server.next_call(1))
    server.advance(2.0)
    assert commands(server.applied) == [(1, "x")]
    last = [call for call in server.calls if call.to == 2][-1]
    assert last.args.entries == server.log()


def test_a_leader_never_changes_its_own_log(bench: Bench) -> None:
    """§5.3, Leader Append-Only: not on the word of an older term's leader, nor of a follower that has more."""
    server = bench()
    server.hold(1, 1, 1)
    term = server.lead(5)
    server.start("x")
    before = server.log()
    server.ask(heartbeat(4, (0, 0), sent=entries(4, 4, 4, 4), commit=4))
    server.answer(server.next_call(1), AppendEntriesReply(term, False, conflict_term=3, conflict_index=2))
    server.advance(0.2)
    assert server.log() == before
    assert server.state() == (term, True)


def test_entries_keep_the_terms_they_were_made_in(bench: Bench) -> None:
    """§5.4.2: a leader that replicates older entries does not give them its own term; §5.3: so logs can be compared."""
    server = bench()
    server.hold(1, 2, 2)
    term = server.lead(7)
    server.start("x")
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    assert terms(server.next_call(1).args.entries) == [1, 2, 2, 7]


HINTS = {
    # Its log: 1 2 2 4 4 4, and next an entry of its own. The follower's hint, and where the next message begins.
    "log too short": ((0, 3), (2, 2)),
    "log empty": ((0, 1), (0, 0)),
    "term that the leader does not have": ((3, 3), (2, 2)),
    "term newer than the leader's last": ((5, 4), (3, 2)),
    "term that ends earlier in the leader's log": ((2, 2), (3, 2)),
    "the leader's first term": ((1, 1), (1, 1)),
}


@pytest.mark.parametrize(("hint", "prev"), HINTS.values(), ids=HINTS)
def test_the_leader_steps_back_by_a_whole_term(bench: Bench, hint: tuple[int, int], prev: tuple[int, int]) -> None:
    """§5.3, end: one message for each conflicting term, not for each entry.

    If the leader has entries of the follower's conflicting term, all up to the last of them may agree; if not, none
    of that term can.
    """
    server = bench()
    server.hold(1, 2, 2, 4, 4, 4)
    term = server.lead(7)
    server.answer(server.next_call(1), AppendEntriesReply(term, False, *hint))
    args = server.next_call(1).args
    assert (args.prev_log_index, args.prev_log_term) == prev
    assert terms(args.entries) == [1, 2, 2, 4, 4, 4][prev[0] :]


# Followers' logs, where a message at `prev` does not fit, and the hint: (conflict term, its first index).
CONFLICTS = {
    "a term in the middle": ([1, 2, 2, 2, 3, 3], (4, 3), (2, 2)),
    "the first term": ([2, 2, 2], (3, 3), (2, 1)),
    "the last entry alone": ([1, 1, 2], (3, 3), (2, 3)),
}


@pytest.mark.parametrize(("log", "prev", "hint"), CONFLICTS.values(), ids=CONFLICTS)
def test_a_follower_names_the_first_index_of_the_conflicting_term(
    bench: Bench, log: list[int], prev: tuple[int, int], hint: tuple[int, int]
) -> None:
    """§5.3, end: the term of the conflicting entry, and the first index it stores for that term."""
    server = bench()
    server.hold(*log)
    reply = server.ask(heartbeat(5, prev))
    assert (reply.success, reply.conflict_term, reply.conflict_index) == (False, *hint)


def test_a_follower_forgets_the_commands_of_a_leader_that_failed(bench: Bench) -> None:
    """§5.3: uncommitted entries of a former leader give way, and only the new one's are applied."""
    server = bench()
    server.lead(2)
    server.start("lost")
    assert server.ask(heartbeat(3, sent=entries(3), commit=1)).success
    server.advance(0.01)
    assert commands(server.applied) == [(1, "1@3")]
    assert server.log() == entries(3)


# ------------------------------------------------------------------ §5.4, safety


def test_a_restarted_server_gives_its_vote_by_the_log_it_had(bench: Bench) -> None:
    """§5.4.1: the restriction holds on what is in the log, however it came there."""
    server = bench()
    server.hold(1, 3)
    server.crash()
    server.restart()
    assert not server.vote_for(1, 4, last=(5, 2)).vote_granted
    assert server.vote_for(2, 4, last=(2, 3)).vote_granted


def test_a_leaders_own_new_entries_weigh_in_its_vote(bench: Bench) -> None:
    """§5.4.1: a deposed leader compares with all its log, committed or not."""
    server = bench()
    server.hold(1)
    server.lead(3)
    server.start("x")
    assert not server.vote_for(1, 9, last=(5, 2)).vote_granted
    assert server.vote_for(1, 10, last=(2, 3)).vote_granted


# ------------------------------------------------------------------ §5.5, crashes of followers and candidates


@pytest.mark.parametrize(
    "request_",
    [RequestVoteArgs(3, 1, 5, 2), heartbeat(3, sent=entries(1, 3), commit=1)],
    ids=["RequestVote", "AppendEntries"],
)
def test_a_request_that_comes_again_after_a_crash_gets_the_same_answer(bench: Bench, request_: object) -> None:
    """§5.5: the server may have crashed after it did what it was asked, and before its reply was seen."""
    server = bench()
    first = server.ask(request_)
    log = server.log()
    server.crash()
    server.restart()
    assert server.ask(request_) == first
    assert server.log() == log


def test_a_follower_that_restarts_is_brought_up_to_date_and_applies_from_the_start(bench: Bench) -> None:
    """§5.5: the leader's retries reach it once it is back; its state machine starts over from the log."""
    server = bench()
    server.hold(1, 1, commit=2)
    server.crash()
    server.restart()
    assert server.ask(heartbeat(1, (2, 1), sent=entries(1, first=3), commit=3)).success
    server.advance(0.01)
    assert [index for index, _ in commands(server.applied)] == [1, 2, 3]


# ------------------------------------------------------------------ §5.6, timing


def test_several_heartbeats_fit_in_an_election_timeout(bench: Bench) -> None:
    """§5.6: the broadcast time is far below the election timeout: a few lost messages start no election."""
    server = bench()
    server.lead()
    start = server.now_ns
    while server.now_ns < start + SHORTEST_TIMEOUT * 1e9:
        call = server.next_call(1)
        if call.at_ns < start + SHORTEST_TIMEOUT * 1e9:
            server.accept(call)
    assert len([call for call in server.calls_since(start) if call.to == 1]) >= 3


def test_the_disk_may_be_slow(bench: Bench) -> None:
    """§5.6: saves of 20 ms, the slowest that the paper reckons with, cost no leader its term."""
    server = bench(save_ns=20_000_000)
    term = server.lead()
    for number in range(1, 11):
        assert server.start(number) == (number, term, True)
        deadline = server.now_ns + 100_000_000
        while len(server.applied) < number:
            call = server.next_call(within=0.1)
            server.accept(call)
            server.advance(0.001)
            assert server.now_ns < deadline
    assert server.state() == (term, True)
