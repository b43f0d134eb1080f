"""Figure 2, the box Rules for Servers: one test a rule, on one real server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from raft import (
    AppendEntriesArgs,
    AppendEntriesReply,
    InstallSnapshotArgs,
    InstallSnapshotReply,
    RequestVoteArgs,
    RequestVoteReply,
)
from tests.harness.paper.lone_server import (
    HEARTBEAT_INTERVAL,
    LONGEST_TIMEOUT,
    SHORTEST_TIMEOUT,
    Bench,
    LoneServer,
    commands,
    entries,
    heartbeat,
)


def stands_within(server: LoneServer, seconds: float) -> bool:
    """Whether it stands for election in the next `seconds`, if nothing comes."""
    start = server.now_ns
    server.advance(seconds)
    return bool(server.calls_since(start, RequestVoteArgs))


def stands_though(server: LoneServer, message: Callable[[], Any], seconds: float) -> bool:
    """Whether it stands within `seconds` while `message` comes more often than any election timeout passes."""
    pause = SHORTEST_TIMEOUT / 2
    for _ in range(int(seconds / pause)):
        if stands_within(server, pause):
            return True
        message()
    return False


# ------------------------------------------------------------------ All Servers


def test_what_is_committed_is_applied_in_order_and_once(bench: Bench) -> None:
    """Fig. 2, All Servers 1; §5.3: log order, one index after the other."""
    server = bench()
    server.hold(1, 1, 1, 1, 1, commit=2)
    server.ask(heartbeat(1, (5, 1), commit=3))
    server.ask(heartbeat(1, (5, 1), commit=5))
    server.advance(0.1)
    assert commands(server.applied) == [(index, f"{index}@1") for index in (1, 2, 3, 4, 5)]


def test_what_is_not_committed_is_not_applied(bench: Bench) -> None:
    """Fig. 2, All Servers 1: the commit index bounds what is applied."""
    server = bench()
    server.hold(1, 1, 1)
    server.advance(0.2)
    assert server.applied == []


NEWER_REQUESTS = {
    "RequestVote": RequestVoteArgs(9, 2, 0, 0),
    "AppendEntries": heartbeat(9, leader=2),
    "AppendEntries that does not fit": heartbeat(9, (7, 7), leader=2),
    "InstallSnapshot": InstallSnapshotArgs(9, 2, 3, 1, b"state"),
}


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
@pytest.mark.parametrize("request_", NEWER_REQUESTS.values(), ids=NEWER_REQUESTS)
def test_a_request_of_a_newer_term_makes_a_follower(bench: Bench, role: str, request_: Any) -> None:
    """Fig. 2, All Servers 2; §5.1: whatever the request is, and whether it is granted or not. The term is saved."""
    server = bench()
    if role != "follower":
        server.lead() if role == "leader" else server.stand()
    assert server.ask(request_).term == 9
    assert server.state() == (9, False)
    server.crash()
    server.restart()
    assert server.state() == (9, False)


@pytest.mark.parametrize("kind", ["RequestVote", "AppendEntries", "InstallSnapshot"])
def test_a_reply_of_a_newer_term_makes_a_follower(bench: Bench, kind: str) -> None:
    """Fig. 2, All Servers 2; §5.1: replies carry terms as requests do."""
    server = bench()
    if kind == "RequestVote":
        server.stand()
        server.answer(server.next_call(3, RequestVoteArgs), RequestVoteReply(9, False))
    elif kind == "AppendEntries":
        server.lead()
        server.answer(server.next_call(3, AppendEntriesArgs), AppendEntriesReply(9, False))
    else:
        server.hold(1, commit=1)
        server.snapshot(1, b"state")
        term = server.lead()
        server.answer(server.next_call(3), AppendEntriesReply(term, False, 0, 1))
        server.answer(server.next_call(3, InstallSnapshotArgs), InstallSnapshotReply(9))
    assert server.state() == (9, False)
    assert server.vote_for(4, 9).vote_granted, "the vote of the new term must be free"
    server.crash()
    server.restart()
    assert server.state() == (9, False)


def test_a_leader_that_steps_down_sends_nothing_more(bench: Bench) -> None:
    """Fig. 2, All Servers 2: a follower is passive (§5.1)."""
    server = bench()
    server.lead()
    server.ask(heartbeat(5, leader=2))
    start = server.now_ns
    server.advance(SHORTEST_TIMEOUT * 0.9)
    assert server.calls_since(start) == []
    assert server.start("x") == (-1, 5, False)


# ------------------------------------------------------------------ Followers


def test_a_follower_of_a_living_leader_is_passive(bench: Bench) -> None:
    """Fig. 2, Followers 1; §5.1: it answers, and sends nothing of its own."""
    server = bench()
    for _ in range(10):
        assert server.ask(heartbeat(1)) == AppendEntriesReply(1, True)
        server.advance(HEARTBEAT_INTERVAL)
    assert server.calls == []


def test_a_follower_that_hears_nothing_stands(bench: Bench) -> None:
    """Fig. 2, Followers 2; §5.2: after one election timeout, not before the shortest, not after the longest."""
    server = bench()
    assert not stands_within(server, SHORTEST_TIMEOUT * 0.99)
    assert stands_within(server, LONGEST_TIMEOUT * 1.01 - SHORTEST_TIMEOUT * 0.99)


@pytest.mark.parametrize(
    "message",
    [heartbeat(3), heartbeat(3, (7, 3)), heartbeat(3, sent=entries(3))],
    ids=["heartbeat", "refused", "entries"],
)
def test_append_entries_of_the_current_leader_resets_the_timer(bench: Bench, message: AppendEntriesArgs) -> None:
    """Fig. 2, Followers 2: from the current leader, whether it fits the log or not."""
    server = bench()
    assert not stands_though(server, lambda: server.ask(message), 3 * LONGEST_TIMEOUT)


def test_append_entries_of_an_old_leader_does_not_reset_the_timer(bench: Bench) -> None:
    """Fig. 2, Followers 2: the *current* leader's; a deposed one must not keep the cluster without a leader."""
    server = bench()
    server.ask(heartbeat(3))
    assert stands_though(server, lambda: server.ask(heartbeat(2)), LONGEST_TIMEOUT + 0.2)


