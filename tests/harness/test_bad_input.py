"""Bad input and hostile servers: one clear error each, naming server, file and line, and nothing left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from labrpc.errors import CodeFault, UsageError
from tester.run import Options, parse_seed
from tests.harness.conftest import header_line

BASE = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.me, self.persister = ends, me, persister

    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(args.number)

"""


def error_of(lab, world: str, snippet: str, *, call: str = "go", step_wall_limit_s: float = 20.0) -> CodeFault:
    """The CodeFault that ends a run in which the test calls `call` on server 0."""
    cluster = lab(snippet, world=world, step_wall_limit_s=step_wall_limit_s)
    with pytest.raises(CodeFault) as caught:
        cluster.server(0).call(call)
        cluster.sleep(5)
    cluster.close()
    return caught.value


def line_of(snippet: str, text: str) -> str:
    lines = snippet.lstrip("\n").splitlines()
    return f"raft/__init__.py:{header_line(1 + next(n for n, line in enumerate(lines) if text in line))}"


CALLS = {
    "unregistered type": (
        '    def go(self): self.ends[1].call("Server.ping", Ping({1, 2}))\n',
        "call of Server.ping: cannot encode Ping.number: set does not travel; use a sorted list",
    ),
    "unregistered class": (
        '    def go(self): self.ends[1].call("Server.ping", self)\n',
        "Server does not travel; send a @message dataclass",
    ),
    "unknown service": (
        '    def go(self): self.ends[1].call("Raft.ping", Ping(1))\n',
        "1 refused Raft.ping of 0: 1 has no service Raft; it has Server",
    ),
    "unknown method": (
        '    def go(self): self.ends[1].call("Server.pong", Ping(1))\n',
        "1 refused Server.pong of 0: 1 has no method Server.pong; it has Server.ping",
    ),
    "wrong argument type": (
        '    def go(self): self.ends[1].call("Server.ping", Pong(1))\n',
        "1 refused Server.ping of 0: Server.ping takes Ping, not Pong",
    ),
    "a save that is no bytes": (
        '    def go(self): self.persister.save({"term": 1})\n',
        "raft_state must be bytes, not dict; use labrpc.encode",
    ),
    "open": ('    def go(self): open("/tmp/x", "w")\n', "server code has no files"),
    "a late import": ("    def go(self): import subprocess\n", "server code may not import subprocess"),
}


@pytest.mark.parametrize("name", CALLS)
def test_misuse_names_server_file_and_line(lab, world, name):
    method, expected = CALLS[name]
    error = error_of(lab, world, BASE + method)
    assert "server 0" in str(error)
    assert expected in str(error)
    assert line_of(BASE + method, "def go") in str(error)


def test_a_misuse_that_is_swallowed_still_fails_the_test(lab, world):
    method = """
    def go(self):
        try:
            self.ends[1].call("Server.ping", Pong(1))  # here
        except BaseException:
            pass
"""
    error = error_of(lab, world, BASE + method)
    assert "Server.ping takes Ping, not Pong" in str(error)
    assert line_of(BASE + method, "# here") in str(error)


BOOTS = {
    "handler without annotations": (
        "class Server:\n    def __init__(self, *a): pass\n    @rpc\n    def ping(self, args):\n        return args\n",
        "handler Server.ping lacks the annotation of args and return",
    ),
    "handler without reply annotation": (
        "class Server:\n    def __init__(self, *a): pass\n    @rpc\n    def ping(self, args: Ping): return args\n",
        "handler Server.ping lacks the annotation of return",
    ),
    "handler with two arguments": (
        "class Server:\n    def __init__(self, *a): pass\n    @rpc\n    def ping(self, a: Ping, b: Ping) -> Pong: pass",
        "handler Server.ping takes 2 arguments",
    ),
    "asyncio": ("import asyncio\n", "server code may not import asyncio"),
    "pickle": ("from pickle import dumps\n", "server code may not import pickle"),
    "labrpc's inside": ("import labrpc.virtual.host\n", "server code may not import labrpc.virtual.host"),
    "a real disk": ("from labrpc import DiskPersister\n", "labrpc.DiskPersister is not for code on a host"),
    "a third party": ("import numpy\n", "server code may not import numpy"),
    "a module that is not there": ("import raft.nothing\n", "No module named 'raft.nothing'"),
    "a syntax error": ("class Server:\n    def\n", "SyntaxError"),
    "message without dataclass": ("@message\nclass M: pass\n", "put @dataclass under @message on M"),
    "an import that raises": ("1 / 0\n", "ZeroDivisionError"),
}


