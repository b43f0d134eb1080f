"""What recovery makes of a damaged directory: the last state, or a refusal that says where; never another state.

The one exception, by design and pinned here: a last record that nothing confirms.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import pytest

from labrpc import DiskCorruption, DiskPersister, HarnessError, UsageError, wal
from labrpc.disk_store import DiskStore
from tests.harness.faulty_disk import FaultyDisk, Image, reopened, survivors

# ------------------------------------------------------------------ a torn tail


def saved(count: int, *, snapshot: bytes | None = None, confirmed: bool, size: int = 20) -> Image:
    """The durable contents of a directory after so many saves, with or without a confirmation of the last."""
    disk = FaultyDisk()
    store = DiskStore(disk.files())
    for number in range(1, count + 1):
        store.commit((b"state %d;" % number).ljust(size, b"."), snapshot if number == 1 else None)
        if confirmed or number < count:
            store.settle()
    return disk.image()


def state(number: int, size: int = 20) -> bytes:
    return (b"state %d;" % number).ljust(size, b".")


def test_a_last_record_cut_at_any_byte_is_dropped() -> None:
    image = saved(3, confirmed=False, size=1200)
    whole = image["log"]
    begin = len(saved(2, confirmed=False, size=1200)["log"])
    for cut in range(begin, len(whole) + 1):
        found = wal.recover(whole[:cut])
        expected = (state(2, 1200), cut - begin) if cut < len(whole) else (state(3, 1200), 0)
        assert (found.raft_state, found.dropped) == expected
    for cut in range(begin, len(whole), 97):
        assert reopened(image | {"log": whole[:cut]}) == (state(2, 1200), b"")
        assert reopened(image | {"log": whole[:cut] + bytes(len(whole) - cut)}) == (state(2, 1200), b"")


def test_a_confirmation_cut_at_any_byte_is_dropped() -> None:
    whole = saved(3, confirmed=True)["log"]
    end = len(saved(3, confirmed=False)["log"])
    for cut in range(end, len(whole) + 1):
        assert wal.recover(whole[:cut]).raft_state == state(3)


def test_a_log_cut_before_its_second_record_is_refused() -> None:
    """It got its name when its first record was durable."""
    whole = saved(1, confirmed=True)["log"]
    first = len(saved(0, confirmed=False)["log"])
    for cut in range(first):
        with pytest.raises(DiskCorruption, match=r"log is damaged at byte \d+: (it ends|the header|the first record)"):
            wal.recover(whole[:cut])


def test_opening_tells_how_much_it_dropped() -> None:
    image = saved(3, confirmed=False)
    with DiskPersister("disk", files=FaultyDisk(image | {"log": image["log"][:-5]}).files()) as persister:
        assert persister.read_raft_state() == state(2)
        assert persister.dropped == len(image["log"]) - 5 - len(saved(2, confirmed=False)["log"])
    with DiskPersister("disk", files=FaultyDisk(image).files()) as persister:
        assert (persister.read_raft_state(), persister.dropped) == (state(3), 0)


# ------------------------------------------------------------------ damage


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """All that differ from `data` in one bit, or in one byte by its inverse, 0 or 255; with the byte's place."""
    for place, byte in enumerate(data):
        for other in sorted({byte ^ 1 << bit for bit in range(8)} | {byte ^ 255, 0, 255} - {byte}):
            yield place, data[:place] + bytes([other]) + data[place + 1 :]


def test_any_flip_in_a_confirmed_log_is_refused_or_harmless() -> None:
    log = saved(4, snapshot=b"snapshot", confirmed=True)["log"]
    confirmation = len(saved(4, snapshot=b"snapshot", confirmed=False)["log"])
    whole = wal.recover(log)
    for place, flipped in flips(log):
        if place >= confirmation:
            assert wal.recover(flipped)[:3] == whole[:3]
        else:
            with pytest.raises(DiskCorruption, match=r"log is damaged at byte \d+: .*nothing was changed"):
                wal.recover(flipped)


def test_any_flip_in_an_unconfirmed_last_record_drops_that_record_alone() -> None:
    """The limit of what can be told: it looks like a record cut short. A flip before it is refused all the same."""
    log = saved(4, confirmed=False)["log"]
    last = len(saved(3, confirmed=False)["log"])
    for place, flipped in flips(log):
        if place >= last:
            assert wal.recover(flipped).raft_state == state(3)
        else:
            with pytest.raises(DiskCorruption):
                wal.recover(flipped)


def test_a_later_record_confirms_as_well_as_a_confirmation_even_if_it_is_torn() -> None:
    """Its head is enough."""
    log = saved(4, confirmed=False)["log"]
    third, fourth = (len(saved(count, confirmed=False)["log"]) for count in (2, 3))
    damaged = log[: fourth - 1] + b"?" + log[fourth:-1]
    with pytest.raises(DiskCorruption, match=rf"damaged at byte {third}: a bad record, and one at byte {fourth} that"):
        wal.recover(damaged)


