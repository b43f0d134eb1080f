"""Servers as processes on real time: real disks, crashes by SIGKILL, and children that do as they like."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from labrpc import nursery as nursery_module
from labrpc.codec import decode_record, encode
from labrpc.disk_persister import DiskPersister
from labrpc.errors import UsageError
from labrpc.nursery import Nursery
from labrpc.persister import Contents, MemoryPersister
from labrpc.real import processes
from labrpc.real.disk import LostSave, MirroredDisk, recovered
from labrpc.real.processes import RealProcessMachines
from labrpc.virtual import frames
from labrpc.virtual.loader import CodeBundle
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
from tests.harness.conftest import HEADER, PROGRAMS, ROOT, SNIPPET

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

REACH = """
def real_import():
    for cls in object.__subclasses__():
        if cls.__name__ == "BuiltinImporter":
            return cls.load_module

posix = real_import()("posix")

def connections():
    for fd in range(3, 64):
        try:
            if posix.readlink("/proc/self/fd/%d" % fd).startswith("socket:"):
                yield fd
        except OSError:
            pass
"""

SERVER = """
class Server:
    def __init__(self, ends, me, persister): self.ends, self.persister = ends, persister
    def save(self, data): self.persister.save(data)
    def save_many(self, count, size):
        futures = [self.persister.save_async(bytes([n % 256]) * size) for n in range(count)]
        for future in futures: future.result()
    def found(self): return self.persister.read_raft_state(), self.persister.read_snapshot()
"""


class Lone:
    """One server in a process, without a cluster."""

    def __init__(
        self, machines: RealProcessMachines, disk: MemoryPersister | None = None, incarnation: int = 1
    ) -> None:
        self.machines = machines
        self.incarnation = incarnation
        self.mailbox = machines.mailbox
        self._asked = 0
        settings = frames.HostSettings("0", incarnation, b"k" * 16, "host/0", [], 0, 0, 0, 1 << 20)
        self.process = machines.create(settings)
        contents = Contents(b"", b"") if disk is None else disk.durable
        config = encode({"me": 0, "servers": 1})
        self.process.post(frames.Boot(SNIPPET, ["0"], config, contents.raft_state, contents.snapshot))

    def ask(self, control: str, *arguments: Any) -> int:
        self._asked += 1
        self.process.post(frames.Control(self._asked, control, encode(arguments)))
        return self._asked

    def call(self, control: str, *arguments: Any) -> Any:
        return decode_record(self.next(frames.Result, self.ask(control, *arguments)).payload)

    def next(self, kind: type, number: int = 0, patience: float = 20.0) -> Any:
        """The next effect of `kind`."""
        deadline = time.monotonic() + patience
        while True:
            arrival = self.mailbox.get(timeout=max(0.01, deadline - time.monotonic()))
            assert arrival is not None
            effect = arrival.effect
            if (
                arrival.incarnation == self.incarnation
                and isinstance(effect, kind)
                and (not number or effect.control == number)
            ):  # type: ignore[attr-defined]
                return effect

    def restart(self) -> Lone:
        """Kills it; its successor."""
        self.process.end()
        return Lone(self.machines, self.process.surviving_disk(), self.incarnation + 1)


Boot = Callable[..., Lone]


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    nursery = Nursery()
    yield nursery
    nursery.close()


@pytest.fixture
def boot(tmp_path: Path, nursery: Nursery) -> Iterator[Boot]:
    """`boot(more methods of the server, **options of RealProcessMachines)` starts one."""
    made: list[RealProcessMachines] = []

    def start(methods: str = "", **options: Any) -> Lone:
        folder = tmp_path / f"solution-{len(made)}"
        (folder / "raft").mkdir(parents=True)
        (folder / "raft" / "__init__.py").write_text(
            HEADER + REACH + SERVER + textwrap.indent(textwrap.dedent(methods), "    ")
        )
        made.append(RealProcessMachines(CodeBundle.build(folder, PROGRAMS, instrumented=False), nursery, **options))
        return Lone(made[-1])

    yield start
    for machines in made:
        machines.close()
        assert not machines.folder.exists()


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition: Callable[[], bool], patience: float = 20.0) -> None:
    deadline = time.monotonic() + patience
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


# ------------------------------------------------------------------ disks and crashes


def test_a_restart_finds_what_was_saved(boot):
    server = boot()
    server.call("save", b"one")
    server = server.restart()
    assert server.call("found") == (b"one", b"")
    server.call("save", b"two")
    assert server.restart().call("found") == (b"two", b"")


def test_a_kill_amid_saves_leaves_what_one_of_them_left(boot):
    server = boot()
    for round_ in range(10):
        server.ask("save_many", 200, 1000)
        for _ in range(round_ * 7 + 1):
            server.next(frames.Saved)
        server = server.restart()  # `surviving_disk` compares
        raft_state, _ = server.call("found")
        assert raft_state == raft_state[:1] * 1000


def test_a_save_is_reported_durable_before_it_returns(boot):
    server = boot()
    asked = server.ask("save", b"x")
    seen = []
    while not seen or not isinstance(seen[-1], frames.Result):
        seen.append(server.mailbox.get(timeout=10).effect)
    assert [type(effect) for effect in seen] == [frames.Save, frames.Saved, frames.Result]
    assert seen[-1].control == asked


def test_an_instant_of_a_shut_down_server_is_what_its_successor_starts_from(boot):
    server = boot()
    server.call("save", b"before")
    disk = server.process.surviving_disk()
    successor = Lone(server.machines, disk, 2)
    server.call("save", b"after")  # it runs on, and nobody will find that
    assert successor.call("found") == (b"before", b"")
    successor = successor.restart()
    assert successor.call("found") == (b"before", b"")


def test_a_server_that_is_shut_down_amid_saves_may_go_on_saving(boot):
    """What it hands over after that instant is no claim on its successor's disk."""
    server = boot()
    for incarnation in range(2, 12):
        server.ask("save_many", 3000, 100)
        for _ in range(incarnation * 5):
            server.next(frames.Saved)
        server = Lone(server.machines, server.process.surviving_disk(), incarnation)


