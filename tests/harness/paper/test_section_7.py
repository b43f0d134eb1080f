"""§7, log compaction: what a server does with snapshots of its own, and a leader with followers behind them."""

from __future__ import annotations

import pytest

from raft import AppendEntriesArgs, AppendEntriesReply, InstallSnapshotArgs, InstallSnapshotReply
from tests.harness.paper.lone_server import Bench, LoneServer, commands, entries, heartbeat


def compacted(bench: Bench, *, servers: int = 5) -> LoneServer:
    """A follower in term 2 with log 1 1 2 2 2, everything applied, and a snapshot of the first three."""
    server = bench(servers=servers)
    server.hold(1, 1, 2, 2, 2, commit=5)
    assert server.snapshot(3, b"three") == ""
    return server


# ------------------------------------------------------------------ snapshot()


def test_a_snapshot_replaces_the_entries_it_covers(bench: Bench) -> None:
    """§7: everything up to the snapshot's index is removed from the log; the rest stays."""
    server = compacted(bench)
    assert server.log() == entries(2, 2, first=4)
    assert server.durable_snapshot == b"three"


def test_a_snapshot_makes_the_state_on_disk_smaller(bench: Bench) -> None:
    """§7: that is what it is for."""
    server = bench()
    server.hold(*[1] * 200, commit=200)
    before = server.control("persist_bytes")
    server.snapshot(199, b"")
    assert server.control("persist_bytes") < before / 20


def test_every_server_takes_snapshots_on_its_own(bench: Bench) -> None:
    """§7: a follower too, without its leader's knowledge, and though it has fallen behind its own log."""
    server = compacted(bench)
    assert server.ask(heartbeat(2, (5, 2), sent=entries(2, first=6), commit=6)).success
    server.advance(0.1)
    assert commands(server.applied)[-1] == (6, "6@2")


def test_the_service_cannot_compact_what_it_was_not_given(bench: Bench) -> None:
    """§7: a snapshot covers applied entries only; committed ones that the service does not have yet would be lost."""
    server = bench()
    server.hold(1, 1, 1, commit=2)
    assert server.snapshot(3, b"x") == "ValueError: snapshot at index 3 exceeds last applied index 2"
    assert (server.log_terms(), server.durable_snapshot) == ([1, 1, 1], b"")


@pytest.mark.parametrize("index", [3, 2, 1])
def test_a_snapshot_behind_the_last_one_is_ignored(bench: Bench, index: int) -> None:
    """§7: the log cannot grow back."""
    server = compacted(bench)
    assert server.snapshot(index, b"older") == ""
    assert (server.log(), server.durable_snapshot) == (entries(2, 2, first=4), b"three")


def test_state_and_snapshot_change_in_one_save(bench: Bench) -> None:
    """§7: the snapshot stands for the entries that the same save removes; a crash sees both or neither."""
    server = bench()
    server.hold(1, 1, commit=2)
    before = len(server.history)
    server.snapshot(1, b"one")
    assert server.history[before:] == ["save with snapshot", "saved"]


# ------------------------------------------------------------------ restart


def test_a_server_restarts_from_its_snapshot_and_the_log_behind_it(bench: Bench) -> None:
    """§7; Fig. 2, State: what the snapshot holds is committed and applied; what follows is applied once it is again."""
    server = compacted(bench)
    server.crash()
    server.restart()
    assert server.log() == entries(2, 2, first=4)
    server.ask(heartbeat(2, (5, 2), commit=5))
    server.advance(0.1)
    assert commands(server.applied) == [(4, "4@2"), (5, "5@2")]
    assert not server.applied[0].snapshot_valid, "the service reads the snapshot from the disk itself"


def test_a_later_save_keeps_the_snapshot(bench: Bench) -> None:
    """§7: saving a new vote or entry does not lose the state."""
    server = compacted(bench)
    server.vote_for(1, 3)
    server.ask(heartbeat(3, (5, 2), sent=entries(3, first=6)))
    server.crash()
    assert server.durable_snapshot == b"three"
    server.restart()
    assert server.log_terms() == [2, 2, 3]


def test_a_snapshot_taken_after_a_restart_goes_on_from_the_old_one(bench: Bench) -> None:
    """§7: indices count from the start of time, not of the log."""
    server = compacted(bench)
    server.crash()
    server.restart()
    server.ask(heartbeat(2, (5, 2), commit=5))
    server.advance(0.1)
    assert server.snapshot(5, b"five") == ""
    assert (server.log(), server.durable_snapshot) == ([], b"five")
    assert server.ask(heartbeat(2, (5, 2), sent=entries(2, first=6), commit=6)).success


# ------------------------------------------------------------------ the log's beginning


def test_a_message_that_begins_in_the_snapshot_is_taken_from_its_end_on(bench: Bench) -> None:
    """§7: what the snapshot covers is committed, so it agrees; a delayed message may well begin there."""
    server = compacted(bench)
    reply = server.ask(heartbeat(2, (1, 1), sent=entries(1, 2, 2, 2, 2, first=2), commit=6))
    assert reply == AppendEntriesReply(2, True)
    server.advance(0.1)
    assert server.log() == entries(2, 2, 2, first=4)
    assert commands(server.applied)[-1] == (6, "6@2")


