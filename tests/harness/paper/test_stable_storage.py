"""Fig. 2, State: what is persistent is on stable storage before the server answers, or asks, anybody.

Here each save takes 20 ms, so that a message that does not wait for it is early; and a crash in between loses it.
"""

from __future__ import annotations

from typing import Any

import pytest

from raft import AppendEntriesArgs, InstallSnapshotArgs, RequestVoteArgs, RequestVoteReply
from tests.harness.paper.lone_server import Bench, LoneServer, commands, entries, heartbeat

SAVE_NS = 20_000_000


def said_before_durable(server: LoneServer, since: int) -> list[str]:
    """What the server said, from entry `since` of its history on, while a save was pending; it must say something."""
    pending, early = 0, []
    for did in server.history[:since]:
        pending += did.startswith("save ") or did == "save"
        pending -= did == "saved"
    said = 0
    for did in server.history[since:]:
        if did.startswith("save ") or did == "save":
            pending += 1
        elif did == "saved":
            pending -= 1
        else:
            said += 1
            if pending:
                early.append(did)
    assert said, "it said nothing at all"
    return early


REQUESTS = {
    "a vote": RequestVoteArgs(2, 1, 9, 2),
    "a newer term, with the vote refused": RequestVoteArgs(3, 1, 0, 0),
    "a newer term, with a vote": RequestVoteArgs(3, 1, 9, 2),
    "a newer term, with a heartbeat": heartbeat(3, (2, 2)),
    "a newer term, with entries that do not fit": heartbeat(3, (7, 2), sent=entries(3, first=8)),
    "new entries": heartbeat(2, (2, 2), sent=entries(2, first=3)),
    "entries in place of others": heartbeat(2, (1, 1), sent=entries(1, first=2)),
    "a snapshot": InstallSnapshotArgs(2, 1, 5, 2, b"state"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_a_reply_waits_for_the_save_of_what_it_promises(bench: Bench, request_: Any) -> None:
    """Fig. 2, State: updated on stable storage before responding to RPCs."""
    server = bench(save_ns=SAVE_NS)
    server.hold(1, 2)
    server.advance(0.1)
    since, start = len(server.history), server.now_ns
    server.ask(request_)
    assert server.history[since].startswith("save")
    assert said_before_durable(server, since) == []
    assert server.now_ns - start >= SAVE_NS


UNCHANGING = {
    "the same vote again": (RequestVoteArgs(3, 1, 9, 2), RequestVoteArgs(3, 1, 9, 2)),
    "the same entries again": (heartbeat(3, sent=entries(1)), heartbeat(3, sent=entries(1))),
    "a heartbeat after entries": (heartbeat(3, sent=entries(1)), heartbeat(3, (1, 1))),
    "a refusal with the new term": (RequestVoteArgs(3, 1, 9, 2), RequestVoteArgs(2, 2, 9, 2)),
    "a refusal for the vote": (RequestVoteArgs(3, 1, 9, 2), RequestVoteArgs(3, 2, 9, 2)),
    "an old leader's message": (heartbeat(3, sent=entries(1)), heartbeat(2, sent=entries(2))),
}


@pytest.mark.parametrize(("first", "second"), UNCHANGING.values(), ids=UNCHANGING)
def test_a_reply_that_saves_nothing_waits_for_what_is_being_saved(bench: Bench, first: Any, second: Any) -> None:
    """Fig. 2, State: it promises what an earlier request has changed, and that is not durable yet."""
    server = bench(save_ns=SAVE_NS)
    server.send(first)
    server.advance(0.001)
    request = server.send(second)
    server.wait_for(lambda: server.reply_to(request), "reply")
    assert said_before_durable(server, 0) == []


def test_a_candidate_asks_for_votes_when_its_own_vote_is_durable(bench: Bench) -> None:
    """Fig. 2, State: else it could restart, and vote for another in the term that it leads."""
    server = bench(save_ns=SAVE_NS)
    server.stand()
    assert server.history[:3] == ["save", "saved", "call RequestVote"]


def test_a_leader_sends_entries_when_they_are_durable_here(bench: Bench) -> None:
    """Fig. 2, Leaders 4: it counts itself for what it has sent, so it must have it."""
    server = bench(save_ns=SAVE_NS)
    server.lead()
    for peer in server.peers:
        server.accept(server.next_call(peer))
    since = len(server.history)
    server.start("x")
    server.next_call(kind=AppendEntriesArgs)
    assert "save" in server.history[since:]
    assert said_before_durable(server, since) == []


def test_heartbeats_of_a_leader_wait_for_nothing_that_they_do_not_say(bench: Bench) -> None:
    """§5.6: when nothing changes nothing is saved; a disk that is slow does not slow heartbeats."""
    server = bench(save_ns=SAVE_NS)
    server.lead()
    since = len(server.history)
    server.advance(1.0)
    assert "save" not in server.history[since:]


def test_the_only_server_applies_what_is_durable(bench: Bench) -> None:
    """Fig. 2, Leaders 4: with no other copy, the entry is committed when its own is durable."""
    server = bench(servers=1, save_ns=SAVE_NS)
    server.wait_for(lambda: server.state()[1], "lead")
    since = len(server.history)
    server.start("x")
    server.advance(0.1)
    assert commands(server.applied) == [(1, "x")]
    assert said_before_durable(server, since) == []


def test_the_only_server_applies_of_two_commands_what_is_durable(bench: Bench) -> None:
    """Fig. 2, Leaders 4: the first one's save says nothing of a second one's, which came while it was written."""
    server = bench(servers=1, save_ns=SAVE_NS)
    server.wait_for(lambda: server.state()[1], "lead")
    server.advance(0.1)
    since = len(server.history)
    server.begin("start", "x")
    server.advance(0.01)
    server.begin("start", "y")
    server.advance(0.1)
    assert commands(server.applied) == [(1, "x"), (2, "y")]
    assert server.history[since:] == ["save", "save", "saved", "apply", "saved", "apply"]


def test_the_service_is_given_a_snapshot_when_it_is_durable(bench: Bench) -> None:
    """Fig. 13, receiver 5 before 8: else a crash could bring back a state older than what the service has seen."""
    server = bench(save_ns=SAVE_NS)
    server.ask(heartbeat(2))
    since = len(server.history)
    server.ask(InstallSnapshotArgs(2, 1, 5, 2, b"state"))
    server.advance(0.1)
    assert "apply" in server.history[since:]
    assert said_before_durable(server, since) == []


def test_a_vote_that_a_crash_loses_was_not_given(bench: Bench) -> None:
    """Fig. 2, State: no reply had gone out, so the vote may go to another."""
    server = bench(save_ns=SAVE_NS)
    request = server.send(RequestVoteArgs(3, 1, 9, 2))
    server.advance(SAVE_NS / 2e9)
    server.crash()
    assert server.reply_to(request) is None
    server.restart()
    assert server.vote_for(2, 3) == RequestVoteReply(3, True)


def test_entries_that_a_crash_loses_were_not_acknowledged(bench: Bench) -> None:
    """Fig. 2, State; §5.5: the leader sends them again."""
    server = bench(save_ns=SAVE_NS)
    server.hold(1)
    request = server.send(heartbeat(1, (1, 1), sent=entries(1, first=2)))
    server.advance(SAVE_NS / 2e9)
    server.crash()
    assert server.reply_to(request) is None
    server.restart()
    assert server.log_terms() == [1]
    assert server.ask(heartbeat(1, (1, 1), sent=entries(1, first=2), commit=2)).success
    server.advance(0.1)
    assert commands(server.applied) == [(1, "1@1"), (2, "2@1")]


def test_a_candidacy_that_a_crash_loses_was_not_told(bench: Bench) -> None:
    """Fig. 2, State: the term may be used again, since nobody has heard of it."""
    server = bench(save_ns=SAVE_NS)
    server.wait_for(lambda: server.history == ["save"], "save its candidacy")
    server.crash()
    assert server.calls == []
    server.restart()
    assert server.state() == (0, False)
