"""The judge's rules of logs and commitment: what breaks them, and what a correct Raft may do."""

from __future__ import annotations

from typing import Any

import pytest

from labrpc.codec import Record, encode
from labrpc.errors import InvariantViolation
from labrpc.journal import Applied, Booted, Delivered, Sent
from tester.applied import AppliedLogs
from tester.log_invariants import LogInvariants


class Wire:
    """Hand-made messages in front of the rules."""

    now = 3_214_000_000

    def __init__(self, servers: int = 5, *, saved: bool = True) -> None:
        self.saved = saved
        self.probed = 0
        self.count = 0
        self.rules = LogInvariants(self, self, servers)  # type: ignore[arg-type]

    def fail(self, error: BaseException) -> None:
        raise error

    def forgets_entries(self, server: int, args: Record) -> bool:
        self.probed += 1
        return not self.saved

    def send(self, source: int, target: int, method: str, reply_to: int = 0, **fields: Any) -> int:
        self.count += 1
        payload = encode(Record("Message", fields))
        self.rules.observe(Sent(self.now, self.count, reply_to, str(source), 1, str(target), f"Raft.{method}", payload))
        return self.count

    def append(self, leader: int, term: int, prev: tuple[int, int], *entries: tuple[int, Any], target: int = 9) -> int:
        """An append of (term, command) entries after the (index, term) `prev`."""
        records = [Record("LogEntry", {"term": t, "command": c}) for t, c in entries]
        fields = {"term": term, "prev_log_index": prev[0], "prev_log_term": prev[1], "entries": records}
        return self.send(leader, target, "append_entries", **fields)

    def accept(self, request: int, follower: int, term: int, **more: Any) -> None:
        self.send(follower, 0, "append_entries", request, term=term, success=True, **more)

    def replicate(
        self, leader: int, term: int, prev: tuple[int, int], *entries: tuple[int, Any], to: list[int]
    ) -> None:
        for follower in to:
            self.accept(self.append(leader, term, prev, *entries, target=follower), follower, term)

    def apply(self, server: int, index: int, command: Any = "x") -> None:
        body = Record("ApplyMsg", {"command_valid": True, "command": command, "command_index": index})
        self.rules.observe(Applied(self.now, str(server), encode(body)))

    def apply_snapshot(self, server: int, index: int) -> None:
        body = Record("ApplyMsg", {"snapshot_valid": True, "snapshot": b"", "snapshot_index": index})
        self.rules.observe(Applied(self.now, str(server), encode(body)))


def test_two_entries_at_one_index_of_one_term_are_named():
    wire = Wire()
    wire.append(0, 3, (0, 0), (3, "a"))
    with pytest.raises(
        InvariantViolation, match=r"servers 0 and 1 sent different entries for index 1 of term 3 \(§5.3"
    ):
        wire.append(1, 4, (0, 0), (3, "b"), (4, "c"))


def rejected(wire: Wire, *, delivered: bool = True, term: int = 3) -> None:
    """Server 1 acknowledges index 5 in term 3, and then rejects an append that follows index 5."""
    first = wire.append(0, 3, (4, 3), (3, "a"), target=1)
    if not delivered:
        second = wire.append(0, term, (5, 3), target=1)
        wire.rules.observe(Delivered(0, second))
    wire.accept(first, 1, 3)
    if delivered:
        second = wire.append(0, term, (5, 3), target=1)
        wire.rules.observe(Delivered(0, second))
    wire.send(1, 0, "append_entries", second, term=term, success=False)


def test_a_follower_that_has_lost_what_it_acknowledged_is_named():
    expected = (
        r"server 1 rejected entries that follow index 5 in term 3, though .* up to index 5 in that term \(Fig\. 2"
    )
    with pytest.raises(InvariantViolation, match=expected):
        rejected(Wire())


def test_a_server_that_rejects_the_leader_of_its_own_term_is_named():
    """§5.2: a candidate that hears from the leader of its term returns to follower state."""
    wire = Wire()
    heartbeat = wire.append(0, 3, (0, 0), target=1)
    with pytest.raises(InvariantViolation, match=r"server 1 rejected what follows index 0, .* term 3.*\(§5\.2"):
        wire.send(1, 0, "append_entries", heartbeat, term=3, success=False)


def test_a_server_may_reject_the_leader_of_an_older_term_and_what_it_has_compacted():
    wire = Wire()
    wire.send(1, 0, "append_entries", wire.append(0, 3, (0, 0), target=1), term=4, success=False)
    wire.replicate(0, 5, (0, 0), (5, "x"), to=[1, 2, 3])
    wire.apply(1, 1)
    wire.send(1, 0, "append_entries", wire.append(0, 5, (0, 0), target=1), term=5, success=False)