def test_a_vote_granted_resets_the_timer(bench: Bench) -> None:
    """Fig. 2, Followers 2."""
    server = bench()
    assert not stands_though(server, lambda: server.vote_for(1, 3), 3 * LONGEST_TIMEOUT)


REFUSED_VOTES = {
    "older term": RequestVoteArgs(2, 1, 9, 2),
    "voted for another": RequestVoteArgs(3, 2, 9, 2),
    "older log": RequestVoteArgs(3, 1, 0, 0),
}


@pytest.mark.parametrize("request_", REFUSED_VOTES.values(), ids=REFUSED_VOTES)
def test_a_vote_refused_does_not_reset_the_timer(bench: Bench, request_: RequestVoteArgs) -> None:
    """Fig. 2, Followers 2: only a granted vote does. A candidate that cannot win must not silence one that can."""
    server = bench()
    server.hold(1, 1, term=3)
    if request_.candidate_id == 2:
        server.vote_for(1, 3)
    assert stands_though(server, lambda: server.ask(request_), LONGEST_TIMEOUT + 0.2)


def test_a_newer_term_alone_does_not_reset_the_timer(bench: Bench) -> None:
    """Fig. 2, Followers 2: nor does the step into a newer term, if the vote is refused."""
    server = bench()
    server.hold(1, 1)
    newer = iter(range(2, 99))
    assert stands_though(server, lambda: server.vote_for(1, next(newer), last=(0, 0)), LONGEST_TIMEOUT + 0.2)


# ------------------------------------------------------------------ Candidates


def test_a_candidate_begins_a_new_term_and_asks_everybody(bench: Bench) -> None:
    """Fig. 2, Candidates 1: a new term, and RequestVote to all other servers; §5.4.1: it says what its log ends in."""
    server = bench(me=2)
    server.hold(1, 1, 4, term=6)
    assert server.stand() == 7
    assert server.state() == (7, False)
    assert sorted(call.to for call in server.calls) == [0, 1, 3, 4]
    assert {str(call.args) for call in server.calls} == {str(RequestVoteArgs(7, 2, last_log_index=3, last_log_term=4))}


