"""`kvraft` as it is used: commands, processes, signals; histories are linearizable while leaders are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from typer.testing import CliRunner

from kvraft.cli import app
from kvraft.rpc import Err
from kvraft.service import Client, Unavailable, commands
from tester.porcupine import CheckResult, KvInput, KvOutput, Operation, check_operations, kv_model
from tests.harness.service.conftest import ROOT, environment, eventually, kvraft

READS = ("index", "lease", "log")


def test_histories_are_linearizable_while_leaders_are_killed(processes):
    cluster = processes(3, "--snapshot-bytes", "20000")
    history: list[Operation] = []
    over = threading.Event()

    def work(number: int) -> None:
        choice = random.Random(number)
        versions: dict[str, int] = {}
        with Client(cluster.peers, timeout=8) as client:
            while not over.is_set():
                key = f"key-{choice.randrange(4)}"
                if choice.random() < 0.5:
                    asked = KvInput("get", key)
                else:
                    value = f"{number}-{choice.getrandbits(40)}" + "x" * 100
                    asked = KvInput("put", key, value, versions.get(key, 0))
                began, output, ended = time.monotonic_ns(), None, None
                try:
                    if asked.op == "get":
                        value, version, err = client.get(key, reads=choice.choice(READS))
                        versions[key] = version
                        output = KvOutput(err.value, value, version)
                    else:
                        output = KvOutput(client.put(key, asked.value, asked.version).value)
                        versions[key] = asked.version + 1
                    ended = time.monotonic_ns()
                except Unavailable:
                    pass
                history.append(Operation((number, len(history)), asked, began, output, ended))

    with Client(cluster.peers) as client:
        client.put("ready", "", 0, timeout=30)
        workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for worker in workers:
            worker.start()
        for how in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, signal.SIGKILL):
            time.sleep(0.7)
            leader = cluster.leader(client)
            cluster.processes[leader].send_signal(how)
            if how is signal.SIGSTOP:  # it believes that it leads when it wakes up
                time.sleep(1.2)
                cluster.processes[leader].send_signal(signal.SIGCONT)
            else:
                cluster.processes[leader].wait(10)
                cluster.start(leader)
            time.sleep(0.7)
        over.set()
        for worker in workers:
            worker.join()
    assert check_operations(kv_model(), history) is CheckResult.OK
    answered = [each for each in history if each.output is not None]
    assert len(answered) > 300
    assert {each.output.err for each in answered} >= {"OK", "VERSION"}


def run(*arguments: str) -> Any:
    """A command, in this process."""
    if not app.registered_commands:
        commands.register(app)
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "NO_COLOR": "1"})


def test_commands_and_their_exit_codes(local):
    cluster = local()
    nodes = ("--nodes", ",".join(cluster.peers))
    done = run("put", "a", "1", *nodes)
    assert (done.exit_code, done.stdout) == (0, "OK, version 1\n")
    done = run("put", "a", "2", "--version", "7", *nodes)
    assert (done.exit_code, done.stdout) == (3, "VERSION\n")
    done = run("get", "a", *nodes)
    assert (done.exit_code, done.stdout, done.stderr) == (0, "1\n", "version 1\n")
    done = run("get", "nowhere", "--json", *nodes)
    assert done.exit_code == 3
    assert json.loads(done.stdout) == {"key": "nowhere", "value": "", "version": 0, "err": "NO_KEY"}
    done = run("watch", "a", "--count", "1", "--json", *nodes)
    assert json.loads(done.stdout) == {"key": "a", "value": "1", "version": 1, "is_change": False}
    done = run("status", *nodes)
    assert done.exit_code == 0
    assert done.stdout.count("follower") == 2
    assert "\x1b" not in done.stdout
    successor = cluster.followers()[0]
    nodes = (
        "--nodes",
        ",".join([cluster.peers[successor], *cluster.peers[:successor], *cluster.peers[successor + 1 :]]),
    )
    done = run("transfer", str(successor), *nodes)
    assert done.exit_code == 0
    assert done.stdout.endswith(f"hands over to node {successor}\n")
    eventually(lambda: cluster.leader() == successor)
    for number in cluster.followers():
        cluster.stop(number, graceful=False)
    done = run("status", *nodes)
    assert done.exit_code == 1
    assert done.stdout.count("does not answer") == 2


def test_commands_that_cannot_be_done():
    done = run("get", "a", "--nodes", "127.0.0.1:1", "--timeout", "0.5")
    assert done.exit_code == 1
    assert done.stderr.startswith("kvraft: no answer in time: 127.0.0.1:1")
    for arguments, text in (
        (("get", "a", "--nodes", "nonsense"), "'nonsense' is no address"),
        (("serve", "--id", "0", "--peers", "a:1", "--data", "x", "--election", "1"), "write SHORTEST-LONGEST"),
        (("serve", "--id", "0", "--peers", "a:1", "--data", "x", "--dial", "1"), "write ID=host:port"),
        (("serve", "--id", "0", "--peers", "a:1", "--data", "x", "--tls-cert", "y"), "needs both"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2
        assert text in done.stderr


def test_sigterm_ends_a_node_in_order(processes):
    cluster = processes(3)
    with Client(cluster.peers) as client:
        client.put("a", "1", 0, timeout=30)
        leader = cluster.leader(client)
        cluster.processes[leader].send_signal(signal.SIGTERM)
        assert cluster.processes[leader].wait(10) == 0
        assert "has stopped" in cluster.log(leader)
        assert "Traceback" not in cluster.log(leader)
        assert client.put("a", "2", 1) is Err.OK


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_cluster_in_one_command(tmp_path):
    command = [sys.executable, "-m", "kvraft", "cluster", "--nodes", "3", "--data", str(tmp_path / "data")]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment(), cwd=ROOT
    )
    try:
        nodes = process.stdout.readline().strip().removeprefix("export KVRAFT_NODES=").split(",")
        with Client(nodes) as client:
            assert client.put("a", "1", 0, timeout=30) is Err.OK
        lines = []
        while not any("leader" in line for line in lines):
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert not _listening(nodes), "its nodes have ended with it"
    done = kvraft("cluster", "--nodes", "5", "--data", str(tmp_path / "data"))
    assert done.returncode == 2
    assert "holds a cluster of 3 nodes, not of 5" in done.stderr


def _listening(nodes: list[str]) -> list[str]:
    import socket

    found = []
    for node in nodes:
        host, _, port = node.rpartition(":")
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                found.append(node)
    return found


@pytest.mark.parametrize("command", ["serve", "cluster", "get", "put", "watch", "status", "transfer"])
def test_help_says_what_a_command_does(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert len(result.output) > 200


def test_a_node_paused_for_long_comes_back(processes):
    cluster = processes(3)
    with Client(cluster.peers) as client:
        client.put("a", "1", 0, timeout=30)
        leader = cluster.leader(client)
        cluster.processes[leader].send_signal(signal.SIGSTOP)
        began = time.monotonic()
        assert client.put("a", "2", 1) in (Err.OK, Err.MAYBE)
        assert time.monotonic() - began < 5
        cluster.processes[leader].send_signal(signal.SIGCONT)
        node = cluster.peers[leader]
        eventually(lambda: client.status(node, timeout=5).role == "follower")
        assert client.put("a", "3", 2) is Err.OK
        eventually(lambda: client.status(node).applied_index == client.status(node).commit_index)
