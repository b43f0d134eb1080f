"""Three programs that go wrong, each in a folder of its own; chapter 0 tells what the lab says of them.

pytest docs/handouts/programs/test_programs.py --solution docs/handouts/programs/race --seed 1
"""

from __future__ import annotations


def test_total(raft_cluster):
    """Numbers that are handed in ten at a time add up."""
    cluster = raft_cluster(servers=1)
    times = 0
    for _ in range(5):
        tasks = [cluster.spawn(lambda: cluster.server(0).start(1)) for _ in range(10)]
        times += sum(task.join() is not None for task in tasks)
        cluster.sleep(0.5)
    total, _, _ = cluster.server(0).start_surely(0)
    assert total == times, f"{times} times 1 is {total}"
