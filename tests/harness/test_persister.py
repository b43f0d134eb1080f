"""Stable storage: saves are first in, first out; a crash keeps a prefix of them; a host's saves are told in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from labrpc.errors import UsageError
from labrpc.frames import HostSettings, Report, Save, Saved
from labrpc.persister import MemoryPersister, Persister, SaveFuture
from labrpc.virtual.host import Host
from labrpc.virtual.loader import CodeBundle

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MS = 1_000_000

states = st.binary(max_size=6)
snapshots = st.none() | states


# ------------------------------------------------------------------ in memory, against a model


class DiskAgainstModel(RuleBasedStateMachine):
    """Any sequence of saves, completions and crashes: the disk is a list of contents, of which a prefix is durable."""

    @initialize(raft_state=states, snapshot=states)
    def start(self, raft_state: bytes, snapshot: bytes) -> None:
        self.disk = MemoryPersister(raft_state, snapshot)
        self.written = [(raft_state, snapshot)]
        """All contents that were saved and not lost, the first ones included."""
        self.durable = 0
        """Which of them is durable."""
        self.numbers = [0]
        """The numbers of the saves that wrote them."""
        self.last_number = 0
        self.futures: list[tuple[int, Any]] = []
        self.lost: set[int] = set()
        self.called_back: list[int] = []

    def write(self, raft_state: bytes, snapshot: bytes | None) -> None:
        self.written.append((raft_state, self.written[-1][1] if snapshot is None else snapshot))
        self.last_number += 1
        self.numbers.append(self.last_number)

    @rule(raft_state=states, snapshot=snapshots)
    def save(self, raft_state: bytes, snapshot: bytes | None) -> None:
        self.disk.save(raft_state, snapshot)
        self.write(raft_state, snapshot)
        self.durable = len(self.written) - 1

    @rule(raft_state=states, snapshot=snapshots)
    def save_async(self, raft_state: bytes, snapshot: bytes | None) -> None:
        future = self.disk.save_async(raft_state, snapshot)
        self.write(raft_state, snapshot)
        number = self.last_number
        future.add_done_callback(lambda done: self.called_back.append(number if done is future else -1))
        self.futures.append((number, future))

    @precondition(lambda self: self.disk.pending)
    @rule(data=st.data())
    def complete_some(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(self.durable, len(self.written) - 1))
        self.disk.complete(self.numbers[index])
        self.durable = index

    @rule()
    def complete_all(self) -> None:
        self.disk.complete()
        self.durable = len(self.written) - 1

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        survivors = data.draw(st.integers(0, len(self.written) - 1 - self.durable))
        self.disk.crash(survivors)
        self.durable += survivors
        self.lost |= set(self.numbers[self.durable + 1 :])
        del self.written[self.durable + 1 :], self.numbers[self.durable + 1 :]

    @rule(excess=st.integers(1, 3))
    def crash_with_more_survivors_than_saves(self, excess: int) -> None:
        pending = len(self.written) - 1 - self.durable
        for survivors in (pending + excess, -excess):
            with pytest.raises(UsageError, match=rf"survivors {survivors} is not in 0\.\.{pending}, the saves pending"):
                self.disk.crash(survivors)

    @rule(bad=st.sampled_from([None, "text", bytearray(b"x"), memoryview(b"x"), 3]), is_async=st.booleans())
    def save_what_is_not_bytes(self, bad: Any, is_async: bool) -> None:
        save = self.disk.save_async if is_async else self.disk.save
        with pytest.raises(UsageError, match=f"raft_state must be bytes, not {type(bad).__name__}; use labrpc.encode"):
            save(bad)
        if bad is not None:
            with pytest.raises(UsageError, match=f"snapshot must be bytes or None, not {type(bad).__name__}"):
                save(b"state", bad)

    @invariant()
    def reads_give_the_latest_contents(self) -> None:
        raft_state, snapshot = self.written[-1]
        assert (self.disk.read_raft_state(), self.disk.read_snapshot()) == (raft_state, snapshot)
        assert (self.disk.raft_state_size(), self.disk.snapshot_size()) == (len(raft_state), len(snapshot))

    @invariant()
    def state_and_snapshot_are_durable_together(self) -> None:
        assert self.disk.durable == self.written[self.durable]
        assert self.disk.pending == len(self.written) - 1 - self.durable

    @invariant()
    def futures_are_done_when_their_saves_are_durable(self) -> None:
        durable = self.numbers[self.durable]
        for number, future in self.futures:
            done = number <= durable and number not in self.lost
            assert future.done() == done
            if done:
                future.result()
            else:
                with pytest.raises(TimeoutError, match="the save is pending"):
                    future.result(timeout=1.0)

    @invariant()
    def futures_call_back_once_and_in_order(self) -> None:
        assert self.called_back == [number for number, future in self.futures if future.done()]


DiskAgainstModel.TestCase.settings = settings(CALM, max_examples=80, stateful_step_count=30)
TestDiskAgainstModel = DiskAgainstModel.TestCase


def test_a_callback_added_to_a_finished_save_runs_at_once() -> None:
    disk = MemoryPersister()
    future = disk.save_async(b"1")
    disk.complete()
    called: list[object] = []
    future.add_done_callback(called.append)
    assert called == [future]


def test_a_callback_may_save_again() -> None:
    disk = MemoryPersister()
    states = [b"1", b"2", b"3"]

    def save_next(_: object) -> None:
        if states:
            disk.save_async(states.pop(0)).add_done_callback(save_next)

    save_next(None)
    for durable, pending in [(b"1", 1), (b"2", 1), (b"3", 0)]:
        disk.complete()
        assert (disk.durable.raft_state, disk.pending) == (durable, pending)


def test_a_callback_that_always_saves_again_does_not_keep_complete_from_returning() -> None:
    disk = MemoryPersister()
    count = 0

    def save_next(_: object) -> None:
        nonlocal count
        count += 1
        assert count < 100, "complete() goes on for ever"
        disk.save_async(b"%d" % count).add_done_callback(save_next)

    save_next(None)
    disk.complete()
    assert (disk.durable.raft_state, disk.pending) == (b"1", 1)


def test_the_persisters_and_their_futures_are_what_the_protocols_say() -> None:
    host = Driver().host
    for persister in (MemoryPersister(), host.persister):
        assert isinstance(persister, Persister)
        assert isinstance(persister.save_async(b"x"), SaveFuture)


# ------------------------------------------------------------------ on a host


class Told(NamedTuple):
    """A `Save` or `Saved` effect, in short."""

    kind: str
    number: int
    at: int


class Driver:
    """One host, whose threads are functions of the test, and what it told the coordinator.

    Args:
        latencies: how long each asynchronous save takes, in ns.
        sync_latencies: how long each synchronous one takes.
    """

    def __init__(
        self,
        latencies: list[int] | None = None,
        *,
        seed: int = 1,
        longest: int = 100 * MS,
        sync_latencies: list[int] | None = None,
    ) -> None:
        overrides = [("host/disk/latency", n, value) for n, value in enumerate(latencies or [])]
        overrides += [("host/disk/sync", n, value) for n, value in enumerate(sync_latencies or [])]
        settings = HostSettings("0", 1, seed.to_bytes(16, "big"), "host", overrides, 0, 0, longest, 1 << 20)
        settings.longest_sync_save_ns = 100 * MS if sync_latencies else 0
        self.host = Host(settings, CodeBundle({}, {}))
        self.persister = self.host.persister
        self.effects: list[Any] = []

    def run(self, *threads: Callable[[], object], until: int | None = None) -> list[Told]:
        """Runs the host until nothing is left to do, or to virtual time `until`; the saves it told."""
        for function in threads:
            self.host.spawn("test", function)
        now: int | None = self.host.now
        while now is not None and (until is None or now < until):
            step = self.host.step(now, 10 * MS if until is None else min(10 * MS, until - now), [])
            self.effects += step.effects
            now = step.wake
        reports = [effect for effect in self.effects if isinstance(effect, Report)]
        assert not reports, reports[0].text + "\n" + reports[0].detail
        return self.told

    @property
    def told(self) -> list[Told]:
        return [Told(type(e).__name__, e.number, e.at) for e in self.effects if isinstance(e, (Save, Saved))]

    def sleep(self, ns: int) -> None:
        self.host.park(self.host.clock() + ns, "sleeps")

    def durable(self) -> set[int]:
        return {effect.number for effect in self.effects + self.host._effects if isinstance(effect, Saved)}


def test_slow_synchronous_saves_return_when_they_are_durable_and_in_their_order() -> None:
    driver = Driver([3 * MS], sync_latencies=[5 * MS, 2 * MS])

    def main() -> None:
        driver.persister.save(b"one")
        assert driver.host.clock() // MS == 5
        assert driver.durable() == {1}
        future = driver.persister.save_async(b"two")
        driver.persister.save(b"three")
        assert driver.host.clock() // MS == 10, "after the one before it"
        assert future.done()
        assert driver.durable() == {1, 2, 3}

    assert in_short(driver.run(main)) == ["Save 1", "Saved 1", "Save 2", "Save 3", "Saved 2", "Saved 3"]


def in_short(told: list[Told]) -> list[str]:
    return [f"{entry.kind} {entry.number}" for entry in told]


def test_a_synchronous_save_is_durable_when_it_returns() -> None:
    driver = Driver()

    def main() -> None:
        driver.persister.save(b"one", b"snapshot")
        assert driver.durable() == {1}
        driver.persister.save(b"two")
        assert driver.durable() == {1, 2}

    assert in_short(driver.run(main)) == ["Save 1", "Saved 1", "Save 2", "Saved 2"]
    saves = [(e.raft_state, e.snapshot) for e in driver.effects if isinstance(e, Save)]
    assert saves == [(b"one", b"snapshot"), (b"two", None)]


def test_an_asynchronous_save_is_durable_after_a_drawn_time() -> None:
    driver = Driver([3 * MS])
    seen: list[Any] = []

    def main() -> None:
        future = driver.persister.save_async(b"one")
        seen.append((future.done(), driver.persister.read_raft_state()))
        future.result()
        seen.append((future.done(), driver.durable(), driver.host.clock()))

    assert driver.run(main) == [Told("Save", 1, 0), Told("Saved", 1, 3 * MS)]
    assert seen == [(False, b"one"), (True, {1}, 3 * MS)]


def test_asynchronous_saves_are_written_one_after_the_other() -> None:
    driver = Driver([5 * MS, 0, 2 * MS, 1 * MS])

    def main() -> None:
        for _ in range(3):
            driver.persister.save_async(b"x")
        driver.sleep(20 * MS)
        driver.persister.save_async(b"x")

    saved = [entry for entry in driver.run(main) if entry.kind == "Saved"]
    assert saved == [("Saved", 1, 5 * MS), ("Saved", 2, 5 * MS), ("Saved", 3, 7 * MS), ("Saved", 4, 21 * MS)]


def test_a_synchronous_save_waits_for_the_asynchronous_ones_before_it() -> None:
    driver = Driver([5 * MS, 1 * MS])

    def main() -> None:
        futures = [driver.persister.save_async(b"one"), driver.persister.save_async(b"two")]
        driver.persister.save(b"three")
        assert [future.done() for future in futures] == [True, True]
        assert driver.durable() == {1, 2, 3}

    told = driver.run(main)
    assert in_short(told) == ["Save 1", "Save 2", "Save 3", "Saved 1", "Saved 2", "Saved 3"]
    assert told[-1].at == 6 * MS


def test_a_synchronous_save_does_not_wait_for_the_asynchronous_ones_after_it() -> None:
    driver = Driver([5 * MS, 50 * MS])
    returned: list[int] = []

    def main() -> None:
        driver.persister.save_async(b"one")
        driver.persister.save(b"two")
        returned.append(driver.host.clock())

    def other() -> None:
        driver.sleep(1 * MS)
        driver.persister.save_async(b"three")

    assert in_short(driver.run(main, other)) == ["Save 1", "Save 2", "Save 3", "Saved 1", "Saved 2", "Saved 3"]
    assert returned == [5 * MS]


def test_a_save_that_finds_the_earlier_ones_overdue_completes_them_first() -> None:
    driver = Driver([5 * MS])

    def main() -> None:
        future = driver.persister.save_async(b"one")
        driver.host.charge(10 * MS // 100)  # it computes past the instant at which the disk is done
        assert not future.done()
        driver.persister.save(b"two")
        assert future.done()

    assert in_short(driver.run(main)) == ["Save 1", "Save 2", "Saved 1", "Saved 2"]


def test_a_callback_runs_on_another_thread_than_a_save_that_waits() -> None:
    driver = Driver([5 * MS])
    threads: list[object] = []

    def main() -> None:
        future = driver.persister.save_async(b"one")
        future.add_done_callback(lambda _: threads.append(driver.host.current))
        driver.persister.save(b"two")
        threads.append(driver.host.current)

    driver.run(main)
    assert len(set(map(id, threads))) == 2


def test_callbacks_run_once_and_in_order() -> None:
    driver = Driver([2 * MS, 0, 0])
    called: list[Any] = []

    def main() -> None:
        futures = [driver.persister.save_async(b"x") for _ in range(3)]
        for n, future in enumerate(futures):
            future.add_done_callback(lambda done, n=n, future=future: called.append((n, done is future, done.done())))
        futures[2].result()
        driver.sleep(MS)
        futures[0].add_done_callback(lambda done: called.append("at once"))
        assert called[-1] == "at once"

    driver.run(main)
    assert called == [(0, True, True), (1, True, True), (2, True, True), "at once"]


def test_waiting_for_a_save_can_time_out() -> None:
    driver = Driver([5 * MS])
    seen: list[int] = []

    def main() -> None:
        future = driver.persister.save_async(b"x")
        with pytest.raises(TimeoutError, match=r"the save did not complete within 0\.002 s"):
            future.result(timeout=0.002)
        seen.append(driver.host.clock())
        future.result(timeout=0.002 + 0.001)
        seen.append(driver.host.clock())
        future.result(timeout=0)

    driver.run(main)
    assert seen == [2 * MS, 5 * MS]


def test_a_wait_that_timed_out_does_not_disturb_the_next_one() -> None:
    driver = Driver([5 * MS])
    woken: list[tuple[bool, int]] = []

    def main() -> None:
        future = driver.persister.save_async(b"x")
        with pytest.raises(TimeoutError):
            future.result(timeout=0.001)
        woken.append((driver.host.park(20 * MS, "waits for something else"), driver.host.clock()))

    driver.run(main)
    assert woken == [(False, 20 * MS)]


def test_many_threads_may_wait_for_one_save() -> None:
    driver = Driver([5 * MS])
    futures: list[Any] = []
    seen: list[int] = []

    def main() -> None:
        futures.append(driver.persister.save_async(b"x"))

    def waiter() -> None:
        driver.sleep(MS)
        futures[0].result()
        seen.append(driver.host.clock())

    driver.run(main, waiter, waiter, waiter)
    assert seen == [5 * MS] * 3


def test_a_save_costs_cpu_time_by_its_size() -> None:
    driver = Driver()
    told = driver.run(lambda: driver.persister.save(bytes(100_000), bytes(50_000)))
    assert told == [Told("Save", 1, 150_000), Told("Saved", 1, 150_000)]


def test_a_host_starts_from_what_its_disk_holds() -> None:
    driver = Driver()
    driver.persister.load(b"state", b"snapshot")

    def main() -> None:
        persister = driver.persister
        assert (persister.read_raft_state(), persister.read_snapshot()) == (b"state", b"snapshot")
        persister.save(b"new state")
        assert (persister.read_raft_state(), persister.read_snapshot()) == (b"new state", b"snapshot")
        persister.save_async(b"", b"new")
        assert (persister.read_raft_state(), persister.read_snapshot()) == (b"", b"new")
        assert (persister.raft_state_size(), persister.snapshot_size()) == (0, 3)

    driver.run(main)


@pytest.mark.parametrize("name", ["save", "save_async"])
def test_only_bytes_are_saved(name: str) -> None:
    driver = Driver()

    def main() -> None:
        save = getattr(driver.persister, name)
        with pytest.raises(UsageError, match=r"raft_state must be bytes, not list; use labrpc\.encode"):
            save([1])
        with pytest.raises(UsageError, match="snapshot must be bytes or None, not str"):
            save(b"", "text")

    assert driver.run(main) == []


def test_a_host_that_ends_completes_nothing_more() -> None:
    driver = Driver([5 * MS, 5 * MS])
    outlived: list[str] = []

    def main() -> None:
        try:
            driver.persister.save_async(b"one").add_done_callback(lambda _: outlived.append("callback"))
            driver.persister.save(b"two")
            outlived.append("save")
        finally:
            try:
                driver.persister.save_async(b"three").result()
                outlived.append("finally")
            except BaseException:
                driver.persister.save(b"four")
                outlived.append("except")

    driver.run(main, until=3 * MS)
    driver.host.end()
    assert in_short(driver.told) == ["Save 1", "Save 2"]
    assert outlived == []


@pytest.mark.parametrize("name", ["save", "save_async"])
def test_nothing_is_saved_while_a_host_ends(name: str) -> None:
    driver = Driver()
    outlived: list[str] = []

    def main() -> None:
        try:
            driver.sleep(10 * MS)
        finally:
            getattr(driver.persister, name)(b"too late")
            outlived.append("finally")

    driver.run(main, until=3 * MS)
    driver.host.end()
    assert outlived == []
    assert driver.persister.read_raft_state() == b""


# ------------------------------------------------------------------ any program, any crash

Action = tuple[str, int]
actions = st.one_of(
    st.tuples(st.just("save"), st.integers(0, 3)),
    st.tuples(st.just("save_async"), st.integers(0, 3)),
    st.tuples(st.just("sleep"), st.integers(0, 20) | st.just(0)),
    st.tuples(st.just("compute"), st.integers(0, 20)),
    st.tuples(st.just("result"), st.integers(0, 5)),
)
programs = st.lists(st.lists(actions, max_size=6), min_size=1, max_size=4)


def perform(driver: Driver, program: list[list[Action]], log: list[tuple[str, int]]) -> list[Told]:
    """Runs a thread for each part of `program`; `log` gets what each saw, in order."""
    futures: list[Any] = []
    persister = driver.persister

    def numbered(number: int) -> bytes:
        return b"%d" % number

    def thread(part: list[Action]) -> None:
        for name, amount in part:
            if name == "save":
                number = persister._count + 1
                persister.save(numbered(number), numbered(number) if amount == 0 else None)
                assert number in driver.durable()
            elif name == "save_async":
                number = persister._count + 1
                future = persister.save_async(numbered(number), numbered(number) if amount == 0 else None)
                future.add_done_callback(lambda done, number=number: log.append(("called back", number)))
                futures.append((number, future))
            elif name == "sleep":
                driver.sleep(amount * MS)
            elif name == "compute":
                driver.host.charge(amount * MS // 100)
            elif futures:
                number, future = futures[amount % len(futures)]
                future.result()
                assert number in driver.durable()
            done = [future.done() for _, future in futures]
            assert done == sorted(done, reverse=True), "a later save completed before an earlier one"
            assert [number for number, future in futures if future.done()] == [
                number for number, _ in futures if number in driver.durable()
            ]

    told = driver.run(*(lambda part=part: thread(part) for part in program))
    assert all(future.done() for _, future in futures)
    return told


latencies = st.lists(st.integers(0, 15).map(lambda ms: ms * MS), min_size=24, max_size=24)


@given(programs, latencies)
@settings(CALM, max_examples=150)
def test_saves_complete_in_order_whatever_the_threads_do(program: list[list[Action]], latencies: list[int]) -> None:
    log: list[tuple[str, int]] = []
    told = perform(Driver(latencies), program, log)
    saves = sum(name in ("save", "save_async") for part in program for name, _ in part)
    for kind in ("Save", "Saved"):
        assert [entry.number for entry in told if entry.kind == kind] == list(range(1, saves + 1))
    places = {(entry.kind, entry.number): n for n, entry in enumerate(told)}
    assert all(places["Save", number] < places["Saved", number] for number in range(1, saves + 1))
    assert [entry.at for entry in told] == sorted(entry.at for entry in told)
    assert sum(name == "save_async" for part in program for name, _ in part) == len(log) == len(set(log))
    assert perform(Driver(latencies), program, []) == told


@given(programs, latencies, st.data())
@settings(CALM, max_examples=150)
def test_a_crash_anywhere_keeps_a_prefix_with_all_that_was_promised(
    program: list[list[Action]], latencies: list[int], data: st.DataObject
) -> None:
    driver = Driver(latencies)
    perform(driver, program, [])
    effects = [effect for effect in driver.effects if isinstance(effect, (Save, Saved))]
    end = data.draw(st.integers(0, len(effects)))

    # Act: the coordinator takes the effects up to the crash, then a drawn number of pending saves survives.
    disk = MemoryPersister()
    for effect in effects[:end]:
        if isinstance(effect, Save):
            disk.begin(effect.raft_state, effect.snapshot)
        else:
            disk.complete(effect.number)
    survivors = data.draw(st.integers(0, disk.pending))
    disk.crash(survivors)

    # Check: the disk holds what the saves up to some number wrote, and that number is at least the last promised.
    contents = [(b"", b"")]
    for effect in effects[:end]:
        if isinstance(effect, Save):
            contents.append((effect.raft_state, contents[-1][1] if effect.snapshot is None else effect.snapshot))
    promised = max((effect.number for effect in effects[:end] if isinstance(effect, Saved)), default=0)
    assert disk.durable == contents[promised + survivors]
