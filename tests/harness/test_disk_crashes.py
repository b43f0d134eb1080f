"""DiskPersister: what it acknowledged is found again after any crash, any full disk and any fsync that fails.

Each save of a test has contents of its own, so that what recovery finds names the save it came from.
"""

from __future__ import annotations

import errno
import random
import threading
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from labrpc import DiskPersister
from labrpc.persister import SaveFuture
from tests.harness.faulty_disk import FaultyDisk, Image, Moment, reopened, survivors

PATIENCE = 60.0
"""Seconds after which a test gives up on a thread; none waits so long unless something is broken."""

Found = tuple[bytes, bytes]


class Ledger:
    """What was handed over and what was acknowledged."""

    def __init__(self) -> None:
        self.states: list[Found] = [(b"", b"")]
        """Raft state and snapshot after each save handed over, and before the first."""
        self.acknowledged = 0
        """The last save known to be durable."""

    def note(self) -> tuple[int, int]:
        return self.acknowledged, len(self.states) - 1

    def save_async(self, persister: DiskPersister, snapshot: bytes | None = None, size: int = 20) -> SaveFuture:
        number = len(self.states)
        raft_state = (b"state %d;" % number).ljust(size, b".")
        self.states.append((raft_state, self.states[-1][1] if snapshot is None else snapshot))
        save = persister.save_async(raft_state, snapshot)

        def acknowledge(_: object) -> None:
            assert number > self.acknowledged, "acknowledged out of order"
            self.acknowledged = number

        save.add_done_callback(acknowledge)
        return save

    def save(self, persister: DiskPersister, snapshot: bytes | None = None, size: int = 20) -> None:
        """Waits for the callback, not for `result` alone: what the test does next comes after it."""
        called = threading.Event()
        save = self.save_async(persister, snapshot, size)
        save.add_done_callback(lambda _: called.set())
        save.result(PATIENCE)
        assert called.wait(PATIENCE)


def check(disk: FaultyDisk | Image, ledger: Ledger, note: tuple[int, int], where: str) -> None:
    """A save is found that was acknowledged last or was handed over since."""
    acknowledged, handed = note
    found = reopened(disk)
    assert found in ledger.states[acknowledged : handed + 1], (
        f"{where}: found {found[0][:20]!r}, {found[1][:20]!r}; acknowledged {acknowledged}, handed over {handed}"
    )


# ------------------------------------------------------------------ every crash

LIMIT = 700
"""Of the log, in these tests: a handful of small records."""


def run_script(disk: FaultyDisk, ledger: Ledger) -> None:
    """Two sessions with all there is: saves of both kinds, snapshots and none, large and small ones, rotations."""
    with DiskPersister("disk", log_limit=LIMIT, files=disk.files()) as persister:
        for size in range(12):
            ledger.save(persister, size=size * 9)
        ledger.save(persister, b"first snapshot")
        ledger.save(persister)
        ledger.save(persister, b"", size=500)
        with disk.held("create"):  # one commit is under way while these pile up for the next
            ledger.save_async(persister, b"lost in the crowd")
            disk.wait_for_arrival()
            for snapshot in (None, b"not written", None, b"second snapshot" * 90, None):
                last = ledger.save_async(persister, snapshot)
        last.result(PATIENCE)
        for size in (1000, 20, 1500, 20, 1500):
            ledger.save(persister, size=size)
        ledger.save(persister, b"third snapshot", size=4000)
        for size in range(12):
            ledger.save(persister, b"snapshot %d" % size if size % 3 == 0 else None, size=size * 37)
    with DiskPersister("disk", log_limit=LIMIT, files=disk.files()) as persister:
        for _ in range(30):
            ledger.save(persister, size=100)
        ledger.save(persister, b"fourth snapshot", size=600)
        ledger.save_async(persister, b"fifth snapshot", size=600)
    assert ledger.acknowledged == len(ledger.states) - 1


@pytest.fixture(scope="module")
def scripted() -> tuple[FaultyDisk, Ledger]:
    ledger = Ledger()
    disk = FaultyDisk(note=ledger.note)
    run_script(disk, ledger)
    disk.moments.append(disk.now())
    return disk, ledger


def test_the_script_is_worth_crashing(scripted: tuple[FaultyDisk, Ledger]) -> None:
    disk, _ = scripted
    operations = Counter(moment.before for moment in disk.moments)
    assert operations["rename log.tmp"] >= 12, "openings and rotations"
    assert operations["unlink snapshot-13"] == 1, "the first is removed once"
    assert sum(count for name, count in operations.items() if name.startswith("rename snapshot")) == 10
    assert max(high - low for low, high in (moment.note for moment in disk.moments)) >= 6, "saves pending at once"


def test_every_power_failure_keeps_a_prefix_with_all_that_was_acknowledged(scripted: tuple[FaultyDisk, Ledger]) -> None:
    disk, ledger = scripted
    points = 0
    for moment in disk.moments:
        for where, image in survivors(moment):
            check(image, ledger, moment.note, where)
            points += 1
    assert len(disk.moments) > 300
    assert points > 3000


