"""Servers as processes on real time: `--clock real --servers processes`.

    coordinator --post--> RealProcess --socket--> child (`labrpc.real.child`)
    coordinator's mailbox <--emit-- postman <--sockets-- all children

A crash is SIGKILL at whatever instant it comes, a pause is SIGSTOP, and a restart finds what is on the disk: a folder
of the server's own, below one that is removed when the run is over, however it ended. After each crash what the folder
holds is compared with what the server had reported. A child that dies, writes garbage or does not read is reported by
name. One thread, the postman, reads from all children, and writes what a child did not take at once; so nobody who
posts has to wait.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import queue
import secrets
import selectors
import shutil
import signal
import socket
import tempfile
import threading
import time
import traceback
from collections import deque
from pathlib import Path
from typing import NamedTuple

import msgspec

from labrpc import frames
from labrpc.errors import HarnessError, UsageError
from labrpc.framing import Splitter, frame
from labrpc.network import host_title, is_clerk
from labrpc.nursery import Nursery, describe_status, innermost_site
from labrpc.persister import Contents, MemoryPersister
from labrpc.real.disk import advice, recovered
from labrpc.real.machines import Arrival, Mailbox
from labrpc.virtual.loader import CodeBundle

__all__ = ["RealProcess", "RealProcessMachines"]

MOST_UNREAD = 64 << 20
"""Bytes that may wait for a child to read them."""

LONGEST_UNREAD_S = 20.0
"""How long a child may read nothing while something waits for it. It is not counted while the child is paused."""

MOST_UNHANDLED = 20_000
"""Effects in the mailbox at which children have to wait with the next, until the coordinator has caught up."""

_PATIENCE_S = 2.0
"""How long a child that has closed its connection may take to end."""

_CHECK_S = 1.0
_MOMENT_S = 0.001

_encode = msgspec.msgpack.Encoder().encode
_decode_effect = msgspec.msgpack.Decoder(frames.Effect).decode


class RealProcessMachines:
    """Makes hosts in children of `nursery`, each with a disk.

    Args:
        bundle: the code under test, without step points.
        switch_interval: seconds a thread may keep the interpreter's lock while others wait for it; None: as it is.
        longest_unread_s: see `LONGEST_UNREAD_S`.

    Raises:
        UsageError: there is no place for the disks; it says what to set.
    """

    def __init__(
        self,
        bundle: CodeBundle,
        nursery: Nursery,
        switch_interval: float | None = None,
        *,
        longest_unread_s: float = LONGEST_UNREAD_S,
    ) -> None:
        self.mailbox: Mailbox = queue.SimpleQueue()
        self.warnings: list[str] = []
        self.nursery = nursery
        self.files = bundle.files
        self._switch_interval = switch_interval
        self.longest_unread_s = longest_unread_s
        self._bundle = bundle.to_bytes()
        self._machines: set[RealProcess] = set()
        self._disks: dict[str, Disk] = {}
        self.folder = _make_folder(nursery)
        """Where the disks are: a folder for each server, and for each successor of one that was shut down."""
        self._made = 0
        self.postman = _Postman(self.mailbox)
        atexit.register(self.close)

    def create(self, settings: frames.HostSettings) -> RealProcess:
        """One incarnation of one host.

        Raises:
            UsageError: the system has no file or process left for it; it says what to set.
        """
        machine = RealProcess(self, settings)
        self._machines.add(machine)
        return machine

    def fork(self, settings: frames.HostSettings, connection: socket.socket, errors: Path, disk: Path | None) -> int:
        """A new child; its pid."""
        file = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            files = [connection.fileno(), file]
            arguments = None if disk is None else str(disk), self._switch_interval
            return self.nursery.fork("real", settings, self._bundle, files, arguments)
        finally:
            os.close(file)

    def new_path(self, what: str) -> Path:
        """A path in the run's folder that nobody uses yet."""
        self._made += 1
        return self.folder / f"{what}-{self._made}"

    def disk_of(self, name: str) -> Disk | None:
        """What host `name` is to start from. A clerk has no disk."""
        if is_clerk(name):
            return None
        return self._disks.setdefault(name, Disk(self.folder / f"server-{name}", Contents(b"", b"")))

    def set_disk(self, name: str, disk: Disk) -> None:
        """From now on host `name` starts from `disk`."""
        self._disks[name] = disk

    def forget(self, machine: RealProcess) -> None:
        self._machines.discard(machine)

    def close(self) -> None:
        """Ends all children, and removes what they had. Twice is fine."""
        for machine in tuple(self._machines):
            machine.end()
        atexit.unregister(self.close)
        self.postman.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class Disk(NamedTuple):
    """A server's disk while the server is down: the folder, and what is in it."""

    folder: Path
    contents: Contents


