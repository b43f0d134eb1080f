"""The reference clerk, on ends that answer as told: whom it asks, and when it cannot know."""

from __future__ import annotations

import pytest

from kvraft import Clerk, Err, GetReply, PutReply
from kvraft import clerk as clerk_module
from labrpc import UsageError

LOST = None
REFUSED = PutReply(Err.WRONG_LEADER)


class Servers:
    """Ends whose replies come from one script, whoever is asked."""

    def __init__(self, monkeypatch, servers: int, *script) -> None:
        self.script = list(script)
        self.asked: list[int] = []
        self.pauses: list[float] = []
        monkeypatch.setattr(clerk_module.time, "sleep", self.pauses.append)
        self.clerk = Clerk([End(self, number) for number in range(servers)])


class End:
    def __init__(self, servers: Servers, number: int) -> None:
        self.servers, self.number = servers, number

    def call(self, method, args, timeout=None):
        assert timeout is not None, "a clerk must not wait for a dead server without end"
        self.servers.asked.append(self.number)
        return self.servers.script.pop(0)


@pytest.mark.parametrize(
    ("script", "result"),
    [
        ([PutReply(Err.OK)], Err.OK),
        ([PutReply(Err.VERSION)], Err.VERSION),
        ([PutReply(Err.NO_KEY)], Err.NO_KEY),
        ([LOST, PutReply(Err.OK)], Err.OK),
        ([LOST, PutReply(Err.VERSION)], Err.MAYBE),
        ([LOST, PutReply(Err.NO_KEY)], Err.NO_KEY),  # a key never goes away: no attempt has made it
        ([REFUSED, PutReply(Err.VERSION)], Err.MAYBE),  # a leader that lost its place may have started it
        ([LOST, LOST, LOST, PutReply(Err.VERSION)], Err.MAYBE),
    ],
)
def test_the_maybe_rule(monkeypatch, script, result):
    servers = Servers(monkeypatch, 3, *script)
    assert servers.clerk.put("k", "v", 1) is result
    assert not servers.script


def test_a_get_returns_what_the_server_says(monkeypatch):
    servers = Servers(monkeypatch, 1, LOST, GetReply("v", 3, Err.OK), GetReply("", 0, Err.NO_KEY))
    assert servers.clerk.get("k") == ("v", 3, Err.OK)
    assert servers.clerk.get("k") == ("", 0, Err.NO_KEY)


def test_it_remembers_the_leader(monkeypatch):
    ok = PutReply(Err.OK)
    servers = Servers(monkeypatch, 5, REFUSED, REFUSED, ok, ok, ok)
    for version in range(3):
        servers.clerk.put("k", "v", version)
    assert servers.asked == [0, 1, 2, 2, 2]
    assert servers.pauses == []


def test_one_silence_may_be_chance_and_two_are_a_reason_to_go_on(monkeypatch):
    servers = Servers(monkeypatch, 3, LOST, PutReply(Err.OK), LOST, LOST, PutReply(Err.OK))
    servers.clerk.put("k", "v", 0)
    servers.clerk.put("k", "v", 1)
    assert servers.asked == [0, 0, 0, 0, 1]


def test_it_pauses_once_all_have_refused(monkeypatch):
    servers = Servers(monkeypatch, 3, *[REFUSED] * 7, PutReply(Err.OK))
    servers.clerk.put("k", "v", 0)
    assert servers.asked == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len(servers.pauses) == 2


def test_a_clerk_needs_a_server():
    with pytest.raises(UsageError, match="at least 1 server"):
        Clerk([])
