"""What a service may count on: start(), kill(), apply_ch. §5.3 for start; the rest is what the labs agree on."""

from __future__ import annotations

import pytest

from tests.harness.paper.lone_server import Bench, commands, entries, heartbeat


@pytest.mark.parametrize("role", ["follower", "candidate"])
def test_start_on_a_server_that_does_not_lead_is_refused(bench: Bench, role: str) -> None:
    """§5.3: only a leader takes commands; the answer tells the term, and the log is what it was."""
    server = bench()
    server.hold(1, 1, term=3)
    term = server.stand() if role == "candidate" else 3
    assert server.start("x") == (-1, term, False)
    assert server.log_terms() == [1, 1]


def test_start_tells_where_the_command_will_stand(bench: Bench) -> None:
    """§5.3: at the end of the leader's log, in its term; it returns at once, committed or not."""
    server = bench()
    server.hold(1, 1)
    term = server.lead(6)
    start = server.now_ns
    assert [server.start(command) for command in "xyz"] == [(3, term, True), (4, term, True), (5, term, True)]
    assert server.now_ns - start < 1_000_000
    assert [entry.command for entry in server.log()[2:]] == ["x", "y", "z"]


def test_start_counts_on_behind_a_snapshot(bench: Bench) -> None:
    """§7: indices do not start over when the log is compacted."""
    server = bench()
    server.hold(1, 1, commit=2)
    server.snapshot(2, b"two")
    term = server.lead()
    assert server.start("x") == (3, term, True)


def test_a_command_that_cannot_be_encoded_leaves_the_log_unchanged(bench: Bench) -> None:
    """Fig. 2, State: what cannot be saved cannot be an entry; the caller is told."""
    server = bench()
    term = server.lead()
    server.start("x")
    since = len(server.history)
    assert server.control("start_what_cannot_be_encoded").startswith("CodecError: cannot encode")
    assert "save" not in server.history[since:]
    assert server.start("y") == (2, term, True)
    assert [entry.command for entry in server.log()] == ["x", "y"]


def test_a_killed_server_takes_no_commands(bench: Bench) -> None:
    """It may have been a leader; nobody would carry its entry on."""
    server = bench()
    term = server.lead()
    server.control("kill")
    assert server.start("x") == (-1, term, False)
    assert server.log() == []


@pytest.mark.parametrize("role", ["follower", "candidate", "leader"])
def test_all_threads_of_a_killed_server_end(bench: Bench, role: str) -> None:
    """The process that runs it may run on."""
    server = bench()
    if role != "follower":
        server.lead() if role == "leader" else server.stand()
    assert server.threads() != []
    server.control("kill")
    server.advance(1.0)
    assert server.threads() == []


def test_a_killed_server_says_nothing_of_its_own(bench: Bench) -> None:
    """No election, no heartbeat, once the calls that were under way are over."""
    server = bench()
    server.lead()
    server.control("kill")
    start = server.now_ns
    server.advance(3.0)
    assert server.calls_since(start) == []


def test_a_service_that_does_not_read_delays_nothing_else(bench: Bench) -> None:
    """§5.3: apply_ch may be full for long; the server votes, appends and leads all the same, and loses nothing."""
    server = bench(servers=3)
    server.hold(*[1] * 10, commit=1)
    server.control("stop_reading")
    assert server.ask(heartbeat(1, (10, 1), commit=10)).success
    server.advance(0.2)
    assert server.vote_for(2, 2, last=(0, 0)).term == 2
    term = server.lead()
    assert server.start("x") == (11, term, True)
    server.accept(server.next_call(1))
    server.control("go_on_reading")
    server.accept(server.next_call(1))
    server.advance(0.1)
    assert commands(server.applied) == [*((index, f"{index}@1") for index in range(1, 11)), (11, "x")]


def test_commands_may_be_any_value_that_can_travel(bench: Bench) -> None:
    """A command comes out of apply_ch as it went into start()."""
    values = [None, 0, "text", b"bytes", [1, [2]], {"key": (1, 2)}]
    server = bench(servers=1)
    server.wait_for(lambda: server.state()[1], "lead")
    for value in values:
        server.start(value)
    server.advance(0.1)
    assert [command for _, command in commands(server.applied)] == values


def test_more_than_one_message_full_of_entries_is_replicated(bench: Bench) -> None:
    """§5.3: a follower that lacks thousands gets them all, in as many messages as it takes."""
    server = bench(servers=3)
    server.ask(heartbeat(1, sent=entries(*[1] * 1500)))
    server.ask(heartbeat(1, (1500, 1), sent=entries(*[1] * 1500, first=1501)))
    assert len(server.log()) == 3000
