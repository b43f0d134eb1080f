"""Figure 13, InstallSnapshot, for snapshots in one piece (so its rules 2 to 4, on chunks, do not apply)."""

from __future__ import annotations

import pytest

from raft import AppendEntriesReply, ApplyMsg, InstallSnapshotArgs, InstallSnapshotReply
from tests.harness.paper.lone_server import (
    LONGEST_TIMEOUT,
    SHORTEST_TIMEOUT,
    Bench,
    commands,
    entries,
    heartbeat,
)


def snapshot(index: int, included_term: int, *, term: int = 4, data: bytes = b"state") -> InstallSnapshotArgs:
    """InstallSnapshot from server 1, leader of `term`."""
    return InstallSnapshotArgs(term, 1, index, included_term, data)


def installed(index: int, included_term: int, data: bytes = b"state") -> ApplyMsg:
    """What the service is told of it."""
    return ApplyMsg(snapshot_valid=True, snapshot=data, snapshot_index=index, snapshot_term=included_term)


def test_a_snapshot_of_an_older_term_is_refused(bench: Bench) -> None:
    """Fig. 13, receiver 1: the reply has the newer term, and nothing changes."""
    server = bench()
    server.hold(1, 1, term=5)
    assert server.ask(snapshot(9, 4)) == InstallSnapshotReply(5)
    server.advance(0.1)
    assert (server.log_terms(), server.applied, server.durable_snapshot) == ([1, 1], [], b"")


def test_a_snapshot_of_the_current_term_is_answered_with_it(bench: Bench) -> None:
    """Fig. 13, results: the term, for the leader to update itself."""
    server = bench()
    assert server.ask(snapshot(3, 2)) == InstallSnapshotReply(4)


def test_the_snapshot_is_saved(bench: Bench) -> None:
    """Fig. 13, receiver 5: with the state that goes with it; a restarted server stands where the snapshot ends."""
    server = bench()
    server.ask(snapshot(3, 2))
    server.crash()
    assert server.durable_snapshot == b"state"
    server.restart()
    server.stand()
    assert (server.calls[0].args.last_log_index, server.calls[0].args.last_log_term) == (3, 2)


def test_the_state_and_the_snapshot_are_saved_together(bench: Bench) -> None:
    """Fig. 13, receiver 5 to 7: a crash between two saves would part the log from its beginning."""
    server = bench()
    server.ask(heartbeat(4))
    before = len(server.history)
    server.ask(snapshot(3, 2))
    assert [did for did in server.history[before:] if did.startswith("save ")] == ["save with snapshot"]
    assert "save" not in server.history[before:]


def test_a_newer_snapshot_replaces_the_saved_one(bench: Bench) -> None:
    """Fig. 13, receiver 5: any existing snapshot with a smaller index is discarded."""
    server = bench()
    server.ask(snapshot(3, 2, data=b"old"))
    server.ask(snapshot(5, 4, data=b"new"))
    assert server.durable_snapshot == b"new"
    assert server.applied[-1] == installed(5, 4, b"new")


def test_entries_behind_a_snapshot_that_fits_are_kept(bench: Bench) -> None:
    """Fig. 13, receiver 6: the log has the snapshot's last entry, so what follows may be the leader's too."""
    server = bench()
    server.hold(1, 2, 2, 4, 4)
    server.ask(snapshot(3, 2))
    assert server.log() == entries(4, 4, first=4)
    assert server.ask(heartbeat(4, (5, 4), commit=5)).success
    server.advance(0.1)
    assert server.applied[0] == installed(3, 2)
    assert commands(server.applied) == [(4, "4@4"), (5, "5@4")]


def test_a_log_that_conflicts_with_the_snapshot_is_discarded(bench: Bench) -> None:
    """Fig. 13, receiver 7: all of it, what follows the snapshot's index too."""
    server = bench()
    server.hold(1, 1, 1, 1, 1)
    server.ask(snapshot(3, 2))
    assert server.log() == []
    assert server.ask(heartbeat(4, (5, 1))) == AppendEntriesReply(4, False, 0, 4)