@pytest.mark.parametrize("sequence", [1, 3], ids=["again", "with a gap"])
@pytest.mark.parametrize("kind", ["state", "confirmation"])
def test_a_record_out_of_sequence_is_refused(sequence: int, kind: str) -> None:
    """No crash leaves one: whole as it is, it says that this program, or another, has written what it must not."""
    stamp, none = b"s" * wal.STAMP_SIZE, wal.SnapshotRef(0, 0, 0)
    log = wal.header(stamp)
    for number in (0, 1):
        log += b"".join(wal.state_record(stamp, len(log), number, none, b"good"))
    end = len(log)
    if kind == "state":
        log += b"".join(wal.state_record(stamp, end, sequence, none, b"bad"))
    else:
        log += wal.confirmation(stamp, end, sequence - 1)
    with pytest.raises(DiskCorruption, match=f"log is damaged at byte {end}: a bad record"):
        wal.recover(log)


@pytest.mark.parametrize("close", [True, False], ids=["closed", "reopened"])
def test_after_close_or_reopening_the_last_record_is_safe_from_flips(close: bool) -> None:
    disk = FaultyDisk(saved(4, confirmed=False))
    store = DiskStore(disk.files())
    if close:
        store.commit(state(5))
        store.close()
    [image] = {tuple(sorted(image.items())) for _, image in survivors(disk.now())}
    log = dict(image)["log"]
    for _, flipped in flips(log):
        try:
            assert wal.recover(flipped).raft_state == state(5 if close else 4)
        except DiskCorruption:
            pass


def test_zeroed_and_exchanged_sectors_are_refused_if_the_confirmation_is_not_among_them() -> None:
    """Else the last record looks like one cut short."""
    log = saved(6, confirmed=True, size=700)["log"]
    confirmation = len(saved(6, confirmed=False, size=700)["log"])
    log += bytes(-len(log) % 512)
    sectors = [log[at : at + 512] for at in range(0, len(log), 512)]
    for first in range(len(sectors)):
        for second in range(first, len(sectors)):
            changed = list(sectors)
            changed[first], changed[second] = changed[second], changed[first]
            if first == second:
                changed[first] = bytes(len(changed[first]))
            damaged = b"".join(changed)
            if damaged != log and damaged[confirmation:] == log[confirmation:]:
                with pytest.raises(DiskCorruption):
                    wal.recover(damaged)


def test_any_flip_in_a_snapshot_is_refused() -> None:
    image = saved(2, snapshot=b"a snapshot of the service", confirmed=True)
    for _, flipped in flips(image["snapshot-1"]):
        with pytest.raises(DiskCorruption, match=r"disk/snapshot-1 is damaged at byte 0: somewhere in its 25 bytes"):
            reopened(image | {"snapshot-1": flipped})


def test_a_snapshot_of_another_length_or_none_is_refused() -> None:
    image = saved(2, snapshot=b"a snapshot", confirmed=True)
    for length in (0, 9, 11):
        with pytest.raises(DiskCorruption, match=rf"snapshot-1 is .* it has {length} bytes, its record says 10"):
            reopened(image | {"snapshot-1": b"a snapshot?"[:length]})
    del image["snapshot-1"]
    with pytest.raises(DiskCorruption, match="snapshot-1 is damaged at byte 0: it is missing, though the last record"):
        reopened(image)


@pytest.mark.parametrize("left", ["format", "snapshot-1"])
def test_a_lost_log_is_no_fresh_start(left: str) -> None:
    image = saved(2, snapshot=b"a snapshot", confirmed=True)
    with pytest.raises(DiskCorruption, match=rf"disk/log is damaged at byte 0: it is missing, though {left} is there"):
        reopened({left: image[left], "lock": b""})


def test_another_format_or_version_is_refused() -> None:
    image = saved(1, confirmed=True)
    with pytest.raises(UsageError, match=r"disk/format says b'etcd', not .*; nothing was changed, choose another"):
        reopened(image | {"format": b"etcd"})
    with pytest.raises(UsageError, match=r"disk/ holds main\.db and no log: it is not a DiskPersister's; choose"):
        reopened({"main.db": b"", "lock": b""})
    newer = b"raftlab\n" + (2).to_bytes(4, "little") + bytes(16)
    newer += zlib.crc32(newer).to_bytes(4, "little")
    with pytest.raises(UsageError, match="disk/log has format version 2; this program reads and writes version 1"):
        reopened(image | {"log": newer + image["log"][32:]})


def test_a_refusal_changes_nothing_and_gives_the_directory_back() -> None:
    image = saved(2, snapshot=b"a snapshot", confirmed=True)
    image["log"] = image["log"][:50] + b"?" + image["log"][51:]
    disk = FaultyDisk(image)
    for _ in range(2):
        with pytest.raises(DiskCorruption):
            reopened(disk)
    assert disk.image() == image | {"lock": b""}


def test_neither_another_logs_records_nor_a_payload_that_quotes_a_log_is_taken_for_a_record() -> None:
    other = saved(3, confirmed=True)["log"]
    log = saved(2, confirmed=False)["log"]
    assert wal.recover(log + other[len(log) :]).raft_state == state(2)
    disk = FaultyDisk()
    store = DiskStore(disk.files())
    store.commit(b"first")
    for _ in range(3):  # each quotes the one before, whole
        store.commit(disk.image()["log"])
    quoting = disk.image()["log"]
    for cut in range(1, len(quoting) // 3, 7):
        assert wal.recover(quoting[:-cut]).raft_state in quoting


def test_damage_is_the_machines_fault() -> None:
    assert issubclass(DiskCorruption, HarnessError)