class RealProcess:
    """One incarnation of one host, in a child process."""

    def __init__(self, machines: RealProcessMachines, settings: frames.HostSettings) -> None:
        self._name = settings.name
        self._incarnation = settings.incarnation
        self._title = host_title(settings.name)
        self._machines = machines
        self._splitter = Splitter()
        disk = machines.disk_of(settings.name)
        self._folder = None if disk is None else disk.folder
        self._claims = MemoryPersister(*(disk.contents if disk is not None else ()))
        """What its disk holds, as it says."""
        self._errors = machines.new_path(f"stderr-{settings.name}")
        self._reading = threading.Lock()
        """Held by who reads from the socket, until what came has been taken in."""
        self._writing = threading.Lock()
        self._unread: deque[memoryview] = deque()
        """What the child has not taken yet."""
        self._unread_bytes = 0
        self._took_at = 0.0
        """When the child last took something, or there was nothing for it to take."""
        self._last_at = 0
        self._paused = False
        self._ended = False
        self.is_over = False
        """Nothing more can come from it: its socket is at its end, or it was reported."""
        try:
            ours, theirs = socket.socketpair()
            try:
                self.pid = machines.fork(settings, theirs, self._errors, self._folder)
            except BaseException:
                ours.close()
                raise
            finally:
                theirs.close()
        except OSError as error:
            raise UsageError(
                f"no process can be made for {self._title}: {error}; raise the limit on open files (ulimit -n), "
                f"or set TMPDIR to a folder with more room"
            ) from None
        ours.setblocking(False)
        self.connection = ours
        machines.postman.add(self)

    # -------------------------------------------------------------- the coordinator's side

    def post(self, item: frames.InboxItem) -> None:
        """Gives `item` to the host, and returns at once. Any thread may call it."""
        with self._writing:
            if self._ended or self.is_over:
                return
            if not self._unread:
                self._took_at = time.monotonic()
            data = memoryview(frame(_encode(item)))
            self._unread.append(data)
            self._unread_bytes += len(data)
            self._write()
            if self._unread:
                self._machines.postman.watch(self, for_writing=True)

    def pause(self, paused: bool) -> None:
        """Has the process stand still, whatever it is doing, or go on."""
        if paused == self._paused:
            return
        self._paused = paused
        if paused:
            self._machines.nursery.stop(self.pid)
        else:
            self._took_at = time.monotonic()
            self._continue()

    def end(self) -> None:
        """Kills it. Nothing of it runs any more once this returns."""
        if self._ended:
            return
        self._ended = True
        self._machines.nursery.end(self.pid, answer=True)
        self.take_in_all()
        self._machines.postman.remove(self)
        with self._reading, self._writing:
            self.connection.close()
            self._unread.clear()
        self._machines.forget(self)

    def surviving_disk(self) -> MemoryPersister:
        """What a crash at this instant leaves. If the process goes on, its disk is from now on another than its
        successor's, which starts from a copy.

        Raises:
            LostSave: that lacks what it had reported durable.
            HarnessError: of the file system.
        """
        folder = self._folder
        if folder is None:
            return MemoryPersister()
        if self._machines.nursery.is_gone:
            raise HarnessError("the process that forks the servers is gone")
        if self._ended:
            survivors = self._claims.survivors()
        else:
            folder, survivors = self._copy_disk(folder)
        contents = recovered(folder, survivors, self._title)
        self._machines.set_disk(self._name, Disk(folder, contents))
        return MemoryPersister(*contents)

    def _copy_disk(self, folder: Path) -> tuple[Path, list[Contents]]:
        """A copy of `folder` at one instant, between two system calls of the process, and what may be in it."""
        copy = self._machines.new_path(f"server-{self._name}")
        self._machines.nursery.stop(self.pid)
        try:
            self.take_in_all()
            survivors = self._claims.survivors()  # now: when it goes on, they will soon be others
            if folder.exists():
                shutil.copytree(folder, copy)
        except (OSError, shutil.Error) as error:
            raise HarnessError(f"the disk of {self._title} cannot be copied: {advice(error)}") from None
        finally:
            if not self._paused:
                self._continue()
        return copy, survivors

    def _continue(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)

    # -------------------------------------------------------------- the postman's side

    def take_in(self) -> bool:
        """Takes in a piece of what the child has sent, if there is any; whether there may be more."""
        with self._reading:
            if self.is_over:
                return False
            try:
                piece = self.connection.recv(1 << 18)
                for message in self._splitter.feed(piece):
                    self._accept(_decode_effect(message))
            except BlockingIOError:
                return False
            except (ValueError, msgspec.MsgspecError) as error:
                self._report(f"its process wrote a frame that is no frame: {error}", kill=True)
            except OSError:
                piece = b""
            if not piece:
                self._report_end()
            return not self.is_over

    def take_in_all(self) -> None:
        """Takes in all that a child that stands still, or is no more, has sent."""
        while self.take_in():
            pass

    def _accept(self, effect: frames.Effect) -> None:
        # Its threads send in another order than they look at the clock in; and it may lie.
        effect.at = self._last_at = min(max(effect.at, self._last_at), time.monotonic_ns())
        if isinstance(effect, frames.Save):
            if self._claims.begin(effect.raft_state, effect.snapshot) != effect.number:
                raise ValueError(f"save {effect.number} out of turn")
        elif isinstance(effect, frames.Saved):
            self._claims.complete(effect.number)
        self._emit(effect)

    def _emit(self, effect: frames.Effect) -> None:
        self._machines.mailbox.put(Arrival(self._name, self._incarnation, effect))

    def write_on(self) -> None:
        """Writes what the child takes now."""
        with self._writing:
            if not self._ended:
                self._write()
            if not self._unread:  # not later: who posts then may have more that has to wait
                self._machines.postman.watch(self, for_writing=False)

    def _write(self) -> None:
        try:
            while self._unread:
                head = self._unread[0]
                taken = self.connection.send(head)
                self._took_at = time.monotonic()
                self._unread_bytes -= taken
                if taken < len(head):
                    self._unread[0] = head[taken:]
                else:
                    self._unread.popleft()
        except BlockingIOError:
            pass
        except OSError:  # it is dead; reading will show how it ended
            self._unread.clear()
            self._unread_bytes = 0

    def check_patience(self) -> None:
        """Reports a child that does not read what is sent to it."""
        waited = time.monotonic() - self._took_at
        if self._unread and not self._paused and waited > self._machines.longest_unread_s:
            why = f"for {waited:.0f} s"
        elif self._unread_bytes > MOST_UNREAD:
            why = f"and {self._unread_bytes >> 20} MB wait for it"
        else:
            return
        with self._reading:
            self._report(f"its process does not read what is sent to it, {why}", kill=True)

    def _report_end(self) -> None:
        """The socket is at its end."""
        if self._ended:  # it was killed: that it was in the middle of a frame means nothing
            self.is_over = True
            return
        middle = " in the middle of a frame" if self._splitter.left else ""
        status = self._machines.nursery.end(self.pid, patience_s=_PATIENCE_S, answer=True)
        if self._machines.nursery.is_gone:
            self._report("the process that forks the servers is gone", kind="lab")
        elif status is None:
            self._report(f"its process closed its connection to the test{middle}, and went on")
        else:
            self._report(f"its process died ({describe_status(status)}){middle}")

    def _report(self, text: str, *, kind: str = "process", kill: bool = False) -> None:
        """Tells the coordinator, as the last that it hears of this process. The reader's lock is held."""
        if self.is_over or self._ended:
            return
        self.is_over = True
        if kill:
            self._ask_for_stack()
            self._machines.nursery.end(self.pid, answer=True)
        try:
            written = self._errors.read_bytes()[-(1 << 20) :].decode("utf-8", "replace").strip()
        except OSError:
            written = ""
        site = innermost_site(written, self._machines.files)
        self._emit(frames.Report(time.monotonic_ns(), kind, text, site, written))

    def report_bug(self, detail: str) -> None:
        """Something of the lab's own has gone wrong, which is told rather than waited for."""
        self._emit(frames.Report(time.monotonic_ns(), "lab", "the lab's own fault while it was read from", "", detail))

    def _ask_for_stack(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGUSR1)  # faulthandler writes its stack, even from inside C code
        time.sleep(0.2)


