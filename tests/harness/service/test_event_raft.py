"""What `EventRaft` does otherwise than `Raft`, rule by rule, with a disk and a network that the test moves by hand."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from kvraft.service.event_raft import MOST_IN_FLIGHT, WINDOW, EventRaft, Timing
from kvraft.service.log_store import Change, Save
from labrpc import decode, encode
from raft.messages import (
    AppendEntriesArgs,
    AppendEntriesReply,
    InstallSnapshotArgs,
    InstallSnapshotReply,
    LogEntry,
    RequestVoteArgs,
    RequestVoteReply,
)
from raft.production import Options
from raft.raft import Role

NEVER = Timing(heartbeat=1000, election=(5000, 10000))
"""Nothing happens by itself."""


class Disk:
    """A store whose saves become durable when the test says so."""

    def __init__(self) -> None:
        self.term, self.voted_for = 0, None
        self.last_included_index = self.last_included_term = 0
        self.entries: list[Any] = []
        self.snapshot = None
        self.saves: list[tuple[Save, Change]] = []

    def save(self, change: Change, snapshot: Any, rest: Any = None) -> Save:
        save = Save(len(self.saves) + 1)
        self.saves.append((save, change))
        return save

    def complete(self) -> None:
        for save, _ in self.saves:
            if not save.is_done:
                save.is_done = True
                for callback in save.callbacks:
                    callback()


class World:
    """Peers that answer when the test says so."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int, Any]] = []
        self.snapshots: list[tuple[int, Any]] = []
        self.resets: list[int] = []

    def is_connected(self, peer: int) -> bool:
        return True

    def send(self, peer: int, sequence: int, request: Any, payload: bytes) -> None:
        self.sent.append((peer, sequence, decode(payload)))

    def send_snapshot(self, peer: int, request: Any, snapshot: Any) -> None:
        self.snapshots.append((peer, request))

    def reset(self, peer: int) -> None:
        self.resets.append(peer)

    def role_changed(self) -> None:
        pass

    def commit_moved(self) -> None:
        pass

    def take(self, peer: int | None = None) -> list[tuple[int, int, Any]]:
        """What has been sent since the last time."""
        sent, self.sent = self.sent, []
        return [each for each in sent if peer is None or each[0] == peer]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(*arguments: Any, **options: Any) -> None:
        asyncio.run(test(*arguments, **options))

    return run


def node(servers: int = 3) -> tuple[EventRaft, Disk, World]:
    disk, world = Disk(), World()
    options = Options(pre_vote=False, check_quorum=True, leases=False, no_op=True)
    return EventRaft(servers, 0, disk, world, options, NEVER), disk, world  # type: ignore[arg-type]


async def leader(servers: int = 3, *, entries: int = 0) -> tuple[EventRaft, Disk, World]:
    """A leader of term 1, whose no-op and `entries` are everywhere."""
    raft, disk, world = node(servers)
    with raft.mu:
        raft._become_candidate_locked()
    await settle()
    disk.complete()
    await settle()
    for peer, sequence, _ in world.take():
        raft.on_reply(peer, sequence, encode(RequestVoteReply(1, True)))
    for _ in range(entries):
        raft.propose(b"x")
    disk.complete()
    await settle()
    for _ in range(3):
        for peer, sequence, _ in world.take():
            raft.on_reply(peer, sequence, encode(AppendEntriesReply(1, True)))
        await settle()
    assert raft.role is Role.LEADER
    assert raft.match_index[1:] == [1 + entries] * (servers - 1)
    return raft, disk, world


def answers(raft: EventRaft, request: Any) -> list[Any]:
    """A list that will hold the reply."""
    found: list[Any] = []
    raft.receive(request, lambda payload: found.append(decode(payload)))
    return found


@on_a_loop
async def test_a_vote_is_durable_before_it_is_given():
    raft, disk, _ = node()
    reply = answers(raft, RequestVoteArgs(1, 1, 0, 0))
    assert reply == []
    disk.complete()
    assert reply == [RequestVoteReply(1, True)]


@on_a_loop
async def test_a_candidate_asks_once_its_term_is_durable():
    raft, disk, world = node()
    with raft.mu:
        raft._become_candidate_locked()
    await settle()
    assert world.take() == []
    disk.complete()
    assert [request.term for _, _, request in world.take()] == [1, 1]