def test_a_candidate_votes_for_itself(bench: Bench) -> None:
    """Fig. 2, Candidates 1: so no other candidate of the term gets its vote."""
    server = bench()
    term = server.stand()
    assert server.vote_for(1, term) == RequestVoteReply(term, False)


@pytest.mark.parametrize(("servers", "needed"), [(2, 1), (3, 1), (4, 2), (5, 2), (7, 3)])
def test_a_candidate_with_a_majority_leads(bench: Bench, servers: int, needed: int) -> None:
    """Fig. 2, Candidates 2; §5.2: a majority of the whole cluster, its own vote included, and not one less."""
    server = bench(servers=servers)
    term = server.stand()
    for peer in range(1, needed):
        server.accept(server.next_call(peer))
    server.advance(0.01)
    assert server.state() == (term, False)
    server.accept(server.next_call(needed))
    assert server.state() == (term, True)


def test_a_vote_refused_does_not_count(bench: Bench) -> None:
    """Fig. 2, Candidates 2: votes received, not answers."""
    server = bench()
    term = server.stand()
    for peer in server.peers:
        server.answer(server.next_call(peer), RequestVoteReply(term, False))
    server.advance(0.01)
    assert server.state() == (term, False)


def test_a_vote_of_an_older_election_does_not_count(bench: Bench) -> None:
    """Fig. 2, Candidates 2; §5.2: votes are of one term; one that comes late is for a candidacy that is over."""
    server = bench(servers=3)
    server.stand()
    server.wait_for(lambda: server.state()[0] == 2, "stand again")
    late = [call for call in server.calls if call.args.term == 1 and server.now_ns - call.at_ns < 90_000_000]
    assert late, "no call of the first election is still open; another seed has one"
    for call in late:
        server.accept(call)
    server.advance(0.01)
    assert server.state() == (2, False)


def test_a_candidate_yields_to_the_leader_of_its_own_term(bench: Bench) -> None:
    """Fig. 2, Candidates 3; §5.2: another server has won this term."""
    server = bench()
    term = server.stand()
    assert server.ask(heartbeat(term, leader=3)) == AppendEntriesReply(term, True)
    for call in server.calls:
        server.accept(call)  # votes that come now are for nothing
    server.advance(0.01)
    assert server.state() == (term, False)
    assert not stands_within(server, SHORTEST_TIMEOUT * 0.9), "the leader's message must reset the timer"


def test_a_candidate_ignores_the_leader_of_an_older_term(bench: Bench) -> None:
    """Fig. 2, Candidates 3; §5.2: an older term's leader is refused, and the candidate goes on."""
    server = bench()
    term = server.stand(4)
    assert server.ask(heartbeat(3, leader=3)) == AppendEntriesReply(4, False)
    for peer in (1, 2):
        server.accept(server.next_call(peer))
    assert server.state() == (term, True)


def test_a_candidate_whose_election_fails_stands_again_in_the_next_term(bench: Bench) -> None:
    """Fig. 2, Candidates 4; §5.2: after another election timeout."""
    server = bench()
    start = server.now_ns
    for term in (1, 2, 3):
        server.wait_for(lambda term=term: server.state()[0] == term, f"stand for term {term}", LONGEST_TIMEOUT + 0.01)
        took = (server.now_ns - start) / 1e9
        assert took >= SHORTEST_TIMEOUT * 0.99
        start = server.now_ns


def test_a_candidate_asks_again_who_has_not_answered_and_only_them(bench: Bench) -> None:
    """Fig. 2, Candidates 1; §5.1: an RPC without a reply is sent again, in the same term."""
    server = bench()
    term = server.stand()
    start = server.now_ns
    server.answer(server.next_call(1), RequestVoteReply(term, False))
    server.answer(server.next_call(2), None)
    server.advance(0.25)
    again = server.calls_since(start + 1)
    assert {call.to for call in again} == {2, 3, 4}
    assert {call.args.term for call in again} == {term}