@pytest.mark.parametrize("name", BOOTS)
def test_code_that_does_not_start_names_server_file_and_line(lab, world, name):
    snippet, expected = BOOTS[name]
    cluster = lab(snippet, world=world)
    with pytest.raises(CodeFault) as caught:
        cluster.sleep(1)
    assert str(caught.value).startswith("server 0: it did not start:")
    assert expected in str(caught.value)
    assert "raft/__init__.py:" in str(caught.value)


def test_a_handler_that_raises_names_server_handler_file_and_line(lab, world):
    snippet = BASE.replace("return Pong(args.number)", "return Pong(args.number / 0)") + (
        '    def go(self): self.ends[1].call("Server.ping", Ping(1))\n'
    )
    error = error_of(lab, world, snippet)
    assert "server 1: thread Server.ping died: ZeroDivisionError" in str(error)
    assert line_of(snippet, "/ 0") in str(error)


def test_a_handler_that_returns_the_wrong_type_is_named(lab, world):
    snippet = BASE.replace("return Pong(args.number)", "pass") + (
        '    def go(self): self.ends[1].call("Server.ping", Ping(1))\n'
    )
    error = error_of(lab, world, snippet)
    assert "server 1: handler Server.ping returned NoneType, its annotation says Pong" in str(error)
    assert "raft/__init__.py:" in str(error)


def test_a_server_that_prints_without_end_is_stopped(lab, world):
    error = error_of(lab, world, BASE + '    def go(self):\n        while True: print("x" * 1000)\n')
    assert "server 0: it printed and annotated more than 1048576 bytes" in str(error)
    assert line_of(BASE + "    def go(self):\n        while True: print()", "while True") in str(error)