def test_a_kill_with_the_power_on_loses_nothing_that_was_acknowledged(scripted: tuple[FaultyDisk, Ledger]) -> None:
    disk, ledger = scripted
    for moment in disk.moments:
        check(FaultyDisk.at(moment), ledger, moment.note, f"before {moment.before}")


def test_a_power_failure_while_recovering_from_a_kill_loses_nothing(scripted: tuple[FaultyDisk, Ledger]) -> None:
    """Not all that the new process sees is durable, so what it does first must not rely on it."""
    disk, ledger = scripted
    points = 0
    for moment in disk.moments[::4]:
        after = FaultyDisk.at(moment)
        reopened(after)
        for second in after.moments:
            for where, image in survivors(second):
                check(image, ledger, moment.note, f"killed before {moment.before}, then {where}")
                points += 1
    assert points > 3000


def test_a_power_failure_while_recovering_from_a_power_failure_loses_nothing(
    scripted: tuple[FaultyDisk, Ledger],
) -> None:
    disk, ledger = scripted
    images = [(moment, image) for moment in disk.moments for _, image in survivors(moment)]
    points = 0
    for moment, image in images[::60]:
        after = FaultyDisk(image)
        reopened(after)
        for second in after.moments:
            for where, again in survivors(second):
                check(again, ledger, moment.note, f"power lost before {moment.before}, then {where}")
                points += 1
    assert points > 1000


def test_what_recovery_found_once_is_found_for_ever(scripted: tuple[FaultyDisk, Ledger]) -> None:
    """A pending save that one opening shows must not be gone in the next: the server has acted on it."""
    disk, _ = scripted
    for moment in disk.moments[::3]:
        for where, image in survivors(moment):
            after = FaultyDisk(image)
            found = reopened(after)
            assert {reopened(last) for _, last in survivors(after.now())} == {found}, where


def test_leftovers_are_removed(scripted: tuple[FaultyDisk, Ledger]) -> None:
    disk, _ = scripted
    for moment in disk.moments:
        for where, image in survivors(moment):
            after = FaultyDisk(image)
            _, snapshot = reopened(after)
            snapshots = [name for name in after.names if name.startswith("snapshot-")]
            assert len(snapshots) == (1 if snapshot else 0), where
            assert set(after.names) - set(snapshots) == {"lock", "format", "log"}, where


# ------------------------------------------------------------------ a full disk, an fsync that fails


def few_saves(disk: FaultyDisk, ledger: Ledger) -> OSError | None:
    """Some saves until one fails; then none is accepted."""
    try:
        persister = DiskPersister("disk", log_limit=250, files=disk.files())
    except OSError as error:
        return error
    failure: OSError | None = None
    for snapshot in (None, b"one", None, b"another", None, None):
        try:
            ledger.save(persister, snapshot)
        except OSError as error:
            failure = failure or error
            ledger.states = ledger.states[: ledger.acknowledged + 2]  # the first that failed may be found, no later one
    if failure:
        before = disk.now()
        with pytest.raises(OSError, match=r"no save is accepted since an earlier one failed .* open the dir"):
            persister.save_async(b"later")
        assert disk.now() == before
    try:
        persister.close()
    except OSError as error:
        failure = failure or error
    return failure


def test_a_disk_that_is_full_at_any_byte_fails_the_save_and_keeps_the_earlier_ones() -> None:
    roomy = FaultyDisk()
    assert few_saves(roomy, Ledger()) is None
    for room in range(roomy.written):
        ledger = Ledger()
        disk = FaultyDisk(room=room, note=ledger.note)
        error = few_saves(disk, ledger)
        assert error is not None
        assert error.errno == errno.ENOSPC
        for _, image in survivors(disk.now()) if room % 5 == 0 else ():
            check(image, ledger, ledger.note(), f"power lost after the disk was full at byte {room}")
        with suppress(OSError):  # found or an error, but not lost
            check(disk, ledger, ledger.note(), f"full at byte {room}, reopened while it is")
        disk.room = None
        check(disk, ledger, ledger.note(), f"full at byte {room}, room made")


def test_an_fsync_that_fails_fails_the_save_and_keeps_the_earlier_ones() -> None:
    sound = FaultyDisk()
    assert few_saves(sound, Ledger()) is None
    assert sound.fsyncs > 15
    for bad in range(sound.fsyncs):
        ledger = Ledger()
        disk = FaultyDisk(bad_fsyncs={bad}, note=ledger.note)
        error = few_saves(disk, ledger)
        assert error is not None
        assert error.errno == errno.EIO
        for where, image in survivors(disk.now()):
            check(image, ledger, ledger.note(), f"fsync {bad} failed, {where}")
        # The writes that the fsync lost are still seen: what is opened from them must become durable all the same.
        start = len(disk.moments)
        again = DiskPersister("disk", log_limit=250, files=disk.files())
        found = again.read_raft_state(), again.read_snapshot()
        assert found in ledger.states[ledger.acknowledged :]
        ledger.states = [*ledger.states[: ledger.states.index(found) + 1]]
        ledger.acknowledged = len(ledger.states) - 1
        ledger.save(again)
        ledger.save(again, b"new snapshot")
        again.close()
        for moment in [moment for moment in disk.moments[start:] if moment.note[0] >= len(ledger.states) - 3]:
            for where, image in survivors(moment):
                check(image, ledger, moment.note, f"fsync {bad} failed, reopened, {where}")