@on_a_loop
async def test_entries_are_durable_before_they_are_acknowledged_and_heartbeats_do_not_wait():
    raft, disk, _ = node()
    first = answers(raft, AppendEntriesArgs(1, 1, 0, 0, [LogEntry(1, b"a")], 0))
    disk.complete()
    assert first == [AppendEntriesReply(1, True)]
    second = answers(raft, AppendEntriesArgs(1, 1, 1, 1, [LogEntry(1, b"b")], 0))
    again = answers(raft, AppendEntriesArgs(1, 1, 1, 1, [LogEntry(1, b"b")], 0))
    known = answers(raft, AppendEntriesArgs(1, 1, 1, 1, [], 1))
    assert (second, again) == ([], []), "index 2 is not durable"
    assert known == [AppendEntriesReply(1, True)], "index 1 is"
    disk.complete()
    assert second == again == [AppendEntriesReply(1, True)]


@on_a_loop
async def test_what_replaced_a_saved_entry_is_not_durable_with_it():
    raft, disk, _ = node()
    answers(raft, AppendEntriesArgs(1, 1, 0, 0, [LogEntry(1, b"a"), LogEntry(1, b"b")], 0))
    old = list(disk.saves)
    replaced = answers(raft, AppendEntriesArgs(2, 2, 1, 1, [LogEntry(2, b"c")], 0))
    for save, _ in old:  # the disk has got so far
        save.is_done = True
        for callback in save.callbacks:
            callback()
    assert raft.durable_index < 2
    assert replaced == []
    disk.complete()
    assert replaced == [AppendEntriesReply(2, True)]
    assert raft.durable_index == 2


@on_a_loop
async def test_a_leaders_own_entry_counts_once_it_is_durable():
    raft, disk, world = await leader(3)
    raft.propose(b"new")
    await settle()
    sent = world.take()
    assert [request.entries for _, _, request in sent] == [[LogEntry(1, b"new")]] * 2, "its disk does not hold it up"
    peer, sequence, _ = sent[0]
    raft.on_reply(peer, sequence, encode(AppendEntriesReply(1, True)))
    assert raft.commit_index == 1, "one follower, and a leader that may yet forget it"
    disk.complete()
    assert raft.commit_index == 2


@on_a_loop
async def test_a_majority_of_followers_commits_without_the_leaders_disk():
    raft, _, world = await leader(3)
    raft.propose(b"new")
    await settle()
    for peer, sequence, _ in world.take():
        raft.on_reply(peer, sequence, encode(AppendEntriesReply(1, True)))
    assert raft.commit_index == 2


@on_a_loop
async def test_appends_are_sent_without_waiting_for_answers_up_to_the_window():
    raft, _, world = await leader(3)
    for number in range(WINDOW + 5):
        raft.propose(b"%d" % number)
        await settle()
    sent = world.take(1)
    assert [request.prev_log_index for _, _, request in sent] == list(range(1, WINDOW + 1))
    raft.on_reply(1, sent[0][1], encode(AppendEntriesReply(1, True)))
    await settle()
    assert len(world.take(1)[0][2].entries) == 5, "all that waited, in one"


@on_a_loop
async def test_a_refusal_takes_next_index_back_once_however_many_were_in_flight():
    raft, _, world = await leader(3, entries=4)
    raft.match_index[1] = 0  # as of a follower of which a new leader knows nothing
    for _ in range(3):
        raft.propose(b"x")
        await settle()
    sent = world.take(1)
    assert len(sent) == 3
    refusal = encode(AppendEntriesReply(1, False, conflict_term=0, conflict_index=3))
    raft.on_reply(1, sent[0][1], refusal)
    await settle()
    assert world.take(1) == [], "one at a time now, and two are still in flight"
    for _, sequence, _ in sent[1:]:
        raft.on_reply(1, sequence, refusal)  # they say nothing new
    await settle()
    (probe,) = world.take(1)
    assert probe[2].prev_log_index == 2
    assert len(probe[2].entries) == raft.log.last_index - 2
    raft.on_reply(1, probe[1], encode(AppendEntriesReply(1, True)))
    assert raft.match_index[1] == raft.log.last_index


