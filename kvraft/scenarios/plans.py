"""The scenarios: what each shows, and its plan, drawn from a seed.

A plan is a pure function of scenario, seed, seconds, number of nodes and the way of reading. Which node leads when a
step begins is not known before, so steps name it by what it is then.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from kvraft.scenarios.faults import Step
from labrpc.errors import UsageError

__all__ = ["SCENARIOS", "Scenario", "make_plan"]

WARM_SECONDS = 2.0
"""Before the first fault."""

CALM_SECONDS = 3.0
"""After the last one, while the load goes on."""

LEASE_SKEW = 0.02
"""Leases hold as long as two clocks' speeds differ by less than 5 %; these differ by 4 %."""

SKEW = 0.2


@dataclass(frozen=True, kw_only=True)
class Draw:
    """What a plan is drawn from."""

    choice: random.Random
    end: float
    nodes: int
    reads: str

    def rhythm(self, pause: tuple[float, float], lasts: tuple[float, float]) -> Iterator[tuple[float, float]]:
        """(when, how long), one after the other, with a pause after each, until the end."""
        at = WARM_SECONDS
        while True:
            seconds = round(self.choice.uniform(*lasts), 2)
            if at + seconds > self.end:
                return
            yield at, seconds
            at = round(at + seconds + self.choice.uniform(*pause), 2)

    def strength(self, low: float, high: float) -> float:
        return round(self.choice.uniform(low, high), 3)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A scenario.

    Attributes:
        shows: one sentence.
        plan: draws the steps.
        snapshot_bytes: of log after which nodes take a snapshot.
        needs_fronts: whether faults are done to the clients' links, so that they go through the proxy.
        must_install: whether it shows nothing unless a node was brought up to date by a snapshot.
    """

    name: str
    shows: str
    plan: Callable[[Draw], Iterator[Step]]
    snapshot_bytes: int = 16 << 20
    needs_fronts: bool = False
    must_install: bool = False


def make_plan(scenario: Scenario, *, seed: int, seconds: float, nodes: int, reads: str) -> list[Step]:
    """The steps, in order.

    Raises:
        UsageError: there is no time for even one.
    """
    draw = Draw(choice=random.Random(f"{scenario.name}/{seed}"), end=seconds - CALM_SECONDS, nodes=nodes, reads=reads)
    steps = sorted(scenario.plan(draw), key=lambda step: step.at)
    if not steps:
        raise UsageError(f"{seconds:g} s are too few for a fault of {scenario.name}: give it --seconds 20 or more")
    return [replace(step, draw=draw.choice.getrandbits(32)) for step in steps]


def _leader_churn(draw: Draw) -> Iterator[Step]:
    for at, seconds in draw.rhythm(pause=(2.0, 3.5), lasts=(1.0, 2.0)):
        yield Step(at=at, seconds=seconds, fault="kill", target="leader")


def _rolling_restart(draw: Draw) -> Iterator[Step]:
    order = draw.choice.sample(range(draw.nodes), draw.nodes)
    for number, (at, seconds) in enumerate(draw.rhythm(pause=(3.0, 3.5), lasts=(0.3, 0.6))):
        yield Step(at=at, seconds=seconds, fault="restart", target=str(order[number % draw.nodes]))


def _kill_minority(draw: Draw) -> Iterator[Step]:
    for at, seconds in draw.rhythm(pause=(3.0, 4.0), lasts=(2.0, 3.0)):
        yield Step(at=at, seconds=seconds, fault="kill", target="minority")


def _partition_leader(draw: Draw) -> Iterator[Step]:
    for at, seconds in draw.rhythm(pause=(2.5, 3.5), lasts=(2.0, 3.5)):
        fault = draw.choice.choice(["isolate", "isolate", "mute", "deaf", "half-open"])
        yield Step(at=at, seconds=seconds, fault=fault, target="leader")


def _flapping_links(draw: Draw) -> Iterator[Step]:
    for at, seconds in draw.rhythm(pause=(2.5, 3.5), lasts=(3.0, 5.0)):
        yield Step(
            at=at, seconds=seconds, fault="flap", target="all", strength=draw.strength(0.2, 0.5), survivable=False
        )


def _unreliable(draw: Draw) -> Iterator[Step]:
    for at, seconds in draw.rhythm(pause=(2.0, 3.0), lasts=(4.0, 6.0)):
        yield Step(
            at=at, seconds=seconds, fault="weather", target="all", strength=draw.strength(0.01, 0.05), survivable=False
        )


def _slow_disk(draw: Draw) -> Iterator[Step]:
    for at, seconds in draw.rhythm(pause=(2.0, 2.5), lasts=(3.0, 4.0)):
        target = draw.choice.choice(["leader", "follower", "minority"])
        yield Step(at=at, seconds=seconds, fault="slow-disk", target=target, strength=draw.strength(0.03, 0.2))


def _slow_follower(draw: Draw) -> Iterator[Step]:
    kinds = ["slow-cpu", "slow-link", "slow-disk"]
    draw.choice.shuffle(kinds)
    bounds = {"slow-cpu": (0.5, 0.9), "slow-link": (0.02, 0.06), "slow-disk": (0.05, 0.2)}
    for number, (at, seconds) in enumerate(draw.rhythm(pause=(2.0, 3.0), lasts=(3.0, 5.0))):
        fault = kinds[number % 3]
        yield Step(at=at, seconds=seconds, fault=fault, target="follower", strength=draw.strength(*bounds[fault]))


def _snapshot_catch_up(draw: Draw) -> Iterator[Step]:
    for at, seconds in draw.rhythm(pause=(3.0, 4.0), lasts=(4.0, 6.0)):
        yield Step(at=at, seconds=seconds, fault=draw.choice.choice(["kill", "isolate"]), target="follower")


def _clock_skew(draw: Draw) -> Iterator[Step]:
    most = LEASE_SKEW if draw.reads == "lease" else SKEW
    for at, seconds in draw.rhythm(pause=(1.5, 2.5), lasts=(4.0, 6.0)):
        yield Step(at=at, seconds=seconds, fault="skew", target="all", strength=most)
        if draw.reads == "lease":  # a clock that jumps breaks what leases rest on
            yield Step(at=at + 1.0, seconds=1.0, fault="isolate", target="leader")
        else:
            jump = draw.choice.choice([-3600.0, 0.5, 5.0, 60.0])
            yield Step(at=at + 1.0, seconds=1.0, fault="jump", target="node", strength=jump)


def _mixed(draw: Draw) -> Iterator[Step]:
    """Faults of one node at a time, and of links at a time, so that they meet in all ways."""
    for at, seconds in draw.rhythm(pause=(2.0, 4.0), lasts=(1.0, 4.0)):
        fault, target, bounds = draw.choice.choice(_OF_NODES)
        jumps = fault in ("skew", "jump") and draw.reads == "lease"
        if not jumps:
            yield Step(at=at, seconds=seconds, fault=fault, target=target, strength=draw.strength(*bounds))
    for at, seconds in draw.rhythm(pause=(3.0, 5.0), lasts=(1.0, 4.0)):
        fault, target, bounds = draw.choice.choice(_OF_LINKS)
        at = round(at + 1.3, 2)
        if at + seconds <= draw.end:
            yield Step(
                at=at, seconds=seconds, fault=fault, target=target, strength=draw.strength(*bounds), survivable=False
            )


_OF_NODES = [
    ("kill", "leader", (0.0, 0.0)),
    ("kill", "node", (0.0, 0.0)),
    ("pause", "leader", (0.0, 0.0)),
    ("pause", "node", (0.0, 0.0)),
    ("restart", "leader", (0.0, 0.0)),
    ("restart", "node", (0.0, 0.0)),
    ("full-disk", "node", (0.0, 0.0)),
    ("slow-disk", "leader", (0.03, 0.15)),
    ("slow-cpu", "node", (0.3, 0.8)),
    ("skew", "all", (SKEW, SKEW)),
    ("jump", "node", (0.2, 10.0)),
]
_OF_LINKS = [
    ("isolate", "leader", (0.0, 0.0)),
    ("isolate", "node", (0.0, 0.0)),
    ("mute", "leader", (0.0, 0.0)),
    ("deaf", "leader", (0.0, 0.0)),
    ("refuse", "node", (0.0, 0.0)),
    ("garbage", "node", (0.0, 0.0)),
    ("half-open", "node", (0.0, 0.0)),
    ("slow-link", "node", (0.02, 0.05)),
    ("weather", "all", (0.01, 0.03)),
    ("flap", "all", (0.2, 0.4)),
]

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            name="leader-churn",
            shows="The leader is killed again and again: another one takes over, and nothing acknowledged is lost.",
            plan=_leader_churn,
        ),
        Scenario(
            name="rolling-restart",
            shows="Each node is stopped in good order and started again, as for an upgrade: clients hardly notice.",
            plan=_rolling_restart,
        ),
        Scenario(
            name="kill-minority",
            shows="As many nodes as may fail are killed at once, the leader among them: the rest goes on.",
            plan=_kill_minority,
        ),
        Scenario(
            name="partition-leader",
            shows="A leader that is cut off, in one direction or in both, answers nothing that is no longer true.",
            plan=_partition_leader,
        ),
        Scenario(
            name="flapping-links",
            shows="Links between nodes come and go; the cluster answers again soon after they stay.",
            plan=_flapping_links,
        ),
        Scenario(
            name="unreliable",
            shows="Delays and resets on all links, the clients' too: operations are sent again, none is done twice.",
            plan=_unreliable,
            needs_fronts=True,
        ),
        Scenario(
            name="slow-disk",
            shows="A slow disk costs time while it is the leader's, or a majority's, and never an answer.",
            plan=_slow_disk,
        ),
        Scenario(
            name="slow-follower",
            shows="A follower that lags, for want of processor, network or disk, holds nobody up.",
            plan=_slow_follower,
        ),
        Scenario(
            name="snapshot-catch-up",
            shows="A follower comes back when the log it lacks is gone: it is brought up to date by a snapshot.",
            plan=_snapshot_catch_up,
            snapshot_bytes=24 << 10,
            must_install=True,
        ),
        Scenario(
            name="clock-skew",
            shows="Clocks run 20 % fast and slow, and jump; with leases they differ by less than those allow.",
            plan=_clock_skew,
        ),
        Scenario(
            name="mixed",
            shows="All of these, by a seed: what nobody would think of trying.",
            plan=_mixed,
            snapshot_bytes=1 << 20,
            needs_fronts=True,
        ),
    )
}