def test_a_follower_may_reject_what_came_before_it_had_the_entries():
    rejected(Wire(), delivered=False)


def test_in_another_term_a_follower_may_have_lost_what_it_acknowledged():
    rejected(Wire(), term=4)


def test_a_follower_may_reject_what_follows_an_entry_that_it_may_have_compacted():
    wire = Wire()
    for follower in (1, 2, 3):
        wire.accept(wire.append(0, 3, (0, 0), *[(3, n) for n in range(5)], target=follower), follower, 3)
    for index in range(1, 6):
        wire.apply(1, index, index - 1)
    second = wire.append(0, 3, (5, 3), target=1)
    wire.rules.observe(Delivered(0, second))
    wire.send(1, 0, "append_entries", second, term=3, success=False)


def test_logs_that_agree_at_an_entry_but_not_before_it_are_named():
    wire = Wire()
    wire.append(0, 3, (4, 2), (3, "a"))
    with pytest.raises(
        InvariantViolation, match="same entry at index 5 of term 3, but entries of terms 2 and 1 before"
    ):
        wire.append(1, 4, (4, 1), (3, "a"))


@pytest.mark.parametrize("changed", range(3))
def test_an_entry_that_its_leader_changed_is_named_among_those_it_sends_again(changed: int):
    entries = [(3, "a"), (3, "b"), (3, "c")]
    wire = Wire()
    wire.append(0, 3, (4, 2), *entries)
    wire.append(0, 3, (4, 2), *entries, target=8)
    entries[changed] = (3, "z")
    with pytest.raises(InvariantViolation, match=f"different entries for index {5 + changed} of term 3"):
        wire.append(0, 3, (4, 2), *entries, (3, "d"))


def test_entries_sent_again_after_another_entry_are_named():
    wire = Wire()
    wire.append(0, 3, (4, 2), (3, "a"), (3, "b"))
    with pytest.raises(InvariantViolation, match="same entry at index 5 of term 3, but entries of terms 2 and 1"):
        wire.append(0, 3, (4, 1), (3, "a"), (3, "b"))


def test_applying_what_no_majority_has_is_named_with_time():
    wire = Wire()
    wire.replicate(0, 1, (0, 0), (1, "a"), to=[1])
    with pytest.raises(InvariantViolation) as caught:
        wire.apply(0, 1)
    assert "server 0 applied index 1, but no majority has acknowledged more than index 0" in str(caught.value)
    assert str(caught.value).endswith("at 3.214 s")


def test_figure_8_an_older_entry_committed_by_counting_is_named():
    wire = Wire()
    wire.replicate(0, 2, (1, 1), (2, "b"), to=[1])  # (a): index 2, term 2, on servers 0 and 1
    wire.replicate(0, 4, (1, 1), (2, "b"), to=[1, 2])  # (c): server 0 leads term 4 and brings it to a majority
    with pytest.raises(InvariantViolation, match=r"on a majority, but under no leader .* \(§5\.4\.2, Figure 8"):
        wire.apply(0, 2)


def test_figure_8_with_an_entry_of_its_own_term_it_may_be_applied():
    wire = Wire()
    wire.replicate(0, 2, (1, 1), (2, "b"), to=[1])
    wire.replicate(0, 4, (1, 1), (2, "b"), (4, "c"), to=[1, 2])  # (e)
    wire.apply(0, 2)
    wire.apply(0, 3)
    wire.apply(4, 2)


def test_acknowledged_entries_that_are_not_durable_are_named():
    wire = Wire(saved=False)
    with pytest.raises(
        InvariantViolation, match="server 1 answered before it had saved: it acknowledged entries up to"
    ):
        wire.replicate(0, 1, (0, 0), (1, "a"), to=[1])


def test_heartbeats_are_not_probed_and_appends_ever_more_rarely():
    wire = Wire()
    for index in range(100):
        wire.replicate(0, 1, (index, min(index, 1)), (1, index), to=[1])
        wire.accept(wire.append(0, 1, (index + 1, 1)), 1, 1)
    assert wire.probed == 7


def late_and_repeated_replies(wire: Wire) -> None:
    requests = [wire.append(0, 1, (0, 0), (1, "a"), target=f) for f in (1, 2, 1, 2)]
    for request, follower in zip(requests, (1, 2, 1, 2), strict=True):
        wire.accept(request, follower, 1)
    wire.apply(0, 1)