@on_a_loop
async def test_what_was_in_flight_is_sent_again_on_a_new_stream():
    raft, _, world = await leader(3)
    raft.propose(b"lost")
    await settle()
    world.take()
    raft.on_disconnected(1)
    raft.on_connected(1)
    await settle()
    assert [request.entries for _, _, request in world.take(1)] == [[LogEntry(1, b"lost")]]


@on_a_loop
async def test_requests_in_flight_are_bounded():
    raft, _, world = await leader(3)
    for _ in range(100):
        raft.propose(b"x")
        with raft.mu:
            raft._send_now_locked()
        await settle()
    assert len(world.take(1)) <= MOST_IN_FLIGHT


@on_a_loop
async def test_reads_wait_for_a_majority_that_answered_after_they_were_asked():
    raft, _, world = await leader(5)
    early = [each for each in world.take() if each]
    found: list[int | None] = []
    for _ in range(10):
        raft.read(found.append)
    await settle()
    sent = world.take()
    assert len(sent) == 2, "two of four followers make a majority with the leader"
    raft.on_reply(sent[0][0], sent[0][1], encode(AppendEntriesReply(1, True)))
    await settle()
    assert found == []
    raft.on_reply(sent[1][0], sent[1][1], encode(AppendEntriesReply(1, True)))
    await settle()
    assert found == [1], "the round has the first; the others came while it was under way"
    for peer, sequence, _ in world.take():
        raft.on_reply(peer, sequence, encode(AppendEntriesReply(1, True)))
    await settle()
    assert found == [1] * 10
    assert not early


@on_a_loop
async def test_a_round_of_reads_that_takes_long_asks_all(monkeypatch):
    monkeypatch.setattr("kvraft.service.event_raft.ROUND_PATIENCE", 0.0)
    raft, _, world = await leader(5)
    world.take()
    found: list[int | None] = []
    raft.read(found.append)
    for _ in range(500):
        if len(world.sent) >= 4:
            break
        await asyncio.sleep(0.002)
    sent = world.take()
    assert sorted(peer for peer, _, _ in sent) == [1, 2, 3, 4], "each once"
    for peer, sequence, _ in sent[2:]:  # those asked first stay silent
        raft.on_reply(peer, sequence, encode(AppendEntriesReply(1, True)))
    await settle()
    assert found == [1]


@on_a_loop
async def test_an_answer_to_an_earlier_message_confirms_no_read():
    raft, _, world = await leader(3)
    raft.propose(b"x")
    await settle()
    before = world.take()
    found: list[int | None] = []
    raft.read(found.append)
    await settle()
    for peer, sequence, _ in before:
        raft.on_reply(peer, sequence, encode(AppendEntriesReply(1, True)))
    await settle()
    assert found == []


@on_a_loop
async def test_a_read_fails_when_its_leader_is_deposed():
    raft, disk, _ = await leader(3)
    found: list[int | None] = []
    raft.read(found.append)
    answers(raft, AppendEntriesArgs(2, 1, 0, 0, [], 0))
    disk.complete()
    await settle()
    assert found == [None]


@on_a_loop
async def test_a_follower_behind_the_log_gets_the_snapshot_and_heartbeats_beside_it():
    raft, _, world = await leader(3, entries=5)
    raft.last_applied = raft.commit_index
    raft.snapshot(4, "a file")  # type: ignore[arg-type]
    raft.match_index[1] = 0
    raft.on_disconnected(1)
    raft.on_connected(1)
    await settle()
    assert [(peer, request.last_included_index) for peer, request in world.snapshots] == [(1, 4)]
    heartbeats = world.take(1)
    assert [(each.prev_log_index, each.entries) for _, _, each in heartbeats] in ([], [(0, [])])
    request = InstallSnapshotArgs(1, 0, 4, 1, b"")
    raft.on_snapshot_sent(1, request, encode(InstallSnapshotReply(1)))
    await settle()
    assert world.take(1)[-1][2].prev_log_index == 4
    assert len(world.snapshots) == 1


@on_a_loop
async def test_timing_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match=r"two heartbeats of 0\.1 s must fit"):
        Timing(heartbeat=0.1, election=(0.15, 0.3))
    with pytest.raises(ValueError, match="must be less than the longest"):
        Timing(heartbeat=0.05, election=(0.3, 0.3))
