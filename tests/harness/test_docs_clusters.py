"""What pages of docs say of clusters, of runs that failed and of changes to the project: each command is run there."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tester.release.manifest import files_of
from tests.harness.documents import DOCS, OWN, ROOT, check, commands_of, of_kind, run, settings

EXAMPLES = DOCS / "examples"
PROJECT = ("raft", "kvraft", "labrpc", "tester", "tests", "docs", "pyproject.toml")


def checkout(tree: Path, *copied: str) -> Path:
    """The project at `tree`: links, but for what is to be `copied`."""
    tree.mkdir(parents=True)
    for name in PROJECT:
        if name in copied:
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
        else:
            (tree / name).symlink_to(ROOT / name)
    return tree


# ------------------------------------------------------------------ the store


@pytest.fixture(scope="module")
def nodes(tmp_path_factory) -> Iterator[str]:
    """Where three nodes of the store are, in this process."""
    pytest.importorskip("grpc", reason="the service needs gRPC: pip install 'raftlab[service]'")
    from tests.harness.service.conftest import LocalCluster

    cluster = LocalCluster(tmp_path_factory.mktemp("cluster"), 3)
    cluster.leader()
    yield ",".join(cluster.peers)
    cluster.close()


@pytest.mark.parametrize("block", of_kind("console", "cluster"), ids=str)
def test_a_client_prints_what_a_page_says(block, nodes, tmp_path):
    assert block.said == "3"
    check(ROOT, block, folder=tmp_path, added={"KVRAFT_NODES": nodes})


@pytest.mark.parametrize("block", of_kind("python", "cluster"), ids=str)
def test_a_client_in_python_does_what_a_page_says(block, nodes, monkeypatch):
    monkeypatch.setenv("KVRAFT_NODES", nodes)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(compile(block.text, str(block), "exec"), ModuleType("page").__dict__)
    shown = OWN[OWN.index(block) + 1]
    assert shown.mark == "printed"
    assert printed.getvalue() == shown.text


@pytest.mark.parametrize("block", of_kind("console", "nodes"), ids=str)
def test_nodes_that_are_started_as_a_page_says_make_a_cluster(block, tmp_path):
    pytest.importorskip("grpc", reason="the service needs gRPC: pip install 'raftlab[service]'")
    from kvraft.service.cluster import free_ports

    before = OWN[OWN.index(block) - 1]
    if (before.page, before.mark) == (block.page, "files"):
        check(ROOT, before, folder=tmp_path)
    [command] = commands_of(block)
    count = int(block.said)
    addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
    named = ",".join(f"{name}:7000" for name in "abc")
    assert f"--peers {named} " in command.text
    started: list[subprocess.Popen[str]] = []
    try:
        for number in range(count):
            text = command.text.replace(named, ",".join(addresses)).replace("--id 0", f"--id {number}")
            text = text.replace("/var/lib/kvraft", str(tmp_path / f"data-{number}"))
            started.append(background(text, tmp_path, tmp_path / f"{number}.log"))
        options = " ".join(re.findall(r"--(?:token|tls)-\w+ \S+", command.text))
        status = f"kvraft status --nodes {','.join(addresses)} {options}"
        wait_until(lambda: run(ROOT, status, folder=tmp_path)[1] == 0, lambda: run(ROOT, status, folder=tmp_path)[0])
    finally:
        codes = [end(process) for process in started]
    assert codes == [0] * count, (tmp_path / "0.log").read_text()


# ------------------------------------------------------------------ grading on a cluster


def test_a_class_is_graded_on_a_cluster_as_a_page_says(tmp_path):
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'raftlab[grade]'")
    from kvraft.service.cluster import free_ports

    [services] = of_kind("console", "in the background")
    graded = of_kind("console", "dask")
    assert graded
    scheduler, worker = (command.text.partition("#")[0].strip() for command in commands_of(services))
    assert services.said == "HOST"
    [port] = free_ports(1)
    checkout(tmp_path / "project")
    for package in ("raft", "kvraft"):
        shutil.copytree(ROOT / package, tmp_path / "hand-ins" / "reference" / package)
    (tmp_path / "secret").write_text("0123456789abcdef")
    started = [background(f"{scheduler} --host 127.0.0.1 --port {port} --no-dashboard", tmp_path, tmp_path / "0.log")]
    try:
        here = worker.replace("HOST:8786", f"127.0.0.1:{port}") + " --no-dashboard"
        started.append(background(here, tmp_path, tmp_path / "1.log"))
        said = tmp_path / "1.log"
        wait_until(lambda: "Registered to" in said.read_text(), said.read_text)
        for block in graded:
            for command in commands_of(block):
                text = command.text.replace("HOST:8786", f"127.0.0.1:{port}") + " --allow-unsandboxed"
                printed, code = run(ROOT, text, folder=tmp_path)
                assert code == 0, printed
                assert "reference" in printed
        assert (tmp_path / "grades" / "submissions" / "reference" / "report.html").exists()
    finally:
        for process in reversed(started):
            end(process)


# ------------------------------------------------------------------ runs that failed, and changes


@pytest.mark.parametrize("block", of_kind("console", "failed"), ids=str)
def test_what_a_page_says_of_a_run_that_failed(block, tmp_path):
    mutant, test, seed = (each.strip() for each in block.said.split(","))
    tree = checkout(tmp_path / "lab")
    planted = run(tree, f"tester plant {mutant} planted")
    assert planted[1] == 0, planted[0]
    failed = run(tree, f"pytest -p no:cacheprovider -k {test} --seed {seed} --solution planted")
    assert failed[1] == 1, failed[0]
    if "jq" in block.text and not shutil.which("jq"):
        pytest.skip("there is no jq here")
    check(tree, block)


@pytest.fixture
def copy(tmp_path) -> Path:
    """The whole project."""
    tree: Path = tmp_path / "project"
    for file in files_of(ROOT):
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, tree / file)
    return tree


@pytest.mark.parametrize("block", of_kind("console", "checkout"), ids=str)
def test_what_an_instructor_is_told_to_do(block, copy):
    check(copy, block)


@pytest.mark.parametrize("block", of_kind("console", "example"), ids=str)
def test_a_worked_example_does_what_its_page_says(block, tmp_path):
    tree = checkout(tmp_path / "project", "labrpc", "tester", "tests")
    for name in (each.strip() for each in block.said.split(",")):
        if name.endswith(".diff"):
            applied = run(tree, f"git apply --unsafe-paths --directory={tree} {EXAMPLES / name}", folder=tmp_path)
            assert applied[1] == 0, f"{name} does not fit the project any more: {applied[0]}"
        else:
            shutil.copy(EXAMPLES / name, tree / "tests" / "labs")
    check(tree, block)


def test_every_example_is_in_a_page():
    told = {Path(block.said).name for block in OWN if block.mark == "file" and "docs/examples/" in block.said}
    assert told == {path.name for path in EXAMPLES.iterdir() if path.is_file()}


# ------------------------------------------------------------------ processes


def background(command: str, folder: Path, log: Path) -> subprocess.Popen[str]:
    """A command that goes on, in a group of its own; what it prints goes to `log`."""
    with log.open("w") as output:
        return subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=settings(ROOT),
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )


def end(process: subprocess.Popen[str]) -> int:
    """Ends it in good order, or by force, with what it has started; its exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def wait_until(is_so: Callable[[], bool], why: Callable[[], str], seconds: float = 60.0) -> None:
    """Waits, and says why if it comes to nothing."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {why()}"
        time.sleep(0.1)


def test_waiting_ends_with_a_reason():
    with pytest.raises(AssertionError, match="not within 0 s: because"):
        wait_until(lambda: False, lambda: "because", seconds=0)


def test_commands_that_are_no_python_are_found_beside_it():
    """`kvraft`, `tester`, `dask`: of this environment, and not of another one on the path."""
    printed, code = run(ROOT, "command -v tester")
    assert code == 0
    assert Path(printed.strip()).parent == Path(sys.executable).parent