# ------------------------------------------------------------------ Leaders


def test_a_new_leader_sends_heartbeats_at_once(bench: Bench) -> None:
    """Fig. 2, Leaders 1: upon election, empty AppendEntries to each server."""
    server = bench()
    term = server.stand()
    elected_at = server.now_ns
    for peer in (1, 2):
        server.accept(server.next_call(peer))
    for peer in (1, 2):
        call = server.next_call(peer)
        assert call.args == heartbeat(term, leader=0)
        assert call.at_ns - elected_at < 1_000_000


def test_an_idle_leader_sends_heartbeats_to_everybody(bench: Bench) -> None:
    """Fig. 2, Leaders 1: again and again, often enough that no election timeout passes on any follower."""
    server = bench()
    server.lead()
    start = server.now_ns
    seen = dict.fromkeys(server.peers, start)
    while server.now_ns < start + 1_000_000_000:
        call = server.next_call(kind=AppendEntriesArgs)
        assert (call.at_ns - seen[call.to]) / 1e9 < SHORTEST_TIMEOUT / 2
        seen[call.to] = call.at_ns
        assert call.args.entries == []
        server.accept(call)
    assert min(seen.values()) > start + 800_000_000


def test_an_idle_leader_does_not_flood_its_followers(bench: Bench) -> None:
    """Fig. 2, Leaders 1: heartbeats are for idle *periods*: about one an interval, though each is answered at once."""
    server = bench(servers=3)
    server.lead()
    start = server.now_ns
    while server.now_ns < start + 1_000_000_000:
        server.accept(server.next_call())
    assert len([call for call in server.calls_since(start) if call.to == 1]) <= 1.1 / HEARTBEAT_INTERVAL + 2


def test_a_command_is_appended_and_sent_to_everybody_at_once(bench: Bench) -> None:
    """Fig. 2, Leaders 2 and 3: the entry goes into the log, and out, before the next heartbeat."""
    server = bench()
    server.hold(1)
    term = server.lead()
    for peer in server.peers:
        server.accept(server.next_call(peer))
    started_at = server.now_ns
    assert server.start("x") == (2, term, True)
    assert [entry.command for entry in server.log()] == ["1@1", "x"]
    for peer in server.peers:
        call = server.next_call(peer)
        assert [(entry.term, entry.command) for entry in call.args.entries] == [(term, "x")]
        assert (call.args.prev_log_index, call.args.prev_log_term) == (1, 1)
        assert call.at_ns - started_at < 10_000_000


@pytest.mark.parametrize(("servers", "needed"), [(2, 1), (3, 1), (4, 2), (5, 2), (7, 3)])
def test_a_command_is_applied_once_a_majority_has_it(bench: Bench, servers: int, needed: int) -> None:
    """Fig. 2, Leaders 2 and 4; §5.3: the leader's own copy counts, and one copy less is not enough."""
    server = bench(servers=servers)
    server.lead()
    for peer in server.peers:
        server.accept(server.next_call(peer))
    server.start("x")
    for peer in range(1, needed):
        server.accept(server.next_call(peer))
    server.advance(0.01)
    assert server.applied == []
    server.accept(server.next_call(needed))
    server.advance(0.01)
    assert commands(server.applied) == [(1, "x")]


def test_a_success_counts_for_what_its_message_held(bench: Bench) -> None:
    """Fig. 2, Leaders 3: not for what the leader has appended since it sent it."""
    server = bench(servers=3)
    server.lead()
    call = server.next_call(1)
    server.start("x")
    server.accept(call)
    server.advance(0.01)
    assert server.applied == []
    server.accept(server.next_call(1))
    server.advance(0.01)
    assert commands(server.applied) == [(1, "x")]


