"""One run, on either clock: hosts, the network, the disks and the journal, driven by the test.

    the test --boot, crash, control--> coordinator --inbox items--> hosts
                  journal <--events--  coordinator <---effects----- hosts

What a test may do, what becomes of each effect, and what the journal says of it is here, and so the same in all worlds.
How time passes, and how an item comes to a host and its effects come back, is in the two kinds of coordinator:
`labrpc.virtual.coordinator` and `labrpc.real.coordinator`.
"""

from __future__ import annotations

import zlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from labrpc import frames
from labrpc.codec import decode_record, encode
from labrpc.disturbance import Disturbance
from labrpc.errors import CodeFault, UsageError
from labrpc.event_loop import EventLoop
from labrpc.journal import (
    Annotated,
    AnnotationEnded,
    Applied,
    Booted,
    Controlled,
    Delivered,
    Dropped,
    Faulted,
    Journal,
    Printed,
    Reported,
    Returned,
    Saved,
    Saving,
    Sent,
    Stopped,
)
from labrpc.network import Network, host_title, is_clerk
from labrpc.persister import MemoryPersister
from labrpc.records import Machine, Machines, Node, PendingControl, Rpc
from labrpc.shutdown import SHUTDOWN_NS, Shutdown
from labrpc.streams import Streams

__all__ = ["Coordinator"]

CONTROL_LIMIT_NS = 10_000_000_000
"""How long a control call may take before the test fails."""

WARNINGS = frozenset({"rpc-under-lock", "foreign-release"})

_NOTES = (frames.Output, frames.Annotation, frames.AnnotationEnd, frames.Report)


