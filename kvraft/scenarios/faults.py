"""What can be done to a cluster, and undone.

Each fault is a generator: it does harm, yields how many seconds to wait, once or again and again, and undoes the harm
when it is closed. So it ends well, whatever ends it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from kvraft.scenarios.network import CLIENTS, Network
from kvraft.scenarios.nodes import Nodes

__all__ = ["FAULTS", "Fault", "Step", "World", "describe"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """One fault of a plan.

    Attributes:
        at: seconds after the load has begun.
        seconds: that it lasts.
        fault: its name, in `FAULTS`.
        target: "leader", "follower", "node" (any), "minority" (as many as may fail, the leader among them) or "all",
            found out when it begins; or a node's number.
        strength: how bad it is; what it means depends on the fault.
        draw: of what is random in it.
        survivable: whether the cluster must go on answering while it lasts; else, once it is over.
    """

    at: float
    seconds: float
    fault: str
    target: str
    strength: float = 0.0
    draw: int = 0
    survivable: bool = True

    def as_json(self) -> dict[str, Any]:
        """Its attributes, by name."""
        return asdict(self)


class World(Protocol):
    """What faults are done to."""

    @property
    def nodes(self) -> Nodes: ...

    @property
    def network(self) -> Network: ...


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Attributes:
        text: what it is, with {target}, {strength} and {seconds}.
        run: does it to `targets`.
        mark: a word for the node while it lasts.
    """

    text: str
    run: Callable[[World, list[int], Step, random.Random], Iterator[float]]
    mark: str


def describe(step: Step, targets: list[int] | None = None) -> str:
    """A step in words, with the nodes that it was done to, if known."""
    target = {"leader": "the leader", "follower": "a follower", "node": "a node", "all": "all nodes"}.get(step.target)
    if target is None:
        target = "a minority with the leader" if step.target == "minority" else f"node {step.target}"
    if targets is not None and step.target not in ("all", *map(str, targets)):
        target += f" ({', '.join(map(str, targets))})"
    return FAULTS[step.fault].text.format(target=target, strength=step.strength, percent=100 * step.strength)


def targets_of(world: World, step: Step, choice: random.Random) -> list[int]:
    """The nodes that a step is done to, as things are now."""
    every = list(range(len(world.nodes)))
    if step.target == "all":
        return every
    if step.target.isdigit():
        return [int(step.target)]
    running = [number for number in every if world.nodes.is_running(number)] or every
    if step.target == "node":
        return [choice.choice(running)]
    leader = world.nodes.wait_for_leader(1.0)
    if leader is None:
        leader = choice.choice(running)
    others = [number for number in running if number != leader] or running
    if step.target == "leader":
        return [leader]
    if step.target == "follower":
        return [choice.choice(others)]
    count = (len(every) - 1) // 2
    return sorted([leader, *choice.sample(others, max(min(count - 1, len(others)), 0))])[: max(count, 1)]


