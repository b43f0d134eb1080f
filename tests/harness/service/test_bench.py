"""`kvraft bench`: what it says, writes and refuses."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.service.conftest import ROOT, environment, kvraft

QUICK = ("--clients", "4", "--seconds", "0.5", "--warm-up", "0.2")


def bench(cluster, *arguments):
    return kvraft("bench", "--nodes-at", ",".join(cluster.peers), *QUICK, *arguments)


def test_a_load_on_a_cluster_that_runs_and_its_comparison(local, tmp_path):
    cluster = local()
    cluster.leader()
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    done = bench(cluster, "--json", str(old))
    assert done.returncode == 0, done.stderr
    assert "warm-up" in done.stderr
    assert "op/s" in done.stderr
    for words in ("p99.9 ms", "put, corrected", "closed loop, 4 clients over 4 connections", "percentiles to 0.4%"):
        assert words in done.stdout
    written = json.loads(old.read_text())
    assert written["kinds"]["put"]["outcomes"]["OK"] > 0
    assert {"cores", "kernel", "python", "load_average"} <= set(written["facts"]["machine"])
    done = bench(cluster, "--json", str(new), "--read-share", "0.5", "--rate", "100")
    assert done.returncode == 0, done.stderr
    assert "open loop, 100 op/s" in done.stdout
    done = kvraft("bench", "compare", str(old), str(new))
    assert done.returncode == 0, done.stderr
    for words in ("only in one", "ratio", "what differs:", "read_share: 0.0 -> 0.5", "rate: None -> 100.0"):
        assert words in done.stdout
    done = kvraft("bench", "compare", str(old), str(old))
    assert "1.00" in done.stdout
    assert "the same settings and the same machine" in done.stdout


def test_a_cluster_of_its_own(tmp_path):
    file = tmp_path / "result.json"
    done = kvraft("bench", "--nodes", "3", *QUICK, "--data", str(tmp_path / "data"), "--json", str(file), "--plain")
    assert done.returncode == 0, done.stderr
    facts = json.loads(file.read_text())["facts"]
    assert facts["fsync"]["p50"] > 0
    assert facts["cluster"]["nodes"] == 3
    assert facts["cluster"]["cpu_an_operation"] > 0
    done = kvraft("bench", "--nodes", "3", *QUICK, "--data", str(tmp_path / "data"))
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not empty" in done.stderr


def test_a_signal_ends_it_with_what_there_was_and_leaves_no_node(tmp_path):
    command = [sys.executable, "-m", "kvraft", "bench", "--nodes", "1", *QUICK, "--seconds", "60"]
    command += ["--data", str(tmp_path / "data")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(), cwd=ROOT
    ) as bench:
        assert bench.stderr is not None
        bench.stderr.readline()
        bench.send_signal(signal.SIGTERM)
        said, _ = bench.communicate(timeout=30)
    assert bench.returncode == 130
    assert "ended before its time" in said
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path) in read(path)]
    assert left == []


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--seconds", "0"), 2, "seconds must be more than 0"),
        (("--read-share", "1.5"), 2, "read_share must be in 0..1"),
        (("--nodes-at", "nowhere"), 2, "'nowhere' is no address"),
        (("--nodes-at", "127.0.0.1:1"), 1, "no cluster there: 127.0.0.1:1 does not answer"),
        (("--nodes-at", "127.0.0.1:1", "--data", "x"), 2, "for a cluster that is started here"),
        (("--json", "/nowhere/x.json"), 2, "/nowhere, where x.json is to go, is no directory"),
        (("--nodes", "1", "--node-option=--batches=0"), 1, "node 0 has ended: kvraft: snapshot_bytes and batches"),
    ],
    ids=["seconds", "share", "address", "nobody", "data", "json", "node"],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, code, message):
    done = kvraft("bench", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_bad_token(local, tmp_path):
    cluster = local(token="s3cret")
    cluster.leader()
    (tmp_path / "token").write_text("other")
    done = bench(cluster, "--token-file", str(tmp_path / "token"))
    assert (done.returncode, done.stderr) == (1, "kvraft: the token is not this cluster's\n")
    (tmp_path / "token").write_text("s3cret")
    assert bench(cluster, "--token-file", str(tmp_path / "token")).returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot read"),
        ("words", "is no JSON"),
        ("[1]", "holds no result"),
        ('{"format": "kvraft load", "version": 2}', "of version 2; this program reads version 1"),
        ('{"format": "kvraft load", "version": 1}', "damaged"),
    ],
    ids=["missing", "text", "other", "version", "damaged"],
)
def test_files_that_hold_no_result_are_refused(tmp_path, text, message):
    file = tmp_path / "file.json"
    if text is not None:
        file.write_text(text)
    done = kvraft("bench", "compare", str(file), str(file))
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert str(file) in done.stderr