def damage(folder: Path) -> None:
    log = folder / "log"
    data = bytearray(log.read_bytes())
    data[60] ^= 1
    log.write_bytes(data)


def test_a_damaged_disk_is_a_lost_save(boot):
    server = boot()
    server.call("save", b"x" * 100)
    server.process.end()
    damage(server.machines.folder / "server-0")
    with pytest.raises(LostSave, match=r"server 0 lost a save that it had reported durable: .*log is damaged at byte"):
        server.process.surviving_disk()


def test_a_disk_that_says_durable_too_early_loses_a_save(boot, tmp_path):
    """The files of the server are those of an earlier instant, as if nothing had been written since."""
    server = boot()
    folder = server.machines.folder / "server-0"
    server.call("save", b"old")
    shutil.copytree(folder, tmp_path / "old")
    server.call("save", b"new state")
    server.process.end()
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "old", folder)
    with pytest.raises(LostSave, match="server 0 lost a save that it had reported durable: a restart finds 3 bytes of"):
        server.process.surviving_disk()


FORGETFUL = """\
import labrpc.disk_store
commit = labrpc.disk_store.DiskStore.commit
labrpc.disk_store.DiskStore.commit = lambda self, state, snapshot: state == b"lost" or commit(self, state, snapshot)
"""


def test_a_persister_that_forgets_a_save_is_caught_at_the_next_crash(tmp_path, monkeypatch):
    """It is broken in the servers' processes only."""
    start = "import sys; sys.path.insert(0, {root!r})\n" + FORGETFUL
    monkeypatch.setattr(nursery_module, "_START", start + "from labrpc.nursery import main; main({descriptor})")
    nursery = Nursery()
    (tmp_path / "raft").mkdir()
    (tmp_path / "raft" / "__init__.py").write_text(HEADER + SERVER)
    machines = RealProcessMachines(CodeBundle.build(tmp_path, PROGRAMS, instrumented=False), nursery)
    try:
        server = Lone(machines)
        server.call("save", b"kept")
        server = server.restart()
        assert server.call("found") == (b"kept", b"")
        server.call("save", b"lost")
        with pytest.raises(
            LostSave, match="server 0 lost a save that it had reported durable: a restart finds 4 bytes"
        ):
            server.restart()
    finally:
        machines.close()
        nursery.close()