def test_a_log_that_ends_before_the_snapshot_is_discarded(bench: Bench) -> None:
    """Fig. 13, receiver 7: and the next entry to come is the one behind the snapshot."""
    server = bench()
    server.hold(1, 1)
    server.ask(snapshot(5, 2))
    assert server.log() == []
    assert server.ask(heartbeat(4, (5, 2), sent=entries(4, first=6), commit=6)).success
    server.advance(0.1)
    assert commands(server.applied) == [(6, "6@4")]


def test_the_state_machine_starts_over_from_the_snapshot(bench: Bench) -> None:
    """Fig. 13, receiver 8: the service is given the snapshot, once, and then only what comes behind it."""
    server = bench()
    server.hold(1, 1, commit=1)
    server.ask(snapshot(3, 2))
    server.ask(snapshot(3, 2))
    server.ask(heartbeat(4, (3, 2), sent=entries(4, first=4), commit=4))
    server.advance(0.1)
    assert commands(server.applied) == [(1, "1@1"), (4, "4@4")]
    assert server.applied[1] == installed(3, 2)
    assert len(server.applied) == 3


def test_a_snapshot_that_covers_what_is_not_applied_yet_comes_before_what_follows(bench: Bench) -> None:
    """Fig. 13, receiver 8: the service may be slow. It must not see an entry twice, nor one out of order."""
    server = bench()
    server.hold(1, 1, 1, commit=1)
    server.control("stop_reading")
    server.ask(heartbeat(1, (3, 1), commit=2))
    server.ask(snapshot(5, 2))
    server.ask(heartbeat(4, (5, 2), sent=entries(4, first=6), commit=6))
    server.control("go_on_reading")
    server.advance(0.1)
    order = [message.command_index or message.snapshot_index for message in server.applied]
    assert order in ([1, 2, 5, 6], [1, 5, 6])


@pytest.mark.parametrize("index", [1, 2], ids=["older than the commit index", "as old"])
def test_a_snapshot_of_what_is_committed_here_is_ignored(bench: Bench, index: int) -> None:
    """Fig. 13, receiver 6; §7: one that describes a prefix of the log, come late, must not take the service back."""
    server = bench()
    server.hold(1, 1, 1, commit=2)
    assert server.ask(snapshot(index, 1)) == InstallSnapshotReply(4)
    server.advance(0.1)
    assert [index for index, _ in commands(server.applied)] == [1, 2]
    assert len(server.applied) == 2
    assert server.log_terms() == [1, 1, 1]
    server.ask(heartbeat(4, (3, 1), commit=3))
    server.advance(0.1)
    assert commands(server.applied)[2:] == [(3, "3@1")]


def test_a_snapshot_older_than_the_saved_one_is_ignored(bench: Bench) -> None:
    """Fig. 13, receiver 5: only one with a smaller index is discarded for a new one."""
    server = bench()
    server.ask(snapshot(5, 2, data=b"new"))
    server.ask(snapshot(3, 2, data=b"old"))
    server.advance(0.1)
    assert server.durable_snapshot == b"new"
    assert server.applied == [installed(5, 2, b"new")]


def test_a_candidate_yields_to_a_snapshot_of_its_own_term(bench: Bench) -> None:
    """§5.2: only the term's leader sends one. Fig. 2, Candidates 3, says it of AppendEntries."""
    server = bench()
    server.stand(4)
    server.ask(snapshot(3, 2))
    for call in server.calls:
        server.accept(call)
    assert server.state() == (4, False)


def test_a_snapshot_of_the_current_leader_resets_the_timer(bench: Bench) -> None:
    """§5.2: it is a message from the current leader, and it may be long under way."""
    server = bench()
    for _ in range(10):
        server.ask(snapshot(3, 2))
        server.advance(SHORTEST_TIMEOUT / 2)
    assert server.calls == []


def test_a_snapshot_of_an_old_leader_does_not_reset_the_timer(bench: Bench) -> None:
    """§5.2: the current leader's only."""
    server = bench()
    server.ask(heartbeat(5))
    start = server.now_ns
    while not server.calls and server.now_ns - start < 2e9:
        server.ask(snapshot(3, 2))
        server.advance(0.05)
    assert (server.now_ns - start) / 1e9 <= LONGEST_TIMEOUT + 0.1
