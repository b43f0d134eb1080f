"""What the README shows is what the reader gets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tester import mutants
from tester.raft_cluster import RaftCluster
from tester.run import Options, Run

ROOT = Path(__file__).parents[2]


def test_the_failure_in_the_readme_is_the_one_its_seed_gives(tmp_path):
    text = (ROOT / "README.md").read_text()
    shown = re.search(r"```text\n(.+)\n.*?seed  (\d+)\n.*?hash (\w+)\n", text, re.DOTALL)
    assert shown is not None
    verdict, seed, journal_hash = shown.group(1).splitlines()[0], int(shown.group(2)), shown.group(3)
    solution = mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, tmp_path)
    run = Run(seed, Options(solution=solution))
    try:
        with pytest.raises(AssertionError) as caught:
            elections(RaftCluster(run, 7))
        assert str(caught.value) == verdict
        assert run.journal_hash == journal_hash
    finally:
        run.close()


def elections(cluster: RaftCluster) -> None:
    """What test_many_elections does, which the README shows failing."""
    cluster.one_leader()
    for _ in range(9):
        cut = cluster.random.sample(list(range(7)), 3)
        cluster.disconnect(*cut)
        cluster.one_leader()
        cluster.connect(*cut)
    cluster.one_leader()


def test_every_option_in_the_readme_exists(pytestconfig):
    text = (ROOT / "README.md").read_text()
    options = set(re.findall(r"`(--[a-z-]+)", text))
    known = {name for option in pytestconfig._parser._anonymous.options for name in option.names()}
    for group in pytestconfig._parser._groups:
        known |= {name for option in group.options for name in option.names()}
    assert options - known - {"--help"} == set()