def test_a_save_that_was_only_handed_over_may_be_found_or_not(tmp_path):
    claims = MemoryPersister()
    claims.save(b"a")
    claims.save_async(b"b", b"snapshot")
    for state, snapshot in ((b"a", None), (b"b", b"snapshot")):
        with DiskPersister(tmp_path) as disk:
            disk.save(state, snapshot)
        assert recovered(tmp_path, claims.survivors(), "server 0") == (state, snapshot or b"")
    claims.complete()
    with DiskPersister(tmp_path) as disk:
        disk.save(b"a")
    with pytest.raises(LostSave):
        recovered(tmp_path, claims.survivors(), "server 0")


class Told:
    """A host to a `MirroredDisk`: it keeps what it is to tell the judge."""

    def __init__(self) -> None:
        self.effects: list[frames.Effect] = []
        self.emit = self.effects.append
        self.instant = time.monotonic_ns
        self.reports: list[str] = []

    def report(self, kind: str, text: str) -> None:
        self.reports.append(f"{kind}: {text}")


def test_a_save_that_is_durable_at_once_is_reported_by_who_saved(tmp_path, monkeypatch):
    """And that thread is not taken for the one that calls back, on which nobody may wait."""
    told: Any = Told()
    disk = MirroredDisk(str(tmp_path), told)
    slow = disk._disk.save_async

    def at_once(*contents: Any) -> Any:
        future = slow(*contents)
        future.result()
        return future

    with monkeypatch.context() as patch:
        patch.setattr(disk._disk, "save_async", at_once)
        disk.save(b"a")
    disk.save(b"b")
    assert [type(effect) for effect in told.effects] == [frames.Save, frames.Saved] * 2


def test_a_callback_of_a_save_may_hand_over_another_but_not_wait_for_it(tmp_path):
    disk = MirroredDisk(str(tmp_path), cast(Any, Told()))
    errors: queue.Queue[BaseException | None] = queue.Queue()

    def again(_: Any) -> None:
        try:
            disk.save_async(b"b").result()
        except UsageError as error:
            errors.put(error)

    disk.save_async(b"a").add_done_callback(again)
    assert "would wait for itself" in str(errors.get(timeout=10))
    disk.save(b"c")


# ------------------------------------------------------------------ children that do as they like

