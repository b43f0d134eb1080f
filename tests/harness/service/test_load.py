"""The load generator: its figures are right, and what it records is what happened."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from kvraft.load import RELATIVE_ERROR, Histogram, Kind, Load, LoadFailed, Recorded, Result, run
from labrpc.errors import UsageError
from tester.porcupine import CheckResult, KvInput, KvOutput, Operation, check_operations, kv_model
from tests.harness.service.conftest import ROOT
from tests.harness.service.slow_connection import STALL_SECONDS

SLOW = "tests.harness.service.slow_connection:SlowConnection"
REFUSING = "tests.harness.service.slow_connection:RefusingConnection"


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


# -------------------------------------------------------------- histograms


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_are_as_near_as_is_said(seed):
    draw = random.Random(seed)
    values = sorted(draw.lognormvariate(-6, 2) for _ in range(2000))
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    for percent in (0, 1, 50, 95, 99, 99.9):
        exact = values[max(math.ceil(len(values) * percent / 100), 1) - 1]
        assert histogram.percentile(percent) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.001)
    assert histogram.percentile(100) == values[-1]
    assert histogram.mean == pytest.approx(sum(values) / len(values))


def test_merged_histograms_are_those_of_all_values():
    draw = random.Random(1)
    parts, whole = [Histogram(), Histogram()], Histogram()
    for number in range(1000):
        value = draw.expovariate(100)
        parts[number % 2].add(value)
        whole.add(value)
    parts[0].merge(parts[1])
    assert parts[0].as_pairs() == whole.as_pairs()
    assert (parts[0].count, parts[0].largest) == (whole.count, whole.largest)
    again = Histogram.from_pairs(whole.as_pairs(), whole.total, whole.largest)
    assert [again.percentile(each) for each in range(101)] == [whole.percentile(each) for each in range(101)]
    with pytest.raises(ValueError, match="no bucket with its count"):
        Histogram.from_pairs([(1, 0)], 0.0, 0.0)
    with pytest.raises(ValueError, match=r"100\.1 is not in"):
        whole.percentile(100.1)


def test_the_correction_adds_what_was_not_asked_meanwhile():
    histogram = Histogram()
    histogram.add(0.010, 99)
    histogram.add(0.100)
    corrected = histogram.corrected(0.0099)
    assert corrected.count == 99 + 1 + 9, "those that would have waited 90.1, 80.2, … 10.9 ms"
    assert histogram.percentile(95) == pytest.approx(0.010, rel=0.01)
    assert corrected.percentile(95) == pytest.approx(0.0505, rel=0.01)
    assert histogram.corrected(0.2).as_pairs() == histogram.as_pairs()


# -------------------------------------------------------------- settings and results


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clients": 0}, "clients must be at least 1"),
        ({"seconds": 0}, "seconds must be more than 0"),
        ({"rate": -1}, "rate must be more than 0"),
        ({"warm_up": -1}, "warm_up must be 0 or more"),
        ({"read_share": 1.5}, r"read_share must be in 0\.\.1, not 1\.5"),
        ({"reads": "dirty"}, "index, lease, log"),
        ({"clients": 2, "connections": 3}, "some would have none"),
        ({"connections": 1, "processes": 2}, "2 processes for 1 connections"),
        ({"clients": 5, "keys": 4}, "each needs one of its own"),
        ({"prefix": ""}, "prefix is empty"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_loads_that_cannot_be_are_refused(wrong, message):
    with pytest.raises(UsageError, match=message):
        Load(**wrong)


def result(**changes: Any) -> Result:
    times = Histogram()
    times.add(0.01, 10)
    kinds = {"put": Kind(outcomes={"OK": 9, "UNAVAILABLE": 1}, times=times)}
    return replace(Result(load=Load(), addresses=("a:1",), elapsed=3.0, kinds=kinds), **changes)


def test_results_survive_json():
    before = result()
    after = Result.from_json(json.loads(json.dumps(before.as_json())))
    assert after.as_json() == before.as_json()
    assert (after.load, after.answered, after.errors, after.throughput) == (Load(), 9, 1, 3.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "else"}, "holds no result"),
        ({"version": 2}, "of version 2; this program reads version 1"),
        ({"kinds": {"put": {}}}, "damaged: KeyError"),
        ({"load": {"colour": 1}}, "no settings of a load"),
    ],
    ids=["format", "version", "damaged", "settings"],
)
def test_what_is_no_result_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        Result.from_json({**result().as_json(), **change})


# -------------------------------------------------------------- loads


def history_of(records: list[Recorded]) -> list[Operation]:
    history = []
    for each in records:
        value, version = each.arguments or ("", 0)
        asked = KvInput(each.kind, each.key, value, version)
        outcome = each.result if isinstance(each.result, str) else KvOutput(each.result[2], *each.result[:2])
        answer = KvOutput(outcome) if isinstance(outcome, str) else outcome
        output = None if each.returned_at is None else answer
        history.append(Operation(each.client, asked, each.called_at, output, each.returned_at))
    return history


def test_everything_is_counted_and_recorded_once(local):
    cluster = local()
    cluster.leader()
    records: list[Recorded] = []
    seconds = []
    load = Load(clients=6, connections=3, processes=2, contended=True, keys=3, read_share=0.5, seconds=1.5, warm_up=0.5)
    found = run(load, cluster.peers, record=records.append, on_second=seconds.append)
    assert found.errors == 0
    assert found.series == tuple(seconds)
    assert [each.second for each in seconds][:3] == [-1, 0, 1]
    assert sum(each.done for each in seconds) == len(records) - setup(records, load), "each second has its own"
    counted = Counter(
        (each.kind, each.result if each.kind == "put" else each.result[2])
        for each in records
        if each.called_at >= seconds[1].began_at
    )
    assert counted == {
        (kind, outcome): count for kind, part in found.kinds.items() for outcome, count in part.outcomes.items()
    }
    assert found.kinds["put"].outcomes["VERSION"], "they contend"
    assert check_operations(kv_model(), history_of(records)) is CheckResult.OK
    stale = next(index for index, each in enumerate(records) if each.kind == "get" and each.result[1] > 1)
    records[stale] = records[stale]._replace(result=("", 0, "NO_KEY"))
    assert check_operations(kv_model(), history_of(records)) is not CheckResult.OK, "the check can fail"


def setup(records: list[Recorded], load: Load) -> int:
    """How many made the keys: a put for each, in a cluster that was empty."""
    made = [each for each in records if each.kind == "put" and each.arguments[1] == 0]
    assert len(made) == load.key_count
    return len(made)


@pytest.mark.parametrize("reads", ["index", "lease", "log"])
def test_reads_are_linearizable_while_leaders_change(local, reads):
    cluster = local()
    cluster.leader()
    records: list[Recorded] = []
    load = Load(clients=8, connections=2, contended=True, keys=3, read_share=0.7, reads=reads, seconds=2.5, warm_up=0)
    disturbing = threading.Thread(target=lambda: disturb(cluster))
    disturbing.start()
    found = run(load, cluster.peers, record=records.append)
    disturbing.join()
    assert found.answered > 20
    assert check_operations(kv_model(), history_of(records)) is CheckResult.OK


def disturb(cluster):
    for graceful in (True, False):
        time.sleep(1.0)
        leader = cluster.leader()
        cluster.stop(leader, graceful=graceful)
        cluster.start(leader)


def test_in_an_open_loop_waiting_counts_from_when_it_was_due():
    load = Load(clients=1, rate=100, read_share=1, seconds=1.5, warm_up=0)
    found = run(load, ["nowhere:1"], connect=SLOW)
    times = found.kinds["get"].times
    assert times.count == 150, "all that was due"
    assert times.largest >= STALL_SECONDS * 0.9
    late = sum(count for bucket, count in times.as_pairs() if times.from_pairs([(bucket, 1)], 0, 9).percentile(0) > 0.1)
    assert late >= 30, "who was due while it stood still has waited, too"
    closed = run(replace(load, rate=None), ["nowhere:1"], connect=SLOW)
    times = closed.kinds["get"].times
    assert times.largest >= STALL_SECONDS * 0.9
    assert times.percentile(99) < 0.1, "a closed loop does not ask meanwhile"
    assert closed.corrected("get").percentile(90) > 0.1


def test_a_load_that_is_too_much_says_so():
    load = Load(clients=1, rate=3000, read_share=1, seconds=0.3, warm_up=0, timeout=0.1)
    found = run(load, ["nowhere:1"], connect=SLOW)
    assert found.never_begun > 100
    assert found.never_begun + found.count == pytest.approx(900, abs=1)


def test_a_load_is_stopped_before_its_time():
    stop = threading.Event()
    began = time.monotonic()
    load = Load(clients=2, read_share=1, seconds=60, warm_up=0)
    found = run(load, ["nowhere:1"], connect=SLOW, stop=stop, on_second=lambda second: stop.set())
    assert time.monotonic() - began < 20
    assert found.was_stopped
    assert found.answered > 10


def test_who_is_refused_hears_why():
    with pytest.raises(LoadFailed, match="the store is closed"):
        run(Load(seconds=1), ["nowhere:1"], connect=REFUSING)
    with pytest.raises(LoadFailed, match="names nothing that makes a connection"):
        run(Load(seconds=1), ["nowhere:1"], connect="nowhere:Nothing")
    with pytest.raises(UsageError, match="a load needs a list of nodes"):
        run(Load(seconds=1), [])
