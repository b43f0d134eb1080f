"""What a broken rule leads to: told after the verdict, each kind once."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tester import mutants
from tester.graded import graded_test
from tester.run import Options, Run
from tester.symptoms import later_symptoms

ROOT = Path(__file__).parents[2]
TEST = graded_test("test_many_elections")


@pytest.fixture
def failing(tmp_path):
    """A run in which a server votes twice, and what it failed with."""
    solution = mutants.load(ROOT / "tests" / "mutants" / "double-vote.toml").plant(ROOT, tmp_path)
    run = Run(2, Options(solution=solution))
    error = TEST.attempt(run)
    assert error is not None
    yield run, error
    run.close()


def symptoms(run: Run, error: Exception) -> list[str]:
    return later_symptoms(run, error, lambda: TEST.attempt(run))


def test_two_votes_make_two_leaders(failing):
    run, error = failing
    assert symptoms(run, error)[0].startswith("servers 1 and 6 both lead term 2 (§5.2")


def test_that_no_more_of_a_run_is_wanted_is_no_symptom(failing):
    run, error = failing
    run.restart(dataclasses.replace(run.plan, longest_s=run.clusters[-1].now + 0.0001))
    error = TEST.attempt(run)
    assert symptoms(run, error) == []


def test_only_a_broken_rule_has_symptoms(failing):
    run, _ = failing
    assert symptoms(run, AssertionError("no leader")) == []
