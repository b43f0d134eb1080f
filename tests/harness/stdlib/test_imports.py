"""What server code may not do, what it may, and what hosts do not share."""

from __future__ import annotations

import importlib
import sys

import pytest

from labrpc.virtual import stdlib
from tests.harness.stdlib.conftest import Run


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("open('state.json')", "persister"),
        ("input()", "comes in calls"),
        ("import sys; sys.stdin.readline()", "comes in calls"),
        ("import io; io.open('x')", "persister"),
        ("import os; os.listdir('.')", "os.listdir: a server has no files"),
        ("import os; os.fork()", "os.fork: a server is one process; use threading"),
        ("import os; os._exit(1)", "the test stops or crashes it"),
        ("import os.path; os.path.exists('x')", "os.path.exists: a server has no files"),
        ("import os; os.environ['X'] = '1'", "read-only"),
        ("import sys; sys.path.append('x')", "raft/ and kvraft/"),
        ("import sys; sys.setrecursionlimit(10)", "use a loop"),
        ("import sys; sys.nonsense", "sys.nonsense"),
        ("import logging; logging.basicConfig(filename='x')", "a server has no files"),
        ("import concurrent.futures; concurrent.futures.ProcessPoolExecutor()", "ThreadPoolExecutor"),
        *((f"import {name}", advice) for name, advice in sorted(stdlib.REFUSED.items())),
    ],
)
def test_what_is_refused_says_what_to_use_instead(run: Run, statement: str, advice: str) -> None:
    outcome = run(
        f"""
        try:
            {statement}
        except Exception as error:
            print(error)
        """
    )
    assert len(outcome.lines) == 1
    assert advice in outcome.lines[0]


def test_every_module_that_is_allowed_can_be_imported(run: Run) -> None:
    names = sorted(stdlib.ALLOWED | stdlib.PRIVATE | stdlib.OVERLAYS)
    run("\n".join(f"import {name}" for name in names))
    for name in names:
        importlib.import_module(name)
    assert not stdlib.ALLOWED & stdlib.OVERLAYS
    assert not stdlib.ALLOWED & set(stdlib.REFUSED)


@pytest.mark.parametrize(
    "statement",
    [
        "from threading import *; Lock()",
        "from queue import *; Queue()",
        "from time import *; sleep(1)",
        "from random import *; randint(1, 2)",
        "from datetime import *; datetime.now()",
        "from os.path import *; join('a', 'b')",
        "import os; os.path.join(os.getenv('HOME', ''), 'x'), os.environ.get('X'), os.cpu_count(), os.sep",
        "import sys; assert sys.modules[__name__].__dict__ is globals() and sys.version_info > (3, 11)",
        "import sys; sys.intern('x'), sys.maxsize, sys._getframe(), sys.argv",
        "import threading; threading.settrace(print), threading.gettrace(), threading.stack_size(65536)",
        "import threading; threading.currentThread().getName(), threading.Event().isSet()",
    ],
)
def test_ordinary_uses_work(run: Run, statement: str) -> None:
    run(statement)


def test_process_ids_differ_between_servers_and_not_between_runs(run: Run) -> None:
    source = "import os; print(os.getpid())"
    first, again, other = (run(source, name=name).lines for name in ("server-0", "server-0", "server-1"))
    assert first == again
    assert first != other


def test_hosts_share_no_module_and_no_counter(run: Run) -> None:
    first = run(
        """
        import queue, random, sys, threading, time
        for module in (queue, random, sys, threading, time):
            module.mark = "mine"
        threading.excepthook = None
        threading.Thread(target=print).start()
        threading.stack_size(65536)
        random.seed(1)
        """
    )
    second = run(
        """
        import queue, random, sys, threading, time
        print([hasattr(module, "mark") for module in (queue, random, sys, threading, time)])
        print(threading.excepthook, threading.stack_size(), threading.Thread(target=print).name)
        print(sys.modules["threading"] is threading)
        """,
        name="server-1",
    )
    assert second.lines[0] == str([False] * 5)
    assert "excepthook" in second.lines[1]
    assert second.lines[1].endswith("0 Thread-1 (print)")
    assert first.host.loader.modules["threading"] is not second.host.loader.modules["threading"]
    assert not hasattr(sys.modules["threading"], "mark")