def test_a_handler_cannot_swallow_ctrl_c(lab):
    cluster = lab(BASE + """
    def go(self):
        while True:
            try:
                self.me += 1
            except BaseException:
                pass
""")  # fmt: skip
    cluster.spawn(lambda: cluster.server(0).call("go"))
    cluster.spawn(lambda: cluster.coordinator.interrupt(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        cluster.sleep(5)


# ------------------------------------------------------------------ child processes


def children_of(cluster) -> list[int]:
    return [node.machine.pid for node in cluster.coordinator._nodes.values()]


def is_running(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


HOSTILE = {
    # The interpreter's own objects lead anywhere: what a determined submission can reach, a child must survive.
    "exits": ("posix._exit(7)", "its process died (exit status 7)"),
    "is killed": ("posix.kill(posix.getpid(), 9)", "its process died (killed by SIGKILL)"),
    "crashes in C": ("posix.kill(posix.getpid(), 11)", "its process died (killed by SIGSEGV)"),
    "writes garbage": ("[posix.write(fd, b'\\x00\\x00\\x00\\x03abc') for fd in sockets()]", "a frame that is no frame"),
    "claims a huge frame": (
        "[posix.write(fd, b'\\xff\\xff\\xff\\xff') for fd in sockets()]",
        "a frame of 4294967295 bytes",
    ),
    "closes its connection": (
        "[each.shutdown(1) for each in real_import()('gc').get_objects() if type(each).__name__ == 'socket']; "
        "real_import()('time').sleep(60)",
        "its process closed its connection to the test, and went on",
    ),
}

REACH = """
def real_import():
    for cls in object.__subclasses__():
        if cls.__name__ == "BuiltinImporter":
            return cls.load_module

posix = real_import()("posix")

def sockets():
    found = []
    for fd in range(3, 64):
        try:
            if posix.readlink("/proc/self/fd/%d" % fd).startswith("socket:"):
                found.append(fd)
        except OSError:
            pass
    return found
"""


@pytest.mark.parametrize("name", HOSTILE)
def test_a_child_process_that_fails_is_named_and_leaves_nothing_behind(lab, name):
    statement, expected = HOSTILE[name]
    cluster = lab(REACH + BASE + f"    def go(self): {statement}\n", world="processes")
    pids = children_of(cluster)
    with pytest.raises(CodeFault) as caught:
        cluster.server(0).call("go")
        cluster.sleep(1)
    cluster.close()
    assert "server 0: its process" in str(caught.value)
    assert expected in str(caught.value)
    wait_until_gone(pids)


def test_a_child_that_hangs_in_c_code_is_named_with_its_line(lab):
    snippet = "import re\n" + BASE + '    def go(self): re.match("(a+)+$", "a" * 50 + "b")\n'
    cluster = lab(snippet, world="processes", step_wall_limit_s=1.0)
    pids = children_of(cluster)
    with pytest.raises(CodeFault) as caught:
        cluster.server(0).call("go")
    cluster.close()
    assert "server 0: its process did not come back from a step within 1 s" in str(caught.value)
    assert line_of(snippet, "re.match") in str(caught.value)
    wait_until_gone(pids)


def wait_until_gone(pids: list[int]) -> None:
    """Killed children vanish as soon as the kernel has reaped them: a moment of wall time, not of a test's."""
    import time

    deadline = time.monotonic() + 10
    while any(is_running(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [pid for pid in pids if is_running(pid)] == []


def test_a_failed_run_leaves_the_next_one_unharmed(lab):
    broken = lab(REACH + BASE + "    def go(self): posix._exit(7)\n", world="processes")
    with pytest.raises(CodeFault):
        broken.server(0).call("go")
    healthy = lab(BASE + "    def go(self): return 1\n", world="processes")
    assert healthy.server(0).call("go") == 1


def test_children_end_when_the_judge_is_killed(tmp_path):
    import subprocess
    import sys
    import time

    script = (
        "import sys, time\n"
        "from tester.run import Run, Options\n"
        "from tester.raft_cluster import RaftCluster\n"
        "cluster = RaftCluster(Run(1, Options(servers='processes')), 3)\n"
        "print(*[node.machine.pid for node in cluster.coordinator._nodes.values()], flush=True)\n"
        "time.sleep(600)\n"
    )
    judge = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert judge.stdout is not None
    pids = [int(word) for word in judge.stdout.readline().split()]
    assert len(pids) == 3
    assert all(is_running(pid) for pid in pids)
    os.kill(judge.pid, signal.SIGKILL)
    judge.wait()
    judge.stdout.close()
    time.sleep(0.05)
    wait_until_gone(pids)


# ------------------------------------------------------------------ options


@pytest.mark.parametrize("text", ["x", "", "1.5", "-1", "0xg"])
def test_a_seed_that_is_no_number_is_refused(text):
    with pytest.raises(UsageError, match="--seed"):
        parse_seed(text)


@pytest.mark.parametrize(("text", "seed"), [("0", 0), ("12", 12), ("0x1F", 31)])
def test_seeds_are_decimal_or_hexadecimal(text, seed):
    assert parse_seed(text) == seed


def test_a_solution_that_is_nowhere_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is not a folder"):
        Options(solution=tmp_path / "nowhere")


def test_a_solution_without_packages_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no raft/ or kvraft/ package"):
        Options(solution=tmp_path).bundle()


@pytest.mark.parametrize("where", ["start", "handler", "control"])
def test_sys_exit_is_reported_with_its_line(lab, world, where):
    exits = "sys.exit(3)"
    snippet = f"""
import sys
class Server:
    def __init__(self, ends, me, persister):
        self.ends = ends
        {exits if where == "start" else "pass"}
    @rpc
    def ping(self, args: Ping) -> Pong:
        {exits if where == "handler" else "return Pong(1)"}
    def go(self):
        {exits if where == "control" else 'self.ends[1].call("Server.ping", Ping(1))'}
"""
    error = error_of(lab, world, snippet)
    assert "SystemExit: 3" in str(error)
    assert line_of(snippet, exits) in str(error)


def test_a_module_that_spins_while_it_is_imported_is_reported(lab, world):
    cluster = lab("flag = [False]\nwhile not flag[0]: pass\nclass Server: pass\n", world=world)
    with pytest.raises(CodeFault, match="without blocking once"):
        cluster.sleep(10)