class Coordinator(EventLoop):
    """One run.

    Args:
        streams: the run's random streams.
        machines: where hosts are made.
        disturbance: preemption and disk speed.
        network: the network's policy; None makes one from `streams`.
        limit_ns: how long the run may take on its own clock.
        output_limit: bytes each incarnation may print and annotate.
    """

    def __init__(
        self,
        streams: Streams,
        machines: Machines,
        *,
        disturbance: Disturbance | None = None,
        network: Network | None = None,
        limit_ns: int = 120_000_000_000,
        output_limit: int = 1 << 20,
    ) -> None:
        super().__init__(limit_ns)
        self.streams = streams
        self.journal = Journal()
        self.network = network or Network(streams)
        self.disturbance = disturbance or Disturbance(streams)
        self.warnings: list[str] = []
        self._warned: set[tuple[str, str]] = set()
        self._machines = machines
        self._output_limit = output_limit
        self._nodes: dict[str, Node[Any]] = {}
        """The last incarnation of each host."""
        self._ghosts: list[Node[Any]] = []
        """Shut down, and still running."""
        self._incarnations: dict[str, int] = {}
        self._crash_streams = streams.sub("crash")
        if streams.ledger is not None:
            streams.ledger.clock = lambda: self.now
        self._message_count = 0
        self._delivery_count = 0
        self._control_count = 0
        self._controls: dict[int, PendingControl] = {}
        self._dumps: dict[int, Callable[[frames.Report], None]] = {}
        self._clocks: dict[str, tuple[int, int]] = {}
        """Offset (ns) and drift (parts per million) of each host's clock that was set."""
        self._perform = {
            frames.Call: self._on_call,
            frames.Answer: self._on_answer,
            frames.Save: self._on_save,
            frames.Saved: self._on_saved,
            frames.Apply: self._on_apply,
            frames.Result: self._on_result,
            frames.Output: self._on_output,
            frames.Annotation: self._on_annotation,
            frames.AnnotationEnd: self._on_annotation_end,
            frames.Report: self._on_report,
        }
        self.network.listeners.append(lambda kind, detail: self.journal.append(Faulted(self.now, kind, detail)))
        self.network.pause_listeners.append(self._set_paused)
        self.network.clock_listeners.append(self._set_clock)

    # -------------------------------------------------------------- what the two kinds do each in its own way

    @abstractmethod
    def _deliver(self, node: Node[Any], item: frames.InboxItem) -> None:
        """`item` comes for a host: it gets it as soon as it can."""

    @abstractmethod
    def _hand(self, node: Node[Any], item: frames.InboxItem) -> None:
        """Gives `item` to a host now, whatever it does."""

    @abstractmethod
    def _pause(self, node: Node[Any], paused: bool) -> None:
        """Has a host stand still, or go on and get what has come for it."""

    @abstractmethod
    def _leave(self) -> None:
        """The run is over, and all that it held is gone."""

    def _create(self, settings: frames.HostSettings) -> Machine:
        """The machine of the next incarnation."""
        return self._machines.create(settings)

    def _surviving_disk(self, node: Node[Any]) -> MemoryPersister:
        """The disk after a crash: a drawn prefix of the saves that were pending has made it."""
        disk = node.disk
        if disk.pending:
            disk.crash(self._crash_streams.weather(f"{node.name}/survive").at(node.incarnation, disk.pending + 1))
        return MemoryPersister(*disk.durable)

    def _fault(self, report: frames.Report, text: str) -> Exception:
        """What ends the run when a host makes `report`, told by `text`, which is more than a warning."""
        if report.kind == "missing":  # from all servers alike, whichever came to it first
            return CodeFault(f"{report.text}{report.site and f' ({report.site})'}")
        return CodeFault(text, report.detail)

    # -------------------------------------------------------------- hosts

    def boot(self, name: str, program: str, ends: list[str], config: Any = None) -> None:
        """Starts the next incarnation of host `name`, from what its disk holds.

        Raises:
            UsageError: it is running.
        """
        self._check_usable()
        old = self._nodes.get(name)
        if old is not None and old.alive and not old.detached:
            raise UsageError(f"server {name} is running; crash or shut it down first")
        incarnation = self._incarnations.get(name, 0) + 1
        self._incarnations[name] = incarnation
        contents = old.disk.durable if old is not None else MemoryPersister().durable
        node = Node(name, incarnation, self._create(self.settings(name, incarnation)), MemoryPersister(*contents))
        node.clock = self.now
        self._nodes[name] = node
        self.network.add_server(name)
        self.journal.append(Booted(self.now, name, incarnation, len(contents.raft_state), len(contents.snapshot)))
        if name in self._clocks:
            self._push(self.now, self._deliver, node, frames.SetClock(*self._clocks[name]))
        boot = frames.Boot(program, ends, encode(config), contents.raft_state, contents.snapshot)
        self._push(self.now, self._deliver, node, boot)

    def settings(self, name: str, incarnation: int) -> frames.HostSettings:
        """What makes that incarnation: its own streams, from which no other's can be computed."""
        streams = self.streams.sub(f"host/{name}").sub(str(incarnation))
        disturbance = self.disturbance
        return frames.HostSettings(
            name, incarnation, streams.key, streams.path, streams.overrides(), disturbance.mean_gap_of(name),
            disturbance.longest_stall_ns, disturbance.longest_async_save_ns, self._output_limit, streams.calm,
            disturbance.longest_sync_save_ns, disturbance.stretch_steps, disturbance.changes,
        )  # fmt: skip

    def is_up(self, name: str) -> bool:
        """Whether host `name` runs and is not shut down."""
        node = self._nodes.get(name)
        return node is not None and node.alive and not node.detached

    @property
    def hosts(self) -> list[str]:
        """All hosts that there have been: servers first, each kind by number."""
        return sorted(self._nodes, key=lambda name: (is_clerk(name), int(name.removeprefix("c"))))

    @abstractmethod
    def threads_of(self, name: str) -> str:
        """Of a run that has ended and is not closed: host `name`'s threads, a block each; "" if it is down."""

    def disk(self, name: str) -> MemoryPersister:
        """The disk of host `name`."""
        return self._nodes[name].disk

    def crash(self, name: str, *, before_effect: int = 0) -> None:
        """Host `name` is gone at this instant; effects it would have had later are not.

        Args:
            before_effect: with k > 0, not now: its k-th next effect does not happen, and it is gone then.
        """
        self._check_usable()
        if before_effect < 0:
            raise UsageError(f"before_effect {before_effect} must be 0 or more")
        node = self._nodes.get(name)
        if node is None or not node.alive or node.detached:
            raise UsageError(f"server {name} is not running")
        if before_effect:
            node.crash_after = before_effect
        else:
            self._crash(node)

    def shutdown(self, name: str) -> Shutdown:
        """Cuts host `name` off, detaches its disk and calls its `kill` control; it runs on for `SHUTDOWN_NS`."""
        self._check_usable()
        if not self.is_up(name):
            raise UsageError(f"server {name} is not running")
        node = self._nodes[name]
        if node.paused:
            self.network.resume(name)  # else it could not even hear kill()
        node.crash_after = 0
        node.detached = True
        node.disk = self._surviving_disk(node)
        self.network.delete_server(name)
        self.journal.append(Stopped(self.now, name, node.incarnation, "shutdown"))
        self._abandon_requests(node)
        self._abandon_controls(node)
        self._ghosts.append(node)
        self._push(self.now, self._deliver, node, frames.Control(0, "kill", encode(())))
        due = self.now + SHUTDOWN_NS
        handle = Shutdown(self, name, due)
        self._push(due - 1, self._finish_shutdown, node, handle)
        return handle

    def _finish_shutdown(self, node: Node[Any], handle: Shutdown) -> None:
        def finish(report: frames.Report) -> None:
            handle.finish(report.text.split("\n") if report.text else [], report.detail)
            node.alive = False
            node.machine.end()
            self._ghosts.remove(node)

        self._ask_for_threads(node, finish)

    def _ask_for_threads(self, node: Node[Any], then: Callable[[frames.Report], None]) -> None:
        self._dumps[id(node)] = then
        self._hand(node, frames.Dump())

    def _crash(self, node: Node[Any]) -> None:
        node.alive = False
        node.crash_after = 0
        node.machine.end()
        node.disk = self._surviving_disk(node)
        self.journal.append(Stopped(self.now, node.name, node.incarnation, "crash"))
        self._abandon_requests(node)
        self._abandon_controls(node)

    def _abandon_requests(self, node: Node[Any]) -> None:
        for rpc in node.answering.values():
            self._lose(rpc, closed=True)
        node.answering.clear()

    def _abandon_controls(self, node: Node[Any]) -> None:
        for number, pending in list(self._controls.items()):
            if pending.node is node:
                del self._controls[number]
                self._push(self.now, self._resume, pending.task, pending.wait, None)

    def _set_paused(self, name: str, paused: bool) -> None:
        node = self._nodes.get(name)
        if node is None or not node.alive or node.detached:
            raise UsageError(f"server {name} is not running")
        node.paused = paused
        self._pause(node, paused)

    def _set_clock(self, name: str, offset_ns: int, drift_ppm: int) -> None:
        self._clocks[name] = (offset_ns, drift_ppm)
        node = self._nodes.get(name)
        if node is not None and node.alive:
            self._push(self.now, self._deliver, node, frames.SetClock(offset_ns, drift_ppm))

    # -------------------------------------------------------------- control calls

    def control(self, name: str, function: str, *args: Any, limit_ns: int = CONTROL_LIMIT_NS) -> Any:
        """Calls control `function` of host `name` and waits for what it returns (messages come as Records).

        Returns None when the host is down or goes down meanwhile.

        Raises:
            CodeFault: it did not answer within `limit_ns`; the text names the thread that blocks.
        """
        task, wait = self._begin_wait()
        node = self._nodes.get(name)
        if node is None or not node.alive or node.detached:
            return None
        self._control_count += 1
        number = self._control_count
        payload = encode(args)
        self._controls[number] = PendingControl(task, wait, node, function, limit_ns)
        self.journal.append(Controlled(self.now, name, number, function, payload))
        self._push(self.now, self._deliver, node, frames.Control(number, function, payload))
        self._push(self.now + limit_ns, self._control_overdue, number)
        return self._wait()

    def _control_overdue(self, number: int) -> None:
        pending = self._controls.get(number)
        if pending is None:
            return

        def fail(report: frames.Report) -> None:
            text = (
                f"{host_title(pending.node.name)} did not answer {pending.name}() within "
                f"{pending.limit_ns / 1e9:g} s: {_blocked_line(report.detail, pending.name)}"
            )
            self._fail(CodeFault(text, report.detail, is_overdue=True))

        if pending.node.paused:
            self._fail(CodeFault(f"{host_title(pending.node.name)} is paused and cannot answer {pending.name}()"))
        self._ask_for_threads(pending.node, fail)

    # -------------------------------------------------------------- effects

    def _happen(self, node: Node[Any], effect: frames.Effect) -> None:
        if not node.alive:
            return
        if node.crash_after and not isinstance(effect, _NOTES):
            node.crash_after -= 1
            if not node.crash_after:
                self._crash(node)
                return
        self._perform[type(effect)](node, effect)  # type: ignore[operator]

    # -------------------------------------------------------------- RPC

    def _on_call(self, node: Node[Any], effect: frames.Call) -> None:
        self._message_count = message = self._message_count + 1
        rpc = Rpc(node, effect.call, effect.target, effect.method, effect.payload, message)
        if node.detached:
            self._push(self.now + self.network.latency_ns, self._deliver, node, frames.Reply(effect.call, None))
            return
        self.journal.append(
            Sent(self.now, message, 0, node.name, node.incarnation, effect.target, effect.method, effect.payload)
        )
        fate = self.network.send(node.name, effect.target, len(effect.payload))
        rpc.link_number = fate.number
        if fate.reason:
            self._drop(rpc, message, fate.reason)
        rpc.copies = len(fate.delays)
        for delay in fate.delays:
            self._push(self.now + delay, self._arrive, rpc)

    def _arrive(self, rpc: Rpc) -> None:
        node = self._nodes.get(rpc.target)
        rpc.copies -= 1
        is_open = self.network.is_open(rpc.source.name, rpc.target)
        if is_open and node is not None and node.alive and not node.detached:
            rpc.arrived = True
            self.journal.append(Delivered(self.now, rpc.message))
            self._delivery_count = delivery = self._delivery_count + 1
            node.answering[delivery] = rpc
            self._deliver(node, frames.Request(delivery, rpc.method, rpc.payload))
        elif not rpc.copies and not rpc.arrived:  # a request is lost when its last copy is
            self._drop(rpc, rpc.message, "server is down" if is_open else "cut while in flight")

    def _on_answer(self, node: Node[Any], effect: frames.Answer) -> None:
        rpc = node.answering.pop(effect.call, None)
        if rpc is None:
            return
        if effect.error:
            text = f"{node.name} refused {rpc.method} of {rpc.source.name}: {effect.error}"
            self._push(self.now, self._finish, rpc, frames.Reply(rpc.call, None, text))
            return
        if effect.payload is None:
            self._lose(rpc, closed=False)
            return
        self._message_count = message = self._message_count + 1
        source = rpc.source.name
        self.journal.append(
            Sent(self.now, message, rpc.message, node.name, node.incarnation, source, rpc.method, effect.payload)
        )
        fate = self.network.send(node.name, source, len(effect.payload), is_reply=True)
        if fate.reason:
            self._drop(rpc, message, fate.reason)
        for delay in fate.delays:
            self._push(self.now + delay, self._reply_arrives, rpc, node, message, effect.payload)

    def _reply_arrives(self, rpc: Rpc, node: Node[Any], message: int, payload: bytes) -> None:
        if not node.alive or node.detached:
            self._drop(rpc, message, "its server is gone")
        elif not self.network.is_open(node.name, rpc.source.name):
            self._drop(rpc, message, "cut while in flight")
        elif not rpc.source.alive or rpc.source.detached:
            self.journal.append(Dropped(self.now, message, "its caller is gone"))
        elif rpc.done:
            self.journal.append(Dropped(self.now, message, "its caller has gone on"))
        else:
            self.journal.append(Delivered(self.now, message))
            self._finish(rpc, frames.Reply(rpc.call, payload))

    def _drop(self, rpc: Rpc, message: int, reason: str) -> None:
        self.journal.append(Dropped(self.now, message, reason))
        self._lose(rpc, closed=reason != "lost")

    def _lose(self, rpc: Rpc, *, closed: bool) -> None:
        """The caller will learn, after a while, that nothing comes."""
        delay = self.network.notice(rpc.source.name, rpc.target, rpc.link_number, closed=closed)
        self._push(self.now + delay, self._finish, rpc, frames.Reply(rpc.call, None))

    def _finish(self, rpc: Rpc, reply: frames.Reply) -> None:
        if not rpc.done:
            rpc.done = True
            self._deliver(rpc.source, reply)

    # -------------------------------------------------------------- the other effects

    def _on_save(self, node: Node[Any], effect: frames.Save) -> None:
        if node.detached:
            return
        snapshot_size = -1 if effect.snapshot is None else len(effect.snapshot)
        checksum = zlib.crc32(effect.snapshot or b"", zlib.crc32(effect.raft_state))
        self.journal.append(Saving(self.now, node.name, effect.number, len(effect.raft_state), snapshot_size, checksum))
        node.disk.begin(effect.raft_state, effect.snapshot)

    def _on_saved(self, node: Node[Any], effect: frames.Saved) -> None:
        if not node.detached:
            node.disk.complete(effect.number)
            self.journal.append(Saved(self.now, node.name, effect.number))

    def _on_apply(self, node: Node[Any], effect: frames.Apply) -> None:
        if node.detached:
            return
        self.journal.append(Applied(self.now, node.name, effect.payload))

    def _on_result(self, node: Node[Any], effect: frames.Result) -> None:
        pending = self._controls.get(effect.control)
        if pending is None or pending.node is not node:
            return
        del self._controls[effect.control]
        self.journal.append(Returned(self.now, node.name, effect.control, effect.payload))
        self._push(self.now, self._resume, pending.task, pending.wait, decode_record(effect.payload))

    def _on_output(self, node: Node[Any], effect: frames.Output) -> None:
        self.journal.append(Printed(self.now, node.name, effect.thread, effect.text))

    def _on_annotation(self, node: Node[Any], effect: frames.Annotation) -> None:
        # That a server which is shut down still notes may be in the lane of the next incarnation: it has no end.
        number, lasts = (0, False) if node.detached else (effect.number, effect.lasts)
        self.journal.append(Annotated(self.now, node.name, effect.tag, effect.text, number, lasts))

    def _on_annotation_end(self, node: Node[Any], effect: frames.AnnotationEnd) -> None:
        if not node.detached:
            self.journal.append(AnnotationEnded(self.now, node.name, effect.number))

    def _on_report(self, node: Node[Any], effect: frames.Report) -> None:
        if effect.kind == "threads":
            then = self._dumps.pop(id(node), None)
            if then is not None:
                then(effect)
            return
        self.journal.append(Reported(self.now, node.name, effect.kind, effect.text, effect.site, effect.detail))
        place = f" at {effect.site}" if effect.site else ""
        text = f"{host_title(node.name)}: {effect.text}{place}"
        if effect.kind not in WARNINGS:
            self._fail(self._fault(effect, text))
        if (effect.kind, effect.site) not in self._warned:  # the same line of code warns on every server
            self._warned.add((effect.kind, effect.site))
            self.warnings.append(text)

    # -------------------------------------------------------------- the end

    def close(self) -> None:
        """Ends every host and frees what the run holds. Twice is fine.

        Raises:
            UsageError: a spawned task calls it.
        """
        if not self._begin_close():
            return
        for node in (*self._nodes.values(), *self._ghosts):
            if node.alive:
                node.alive = False
                node.machine.end()
        self._end_tasks()
        self._machines.close()
        self._leave()


def _blocked_line(detail: str, control: str) -> str:
    """The part of a thread list that says where the control call stands."""
    lines = detail.splitlines()
    for n, line in enumerate(lines):
        if line.startswith(f"  test calls {control} "):
            stack = [entry.strip() for entry in lines[n + 1 :]]
            frames_below = []
            for entry in stack:
                if ":" not in entry or " in " not in entry:
                    break
                frames_below.append(entry)
            place = f" at {frames_below[-1]}" if frames_below else ""
            return line.strip() + place
    return "its thread has ended without an answer"
