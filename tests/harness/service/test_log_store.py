"""The disk of a node: what was acknowledged is found again, and what is damaged is refused."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from kvraft.service.log_store import Change, LogStore
from kvraft.service.recorded_log import RecordedLog
from labrpc.codec import CodecError
from labrpc.errors import UsageError
from labrpc.wal import DiskCorruption, recover, recover_all
from raft.messages import LogEntry
from tests.harness.service.conftest import eventually


class Opened:
    """A store whose callbacks come on the writer's thread."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.failures: list[OSError] = []
        self.store = LogStore(folder, deliver=lambda call: call(), on_failure=self.failures.append, **options)

    def save(self, *change: Any, snapshot: Any = None, rest: Any = None) -> Any:
        save = self.store.save(Change(*change), snapshot, rest)
        eventually(lambda: save.done() or self.failures)
        return save

    def contents(self) -> tuple[Any, ...]:
        store = self.store
        return store.term, store.voted_for, store.last_included_index, store.last_included_term, store.entries


def reopened(folder: Path) -> tuple[Any, ...]:
    opened = Opened(folder)
    opened.store.close()
    return opened.contents()


def test_what_was_saved_is_found(tmp_path):
    opened = Opened(tmp_path)
    assert opened.contents() == (0, None, 0, 0, [])
    opened.save(1, None, 0, 0, 1, [(1, b"a"), (1, b"b")])
    opened.save(2, 3, 0, 0, 3, [])
    opened.save(2, 3, 0, 0, 2, [(2, b"c"), (2, None)])  # b is cut off
    opened.store.close()
    assert reopened(tmp_path) == (2, 3, 0, 0, [(1, b"a"), (2, b"c"), (2, None)])
    assert reopened(tmp_path) == (2, 3, 0, 0, [(1, b"a"), (2, b"c"), (2, None)]), "opening changes nothing"


def test_a_log_that_is_replaced_by_a_snapshot_is_begun_anew(tmp_path):
    opened = Opened(tmp_path, log_limit=1000)
    opened.save(1, 0, 0, 0, 1, [(1, b"x" * 500)] * 4)
    size = (tmp_path / "log").stat().st_size
    file = opened.store.write_snapshot([b"state", b" at 3"])
    opened.save(1, 0, 3, 1, 5, [], snapshot=file, rest=[(1, b"x" * 500)])
    opened.save(1, 0, 3, 1, 5, [(1, b"last")])
    assert (tmp_path / "log").stat().st_size < size - 1000
    opened.store.close()
    again = Opened(tmp_path)
    assert again.contents() == (1, 0, 3, 1, [(1, b"x" * 500), (1, b"last")])
    assert b"".join(again.store.snapshot.pieces()) == b"state at 3"
    second = again.store.write_snapshot([b"newer"])
    again.save(1, 0, 4, 1, 6, [], snapshot=second, rest=[(1, b"last")])
    again.store.close()
    assert [path.name for path in tmp_path.glob("snapshot-*")] == [Path(second.path).name], "the older one is gone"
    assert reopened(tmp_path) == (1, 0, 4, 1, [(1, b"last")])


def test_a_snapshot_that_no_save_names_does_not_count(tmp_path):
    opened = Opened(tmp_path)
    opened.save(1, 0, 0, 0, 1, [(1, b"a")])
    opened.store.write_snapshot([b"state"])
    opened.store.close()
    again = Opened(tmp_path)
    assert again.store.snapshot is None
    assert not list(tmp_path.glob("snapshot-*"))
    again.store.close()


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_record_cut_short_is_dropped(tmp_path, cut):
    opened = Opened(tmp_path)
    opened.save(1, 0, 0, 0, 1, [(1, b"kept")])
    opened.save(1, 0, 0, 0, 2, [(1, b"y" * 100)])
    opened.store.close()
    log = tmp_path / "log"
    data = log.read_bytes()
    log.write_bytes(data[: data.index(b"y" * 100) + 100 - cut])  # as a crash in the middle of the write
    again = Opened(tmp_path)
    assert again.contents() == (1, 0, 0, 0, [(1, b"kept")])
    assert again.store.dropped > 0
    again.store.close()


def test_damage_in_the_middle_is_refused_with_its_place(tmp_path):
    opened = Opened(tmp_path)
    for number in range(3):
        opened.save(1, 0, 0, 0, number + 1, [(1, b"entry-%d" % number)])
    opened.store.close()
    log = tmp_path / "log"
    data = bytearray(log.read_bytes())
    data[data.index(b"entry-1")] ^= 1
    log.write_bytes(data)
    with pytest.raises(DiskCorruption, match=rf"{log} is damaged at byte \d+: .*nothing was changed.*put a new server"):
        Opened(tmp_path)
    assert log.read_bytes() == data


