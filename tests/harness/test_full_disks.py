"""Disks that are really full or read-only: a small file system of the test's own holds the servers' folders."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_SCRIPT = """\
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run
run = Run(1, Options(clock='real', servers='processes'))
cluster = RaftCluster(run, 3)
cluster.one('first', 3)
for n in range(SAVES):
    cluster.one(bytes(100_000), 2)
run.close()
print('well')
"""


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(tmp_path)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no file system can be mounted here (it takes root): {made.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


def run_on(disk: Path, *, saves: int) -> subprocess.CompletedProcess[str]:
    code = _SCRIPT.replace("SAVES", str(saves))
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"TMPDIR": str(disk), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )


def test_with_room_the_servers_run_and_leave_nothing(small_disk):
    assert run_on(small_disk, saves=0).stdout == "well\n"
    assert list(small_disk.iterdir()) == []


def test_a_disk_that_fills_up_is_the_machines_fault_and_leaves_nothing(small_disk):
    done = run_on(small_disk, saves=30)
    assert "HarnessError: server " in done.stderr
    assert "its disk failed: [Errno 28]" in done.stderr
    assert "No space left on device" in done.stderr
    assert "set TMPDIR to a folder on a file system that has room" in done.stderr
    assert list(small_disk.iterdir()) == []


def test_another_place_is_found_when_the_disk_is_full_from_the_start(small_disk):
    (small_disk / "ballast").write_bytes(bytes(2 << 20))
    assert run_on(small_disk, saves=0).stdout == "well\n"
    assert [file.name for file in small_disk.iterdir()] == ["ballast"]


def test_another_place_is_found_when_the_disk_is_read_only(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert run_on(small_disk, saves=0).stdout == "well\n"
    assert list(small_disk.iterdir()) == []


def test_without_any_place_the_error_says_what_to_set(small_disk):
    """In a mount namespace of its own, in which nothing at all can be written."""
    code = _SCRIPT.replace("SAVES", "0")
    read_only = "".join(f"mount --bind {f} {f} && mount -o remount,ro,bind {f} && " for f in ("/tmp", "/var/tmp"))
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'cd /proc && {read_only} exec "$@"', "sh", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={"TMPDIR": "/proc", "PATH": "/usr/bin:/bin:/usr/sbin", "PYTHONPATH": str(ROOT)},
        timeout=120,
        check=False,
    )
    assert "set TMPDIR to a folder" in done.stderr, done.stderr