def test_a_message_that_ends_in_the_snapshot_changes_nothing(bench: Bench) -> None:
    """§7: a delayed one that the snapshot has outrun; what follows the snapshot must stay."""
    server = compacted(bench)
    assert server.ask(heartbeat(2, (0, 0), sent=entries(1, 1), commit=2)) == AppendEntriesReply(2, True)
    assert server.log() == entries(2, 2, first=4)


def test_entries_directly_behind_the_snapshot_are_checked_against_its_term(bench: Bench) -> None:
    """§7: the last included index and term are kept for just this check."""
    server = compacted(bench)
    server.snapshot(5, b"five")
    assert server.ask(heartbeat(3, (5, 2), sent=entries(3, first=6))) == AppendEntriesReply(3, True)
    assert server.log() == entries(3, first=6)


def test_a_conflict_behind_the_snapshot_points_no_further_back_than_to_it(bench: Bench) -> None:
    """§7, §5.3: the term may have begun in the snapshot, but what is there agrees."""
    server = bench()
    server.hold(1, 2, 2, 2, commit=3)
    server.snapshot(3, b"three")
    reply = server.ask(heartbeat(5, (4, 4)))
    assert (reply.success, reply.conflict_term, reply.conflict_index) == (False, 2, 4)


def test_votes_go_by_the_snapshots_last_entry_when_the_log_is_empty(bench: Bench) -> None:
    """§5.4.1 with §7: a server that has compacted everything still has the newest log."""
    server = compacted(bench)
    server.snapshot(5, b"five")
    assert not server.vote_for(1, 3, last=(4, 2)).vote_granted
    assert server.vote_for(1, 3, last=(5, 2)).vote_granted


# ------------------------------------------------------------------ the leader's side


def test_a_follower_that_needs_what_is_compacted_is_sent_the_snapshot(bench: Bench) -> None:
    """§7; Fig. 13, arguments: only then, and with the index and term that it ends in."""
    server = compacted(bench)
    term = server.lead()
    call = server.next_call(1)
    assert call.args == heartbeat(term, (5, 2), commit=5, leader=0)
    server.answer(call, AppendEntriesReply(term, False, 0, 2))
    assert server.next_call(1).args == InstallSnapshotArgs(term, 0, 3, 2, b"three")


def test_a_follower_that_has_just_the_snapshot_is_sent_entries(bench: Bench) -> None:
    """§7: the term of the last included entry is known, so no snapshot is needed."""
    server = compacted(bench)
    term = server.lead()
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 4))
    call = server.next_call(1)
    assert call.args == heartbeat(term, (3, 2), sent=entries(2, 2, first=4), commit=5, leader=0)


def test_after_the_snapshot_come_the_entries_behind_it(bench: Bench) -> None:
    """§7: the snapshot brings the follower to its index; the log does the rest, at once."""
    server = compacted(bench)
    term = server.lead()
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    call = server.next_call(1, InstallSnapshotArgs)
    server.answer(call, InstallSnapshotReply(term))
    following = server.next_call(1)
    assert following.args == heartbeat(term, (3, 2), sent=entries(2, 2, first=4), commit=5, leader=0)
    assert following.at_ns - call.at_ns < 10_000_000


def test_a_snapshot_that_got_lost_is_sent_again(bench: Bench) -> None:
    """§5.1, §7: like every RPC."""
    server = compacted(bench)
    term = server.lead()
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    server.answer(server.next_call(1, InstallSnapshotArgs), None)
    assert isinstance(server.next_call(1).args, InstallSnapshotArgs)


def test_a_follower_that_has_the_snapshot_counts_for_what_it_covers_only(bench: Bench) -> None:
    """Fig. 13 and Fig. 2, Leaders 4: the reply to a snapshot says nothing of the entries behind it."""
    server = compacted(bench, servers=3)
    term = server.lead()
    server.start("x")
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    server.answer(server.next_call(1, InstallSnapshotArgs), InstallSnapshotReply(term))
    server.advance(0.05)
    assert len(server.applied) == 5
    server.accept(server.next_call(1, AppendEntriesArgs))
    server.advance(0.01)
    assert commands(server.applied)[5:] == [(6, "x")]


def test_a_leader_that_restarted_sends_the_snapshot_it_had(bench: Bench) -> None:
    """§7: from its disk."""
    server = compacted(bench)
    server.crash()
    server.restart()
    term = server.lead()
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    assert server.next_call(1).args == InstallSnapshotArgs(term, 0, 3, 2, b"three")


def test_a_server_passes_on_the_snapshot_that_it_was_sent(bench: Bench) -> None:
    """§7: whoever leads next sends the one it has, its own or its former leader's."""
    server = bench()
    server.ask(InstallSnapshotArgs(2, 1, 7, 2, b"seven"))
    term = server.lead()
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    assert server.next_call(1).args == InstallSnapshotArgs(term, 0, 7, 2, b"seven")


def test_a_late_answer_to_a_snapshot_does_not_count_in_a_new_term(bench: Bench) -> None:
    """§5.2, §7: the leader that sent it is none any more."""
    server = compacted(bench)
    term = server.lead()
    server.answer(server.next_call(1), AppendEntriesReply(term, False, 0, 1))
    call = server.next_call(1, InstallSnapshotArgs)
    server.vote_for(2, term + 1, last=(0, 0))
    start = server.now_ns
    server.answer(call, InstallSnapshotReply(term))
    server.advance(0.1)
    assert server.calls_since(start) == []
    assert server.state() == (term + 1, False)