HOSTILE = {
    "exits": ("posix._exit(7)", "its process died (exit status 7)"),
    "is killed": ("posix.kill(posix.getpid(), 9)", "its process died (killed by SIGKILL)"),
    "crashes in C": ("posix.kill(posix.getpid(), 11)", "its process died (killed by SIGSEGV)"),
    "writes garbage": ("[posix.write(fd, b'\\x00\\x00\\x00\\x03abc') for fd in connections()]", "that is no frame"),
    "writes another type": ("[posix.write(fd, b'\\x00\\x00\\x00\\x01\\x07') for fd in connections()]", "is no frame"),
    "claims a huge frame": ("[posix.write(fd, b'\\xff' * 4) for fd in connections()]", "a frame of 4294967295 bytes"),
    "dies within a frame": (
        "[posix.write(fd, b'\\x00\\x00\\x00\\x09abc') for fd in connections()]; posix._exit(1)",
        "its process died (exit status 1) in the middle of a frame",
    ),
    "closes its connection": (
        "[each.shutdown(1) for each in real_import()('gc').get_objects() if type(each).__name__ == 'socket']"
        "; time.sleep(30)",
        "its process closed its connection to the test, and went on",
    ),
    "claims a save out of turn": (
        "self.persister._count = 6; self.persister.save_async(b'')",
        "a frame that is no frame: save 7 out of turn",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_child_that_fails_is_reported_with_how(boot, name):
    statement, expected = HOSTILE[name]
    server = boot(f"def go(self): {statement}\n")
    server.call("found")
    server.ask("go")
    report = server.next(frames.Report)
    assert report.kind == "process", report
    assert expected in report.text
    assert not is_running(server.process.pid)


def test_what_a_child_wrote_to_standard_error_is_shown(boot):
    server = boot("def go(self): posix.write(2, b'the last words'); posix._exit(1)\n")
    server.ask("go")
    assert "the last words" in server.next(frames.Report).detail


def test_a_child_that_does_not_read_is_reported_and_does_not_hold_up_who_posts(boot):
    server = boot("def go(self): import re; re.match('(a+)+$', 'a' * 50 + 'b')\n", longest_unread_s=1.0)
    server.call("found")
    server.ask("go")  # inside C code, with the interpreter's lock
    time.sleep(0.1)
    began = time.monotonic()
    for _ in range(40):
        server.ask("save", bytes(100_000))
    assert time.monotonic() - began < 1
    report = server.next(frames.Report)
    assert "its process does not read what is sent to it, for" in report.text
    assert report.site.startswith("raft/__init__.py:")
    assert not is_running(server.process.pid)


def test_a_child_for_which_too_much_waits_is_reported(boot, monkeypatch):
    monkeypatch.setattr(processes, "MOST_UNREAD", 1 << 20)
    server = boot("def go(self): import re; re.match('(a+)+$', 'a' * 50 + 'b')\n")
    server.call("found")
    server.ask("go")
    time.sleep(0.1)
    for _ in range(40):
        server.ask("save", bytes(100_000))
    assert "and 3 MB wait for it" in server.next(frames.Report).text


def test_a_child_that_sends_too_much_has_to_wait(boot, monkeypatch):
    monkeypatch.setattr(processes, "MOST_UNHANDLED", 100)
    server = boot("def go(self):\n    while True: self.ends[0].call('Server.x', Ping(1), timeout=0)\n")
    server.call("found")
    server.ask("go")
    wait_until(lambda: server.mailbox.qsize() > 100)
    time.sleep(0.5)
    most = server.mailbox.qsize()
    time.sleep(0.5)
    assert server.mailbox.qsize() == most < 20_000  # one piece of what a socket holds
    server.process.end()
    assert not is_running(server.process.pid)


def test_large_messages_come_through_in_pieces(boot):
    server = boot("def echo(self, data): return data\n")
    data = os.urandom(5_000_000)
    assert server.call("echo", data) == data
    asked = [server.ask("echo", data[: 200_000 + number]) for number in range(50)]
    answered = {server.next(frames.Result).control for _ in asked}
    assert answered == set(asked)


# ------------------------------------------------------------------ pause


def test_a_paused_server_stands_still_and_goes_on(boot):
    snippet = """
        def count(self):
            self.counted = 0
            threading.Thread(target=self.run, daemon=True).start()
        def run(self):
            while True:
                self.counted += 1
                time.sleep(0.001)
        def so_far(self): return self.counted
    """
    server = boot(snippet)
    server.call("count")
    time.sleep(0.2)
    server.process.pause(True)
    server.process.pause(True)
    state = Path(f"/proc/{server.process.pid}/stat").read_text()
    assert ") T " in state
    asked = server.ask("so_far")
    with pytest.raises(queue.Empty):
        server.next(frames.Result, patience=0.5)
    server.process.pause(False)
    server.process.pause(False)
    assert decode_record(server.next(frames.Result, asked).payload) < 400


def test_a_paused_server_may_read_nothing_and_be_killed(boot):
    server = boot(longest_unread_s=0.5)
    server.call("save", b"x")
    server.process.pause(True)
    for _ in range(20):
        server.ask("save", bytes(100_000))
    with pytest.raises(queue.Empty):
        server.next(frames.Report, patience=2.5)
    assert server.restart().call("found") == (b"x", b"")


# ------------------------------------------------------------------ a whole cluster

REAL = ("--clock", "real", "--servers", "processes")

CLUSTER = """\
import os, sys, time
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
run = Run(1, Options(clock="real", servers="processes"))
cluster = RaftCluster(run, 3)
cluster.one_leader()
machines = cluster.coordinator._machines
pids = [cluster.coordinator._nodes[str(i)].machine.pid for i in range(3)]
print(machines.folder, machines.nursery.pid, *pids, flush=True)
sys.stdin.readline()
"""


class Judge:
    """A process of its own that runs a cluster, and then `ending`."""

    def __init__(self, ending: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER + ending],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )
        assert self.process.stdout is not None
        words = self.process.stdout.readline().split()
        assert len(words) == 5, self.process.communicate()[1]
        self.folder = Path(words[0])
        self.pids = [int(word) for word in words[1:]]
        assert self.folder.is_dir()
        assert all(is_running(pid) for pid in self.pids)
        assert self.process.stdin is not None
        self.process.stdin.write("go on\n")
        self.process.stdin.flush()

    def check_that_nothing_is_left(self) -> None:
        self.process.communicate(timeout=30)
        wait_until(lambda: not any(is_running(pid) for pid in self.pids))
        wait_until(lambda: not self.folder.exists())


ENDINGS = {
    "it closes the run": "run.close()\n",
    "it forgets to": "",
    "a test fails": "assert False\n",
    "os._exit": "os._exit(1)\n",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_is_left_when_the_judge_ends(ending):
    Judge(ENDINGS[ending]).check_that_nothing_is_left()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_when_the_judge_is_sent(number):
    judge = Judge("cluster.sleep(60)\n")
    judge.process.send_signal(number)
    judge.check_that_nothing_is_left()


def test_nothing_is_left_when_paused_servers_lose_their_judge():
    judge = Judge("cluster.network.pause(0)\nprint('paused', flush=True)\ncluster.sleep(60)\n")
    assert judge.process.stdout is not None
    assert judge.process.stdout.readline() == "paused\n"
    judge.process.kill()
    judge.check_that_nothing_is_left()


def test_no_process_is_left_when_judge_and_nursery_are_killed_at_once():
    judge = Judge("cluster.network.pause(0)\nprint('paused', flush=True)\ncluster.sleep(60)\n")
    assert judge.process.stdout is not None
    assert judge.process.stdout.readline() == "paused\n"
    os.kill(judge.pids[0], signal.SIGSTOP)  # so that it cannot clean up
    judge.process.kill()
    os.kill(judge.pids[0], signal.SIGKILL)
    judge.process.communicate()
    wait_until(lambda: not any(is_running(pid) for pid in judge.pids))
    shutil.rmtree(judge.folder)  # a folder is too much to ask


def test_when_the_nursery_dies_the_run_fails_and_nothing_is_left():
    judge = Judge("os.kill(machines.nursery.pid, 9)\ncluster.crash(0)\ncluster.start(0)\n")
    _, errors = judge.process.communicate(timeout=30)
    assert "HarnessError: the process that forks the servers is gone" in errors
    judge.check_that_nothing_is_left()


def run_cluster(servers: int = 3) -> Any:
    return RaftCluster(Run(1, Options(clock="real", servers="processes")), servers)


def test_killed_servers_recover_from_their_disks():
    cluster = run_cluster()
    try:
        index = cluster.one("first", 3)
        for server in range(3):
            cluster.crash(server)
        for server in range(3):
            cluster.start(server)
        assert cluster.one("second", 3) > index
        assert cluster.applied.command(index) == "first"
    finally:
        cluster.run.close()


def test_a_paused_leader_is_replaced_and_learns_of_it():
    cluster = run_cluster()
    try:
        leader = cluster.one_leader()
        cluster.network.pause(leader)
        cluster.network.disconnect(leader)
        assert cluster.one_leader() != leader
        cluster.network.connect(leader)
        cluster.network.resume(leader)
        cluster.one("after", 3)
    finally:
        cluster.run.close()


def test_a_lost_save_ends_the_run_with_whose_fault_it_is():
    cluster = run_cluster()
    try:
        cluster.one("x", 3)
        machine = cluster.coordinator._nodes["2"].machine
        end = machine.end

        def end_and_damage() -> None:
            end()
            damage(machine._folder)

        machine.end = end_and_damage
        with pytest.raises(LostSave, match="server 2 lost a save that it had reported durable"):
            cluster.crash(2)
    finally:
        cluster.run.close()


def test_a_clock_cannot_be_set():
    cluster = run_cluster(1)
    try:
        with pytest.raises(UsageError, match="--clock virtual"):
            cluster.network.set_clock(0, offset=1.0)
    finally:
        cluster.run.close()


# ------------------------------------------------------------------ machines in need


def test_without_a_place_for_disks_the_error_says_what_to_set(nursery, monkeypatch, tmp_path):
    bundle = CodeBundle({}, {})
    for folder in (tmp_path / "missing", tmp_path / "x" / ("y" * 300), "/proc"):
        monkeypatch.setattr(processes.tempfile, "gettempdir", lambda folder=folder: str(folder))
        with pytest.raises(UsageError, match=r"there is no place for the servers' disks: .*; set TMPDIR to a folder"):
            RealProcessMachines(bundle, nursery)


def test_few_files_are_enough_or_the_error_says_what_to_raise(tmp_path):
    script = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (MOST, MOST))\n"
        "from tester.raft_cluster import RaftCluster\n"
        "from tester.run import Options, Run\n"
        "run = Run(1, Options(clock='real', servers='processes'))\n"
        "cluster = RaftCluster(run, SERVERS)\n"
        "for i in range(SERVERS): cluster.crash(i); cluster.start(i)\n"
        "cluster.one('x', SERVERS // 2 + 1)\n"
        "run.close(); print('well')\n"
    )

    def attempt(limit: int, servers: int) -> str:
        code = script.replace("MOST", str(limit)).replace("SERVERS", str(servers))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
        return done.stdout + done.stderr

    assert attempt(256, 15).endswith("well\n")
    assert "raise the limit on open files (ulimit -n)" in attempt(20, 15)


