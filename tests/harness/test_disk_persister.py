"""DiskPersister: its threads, futures and errors, and that it does on real files what it does on simulated ones."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from labrpc import DiskPersister, Persister, UsageError, wal
from labrpc.disk_persister import DiskSave
from labrpc.disk_store import DiskStore
from labrpc.files import RealFiles
from labrpc.persister import SaveFuture
from tests.harness.faulty_disk import FaultyDisk, reopened

PATIENCE = 60.0
"""Seconds after which a test gives up on a thread; none waits so long unless something is broken."""

# ------------------------------------------------------------------ threads


def test_saves_that_come_while_the_disk_is_busy_share_one_fsync() -> None:
    disk = FaultyDisk()
    with DiskPersister("disk", files=disk.files()) as persister:
        before = disk.fsyncs
        with disk.held():
            saves = [persister.save_async(b"0")]
            disk.wait_for_arrival()
            saves += [persister.save_async(b"%d" % n) for n in range(1, 100)]
        saves[-1].result(PATIENCE)
        assert disk.fsyncs - before == 2
        assert all(save.done() for save in saves), "a completed save makes all earlier ones durable"


def in_threads(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def run(me: int) -> None:
        try:
            work(me)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(me,), daemon=True) for me in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    assert errors == []


def test_threads_save_in_parallel_on_a_real_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsyncs = 0
    real = os.fsync

    def counting(handle: int) -> None:
        nonlocal fsyncs
        fsyncs += 1
        real(handle)

    monkeypatch.setattr(os, "fsync", counting)
    mu = threading.Lock()
    handed: list[bytes] = []
    with DiskPersister(tmp_path, log_limit=20_000) as persister:

        def work(me: int) -> None:
            for n in range(40):
                with mu:
                    handed.append(b"%d/%d;" % (me, n) * 20)
                    save = persister.save_async(handed[-1], b"snapshot" if n == 20 else None)
                if n % 4:
                    save.result(PATIENCE)
                    assert save.done()

        in_threads(8, work)
        in_threads(8, lambda me: persister.save(handed[-1]))
    assert fsyncs < len(handed)
    with DiskPersister(tmp_path) as persister:
        assert (persister.read_raft_state(), persister.read_snapshot()) == (handed[-1], b"snapshot")


def test_many_threads_may_wait_for_one_save() -> None:
    disk = FaultyDisk()
    with DiskPersister("disk", files=disk.files()) as persister:
        with disk.held():
            save = persister.save_async(b"x")
            disk.wait_for_arrival()
            assert not save.done()
            with pytest.raises(TimeoutError, match="the save did not complete within 0 s"):
                save.result(0)
        in_threads(5, lambda me: save.result(PATIENCE))


def test_callbacks_run_in_order_with_all_earlier_saves_done() -> None:
    disk = FaultyDisk()
    called: list[tuple[int, bool]] = []

    def note(n: int, done: DiskSave) -> None:
        called.append((n, done is saves[n] and all(save.done() for save in saves[: n + 1])))

    with DiskPersister("disk", files=disk.files()) as persister:
        with disk.held():
            saves = [persister.save_async(b"%d" % n) for n in range(10)]
            for n, save in enumerate(saves):
                save.add_done_callback(partial(note, n))
        persister.save(b"last")
        saves[0].add_done_callback(lambda done: called.append((-1, done.done())))
    assert called == [*[(n, True) for n in range(10)], (-1, True)]


def test_a_callback_may_hand_over_a_save_but_not_wait_for_one() -> None:
    disk = FaultyDisk()
    seen: list[str] = []
    finished = threading.Event()
    persister = DiskPersister("disk", files=disk.files())

    def callback(_: object) -> None:
        following = persister.save_async(b"2")
        calls: list[Callable[[], None]] = [lambda: persister.save(b"3"), following.result, persister.close]
        for call in calls:
            with pytest.raises(UsageError, match="in a callback would wait for itself") as info:
                call()
            seen.append(str(info.value).split("(")[0])
        following.add_done_callback(lambda _: finished.set())

    with disk.held():
        persister.save_async(b"1").add_done_callback(callback)
    assert finished.wait(PATIENCE)
    persister.close()
    assert seen == ["save", "result", "close"]
    assert reopened(disk) == (b"2", b"")


def test_an_error_in_a_callback_is_reported_and_does_not_stop_the_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    disk = FaultyDisk()
    reported: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: reported.append(args.exc_type))
    with DiskPersister("disk", files=disk.files()) as persister:
        with disk.held():
            persister.save_async(b"1").add_done_callback(lambda _: 1 // 0)
        persister.save(b"2")
    assert reported == [ZeroDivisionError]


# ------------------------------------------------------------------ saves that fail


def test_all_saves_of_a_failed_commit_and_all_after_it_are_told() -> None:
    disk = FaultyDisk()
    told: list[OSError] = []
    persister = DiskPersister("disk", files=disk.files(), on_failure=told.append)
    persister.save(b"sound")
    called: list[object] = []
    with disk.held("create"):
        saves = [persister.save_async(b"1", b"snapshot")]
        disk.wait_for_arrival()
        saves += [persister.save_async(b"%d" % n) for n in range(2, 6)]
        disk.bad_fsyncs = {disk.fsyncs}
        for save in saves:
            save.add_done_callback(called.append)
    for save in saves:
        with pytest.raises(OSError, match=r"the save did not become durable \(OSError: .*Input/output error") as info:
            save.result(PATIENCE)
        assert info.value.errno == errno.EIO
        assert not save.done()
        save.add_done_callback(called.append)
    for call in (lambda: persister.save(b"late"), lambda: persister.save_async(b"late")):
        with pytest.raises(OSError, match="no save is accepted since an earlier one failed"):
            call()
    with pytest.raises(OSError, match="not all that was handed over is sure to be durable"):
        persister.close()
    persister.close()
    assert called == []
    assert [error.errno for error in told] == [errno.EIO]
    assert reopened(disk) == (b"sound", b"")


def test_a_store_that_failed_does_nothing_more() -> None:
    disk = FaultyDisk()
    store = DiskStore(disk.files())
    store.commit(b"sound")
    disk.bad_fsyncs = {disk.fsyncs}
    with pytest.raises(OSError, match="simulated: Input/output error"):
        store.commit(b"lost")
    before = disk.now()
    calls: list[Callable[[], None]] = [lambda: store.commit(b"late"), store.settle]
    for call in calls:
        with pytest.raises(OSError, match="the store failed or was closed; open the directory anew"):
            call()
    store.close()
    assert disk.now() == before


def test_an_error_that_is_no_oserror_is_told_as_one() -> None:
    disk = FaultyDisk()
    persister = DiskPersister("disk", files=disk.files())
    with disk.held():
        save = persister.save_async(b"x")
        disk.wait_for_arrival()
        disk.crash()
    with pytest.raises(OSError, match=r"did not become durable \(Crashed: "):
        save.result(PATIENCE)


def test_a_failure_does_not_hide_the_error_under_way() -> None:
    disk = FaultyDisk()
    with pytest.raises(KeyError), DiskPersister("disk", files=disk.files()) as persister:
        disk.bad_fsyncs = {disk.fsyncs}
        with pytest.raises(OSError, match="did not become durable"):
            persister.save(b"x")
        raise KeyError
    with (
        pytest.raises(OSError, match="not all that was handed over"),
        DiskPersister("disk", files=disk.files()) as persister,
    ):
        disk.bad_fsyncs = {disk.fsyncs}
        persister.save_async(b"x")


# ------------------------------------------------------------------ the interface


def test_it_is_a_persister_and_its_saves_are_futures(tmp_path: Path) -> None:
    with DiskPersister(tmp_path) as persister:
        assert isinstance(persister, Persister)
        assert isinstance(persister.save_async(b"x"), SaveFuture)


def test_a_new_directory_is_created_and_empty(tmp_path: Path) -> None:
    with DiskPersister(tmp_path / "a" / "b") as persister:
        assert (persister.read_raft_state(), persister.read_snapshot()) == (b"", b"")
    assert sorted(os.listdir(tmp_path / "a" / "b")) == ["format", "lock", "log"]


def test_close_makes_all_durable_and_ends_it(tmp_path: Path) -> None:
    persister = DiskPersister(str(tmp_path))
    saves = [persister.save_async(b"%d" % n, b"snapshot") for n in range(20)]
    persister.close()
    persister.close()
    assert all(save.done() for save in saves)
    for call in (lambda: persister.save(b"x"), lambda: persister.save_async(b"x")):
        with pytest.raises(UsageError, match="is closed; open the directory anew"):
            call()
    assert persister.read_raft_state() == b"19"
    with DiskPersister(tmp_path) as again:
        assert (again.read_raft_state(), again.read_snapshot()) == (b"19", b"snapshot")


def test_bad_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="log_limit must be at least 1 byte, not 0"):
        DiskPersister(tmp_path, log_limit=0)
    with DiskPersister(tmp_path) as persister:
        with pytest.raises(UsageError, match=r"raft_state must be bytes, not list; use labrpc\.encode"):
            persister.save([1])  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="snapshot must be bytes or None, not str"):
            persister.save_async(b"", "text")  # type: ignore[arg-type]
        assert persister.read_raft_state() == b""


def test_the_log_stays_within_its_limit_and_large_states_do_not_rotate_each_time() -> None:
    disk = FaultyDisk()
    with DiskPersister("disk", log_limit=5000, files=disk.files()) as persister:
        for n in range(200):
            persister.save(bytes(100 + n))
            assert len(disk.image()["log"]) <= 5100
        begin = len(disk.moments)
        for _ in range(20):
            persister.save(bytes(10_000))
    rotations = sum(moment.before == "rename log.tmp" for moment in disk.moments[begin:])
    assert 4 <= rotations <= 8


def test_only_the_newest_snapshot_is_kept() -> None:
    disk = FaultyDisk()
    with DiskPersister("disk", files=disk.files()) as persister:
        for n in range(5):
            persister.save(b"%d" % n, b"snapshot %d" % n)
    assert sorted(disk.names) == ["format", "lock", "log", "snapshot-5"]


def test_a_save_costs_one_write_and_one_fsync() -> None:
    disk = FaultyDisk()
    store = DiskStore(disk.files())
    begin = len(disk.moments)
    store.commit(bytes(100_000))
    assert [moment.before for moment in disk.moments[begin:]] == ["write log.tmp", "fsync log.tmp"]


# ------------------------------------------------------------------ real files and real processes


def test_a_directory_has_one_persister_at_a_time(tmp_path: Path) -> None:
    command = "import sys, labrpc; labrpc.DiskPersister(sys.argv[1]).close()"
    with DiskPersister(tmp_path) as persister:
        persister.save(b"mine")
        with pytest.raises(UsageError, match=rf"is in use by process {os.getpid()}: a directory has one DiskPersister"):
            DiskPersister(tmp_path)
        other = subprocess.run([sys.executable, "-c", command, tmp_path], capture_output=True, text=True, check=False)
        assert f"UsageError: {tmp_path} is in use by process {os.getpid()}" in other.stderr
        persister.save(b"still mine")
    with DiskPersister(tmp_path) as persister:
        assert persister.read_raft_state() == b"still mine"


def test_a_write_that_the_system_takes_piecemeal_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda handle, parts: real(handle, [bytes(parts[0][:7])]))
    file = RealFiles(tmp_path).create("file")
    file.write(0, b"0123456789", b"", b"abcdefgh", b"x")
    file.write(3, b"!!!!!!!!!!")
    assert (tmp_path / "file").read_bytes() == b"012!!!!!!!!!!defghx"


def test_a_file_that_is_created_again_is_empty(tmp_path: Path) -> None:
    files = RealFiles(tmp_path)
    for text in (b"long text", b"short"):
        file = files.create("file")
        file.write(0, text)
        file.close()
        assert files.read("file") == text


def test_names_are_made_durable_from_the_new_directories_to_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    inner = tmp_path / "outer" / "inner"
    with DiskPersister(inner):
        paths = [tmp_path, inner.parent, inner / "log", inner]
        assert list(dict.fromkeys(synced))[:4] == [path.stat().st_ino for path in paths]
        assert synced[-1] == inner.stat().st_ino


def test_errors_of_the_real_file_system_reach_the_caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(handle: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    persister = DiskPersister(tmp_path)
    persister.save(b"sound")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match=r"did not become durable .*Input/output error") as info:
            persister.save(b"lost")
    assert (info.value.errno, info.value.filename) == (errno.EIO, str(tmp_path))
    with pytest.raises(OSError, match="not all"):
        persister.close()
    with DiskPersister(tmp_path) as persister:
        assert persister.read_raft_state() in (b"sound", b"lost")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileExistsError):
        DiskPersister(tmp_path / "file" / "directory")


def test_the_simulated_disk_does_what_the_real_one_does(tmp_path: Path) -> None:
    disk = FaultyDisk()
    for files in (disk.files(), RealFiles(tmp_path)):
        store = DiskStore(files, log_limit=300)
        for n in range(12):
            store.commit(bytes(n * 9), b"snapshot %d" % n if n % 5 == 2 else None)
            store.settle()
        store.close()
    real = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert sorted(real) == sorted(disk.names)
    for name, data in disk.image().items():
        if name == "log":
            assert (len(real[name]), wal.recover(real[name])) == (len(data), wal.recover(data))
        elif name != "lock":
            assert real[name] == data


KILLED = textwrap.dedent(
    """
    import sys, labrpc
    persister = labrpc.DiskPersister(sys.argv[1], log_limit=3000)
    number = int(persister.read_raft_state().split(b";")[0] or b"0")
    acknowledged = open(int(sys.argv[2]), "wb", buffering=0)
    acknowledged.write(b"%d\\n" % number)
    while True:
        number += 1
        raft_state = b"%d;" % number * (1 + number % 50)
        persister.save_async(raft_state, b"snapshot %d" % number if number % 3 == 0 else None)
        if number % 4 == 0:
            persister.save(raft_state)
            acknowledged.write(b"%d\\n" % number)
    """
)


def test_a_process_killed_in_the_middle_of_saves_loses_none_that_it_acknowledged(tmp_path: Path) -> None:
    draw = random.Random(20)
    last = 0
    for _ in range(20):
        ours, theirs = os.pipe()
        child = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path, str(theirs)], pass_fds=[theirs])
        os.close(theirs)
        with os.fdopen(ours, "rb") as acknowledged:
            for _ in range(1 + draw.randrange(30)):
                line = acknowledged.readline()
                assert line.endswith(b"\n"), "the child died by itself"
            child.send_signal(signal.SIGKILL)
            child.wait(PATIENCE)
            lines = [line, *acknowledged.read().splitlines(keepends=True)]
        known = max(int(line) for line in lines if line.endswith(b"\n"))
        with DiskPersister(tmp_path) as persister:
            raft_state, snapshot = persister.read_raft_state(), persister.read_snapshot()
        found = int(raft_state.split(b";")[0] or b"0")
        assert last <= known <= found <= known + 4
        assert raft_state == b"%d;" % found * (1 + found % 50) or found == 0
        assert snapshot == (b"snapshot %d" % (found - found % 3) if found >= 3 else b"")
        last = found
    assert last > 100