def a_commit_learnt_from_an_earlier_leader(wire: Wire) -> None:
    wire.replicate(0, 1, (0, 0), (1, "a"), to=[1, 2])
    wire.apply(0, 1)
    wire.append(3, 2, (1, 1))  # a new leader that has nothing of its own term yet
    wire.apply(3, 1)


def acknowledgements_by_snapshot(wire: Wire) -> None:
    wire.replicate(0, 1, (0, 0), *[(1, n) for n in range(5)], to=[1])
    request = wire.send(0, 2, "install_snapshot", term=1, last_included_index=5, last_included_term=1, data=b"")
    wire.send(2, 0, "install_snapshot", request, term=1)
    wire.apply_snapshot(2, 5)
    wire.apply(0, 5)


def replies_that_say_more_than_was_asked(wire: Wire) -> None:
    wire.append(0, 1, (0, 0), *[(1, n) for n in range(5)])
    for follower in (1, 2):
        wire.accept(wire.append(0, 1, (2, 1)), follower, 1, match_index=5)
    wire.apply(0, 5)


def a_late_answer_about_entries_that_a_newer_leader_has_replaced(wire: Wire) -> None:
    request = wire.append(0, 1, (0, 0), (1, "a"), target=1)
    newer = wire.append(2, 2, (0, 0), (2, "b"), target=1)
    wire.rules.observe(Delivered(0, newer))
    wire.saved = False
    wire.accept(request, 1, 1)


def messages_of_another_shape(wire: Wire) -> None:
    wire.send(0, 1, "append_entries", term=1, batch=[])
    wire.apply(0, 7)


def rejections_and_newer_terms(wire: Wire) -> None:
    request = wire.append(0, 1, (5, 1), (1, "a"), target=1)
    wire.send(1, 0, "append_entries", request, term=1, success=False, conflict_index=3)
    wire.send(2, 0, "append_entries", wire.append(0, 1, (5, 1), (1, "a")), term=4, success=False)


@pytest.mark.parametrize(
    "behaviour",
    [
        late_and_repeated_replies,
        a_commit_learnt_from_an_earlier_leader,
        acknowledgements_by_snapshot,
        replies_that_say_more_than_was_asked,
        a_late_answer_about_entries_that_a_newer_leader_has_replaced,
        messages_of_another_shape,
        rejections_and_newer_terms,
    ],
    ids=lambda behaviour: behaviour.__name__,
)
def test_what_a_correct_raft_may_do_breaks_no_rule(behaviour):
    behaviour(Wire())


def test_a_single_server_is_not_judged_by_acknowledgements():
    Wire(servers=1).apply(0, 1)


# ------------------------------------------------------------------ applying


class Applies:
    """Hand-made applies in front of the rules of applying."""

    now = 1_000_000_000

    def __init__(self, *, opaque_snapshots: bool = False) -> None:
        self.logs = AppliedLogs(self, opaque_snapshots=opaque_snapshots)  # type: ignore[arg-type]

    def fail(self, error: BaseException) -> None:
        raise error

    def command(self, server: str, index: int, command: Any) -> None:
        fields = {"command_valid": True, "command": command, "command_index": index}
        self.logs.observe(Applied(self.now, server, encode(Record("ApplyMsg", fields))))

    def snapshot(self, server: str, index: int, content: Any) -> None:
        fields = {"snapshot_valid": True, "snapshot": encode(content), "snapshot_index": index}
        self.logs.observe(Applied(self.now, server, encode(Record("ApplyMsg", fields))))


def test_different_commands_at_one_index_are_named():
    applies = Applies()
    applies.command("0", 1, "a")
    with pytest.raises(InvariantViolation, match=r"server 1 applied 'b' at index 1, where server 0 had applied 'a'"):
        applies.command("1", 1, "b")


@pytest.mark.parametrize("index", [1, 3], ids=["again", "a gap"])
def test_applying_out_of_order_is_named(index):
    applies = Applies()
    applies.command("0", 1, "a")
    with pytest.raises(InvariantViolation, match=f"server 0 applied index {index} when index 2 was next"):
        applies.command("0", index, "a")


def test_a_snapshot_that_takes_the_state_back_is_named():
    applies = Applies()
    for index in (1, 2, 3):
        applies.command("0", index, index)
    with pytest.raises(InvariantViolation, match="snapshot of index 2 after it had applied index 3"):
        applies.snapshot("0", 2, (2, [1, 2]))


def test_a_snapshot_whose_content_is_another_index_is_named():
    with pytest.raises(InvariantViolation, match="whose content is not the state at that index"):
        Applies().snapshot("0", 3, (2, [1, 2]))