def test_a_disk_that_fails_is_not_the_servers_fault(tmp_path):
    """A limit on the size of files stands for a full disk."""
    script = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))\n"
        "from tester.raft_cluster import RaftCluster\n"
        "from tester.run import Options, Run\n"
        "run = Run(1, Options(clock='real', servers='processes'))\n"
        "cluster = RaftCluster(run, 1)\n"
        "cluster.one(b'x' * 520_000, 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "HarnessError: server 0: its disk failed: [Errno 27]" in done.stderr
    assert "set TMPDIR to a folder" in done.stderr


# ------------------------------------------------------------------ graded tests


@pytest.mark.parametrize("test", ["initial_election", "basic_agree", "persist_basic", "rsm_shutdown", "snapshot_init"])
def test_graded_tests_pass_on_the_reference(run_pytest, test):
    result = run_pytest(*REAL, "-k", test, tests=str(ROOT / "tests" / "labs"))
    assert result.ret == 0


FOREVER = """\
def test_forever(raft_cluster):
    cluster = raft_cluster(3)
    machines = cluster.coordinator._machines
    with open("started.tmp", "w") as file:
        print(machines.folder, *[node.machine.pid for node in cluster.coordinator._nodes.values()], file=file)
    import os
    os.rename("started.tmp", "started")
    while True:
        cluster.sleep(1)
"""


def check_that_nothing_is_left_of_forever(folder: Path) -> None:
    disks, *pids = (folder / "started").read_text().split()
    assert len(pids) == 3
    wait_until(lambda: not any(is_running(int(pid)) for pid in pids))
    wait_until(lambda: not Path(disks).exists())


def test_a_test_that_takes_too_long_leaves_nothing(pytester, run_pytest):
    test = pytester.makepyfile(FOREVER)
    run_pytest(*REAL, "--timeout", "2", tests=str(test)).assert_outcomes(failed=1)
    check_that_nothing_is_left_of_forever(pytester.path)


def test_ctrl_c_leaves_nothing(pytester):
    test = pytester.makepyfile(FOREVER)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(test), *REAL]
    judge = subprocess.Popen(command, cwd=pytester.path, stdout=subprocess.PIPE, start_new_session=True, text=True)
    wait_until(lambda: (pytester.path / "started").exists())
    os.killpg(judge.pid, signal.SIGINT)
    output, _ = judge.communicate(timeout=30)
    assert "KeyboardInterrupt" in output
    check_that_nothing_is_left_of_forever(pytester.path)