# ------------------------------------------------------------------ against a model


class DiskAgainstModel(RuleBasedStateMachine):
    """Any sequence of saves, faults, crashes and openings: the disk is a list of contents; a crash keeps a prefix."""

    @initialize()
    def start(self) -> None:
        self.ledger = Ledger()
        self.disk = FaultyDisk(note=self.note)
        self.open()

    def note(self) -> tuple[int, int]:
        return self.ledger.note()

    def open(self) -> None:
        self.persister = DiskPersister("disk", log_limit=400, files=self.disk.files())
        found = self.persister.read_raft_state(), self.persister.read_snapshot()
        states = self.ledger.states
        kept = [n for n in range(self.ledger.acknowledged, len(states)) if states[n] == found]
        assert kept, f"found {found}, acknowledged {self.ledger.acknowledged} of {states}"
        # Numbers go on from there, with the lost ones' left out.
        ledger, lost = Ledger(), len(states) - 1
        ledger.states = [*states[: kept[0] + 1], *[found] * (lost - kept[0])]
        ledger.acknowledged = lost
        self.ledger = ledger

    @rule(snapshot=st.none() | st.binary(max_size=20), size=st.sampled_from([0, 20, 150, 600]))
    def save(self, snapshot: bytes | None, size: int) -> None:
        self.ledger.save(self.persister, snapshot, size)

    @rule(snapshots=st.lists(st.none() | st.binary(max_size=20), min_size=1, max_size=5), hold=st.booleans())
    def save_async(self, snapshots: list[bytes | None], hold: bool) -> None:
        if hold:
            with self.disk.held():
                for snapshot in snapshots:
                    self.ledger.save_async(self.persister, snapshot)
        else:
            for snapshot in snapshots:
                self.ledger.save_async(self.persister, snapshot)

    @rule(seed=st.integers(0, 2**32))
    def lose_power(self, seed: int) -> None:
        self.lose(self.disk.crash(), seed)

    @rule(seed=st.integers(0, 2**32), saves=st.integers(1, 4))
    def lose_power_at_a_past_operation(self, seed: int, saves: int) -> None:
        """Somewhere in the middle of some saves."""
        begin = len(self.disk.moments)
        for n in range(saves):
            self.ledger.save(self.persister, b"snapshot %d" % n if n % 2 else None, 100)
        self.disk.crash()
        moment = random.Random(seed).choice(self.disk.moments[begin:])
        self.ledger.acknowledged, handed = moment.note
        del self.ledger.states[handed + 1 :]
        self.lose(moment, seed)

    def lose(self, moment: Moment, seed: int) -> None:
        acknowledged = self.ledger.acknowledged
        with suppress(OSError):
            self.persister.close()
        self.ledger.acknowledged = acknowledged
        _, image = random.Random(seed).choice(list(survivors(moment)))
        self.disk = FaultyDisk(image, note=self.note)
        self.open()

    @rule(which=st.integers(0, 6), saves=st.integers(1, 4))
    def fail_an_fsync(self, which: int, saves: int) -> None:
        self.disk.bad_fsyncs = {self.disk.fsyncs + which}
        self.save_until_failure(saves)

    @rule(room=st.integers(0, 800), saves=st.integers(1, 4))
    def fill_up(self, room: int, saves: int) -> None:
        self.disk.room = room
        self.save_until_failure(saves)

    def save_until_failure(self, saves: int) -> None:
        try:
            for n in range(saves):
                self.ledger.save_async(self.persister, b"%d" % n if n % 2 else None, 100).result(PATIENCE)
            self.persister.close()
        except OSError:
            with pytest.raises(OSError, match="no save is accepted"):
                self.persister.save(b"late")
            with suppress(OSError):
                self.persister.close()
        self.disk.room, self.disk.bad_fsyncs = None, set()
        self.open()

    @rule()
    def close_and_open(self) -> None:
        self.persister.close()
        assert self.ledger.acknowledged == len(self.ledger.states) - 1
        self.open()

    @invariant()
    def reads_give_the_latest_contents(self) -> None:
        raft_state, snapshot = self.ledger.states[-1]
        assert (self.persister.read_raft_state(), self.persister.read_snapshot()) == (raft_state, snapshot)
        assert (self.persister.raft_state_size(), self.persister.snapshot_size()) == (len(raft_state), len(snapshot))

    def teardown(self) -> None:
        if hasattr(self, "persister"):
            self.persister.close()


DiskAgainstModel.TestCase.settings = settings(
    deadline=None, max_examples=200, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
TestDiskAgainstModel = DiskAgainstModel.TestCase
