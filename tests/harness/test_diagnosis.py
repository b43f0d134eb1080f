"""What the lab says of threads that deadlock, spin, die or misuse locks."""

from __future__ import annotations

import pytest

from labrpc.errors import CodeFault
from tests.harness.conftest import header_line

BASE = """
class Server:
    def __init__(self, ends, me, persister):
        self.ends, self.me = ends, me
        self.mu, self.log_mu = threading.Lock(), threading.Lock()
        self.flag = False

    @rpc
    def ping(self, args: Ping) -> Pong:
        return Pong(args.number)

"""


def fault(lab, world: str, methods: str, call: str = "go", seconds: float = 10) -> CodeFault:
    """The CodeFault that ends a run in which the test calls `call` on server 0."""
    cluster = lab(BASE + methods, world=world)
    cluster.spawn(lambda: cluster.server(0).call(call))
    with pytest.raises(CodeFault) as caught:
        cluster.sleep(seconds)
    return caught.value


def line_of(methods: str, text: str) -> str:
    """raft/__init__.py:N of the line of BASE + methods that contains `text`."""
    lines = (BASE.lstrip("\n") + methods).splitlines()
    return f"raft/__init__.py:{header_line(1 + next(n for n, line in enumerate(lines) if text in line))}"


def test_acquiring_ones_own_lock_is_a_deadlock_named_with_its_line(lab, world):
    methods = """
    def go(self):
        with self.mu:
            self.again()
    def again(self):
        self.mu.acquire()
"""
    error = fault(lab, world, methods)
    assert "server 0: thread test calls go acquires Server.mu, which it holds already" in str(error)
    assert line_of(methods, "self.mu.acquire()") in str(error)


def test_a_cycle_of_locks_names_both_threads_and_both_locks(lab, world):
    methods = """
    def go(self):
        threading.Thread(target=self.other, name="other").start()
        with self.mu:
            time.sleep(0.1)
            with self.log_mu:
                pass
    def other(self):
        with self.log_mu:
            time.sleep(0.1)
            with self.mu:
                pass
"""
    error = fault(lab, world, methods)
    text = str(error)
    assert "waits for Server.mu, held by" in text
    assert "waits for Server.log_mu, held by" in text
    assert "other" in text
    assert "raft/__init__.py:" in text
    assert "in other" in error.detail
    assert "in go" in error.detail


def test_waiting_two_seconds_for_a_lock_is_reported_with_its_holder(lab, world):
    methods = """
    def go(self):
        threading.Thread(target=self.hold, name="holder").start()
        time.sleep(0.01)
        with self.mu:
            pass
    def hold(self):
        with self.mu:
            time.sleep(60)  # here
"""
    error = fault(lab, world, methods)
    assert "has waited 2 s for Server.mu, held by holder" in str(error)
    assert line_of(methods, "# here") in str(error)


def test_a_lock_used_as_a_signal_is_no_deadlock_but_a_warning(lab, world):
    cluster = lab(BASE + """
    def go(self):
        self.mu.acquire()
        threading.Thread(target=self.later).start()
        time.sleep(1)
        self.mu.acquire()
        self.mu.acquire()  # what would be a deadlock, if this were a lock and not a signal
        return time.monotonic()
    def later(self):
        time.sleep(0.5)
        self.mu.release()
        time.sleep(4)
        self.mu.release()
""", world=world)  # fmt: skip
    assert cluster.server(0).call("go") >= 4.5
    assert any("Server.mu is released by a thread that does not hold it" in text for text in cluster.run.warnings)


def test_a_spin_is_reported_with_its_line_instead_of_hanging(lab, world):
    methods = """
    def go(self):
        while not self.flag:
            pass
"""
    error = fault(lab, world, methods)
    assert "used 1.0 s of CPU without blocking once" in str(error)
    assert line_of(methods, "while not self.flag") in str(error) or line_of(methods, "pass") in str(error)


def test_a_busy_wait_lets_other_threads_of_the_host_go_on(lab, world):
    cluster = lab(BASE + """
    def go(self):
        threading.Thread(target=self.set).start()
        while not self.flag:
            pass
        return time.monotonic()
    def set(self):
        time.sleep(0.01)
        self.flag = True
""", world=world)  # fmt: skip
    assert 0.01 <= cluster.server(0).call("go") < 0.1


def test_a_thread_that_dies_fails_the_test_with_file_and_line(lab, world):
    methods = """
    def go(self):
        threading.Thread(target=self.die, name="doomed").start()
        time.sleep(1)
    def die(self):
        {}["missing"]  # here
"""
    error = fault(lab, world, methods)
    assert "server 0: thread doomed died: KeyError: 'missing'" in str(error)
    assert line_of(methods, "# here") in str(error)
    assert "Traceback" in error.detail or "File" in error.detail


def test_an_rpc_under_a_lock_is_a_warning_with_its_line_once(lab, world):
    methods = """
    def go(self):
        for n in range(3):
            with self.mu:
                self.ends[1].call("Server.ping", Ping(n))
        return True
"""
    cluster = lab(BASE + methods, world=world)
    assert cluster.server(0).call("go") is True
    warnings = [text for text in cluster.run.warnings if "while holding a lock" in text]
    assert len(warnings) == 1
    assert line_of(methods, 'call("Server.ping"') in warnings[0]


def test_a_control_call_that_blocks_fails_after_ten_seconds_and_names_the_place(lab, world):
    methods = """
    def go(self):
        queue.Queue().get()  # here
"""
    error = fault(lab, world, methods, seconds=20)
    assert "server 0 did not answer go() within 10 s" in str(error)
    assert line_of(methods, "# here") in str(error)


def test_a_slow_handler_is_slow_in_virtual_time(lab, world):
    cluster = lab(BASE + """
    def go(self):
        before = time.monotonic()
        for n in range(100_000):
            self.me = n
        return time.monotonic() - before
""", world=world)  # fmt: skip
    assert 0.01 <= cluster.server(0).call("go") <= 0.1


# ------------------------------------------------------------------ what is not written yet


@pytest.mark.parametrize("place", ["control", "handler", "thread"])
def test_what_is_not_implemented_yet_is_named_with_its_line_and_its_words(lab, world, place):
    start = {
        "control": "self.missing()",
        "handler": 'self.ends[1].call("Server.echo", Ping(1), timeout=1)',
        "thread": "threading.Thread(target=self.missing).start()",
    }[place]
    methods = f"""
    def go(self):
        {start}
    @rpc
    def echo(self, args: Ping) -> Pong:
        self.missing()
    def missing(self):
        raise NotImplementedError("2A: write this")
"""
    error = fault(lab, world, methods)
    line = line_of(methods, "raise NotImplementedError")
    assert str(error) == f"Server.missing is not implemented yet; 2A: write this ({line})"


def test_what_the_standard_library_does_not_do_is_no_task_of_the_servers_author(lab, world):
    methods = """
    def go(self):
        random.SystemRandom().getstate()
"""
    error = fault(lab, world, methods)
    assert "thread test calls go died: NotImplementedError: System entropy source" in str(error)


@pytest.mark.parametrize("clock", ["virtual", "real"])
def test_a_server_whose_constructor_is_not_implemented_yet_is_no_riddle(lab, clock):
    snippet = BASE.replace("        self.flag = False\n", "        raise NotImplementedError\n")
    cluster = lab(snippet, clock=clock)
    with pytest.raises(CodeFault, match=r"^Server\.__init__ is not implemented yet \(raft/__init__\.py:\d+\)$"):
        cluster.sleep(5)