def test_a_snapshot_counts_as_having_applied_all_it_holds():
    applies = Applies()
    applies.snapshot("0", 3, (3, ["a", "b", "c"]))
    applies.command("0", 4, "d")
    assert [applies.logs.servers_that_applied(index) for index in range(1, 6)] == [1, 1, 1, 1, 0]
    assert applies.logs.command(2) == "b"


def opaque_applies() -> Applies:
    """Three commands applied by server 0, whose snapshots are the service's own."""
    applies = Applies(opaque_snapshots=True)
    for index in (1, 2, 3):
        applies.command("0", index, index)
    return applies


def test_an_opaque_snapshot_has_its_place_in_the_order():
    applies = opaque_applies()
    applies.snapshot("1", 3, "the service's own state")
    with pytest.raises(InvariantViolation, match="server 1 applied index 5 when index 4 was next"):
        applies.command("1", 5, "e")


def test_an_opaque_snapshot_does_not_take_the_state_back():
    with pytest.raises(InvariantViolation, match="snapshot of index 2 after it had applied index 3"):
        opaque_applies().snapshot("0", 2, "the service's own state")


def test_after_a_restart_from_an_opaque_snapshot_the_first_index_is_the_servers_to_say():
    applies = opaque_applies()
    applies.logs.observe(Booted(applies.now, "0", 2, 100, snapshot_size=50))
    applies.command("0", 3, 3)
    with pytest.raises(InvariantViolation, match="server 0 applied index 5 when index 4 was next"):
        applies.command("0", 5, "e")


def test_after_a_restart_from_an_opaque_snapshot_it_cannot_be_ahead_of_all():
    applies = opaque_applies()
    applies.logs.observe(Booted(applies.now, "0", 2, 100, snapshot_size=50))
    with pytest.raises(InvariantViolation, match="server 0 applied index 5 when index 4 was next"):
        applies.command("0", 5, "e")


def test_after_a_restart_without_a_snapshot_the_first_index_is_1():
    applies = opaque_applies()
    applies.logs.observe(Booted(applies.now, "0", 2, 100, snapshot_size=0))
    with pytest.raises(InvariantViolation, match="server 0 applied index 3 when index 1 was next"):
        applies.command("0", 3, 3)


# ------------------------------------------------------------------ votes


def voted(wire: Wire, *, term: int, last: tuple[int, int], incarnation: int = 1, **more: Any) -> None:
    """Server 1 votes for 2, whose log ends with the (index, term) `last`."""
    asks = wire.send(2, 1, "request_vote", term=term, last_log_index=last[0], last_log_term=last[1], **more)
    wire.count += 1
    reply = encode(Record("Message", {"term": term, "vote_granted": True}))
    wire.rules.observe(Sent(wire.now, wire.count, asks, "1", incarnation, "2", "Raft.request_vote", reply))


@pytest.mark.parametrize("last", [(5, 2), (9, 2), (4, 3)])
def test_a_vote_for_a_log_that_is_behind_what_the_voter_acknowledged_is_named(last):
    wire = Wire()
    wire.replicate(0, 3, (4, 2), (3, "a"), to=[1])
    expected = (
        rf"server 1 voted in term 4 for 2, whose log ends with index {last[0]} of term {last[1]}, though its own has "
        r"index 5 of term 3 \(§5.4.1"
    )
    with pytest.raises(InvariantViolation, match=expected):
        voted(wire, term=4, last=last)


def test_a_leader_has_what_it_has_sent_when_it_is_asked_for_its_vote():
    wire = Wire()
    wire.append(1, 3, (0, 0), (3, "a"), (3, "b"), target=0)
    with pytest.raises(InvariantViolation, match="though its own has index 2 of term 3"):
        voted(wire, term=4, last=(1, 3))


def test_votes_for_logs_that_are_up_to_date_or_not_known_to_be_behind_break_no_rule():
    wire = Wire()
    wire.replicate(0, 3, (4, 2), (3, "a"), to=[1])
    voted(wire, term=4, last=(5, 3))
    voted(wire, term=5, last=(1, 4))
    voted(wire, term=6, last=(1, 1), incarnation=2)  # what it had may not have been durable: another rule's affair
    voted(wire, term=7, last=(1, 1), pre_vote=True)
    voted(wire, term=3, last=(1, 1))  # the election in which 0 won: it voted before it had the entry
    wire.rules.observe(Delivered(0, wire.append(0, 8, (3, 2), (8, "b"), target=1)))
    voted(wire, term=9, last=(4, 2))  # the leader of term 8 may have cut its log, though that is not acknowledged yet