@pytest.mark.parametrize("damage", ["shorter", "other", "gone"])
def test_a_damaged_snapshot_is_refused(tmp_path, damage):
    opened = Opened(tmp_path)
    file = opened.store.write_snapshot([b"state"])
    opened.save(1, 0, 3, 1, 4, [], snapshot=file, rest=[])
    opened.store.close()
    path = Path(file.path)
    path.unlink() if damage == "gone" else path.write_bytes({"shorter": b"stat", "other": b"stake"}[damage])
    with pytest.raises(DiskCorruption, match=r"snapshot-\d+ is damaged at byte"):
        Opened(tmp_path)


def test_a_lost_log_is_not_taken_for_a_fresh_start(tmp_path):
    Opened(tmp_path).store.close()
    (tmp_path / "log").unlink()
    with pytest.raises(DiskCorruption, match="it is missing, though format is there"):
        Opened(tmp_path)


def test_a_directory_has_one_store_at_a_time(tmp_path):
    opened = Opened(tmp_path)
    with pytest.raises(UsageError, match="is in use by process"):
        Opened(tmp_path)
    opened.store.close()


def test_another_version_is_refused(tmp_path):
    Opened(tmp_path).store.close()
    (tmp_path / "format").write_text("kvraft node, format 2\n")
    with pytest.raises(UsageError, match="another format or damaged; nothing was changed"):
        Opened(tmp_path)


def test_after_a_failed_save_nothing_is_acknowledged(tmp_path):
    opened = Opened(tmp_path)
    opened.save(1, 0, 0, 0, 1, [(1, b"a")])

    class Full:
        def write(self, *_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    real, opened.store._log = opened.store._log, Full()  # type: ignore[assignment]
    save = opened.save(1, 0, 0, 0, 2, [(1, b"b")])
    later = opened.store.save(Change(1, 0, 0, 0, 3, [(1, b"c")]), None)
    opened.store.close()
    assert not save.done()
    assert not later.done()
    assert opened.failures[0].errno == errno.ENOSPC
    real.close()
    assert reopened(tmp_path) == (1, 0, 0, 0, [(1, b"a")])


def test_saves_that_come_together_cost_one_fsync(tmp_path):
    commits = []
    opened = Opened(tmp_path, on_commit=lambda *numbers: commits.append(numbers))
    with opened.store._work:  # the writer cannot take any before all are there
        pass
    saves = [opened.store.save(Change(1, 0, 0, 0, n + 1, [(1, b"%d" % n)]), None) for n in range(200)]
    eventually(lambda: saves[-1].done())
    opened.store.close()
    assert sum(count for count, *_ in commits) == 200
    assert len(commits) < 100
    assert len(reopened(tmp_path)[4]) == 200


def test_recover_all_gives_each_record_and_recover_the_last(tmp_path):
    opened = Opened(tmp_path)
    opened.save(1, 0, 0, 0, 1, [(1, b"a")])
    opened.save(2, 0, 0, 0, 2, [(2, b"b")])
    opened.store.close()
    data = (tmp_path / "log").read_bytes()
    records = recover_all(data)
    assert [record.sequence for record in records] == [1, 2, 3]
    assert records[-1] == recover(data)


def test_the_log_tells_what_is_not_on_the_disk():
    log = RecordedLog()
    for number in range(5):
        log.append(LogEntry(1, b"%d" % number))
    assert log.take_unsaved() == (1, [(1, b"%d" % number) for number in range(5)])
    assert log.take_unsaved() == (6, [])
    log.truncate(4)
    log.append(LogEntry(2, None))
    assert log.take_unsaved() == (4, [(2, None)])
    log.truncate(2)
    log.append(LogEntry(3, b"x" * 100))
    log.compact(2)
    assert log.take_unsaved() == (3, [])
    assert log.size == 0
    with pytest.raises(CodecError, match="bytes or None, not str"):
        log.append(LogEntry(3, "text"))


def test_a_snapshot_of_the_store_is_the_store():
    from kvraft.rpc import PutArgs
    from kvraft.service.service_store import KEYS_A_PIECE, ServiceStore

    store = ServiceStore()
    for number in range(2 * KEYS_A_PIECE + 1):
        store.put(PutArgs(f"key-{number}", "ä" * (number % 5), 0))
    data = b"".join(store.pieces(store.frozen()))
    other = ServiceStore()
    asyncio.run(other.load([data[start : start + 777] for start in range(0, len(data), 777)]))
    assert other._entries == store._entries