def test_each_follower_is_sent_what_it_does_not_have_yet(bench: Bench) -> None:
    """Fig. 2, Leaders 3: entries from nextIndex on; a success moves nextIndex and matchIndex up."""
    server = bench(servers=3)
    server.lead()
    for peer in server.peers:
        server.accept(server.next_call(peer))
    for command in ("x", "y"):
        server.start(command)
        server.accept(server.next_call(1))
    server.answer(server.next_call(2), None)
    server.advance(0.15)
    to_1, to_2 = ([call for call in server.calls if call.to == peer][-1].args for peer in (1, 2))
    assert (to_1.prev_log_index, len(to_1.entries)) == (2, 0)
    assert (to_2.prev_log_index, len(to_2.entries)) == (0, 2)


def test_a_refusal_makes_the_leader_try_further_back_at_once(bench: Bench) -> None:
    """Fig. 2, Leaders 3: after an inconsistency nextIndex falls, and the leader retries."""
    server = bench()
    server.hold(1, 1, 1)
    term = server.lead()
    first = server.next_call(1)
    assert first.args.prev_log_index == 3
    server.answer(first, AppendEntriesReply(term, False, conflict_term=0, conflict_index=2))
    second = server.next_call(1)
    assert (second.args.prev_log_index, second.args.prev_log_term) == (1, 1)
    assert second.args.entries == entries(1, 1, first=2)
    assert second.at_ns - first.at_ns < 10_000_000


def test_a_leader_always_gets_to_the_start_of_the_log(bench: Bench) -> None:
    """Fig. 2, Leaders 3: nextIndex falls with each refusal, even if the hint says nothing useful, and never below 1."""
    server = bench()
    server.hold(1, 2, 3)
    term = server.lead()
    tried = []
    for _ in range(5):
        call = server.next_call(1)
        tried.append(call.args.prev_log_index)
        server.answer(call, AppendEntriesReply(term, call.args.prev_log_index == 0, 0, call.args.prev_log_index + 1))
        if call.args.prev_log_index == 0:
            break
    assert tried == [3, 2, 1, 0]


def test_a_refusal_does_not_lower_what_a_follower_is_known_to_have(bench: Bench) -> None:
    """Fig. 2, State: matchIndex only rises, so nextIndex stays above it."""
    server = bench(servers=3)
    server.hold(1, 1)
    term = server.lead()
    server.accept(server.next_call(1))
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    assert server.next_call(1).args.prev_log_index == 2


def test_an_entry_of_an_older_term_is_not_committed_by_counting(bench: Bench) -> None:
    """Fig. 2, Leaders 4; §5.4.2: even on every server it could still be overwritten, as Figure 8 shows."""
    server = bench(servers=3)
    server.hold(1, 1)
    server.lead()
    for peer in server.peers:
        server.accept(server.next_call(peer))
    server.advance(0.3)
    assert server.applied == []
    assert {call.args.leader_commit for call in server.calls if isinstance(call.args, AppendEntriesArgs)} == {0}


def test_an_entry_of_the_current_term_commits_the_older_ones_with_it(bench: Bench) -> None:
    """Fig. 2, Leaders 4; §5.4.2: by the Log Matching Property."""
    server = bench(servers=3)
    server.hold(1, 1)
    server.lead()
    server.accept(server.next_call(1))
    server.start("x")
    server.accept(server.next_call(1))
    server.advance(0.01)
    assert commands(server.applied) == [(1, "1@1"), (2, "2@1"), (3, "x")]


def test_a_success_that_comes_after_the_term_is_over_commits_nothing(bench: Bench) -> None:
    """Fig. 2, Leaders 4: a leader commits in its own term; one that was deposed does not, though the reply is true."""
    server = bench(servers=3)
    server.lead()
    server.accept(server.next_call(1))
    server.start("x")
    call = server.next_call(1)
    assert len(call.args.entries) == 1
    server.vote_for(2, 5, last=(0, 0))
    server.accept(call)
    server.advance(0.1)
    assert server.applied == []


def test_a_leader_does_not_stand(bench: Bench) -> None:
    """Fig. 2, Followers 2 and Leaders: the election timeout is for followers and candidates."""
    server = bench()
    server.lead()
    assert not stands_within(server, 3 * LONGEST_TIMEOUT)
    assert server.state() == (1, True)