def _kill(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    for node in targets:
        world.nodes.kill(node)
    try:
        yield step.seconds
    finally:
        for node in targets:
            world.nodes.start(node)


def _restart(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    try:
        for node in targets:
            world.nodes.stop(node)
        yield step.seconds
    finally:
        for node in targets:
            world.nodes.start(node)


def _pause(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    for node in targets:
        world.nodes.pause(node)
    try:
        yield step.seconds
    finally:
        for node in targets:
            world.nodes.resume(node)


def _ways(field: str, value: Any, *, cut: bool = False, outgoing: bool = True, incoming: bool = True) -> Any:
    """A fault of the ways between the targets and the other nodes; `cut`: of new connections, so the old ones end."""

    def run(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
        network = world.network
        names = set(map(str, targets))
        ways = [
            (source, target)
            for source, target in network.between(names)
            if (outgoing and source in names) or (incoming and target in names)
        ]
        network.change(ways, **{field: value})
        if cut:
            network.cut(ways)
        try:
            yield step.seconds
        finally:
            network.change(ways, **{field: type(value)()})

    return run


def _flap(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    """A third of all links at a time; each time they come back some connections are reset as well."""
    network = world.network
    left = step.seconds
    try:
        while left > 0:
            links = [(a, b) for a, b in network.all() if a < b and choice.random() < step.strength]
            ways = [way for a, b in links for way in ((a, b), (b, a))]
            network.change(ways, hold=True)
            down = min(choice.uniform(0.1, 0.8), left)
            yield down
            network.change(ways, hold=False)
            network.cut(way for way in ways if choice.random() < 0.3)
            up = min(choice.uniform(0.1, 0.6), left - down)
            yield max(up, 0.0)
            left -= down + max(up, 0.01)
    finally:
        network.change(network.all(), hold=False)


def _weather(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    """Delays on all links, the clients' too, and now and then a reset."""
    network = world.network
    nodes = network.all()
    clients = [way for end in network.ends for way in ((CLIENTS, end), (end, CLIENTS))]
    left = step.seconds
    network.change([*nodes, *clients], jitter=step.strength)
    try:
        while left > 0:
            wait = min(choice.uniform(0.2, 0.7), left)
            yield wait
            left -= wait
            network.cut([choice.choice(nodes + clients)])
    finally:
        network.change([*nodes, *clients], jitter=0.0)


def _slow_link(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    ways = world.network.between(map(str, targets))
    world.network.change(ways, delay=step.strength, jitter=step.strength, rate=200_000.0)
    try:
        yield step.seconds
    finally:
        world.network.change(ways, delay=0.0, jitter=0.0, rate=0.0)


def _surroundings(name: str, none: float) -> Any:
    def run(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
        for node in targets:
            world.nodes.change(node, **{name: step.strength})
        try:
            yield step.seconds
        finally:
            for node in targets:
                world.nodes.change(node, **{name: none})

    return run


def _full_disk(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    for node in targets:
        world.nodes.change(node, disk_full=True)
    try:
        yield step.seconds
    finally:
        for node in targets:
            world.nodes.kill(node)  # if nothing was to be written it has not noticed
            world.nodes.change(node, disk_full=False)
            world.nodes.start(node)


def _skew(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    """Each clock at a rate of its own; the first two of those drawn are the fastest and the slowest there may be."""
    rates = [1 + step.strength, 1 - step.strength]
    rates += [1 + choice.uniform(-step.strength, step.strength) for _ in targets]
    order = choice.sample(targets, len(targets))
    for node, rate in zip(order, rates, strict=False):
        world.nodes.change(node, clock_rate=rate)
    try:
        yield step.seconds
    finally:
        for node in targets:
            world.nodes.change(node, clock_rate=1.0)


def _jump(world: World, targets: list[int], step: Step, choice: random.Random) -> Iterator[float]:
    for node in targets:
        world.nodes.change(node, clock_jump=step.strength)
    yield step.seconds


FAULTS = {
    "kill": Fault("SIGKILL to {target}", _kill, "killed"),
    "restart": Fault("SIGTERM to {target}, then started again", _restart, "restarting"),
    "pause": Fault("SIGSTOP to {target}", _pause, "paused"),
    "isolate": Fault("black holes between {target} and the others", _ways("hold", True), "isolated"),
    "mute": Fault("what {target} sends to the others is held back", _ways("hold", True, incoming=False), "mute"),
    "deaf": Fault("what the others send to {target} is held back", _ways("hold", True, outgoing=False), "deaf"),
    "refuse": Fault("links of {target} are reset, and refuse new ones", _ways("refuse", True, cut=True), "refused"),
    "garbage": Fault(
        "links of {target} are reset, and new ones begin with garbage", _ways("garbage", True, cut=True), "garbled"
    ),
    "half-open": Fault(
        "the far ends of links of {target} are gone, and nobody is told", _ways("half_open", True), "half-open"
    ),
    "flap": Fault("{percent:.0f} % of all links are black holes, now these, now others", _flap, "flapping"),
    "weather": Fault(
        "all links, clients' too, delay by up to {strength:.3f} s, and are reset now and then", _weather, ""
    ),
    "slow-link": Fault("links of {target}: {strength:.3f} s and more each way, 200 kB/s", _slow_link, "slow links"),
    "slow-disk": Fault(
        "each fsync of {target} takes {strength:.3f} s more", _surroundings("disk_delay", 0.0), "slow disk"
    ),
    "slow-cpu": Fault(
        "{target} has no processor for {percent:.0f} % of the time", _surroundings("busy", 0.0), "slow CPU"
    ),
    "full-disk": Fault(
        "the disk of {target} is full; it is emptied and the node started again", _full_disk, "full disk"
    ),
    "skew": Fault("clocks of {target} run up to {percent:.1f} % fast or slow", _skew, "clock"),
    "jump": Fault("the clock of {target} jumps by {strength:+.1f} s", _jump, "clock"),
}
