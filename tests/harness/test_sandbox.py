"""The layers of the sandbox, one by one: what each refuses by itself, without the one above it, and what is said where
one cannot be had."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import labrpc
from labrpc.errors import UsageError
from labrpc.nursery import Nursery
from labrpc.sandbox import seccomp, view
from labrpc.sandbox.confinement import PROTECTIONS
from labrpc.sandbox.deeds import DEEDS, deed_in
from tester import run as run_module
from tester.run import Options, protections
from tester.sandboxed import require_protections
from tests.harness.conftest import Lab

ROOT = Path(__file__).parents[2]
LACKS = {name: reason for name, reason in protections().items() if reason}

whole = pytest.mark.skipif(bool(LACKS), reason=f"no whole sandbox here: {LACKS}")

CHILD = (Path(__file__).parent / "data" / "hostile" / "kernel.py").read_text()

EPERM = 1
EXPECTED_OTHERWISE = {"write outside": (30,), "write below labrpc": (30,), "open 100 files": (24,)}
"""Attempts that something else than the list of system calls stops, and the error."""


def confined(reason: str) -> tuple[dict[str, int], dict[str, object]]:
    """What became of each attempt, as an errno, and what else was found; `reason`: there is no view."""
    if reason:
        root = str(Path(labrpc.__file__).parent.parent)
        command = [sys.executable, "-c", CHILD, root, reason]
    else:
        command = [*view.command(CHILD), view.LAB, ""]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    attempts, facts = json.loads(done.stdout)
    return attempts, facts


@whole
def test_the_kernel_refuses_what_no_server_needs():
    attempts, facts = confined("")
    for name, error in attempts.items():
        assert error in EXPECTED_OTHERWISE.get(name, (EPERM,)), name
    assert facts == {
        "temporary": 0,
        "processes": [],
        "ids": [1000, 1000, 1, 0],
        "limits": [1 << 30, 4 << 20, 0, 0],
    }


@whole
def test_without_a_view_nothing_can_be_written_and_the_rest_still_holds():
    attempts, facts = confined("bubblewrap is not installed")
    for name, error in attempts.items():
        assert error in ((24,) if name == "open 100 files" else (EPERM,)), name
    assert facts["temporary"] == EPERM
    assert facts["ids"][2:] == [1, 0]  # type: ignore[index]


def test_a_machine_that_is_not_known_says_so(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert seccomp.unavailable() == "the list of system calls is not written for riscv64"


def test_where_bubblewrap_is_missing_children_get_what_needs_none(lab: Lab, monkeypatch):
    monkeypatch.setattr(view, "unavailable", lambda: "bubblewrap is not installed: apt-get install bubblewrap")
    _nursery_of_its_own(monkeypatch)
    assert protections()["view"] == "bubblewrap is not installed: apt-get install bubblewrap"
    assert protections()["limits"] == ""
    assert set(protections()) == set(PROTECTIONS)
    with pytest.raises(UsageError, match=r"it lacks\n  view \(it sees .*\): bubblewrap is not installed"):
        require_protections()
    assert _answers(lab)
    run_module._nurseries[True].close()


def test_where_bubblewrap_does_not_work_its_own_words_are_kept(lab: Lab, monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _nursery_of_its_own(monkeypatch)
    assert protections()["view"] == ("bubblewrap does not work here: bwrap: No permissions to create new namespace")
    assert _answers(lab)
    run_module._nurseries[True].close()


def _nursery_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "_nurseries", {})


def _answers(lab: Lab) -> bool:
    snippet = "class Server:\n    def __init__(self, *args): pass\n    def go(self): return 7\n"
    with lab(snippet, servers=1, world="processes", sandbox=True) as cluster:
        return bool(cluster.server(0).call("go") == 7)


@whole
def test_it_works_for_the_systems_python_too(tmp_path):
    """Whose standard library is not in a home, and lies beside other packages."""
    python = "/usr/bin/python3"
    known = subprocess.run(
        [python, "-c", "import sys; print('.'.join(map(str, sys.version_info[:2])))"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    here = ".".join(map(str, sys.version_info[:2]))
    if known.returncode or known.stdout.strip() != here or os.path.realpath(python) == os.path.realpath(sys.executable):
        pytest.skip(f"there is no other Python {here} of the system's")
    packages = [str(ROOT), *(path for path in sys.path if path.endswith("site-packages"))]
    done = subprocess.run(
        [python, "-c", "from tester.run import protections; print(protections())"],
        capture_output=True, text=True, env={"PYTHONPATH": ":".join(packages), "PATH": os.environ["PATH"]}, check=False,
    )  # fmt: skip
    assert done.stdout.strip() == str(dict.fromkeys(PROTECTIONS, "")), done.stderr


@whole
def test_the_nursery_sees_what_it_needs_and_no_more():
    code = "import os, sys; print(sorted(os.listdir('/')), sorted(os.listdir('/lab')), sorted(os.environ))"
    done = subprocess.run(view.command(code), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for hidden in ("home", "mnt", "opt", "run", "srv", "sys", "var", "tester", "kvraft", "PYTHONPATH", "USER"):
        assert f"'{hidden}'" not in done.stdout
    assert "'labrpc'" in done.stdout


@whole
def test_the_nursery_ends_with_its_judge():
    code = (
        "from labrpc.nursery import Nursery\nn = Nursery(sandboxed=True)\nprint(n.pid, flush=True)\n"
        "import os\nos.kill(os.getpid(), 9)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    pid = int(done.stdout)
    for _ in range(1000):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.01)
    raise AssertionError("it is still there")


def test_a_nursery_closes_twice_and_is_gone():
    nursery = Nursery(sandboxed=True)
    assert not nursery.is_gone
    nursery.close()
    nursery.close()
    assert nursery.is_gone


@pytest.mark.parametrize(
    "options", [{"servers": "threads"}, {"clock": "real", "servers": "processes"}], ids=["threads", "real clock"]
)
def test_a_sandbox_is_for_processes_on_the_virtual_clock(options):
    with pytest.raises(UsageError, match="a sandbox needs --clock virtual --servers processes"):
        Options(sandbox=True, **options)


def test_a_deed_is_one_of_those_that_are_known():
    assert deed_in("x\nraftlab-deed process\nmore") == DEEDS["process"]
    assert deed_in("raftlab-deed \x1b[2J evil") == ""
    assert deed_in("") == ""
