"""The nodes of a run: processes, what they say of themselves, and what is done to them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from kvraft.scenarios.network import Network

__all__ = ["NodeProgram", "Nodes", "Seen"]

STOP_SECONDS = 15.0


@dataclass(frozen=True, kw_only=True)
class NodeProgram:
    """What every node is started with.

    Attributes:
        module: what `python -m` runs; it is given one argument, as kvraft.scenarios.node is.
        heartbeat, election, reads, snapshot_bytes: as for `kvraft serve`.
    """

    module: str = "kvraft.scenarios.node"
    heartbeat: float = 0.05
    election: tuple[float, float] = (0.3, 0.6)
    reads: str = "index"
    snapshot_bytes: int = 64 << 20


@dataclass
class Seen:
    """What a node has said of itself last.

    Attributes:
        state: "up", "down", "paused", or "starting" until it has said something.
        log: bytes of log that it keeps, without the snapshot.
    """

    state: str = "down"
    role: str = ""
    term: int = 0
    commit: int = 0
    applied: int = 0
    snapshot: int = 0
    log_bytes: int = 0
    operations: int = 0
    trouble: tuple[str, ...] = ()
    heard_at: float = 0.0
    surroundings: dict[str, Any] = field(default_factory=dict)


class Nodes:
    """The processes. Any thread may call it.

    Args:
        folder: where each has its directory and its log.
        listen: where each listens.
        network: through which they reach each other, and clients them.
        on_event: called with (node, what it says), from a thread of each node.
    """

    def __init__(
        self,
        folder: Path,
        listen: Sequence[str],
        network: Network,
        program: NodeProgram,
        *,
        on_event: Callable[[int, dict[str, Any]], Any] | None = None,
        fronts: bool = False,
    ) -> None:
        self.folder, self.network, self.program = folder, network, program
        self.addresses = list(network.fronts if fronts else listen)
        """Where clients reach them, and where they send clients to."""
        self._listen = list(listen)
        self._on_event = on_event
        self._mu = threading.RLock()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._readers: list[threading.Thread] = []
        self.seen = [Seen() for _ in listen]
        self._is_over = False
        self._ended_by_us: set[int] = set()
        self.deaths: list[tuple[int, int, str]] = []
        """Nodes that have ended by themselves, though their disks were not full: (node, exit code, last words)."""

    def __len__(self) -> int:
        return len(self._listen)

    def start(self, number: int) -> None:
        """Starts a node that does not run."""
        with self._mu:
            if self.is_running(number) or self._is_over:
                return
            seen = self.seen[number]
            program = self.program
            told = {
                "id": number,
                "peers": self.addresses,
                "listen": self._listen[number],
                "data": str(self.folder / f"node-{number}"),
                "cluster": "scenario",
                "dial": self.network.dial[number],
                "heartbeat": program.heartbeat,
                "election": program.election,
                "reads": program.reads,
                "snapshot_bytes": program.snapshot_bytes,
                "surroundings": seen.surroundings,
            }
            with open(self.folder / f"node-{number}.log", "ab") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", program.module, json.dumps(told)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=output,
                    start_new_session=True,
                    env={**os.environ, "GRPC_VERBOSITY": "NONE"},
                )
            self._processes[number] = process
            self.seen[number] = Seen(state="starting", surroundings=seen.surroundings, trouble=seen.trouble)
            assert process.stdout is not None
            reader = threading.Thread(target=self._read, args=(number, process, process.stdout), daemon=True)
            reader.start()
            self._readers.append(reader)

    def is_running(self, number: int) -> bool:
        """Whether its process is there, paused or not."""
        process = self._processes.get(number)
        return process is not None and process.poll() is None

    def kill(self, number: int) -> None:
        """SIGKILL; returns when it is gone."""
        with self._mu:
            if self.is_running(number):
                self._ended_by_us.add(self._processes[number].pid)
                self._processes[number].kill()
                self._processes[number].wait()
            self._gone(number)

    def stop(self, number: int) -> None:
        """SIGTERM: it finishes and hands over; returns when it is gone."""
        process = self._processes.get(number)
        if process is not None and process.poll() is None:
            self._ended_by_us.add(process.pid)
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._gone(number)

    def pause(self, number: int) -> None:
        """SIGSTOP."""
        self._signal(number, signal.SIGSTOP, "paused")

    def resume(self, number: int) -> None:
        """SIGCONT."""
        self._signal(number, signal.SIGCONT, "up")

    def change(self, number: int, **surroundings: Any) -> None:
        """Changes what is around a node (kvraft.scenarios.node.Surroundings); it stays so when it starts again."""
        with self._mu:
            lasting = {name: value for name, value in surroundings.items() if name != "clock_jump"}
            self.seen[number].surroundings = {**self.seen[number].surroundings, **lasting}
            process = self._processes.get(number)
            if process is not None and process.poll() is None and process.stdin is not None:
                try:
                    process.stdin.write((json.dumps(surroundings) + "\n").encode())
                    process.stdin.flush()
                except OSError:
                    pass  # it has just ended; its successor is told at its start

    def trouble(self, number: int, what: str, *, over: bool = False) -> None:
        """Notes that `what` is wrong with a node, or no longer, for those who look."""
        with self._mu:
            others = tuple(each for each in self.seen[number].trouble if each != what)
            self.seen[number].trouble = others if over else (*others, what)

    def leader(self) -> int | None:
        """The node that leads, of the highest term if several say so."""
        led = [(seen.term, n) for n, seen in enumerate(self.seen) if seen.role == "leader" and self.is_running(n)]
        return max(led)[1] if led else None

    def wait_for_leader(self, seconds: float) -> int | None:
        """The leader, once there is one; None after `seconds`."""
        deadline = time.monotonic() + seconds
        while (leader := self.leader()) is None and time.monotonic() < deadline:
            time.sleep(0.02)
        return leader

    def have_caught_up(self) -> bool:
        """Whether all run, and have applied all that the leader has committed."""
        leader = self.leader()
        if leader is None:
            return False
        newest = self.seen[leader].commit
        now = time.monotonic()
        return newest > 0 and all(
            self.is_running(n) and seen.applied >= newest and now - seen.heard_at < 1.0
            for n, seen in enumerate(self.seen)
        )

    def last_words(self, number: int) -> str:
        """The last line of a node's log."""
        lines = (self.folder / f"node-{number}.log").read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def close(self) -> None:
        """Ends all of them; twice is fine."""
        with self._mu:
            self._is_over = True
            running = [process for process in self._processes.values() if process.poll() is None]
            for process in running:
                self._ended_by_us.add(process.pid)
                process.send_signal(signal.SIGCONT)
                process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(deadline - time.monotonic(), 0.1))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for reader in self._readers:
            reader.join(5)
        for process in self._processes.values():
            if process.stdin is not None:
                try:
                    process.stdin.close()
                except OSError:
                    pass

    # -------------------------------------------------------------- inside

    def _signal(self, number: int, which: signal.Signals, state: str) -> None:
        with self._mu:
            if self.is_running(number):
                self._processes[number].send_signal(which)
                self.seen[number].state = state

    def _gone(self, number: int) -> None:
        with self._mu:
            seen = self.seen[number]
            self.seen[number] = Seen(surroundings=seen.surroundings, trouble=seen.trouble)
        if self._on_event is not None:
            self._on_event(number, {"role": "down", "term": 0})

    def _read(self, number: int, process: subprocess.Popen[bytes], lines: IO[bytes]) -> None:
        with lines:
            for line in lines:
                try:
                    what = json.loads(line)
                except ValueError:
                    continue  # it died in the middle of it
                with self._mu:
                    if self._processes.get(number) is not process:
                        return
                    seen = self.seen[number]
                    seen.heard_at = time.monotonic()
                    if seen.state == "starting":
                        seen.state = "up"
                    for name in ("role", "term", "commit", "applied", "snapshot", "log_bytes", "operations"):
                        if name in what:
                            setattr(seen, name, what[name])
                if self._on_event is not None:
                    self._on_event(number, what)
        code = process.wait()
        with self._mu:
            is_expected = process.pid in self._ended_by_us or self.seen[number].surroundings.get("disk_full")
            if not is_expected:
                self.deaths.append((number, code, self.last_words(number)))
            is_current = self._processes.get(number) is process and self.seen[number].state != "down"
        if is_current:
            self._gone(number)