class _Postman:
    """The thread that reads from all children, and writes to those that did not take all at once."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox
        self._selector = selectors.DefaultSelector()
        self._mu = threading.Lock()
        self._machines: set[RealProcess] = set()
        self._rung, self._bell = socket.socketpair()
        self._selector.register(self._rung, selectors.EVENT_READ)
        self._is_closed = False
        self._thread = threading.Thread(target=self._run, name="postman", daemon=True)
        self._thread.start()

    def add(self, machine: RealProcess) -> None:
        with self._mu:
            self._machines.add(machine)
            self._selector.register(machine.connection, selectors.EVENT_READ, machine)

    def remove(self, machine: RealProcess) -> None:
        with self._mu:
            if machine in self._machines:
                self._machines.discard(machine)
                self._selector.unregister(machine.connection)

    def watch(self, machine: RealProcess, *, for_writing: bool) -> None:
        """Whether it is also to be told when `machine` takes more."""
        with self._mu:
            if machine in self._machines:
                events = selectors.EVENT_READ | (selectors.EVENT_WRITE if for_writing else 0)
                self._selector.modify(machine.connection, events, machine)

    def close(self) -> None:
        """Ends the thread. Twice is fine."""
        if self._thread.is_alive():
            self._is_closed = True
            self._bell.close()
            self._thread.join()
            self._rung.close()
            self._selector.close()

    def _run(self) -> None:
        checked = time.monotonic()
        while not self._is_closed:
            if self._mailbox.qsize() > MOST_UNHANDLED:
                time.sleep(_MOMENT_S)
                continue
            for key, events in self._selector.select(_CHECK_S):
                if key.fileobj is self._rung:
                    break
                machine: RealProcess = key.data
                try:
                    if events & selectors.EVENT_READ:
                        machine.take_in()
                    if events & selectors.EVENT_WRITE:
                        machine.write_on()
                except Exception:
                    machine.report_bug(traceback.format_exc())
                if machine.is_over:
                    self.remove(machine)
            if time.monotonic() - checked > _CHECK_S:
                checked = time.monotonic()
                with self._mu:
                    machines = tuple(self._machines)
                for machine in machines:
                    machine.check_patience()


def _make_folder(nursery: Nursery) -> Path:
    """A folder for one run, which is removed however the run ends."""
    try:
        folder = Path(tempfile.gettempdir()).resolve() / f"raftlab-{secrets.token_hex(6)}"
        nursery.remove_at_end(str(folder))
        folder.mkdir(0o700)
        with (folder / "room").open("wb") as file:
            file.write(bytes(1 << 16))
            os.fsync(file.fileno())
        (folder / "room").unlink()
    except OSError as error:
        raise UsageError(f"there is no place for the servers' disks: {advice(error)}") from None
    return folder
