"""Clusters of processes on the real clock: they recover, nothing of them is left, and they pass graded tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from labrpc.errors import UsageError
from labrpc.real.disk import LostSave
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
from tests.harness.conftest import ROOT
from tests.harness.real_world import damage, is_running, wait_until

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")

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
            # Who runs these tests under nohup has SIGHUP ignored, and all that they start has it so too.
            [sys.executable, "-c", f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_DFL)\n{CLUSTER}{ending}"],
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


LOSES = """
from tester.parts import part

@part("2C", points=1)
def test_loses(raft_cluster):
    cluster = raft_cluster(servers=3)
    cluster.one("x", 3)
    machine = cluster.coordinator._nodes["2"].machine
    end = machine.end
    def end_and_forget():
        end()
        for file in machine._folder.iterdir():
            if file.is_file():
                file.write_bytes(b"nothing of what was saved")
    machine.end = end_and_forget
    cluster.crash(2)
"""


def test_the_disk_that_lost_a_save_is_kept_beside_the_failure(pytester):
    pytester.makepyfile(LOSES)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--seed", "5", *REAL)
    assert "LostSave: server 2 lost a save that it had reported durable" in result.stdout.str()
    files = list((pytester.path / ".raftlab" / "failures" / "test_loses-seed-5" / "disk").iterdir())
    assert files
    assert all(file.read_bytes() == b"nothing of what was saved" for file in files)


def test_a_clock_cannot_be_set():
    cluster = run_cluster(1)
    try:
        with pytest.raises(UsageError, match="--clock virtual"):
            cluster.network.set_clock(0, offset=1.0)
    finally:
        cluster.run.close()


# ------------------------------------------------------------------ machines in need


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
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))\n"
        "from tester.raft_cluster import RaftCluster\n"
        "from tester.run import Options, Run\n"
        "run = Run(1, Options(clock='real', servers='processes'))\n"
        "cluster = RaftCluster(run, 1)\n"
        "cluster.one(b'x' * 4_200_000, 1)\n"
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
