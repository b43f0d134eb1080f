"""One host that runs a few lines of server code, and what it printed and reported.

run("raft/__init__.py's text") --Host--> Outcome(lines, reports)
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from labrpc.frames import HostSettings, InboxItem, Output, Report, SetClock
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle

SECOND = 1_000_000_000
QUANTUM_NS = 10_000_000


class Outcome(NamedTuple):
    """What a host did until it was idle."""

    host: Host
    outputs: list[Output]
    reports: list[Report]

    @property
    def lines(self) -> list[str]:
        return [output.text for output in self.outputs]

    @property
    def kinds(self) -> list[str]:
        return [report.kind for report in self.reports]


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A function that runs server code on a host until nothing is left to do, or until virtual time `until`."""
    count = 0

    def run(
        source: str,
        *,
        name: str = "server-0",
        seed: int = 1,
        mean_gap: int = 0,
        clock: SetClock | None = None,
        until: int = 3600 * SECOND,
        expects_reports: bool = False,
    ) -> Outcome:
        nonlocal count
        count += 1
        root = tmp_path / str(count)
        (root / "raft").mkdir(parents=True)
        (root / "raft" / "__init__.py").write_text(textwrap.dedent(source))
        settings = HostSettings(name, 1, seed.to_bytes(16, "big"), name, [], mean_gap, 1_000_000, 0, 1 << 20)
        host = Host(settings, CodeBundle.build(root, {}))
        host.spawn("main", host.loader.import_module, "raft")
        inbox: list[InboxItem] = [clock] if clock is not None else []
        outcome = Outcome(host, [], [])
        now: int | None = 0
        while now is not None and now < until:
            step = host.step(now, QUANTUM_NS, inbox)
            outcome.outputs.extend(effect for effect in step.effects if isinstance(effect, Output))
            outcome.reports.extend(effect for effect in step.effects if isinstance(effect, Report))
            now, inbox = step.wake, []
        if not expects_reports:
            assert not outcome.reports, outcome.reports[0].text + "\n" + outcome.reports[0].detail
        return outcome

    return run
