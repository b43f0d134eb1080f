"""Hostile submissions in the sandbox: what stops each of them, what an instructor reads, and that the next run is well.

The allow-list of imports stops most of this at its first line; here the code has got past it (data/hostile/reach.py).
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labrpc.errors import CodeFault, HarnessError, UsageError
from labrpc.streams import Streams
from tester import run as run_module
from tester.graded import graded_test
from tester.run import Options, Run, protections, reference_root
from tester.sandboxed import sandboxed_run
from tests.harness.conftest import Lab

LACKS = {name: reason for name, reason in protections().items() if reason}

pytestmark = pytest.mark.skipif(bool(LACKS), reason=f"no whole sandbox here: {LACKS}")

REACH = (Path(__file__).parent / "data" / "hostile" / "reach.py").read_text()

SERVER = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.me, self.persister = ends, me, persister

    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(args.number)

    def greet(self):
        return self.ends[1].call("Server.ping", Ping(7)).number

"""


def processes_below(pid: int) -> list[int]:
    """All processes that descend from `pid`."""
    parents: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
        except OSError:
            continue
        if not lines["State"].startswith("Z"):
            parents.setdefault(int(lines["PPid"]), []).append(int(lines["Pid"]))
    found, left = [], [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


@pytest.fixture(autouse=True)
def nothing_is_left(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After each test, a run with the same nursery is as before; no process is left, and no file."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    nursery = run_module._nursery(True)
    processes = sorted(processes_below(nursery.pid))
    yield
    assert honest_run(lab) == 7
    assert run_module._nursery(True) is nursery
    deadline = time.monotonic() + 10
    while sorted(processes_below(nursery.pid)) != processes and time.monotonic() < deadline:
        time.sleep(0.01)  # the kernel is still at it
    assert sorted(processes_below(nursery.pid)) == processes
    assert list(temporary.iterdir()) == []


def honest_run(lab: Lab) -> int:
    cluster = lab(SERVER, world="processes", sandbox=True)
    number = cluster.server(0).call("greet")
    cluster.close()
    return number


def hostile(lab: Lab, body: str, *, above: str = "", step_s: float = 20.0, call: str = "go") -> CodeFault | None:
    """What becomes of a run in which server 0 does `body`; above it all, `above` runs when the module is imported."""
    indented = "".join(f"        {line}\n" for line in body.splitlines())
    cluster = lab(
        REACH + above + SERVER + f"    def go(self):\n{indented}",
        world="processes",
        sandbox=True,
        step_wall_limit_s=step_s,
    )
    try:
        cluster.server(0).call(call)
        cluster.sleep(1)
    except CodeFault as error:
        return error
    finally:
        cluster.close()
    return None


def answer(lab: Lab, body: str, *, above: str = "") -> object:
    """What server 0's `go`, which is `body`, returns."""
    indented = "".join(f"        {line}\n" for line in body.splitlines())
    with lab(REACH + above + SERVER + f"    def go(self):\n{indented}", world="processes", sandbox=True) as cluster:
        return cluster.server(0).call("go")


# ------------------------------------------------------------------ what ends a run, and the sentence that says so


SENTENCES = {
    "exits": ("real('posix')._exit(7)", "server 0: its process died (exit status 7)"),
    "exits in a thread": (
        "threading.Thread(target=lambda: real('posix')._exit(3)).start()\ntime.sleep(1)",
        "server 0: its process died (exit status 3)",
    ),
    "exits as if for a deed": ("real('posix')._exit(120)", "server 0: its process died (exit status 120)"),
    "exits as if it had no sandbox": ("real('posix')._exit(119)", "server 0: its process died (exit status 119)"),
    "sys.exit": ("import sys\nsys.exit(5)", "server 0: thread test calls go died: SystemExit: 5"),
    "crashes": ("real('faulthandler')._read_null()", "server 0: its process died (killed by SIGSEGV)"),
    "signals its parent": ("real('posix').kill(real('posix').getppid(), 9)", "its process tried to send a signal"),
    "signals everybody": ("real('posix').kill(-1, 9)", "server 0: its process tried to send a signal"),
    "forks": ("while True: real('posix').fork()", "server 0: its process tried to start a process"),
    "runs a command": ("real('subprocess').run(['/bin/sh'])", "server 0: its process tried to start a process"),
    "executes a file": ("real('posix').execv('/bin/sh', ['sh'])", "server 0: its process tried to start a process"),
    "starts a real thread": (
        "real('_thread').start_new_thread(print, ())",
        "tried to start a thread of the operating system"
        if sys.version_info >= (3, 12)  # an earlier Python has no word for it, and only the kernel refuses
        else "RuntimeError: can't start new thread",
    ),
    "opens a socket": ("real('socket').socket()", "server 0: its process tried to open a socket"),
    "looks up a name": ("real('socket').getaddrinfo('example.org', 80)", "its process tried to open a socket"),
    "a socket by name": (
        "s = real('socket')\ns.socket(s.AF_UNIX).bind('\\0together')",
        "its process tried to open a socket",
    ),
    "calls C": ("real('ctypes').CDLL(None).fork()", "server 0: its process tried to call C code"),
    "walks the heap": ("real('gc').get_objects()", "server 0: its process looked for the harness's objects in memory"),
    "100 GB": ("self.hoard = bytearray(100 << 30)", "server 0: its process used more than 1 GiB of memory"),
    "grows": (
        "hoard = []\nwhile True: hoard.append(bytearray(1 << 24))",
        "server 0: its process used more than 1 GiB of memory",
    ),
    "prints for ever": ("while True: print('x' * 1000)", "server 0: it printed and annotated more than 1048576 bytes"),
    "fills standard error": (
        "while True: real('posix').write(2, b'x' * (1 << 20))",
        "server 0: thread test calls go died: OSError: [Errno 27] File too large",
    ),
    "fills the disk": (
        "for n in range(10**6):\n    with real('io').open(f'/tmp/{n}', 'wb') as file: file.write(bytes(1 << 20))",
        "server 0: thread test calls go died: OSError: [Errno 28] No space left on device",
    ),
    "writes a file": (
        "real('io').open('/lab/labrpc/evil.py', 'w')",
        "server 0: thread test calls go died: OSError: [Errno 30] Read-only file system",
    ),
    "loops for ever": ("while True: pass", "server 0: thread test calls go used 1.0 s of CPU without blocking once"),
    "loops for ever out of sight": ("exec('while True: pass')", "server 0: its process did not come back from a step"),
    "loops for ever in C": (
        "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
        "server 0: its process did not come back from a step within 1 s of wall time",
    ),
    "has time for ever": (
        "host().slow_step = lambda: None\nhost().left = 1 << 60\nwhile True: self.me",
        "server 0: its process did not come back from a step",
    ),
    "garbage": ("real('posix').write(connection(), b'\\0\\0\\0\\3abc')", "wrote a frame that is no frame"),
    "half a frame": (
        "real('posix').write(connection(), b'\\0\\0\\1\\0abc')\nwhile True: exec('while True: pass')",
        "server 0: its process did not come back from a step",
    ),
    "half a frame and out": (
        "real('posix').write(connection(), b'\\0\\0\\1\\0abc')\nreal('posix')._exit(0)",
        "server 0: its process died (exit status 0)",
    ),
    "a huge frame": ("real('posix').write(connection(), b'\\xff' * 4)", "a frame of 4294967295 bytes"),
    "a text that is none": (
        "write_frame(b'\\x93\\x91\\x95\\xa6Output\\x00\\xa1\\xff\\xa1a\\xa1b\\x00\\xc0')",
        "server 0: its process wrote a frame that is no frame",
    ),
    "another's answer": (
        "f = real('labrpc.frames')\nhost().emit(f.Answer(host().clock(), 12345, b''))",
        "server 0: it answered a request that it was not sent",
    ),
    "another's control": (
        "f = real('labrpc.frames')\nhost().emit(f.Result(host().clock(), 12345, b'\\xc0'))",
        "server 0: it answered a control call that it was not sent",
    ),
    "a result that is none": (
        "f = real('labrpc.frames')\nhost().emit(f.Result(host().clock(), 1, b'\\xc1'))",
        "server 0: it returned what is no value",
    ),
    "a call to nobody": (
        "f = real('labrpc.frames')\nhost().emit(f.Call(host().clock(), 1, 'c0', 'KV.get', b''))",
        "server 0: it called 'c0', to which it has no end",
    ),
    "a save that is none": (
        "f = real('labrpc.frames')\nhost().emit(f.Saved(host().clock(), 9))",
        "server 0: it claims that save 9 is durable, which is not the next to be",
    ),
    "a report that is the harness's": (
        "f = real('labrpc.frames')\nhost().emit(f.Report(host().clock(), 'lab', 'x', '', ''))",
        "server 0: it reported on itself what it could not",
    ),
    "a thousand million effects": (
        "f = real('labrpc.frames')\nhost()._effects.extend([f.AnnotationEnd(host().clock(), 1)] * 60_000)",
        "server 0: it did more than 50000 things in one step",
    ),
    "prints past the host": (
        "f = real('labrpc.frames')\nhost().emit(f.Output(host().clock(), '', 'x' * (2 << 20)))",
        "server 0: it printed and annotated more than it may",
    ),
    "a huge message": (
        "host().call('1', 'Server.ping', 'x' * (17 << 20), 1)",
        "server 0: it sent an RPC's argument of more than 16 MiB",
    ),
    "a clock in the future": (
        "host().now += 10**15",
        "server 0: it claims instants that are out of order or out of its step",
    ),
    "a clock in the past": (
        "f = real('labrpc.frames')\ntime.sleep(0.1)\nhost().emit(f.Output(5, '', 'x'))",
        "server 0: it claims instants that are out of order or out of its step",
    ),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_a_hostile_server_is_stopped_and_named(lab, name):
    body, sentence = SENTENCES[name]
    error = hostile(lab, body, step_s=1.0 if "did not come back" in sentence else 20.0)
    assert error is not None
    assert sentence in str(error)
    assert str(error).startswith("server 0: ")
    assert "\n" not in str(error)


AT_IMPORT = {
    "exits": ("import sys\nsys.exit(4)\n", "server 0: it did not start: SystemExit: 4"),
    "exits at once": ("real('posix')._exit(4)\n", "server 0: its process died (exit status 4)"),
    "forks": ("real('posix').fork()\n", "server 0: its process tried to start a process"),
    "writes": ("real('io').open('/evil', 'w')\n", "server 0: it did not start: OSError: [Errno 30]"),
    "imports sockets": (
        "import socket\n",
        "server 0: it did not start: ImportError: server code may not import socket",
    ),
    "loops": ("while True: pass\n", "server 0: thread MainThread used 1.0 s of CPU without blocking once"),
    "100 GB": ("hoard = bytearray(100 << 30)\n", "server 0: its process used more than 1 GiB of memory"),
    "half a character": ("raise ValueError('\\ud800')\n", r"server 0: it did not start: ValueError: \ud800"),
}


@pytest.mark.parametrize("name", AT_IMPORT)
def test_what_is_done_at_import_is_stopped_and_named(lab, name):
    above, sentence = AT_IMPORT[name]
    error = hostile(lab, "pass", above=above)
    assert error is not None
    assert sentence in str(error)


def test_the_sentence_names_the_line(lab):
    error = hostile(lab, "real('posix').fork()")
    assert re.search(r"tried to start a process at raft/__init__\.py:\d+$", str(error))


def test_a_traceback_shows_lines_of_files_that_the_child_cannot_read(lab):
    error = hostile(lab, "raise ValueError('here')")
    assert error is not None
    assert "    raise ValueError('here')" in error.detail


def test_a_handler_that_exits_names_its_server(lab):
    cluster = lab(
        REACH + SERVER.replace("return Pong(args.number)", "real('posix')._exit(1)"), world="processes", sandbox=True
    )
    with cluster, pytest.raises(CodeFault, match=r"^server 1: its process died \(exit status 1\)"):
        cluster.server(0).call("greet")


def test_a_child_that_keeps_its_judge_waiting_is_stopped(lab):
    """One byte every now and then keeps no step alive longer than a step may take."""
    drip = (
        "clock = real('time')\nreal('posix').write(connection(), b'\\0\\0\\1\\0')\n"
        "exec('while True:\\n clock.sleep(0.3)\\n posix.write(fd, b\"x\")', "
        "{'clock': clock, 'posix': real('posix'), 'fd': connection()})"
    )
    began = time.monotonic()
    error = hostile(lab, drip, step_s=1.0)
    assert "did not come back from a step within 1 s" in str(error)
    assert time.monotonic() - began < 10


def test_a_clock_that_stands_still_ends_by_the_runs_wall_time(lab, monkeypatch):
    body = "cls = type(host())\ncls.run = lambda self, limit: self.now\ntime.sleep(0.1)\n"
    real_bounds = run_module.Bounds
    monkeypatch.setattr("tests.harness.conftest.Bounds", lambda **options: real_bounds(run_wall_s=2.0, **options))
    error = hostile(lab, body)
    assert "server 0: the run's servers and clerks took more than 2 s of wall time, and it most of them" in str(error)


# ------------------------------------------------------------------ what comes to nothing


def test_it_sees_no_file_but_pythons_and_the_labs(lab, tmp_path):
    secret = tmp_path / "results.sqlite"
    secret.write_text("the judge's")
    home = Path.home()
    body = f"""
os = real("posix")
seen = []
for folder in ({str(tmp_path)!r}, {str(home / ".ssh")!r}, {str(reference_root() / "raft")!r},
               {str(reference_root() / "tester")!r}, "/home", "/proc", "/tmp", "/sys", "/run", "/var"):
    try:
        seen += [folder + "/" + name for name in os.listdir(folder)]
    except OSError:
        pass
for path in ({str(secret)!r}, "/etc/passwd", "/proc/self/environ", "/proc/1/mem"):
    seen.append(refused(lambda: real("io").open(path).read()))
for path in ({str(secret)!r}, {str(tmp_path)!r}):
    seen += [refused(os.unlink, path), refused(os.rmdir, path), refused(lambda: real("io").open(path, "w"))]
return seen, os.listdir("/lab"), sorted(os.environ), os.uname().nodename, os.getpid(), os.getppid(), os.getuid()
"""
    seen, lab_folder, environment, name, pid, parent, user = answer(lab, body)
    assert set(seen) <= {"FileNotFoundError", "PermissionError", "OSError"}
    assert len(seen) == 10
    assert set(lab_folder) <= {"labrpc", "greenlet", "msgspec", "greenlet.libs", "msgspec.libs"}
    assert environment == [b"HOME", b"LANG", b"PATH", b"PWD", b"TMPDIR"]
    assert (name, pid, parent) == ("lab", 1, 0)
    assert user != 0
    assert secret.read_text() == "the judge's"


def test_removing_everything_removes_nothing(lab, tmp_path):
    keep = tmp_path / "keep"
    keep.write_text("x")
    error = hostile(lab, "real('shutil').rmtree('/', ignore_errors=True)")
    assert error is None
    assert keep.read_text() == "x"


def test_servers_share_no_file_no_memory_and_no_module(lab):
    snippet = (
        REACH
        + SERVER
        + """
    common = []

    def leave(self):
        with real("io").open("/tmp/for-you", "w") as file: file.write("psst")
        type(self).common.append(1)
        real("labrpc.codec").psst = 1
        real("builtins").psst = 1

    def find(self):
        return (real("posix").listdir("/tmp"), list(type(self).common), hasattr(real("labrpc.codec"), "psst"),
                hasattr(real("builtins"), "psst"))
"""
    )
    with lab(snippet, world="processes", sandbox=True) as cluster:
        cluster.server(0).call("leave")
        assert cluster.server(0).call("find") == (["for-you"], [1], True, True)
        assert cluster.server(1).call("find") == ([], [], False, False)
        cluster.crash(0)
        cluster.start(0)
        assert cluster.server(0).call("find") == ([], [], False, False)


def test_patching_the_lab_changes_one_child_only(lab):
    above = """
real("labrpc.virtual.host").Host.call = lambda *args: 99
real("labrpc.codec").encode = None
real("labrpc.streams").Stream.bits = lambda self, n: 0
"""
    assert answer(lab, "return self.ends[1].call('Server.ping', 1)", above=above) == 99


def test_a_child_has_its_own_random_keys_only(lab):
    body = """
found = []
def look(value, depth):
    if isinstance(value, bytes) and len(value) == 16:
        found.append(value)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        [look(each, depth - 1) for each in value]
    elif depth and isinstance(value, dict):
        [look(each, depth - 1) for each in list(value.values())]
    elif depth and hasattr(value, "__dict__"):
        look(vars(value), depth - 1)
    elif depth and hasattr(type(value), "__struct_fields__"):
        [look(getattr(value, name), depth - 1) for name in type(value).__struct_fields__]
for frame in frames():
    look(dict(frame.f_locals), 5)
    look({k: v for k, v in frame.f_globals.items() if k[:2] != "__"}, 2)
return sorted(set(found)), host().settings.key
"""
    found, own = answer(lab, body)
    root = Streams(1)
    mine = root.sub("host/0").sub("1").key
    assert own == mine
    assert mine in found
    others = [root.key, root.sub("net").key, root.sub("crash").key, root.sub("host/0").key, root.sub("host/1").key]
    others += [root.sub("host/1").sub("1").key, root.sub("host/0").sub("2").key, root.sub("event").key]
    assert not set(found) & set(others)


def test_texts_with_tricks_are_harmless(lab):
    """No escape sequence reaches a terminal, nothing is written backwards, and half characters break nothing."""
    cluster = lab(
        REACH + SERVER + "    def go(self):\n"
        "        print('\\x1b[2J\\u202egnirts\\ud800')\n"
        "        annotate('\\x07', '\\ud800')\n"
        "        threading.Thread(target=print, name='\\ud800\\x1b', args=('x',)).start()\n"
        "        raise ValueError('\\x1b]0;title\\x07 \\u202eevil \\ud800')\n",
        world="processes",
        sandbox=True,
    )
    with cluster, pytest.raises(CodeFault) as caught:
        cluster.server(0).call("go")
    assert r"ValueError: \x1b]0;title\x07 \u202eevil \ud800" in str(caught.value)
    texts = "".join(str(event) for event in cluster.journal)
    assert r"\x1b[2J\u202egnirts\ud800" in texts.replace("\\\\", "\\")
    assert "\x1b" not in texts
    assert "\u202e" not in texts


# ------------------------------------------------------------------ submissions, as they are graded


def submission(tmp_path: Path, edits: dict[str, tuple[str, str]]) -> Path:
    """The reference solution with a text replaced in some files; what is not there to be replaced is an error."""
    root = tmp_path / "hand-in"
    for package in ("raft", "kvraft"):
        for path in (reference_root() / package).glob("*.py"):
            text = path.read_text()
            name = f"{package}/{path.name}"
            if name in edits:
                old, new = edits[name]
                assert old in text
                text = text.replace(old, new)
            (root / package).mkdir(parents=True, exist_ok=True)
            (root / package / path.name).write_text(text)
    return root


@pytest.mark.parametrize(
    "name", ["test_basic_agree", "test_snapshot_install_crash", "test_unreliable_put", "test_basic"]
)
def test_the_reference_passes_and_its_run_is_the_same_outside(name):
    verdict = sandboxed_run(reference_root(), name, 5)
    assert (verdict.passed, verdict.text) == (True, "")
    run = Run(5, Options())
    assert graded_test(name).attempt(run) is None
    assert verdict.journal_hash == run.journal_hash
    run.close()


def test_an_untrusted_run_needs_a_whole_sandbox_or_leave_to_do_without(tmp_path, monkeypatch):
    nursery = run_module._nursery(True)
    monkeypatch.setattr(nursery, "missing", {"view": "bubblewrap is not installed: apt-get install bubblewrap"})
    with pytest.raises(UsageError, match="bubblewrap is not installed"):
        sandboxed_run(reference_root(), "test_initial_election", 1)
    assert sandboxed_run(reference_root(), "test_initial_election", 1, allow_unsandboxed=True).passed


def test_a_machine_that_cannot_confine_a_child_is_no_verdict_on_it(monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("labrpc.virtual.processes.receive", lambda *args, **options: None)
        with pytest.raises(HarnessError, match=r"^server 0 could not be put into its sandbox"):
            sandboxed_run(reference_root(), "test_initial_election", 1)


CLERKS = {
    "answers a get from its memory": (
        '        reply, _ = self._ask("KV.get", GetArgs(key))\n        return reply.value, reply.version, reply.err',
        "        reply, _ = self._ask(\"KV.get\", GetArgs(key))\n        return 'I remember', 1, Err.OK",
        r"^clerk \d+'s get\(.*\) returned OK, value 'I remember', version 1, but no server told it so",
    ),
    "answers a put without asking": (
        '        reply, attempts = self._ask("KV.put", PutArgs(key, value, version))',
        "        return Err.OK",
        r"^clerk \d+'s put\(.*\) returned OK, but no server answered OK",
    ),
    "answers what is no answer": (
        '        reply, attempts = self._ask("KV.put", PutArgs(key, value, version))',
        "        class Odd(str):\n            __str__ = lambda self: 7\n        return Odd()",
        r"^clerk \d+: ",
    ),
    "forges a reply to itself": (
        '        reply, attempts = self._ask("KV.put", PutArgs(key, value, version))',
        "        host = self.servers[0]._host\n"
        "        import kvraft.rpc\n"
        "        self.servers[0].call('KV.get', GetArgs(key), timeout=0)\n"
        "        return Err.OK",
        r"^clerk \d+'s put\(.*\) returned OK, but no server answered OK",
    ),
}


@pytest.mark.parametrize("name", CLERKS)
def test_a_clerk_that_lies_is_found_out(tmp_path, name):
    old, new, sentence = CLERKS[name]
    verdict = sandboxed_run(submission(tmp_path, {"kvraft/clerk.py": (old, new)}), "test_reliable_put", 3)
    assert not verdict.passed
    assert re.search(sentence, verdict.text), verdict.text


RAFTS = {
    "applies what nobody agreed on": (
        "                self.apply_ch.put(message)",
        "                message.command = ('mine', self.me)\n                self.apply_ch.put(message)",
        r"^server \d applied \('mine', \d\) at index 1, where server \d had applied \('mine', \d\)",
    ),
    "applies before anybody agreed": (
        "        self.apply_ch = apply_ch",
        "        self.apply_ch = apply_ch\n"
        "        host = self.peers[0]._host if hasattr(self, 'peers') else peers[0]._host\n"
        "        if me == 1: host.apply(ApplyMsg(command_valid=True, command=1, command_index=1))",
        r"^server \d applied \d+ at index 1, where server \d had applied \d+",
    ),
    "applies what is no message": (
        "        self.apply_ch = apply_ch",
        "        self.apply_ch = apply_ch\n        peers[0]._host.apply([1])",
        r"^server 0 put \[1\] into apply_ch, which is no ApplyMsg",
    ),
    "says that it leads, whatever it is asked": (
        "        self.apply_ch = apply_ch",
        "        self.apply_ch = apply_ch\n"
        "        type(peers[0]._host).run_control = lambda host, item: __import__('labrpc').encode((1, True))",
        r"^server \d: start\(\) returned \(1, True\), which is not what it returns",
    ),
    "harms whoever probes it": (
        "        self.apply_ch = apply_ch",
        "        self.apply_ch = apply_ch\n"
        "        if peers[0]._host.settings.incarnation == 0:  # a throwaway one, of the judge's\n"
        "            reached = [each for each in object.__subclasses__() if each.__name__ == '_wrap_close']\n"
        "            reached[0].__init__.__globals__['_exit'](5)",
        r"^server \d: its process died \(exit status 5\)$",
    ),
    "says nothing of its state": (
        "        self.apply_ch = apply_ch",
        "        self.apply_ch = apply_ch\n"
        "        type(peers[0]._host).run_control = lambda host, item: __import__('labrpc').encode('x' * 1000)",
        r"^server \d: (get_state|start)\(\) returned 'x+…, which is not what it returns",
    ),
}


@pytest.mark.parametrize("name", RAFTS)
def test_a_raft_that_forges_is_found_out(tmp_path, name):
    old, new, sentence = RAFTS[name]
    verdict = sandboxed_run(submission(tmp_path, {"raft/raft.py": (old, new)}), "test_basic_agree", 3)
    assert not verdict.passed
    assert re.search(sentence, verdict.text), verdict.text
