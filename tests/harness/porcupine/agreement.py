"""All ways to a verdict, side by side with brute force."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from tester.porcupine import (
    CheckResult,
    Model,
    ModelError,
    Operation,
    check_operations_verbose,
    verify_linearization,
)
from tester.porcupine.plain import plain_search
from tester.porcupine.search import StageSearch, traits_of
from tester.porcupine.stepper import Stepper
from tests.harness.porcupine.histories import corrupt, scribble, simulate
from tests.harness.porcupine.oracle import is_linearizable

__all__ = ["METHODS", "bare", "disagreement", "medium_history", "small_history"]


def bare(model: Model) -> Model:
    """`model` without anything that it tells a search."""
    return replace(model, decide=None, traits=None, aspect=None, foresight=None)


def _stages(model: Model, history: list[Operation]) -> CheckResult:
    """The general search alone; what it found must hold."""
    stepper = Stepper(model, history)
    search = StageSearch(model, stepper, traits_of(stepper))
    for _ in search.run():
        pass
    order = search.order()
    if not verify_linearization(model, history, order, partial=search.verdict is CheckResult.ILLEGAL):
        raise AssertionError(f"{order} is no linearization")
    return search.verdict


def _plain(model: Model, history: list[Operation]) -> CheckResult:
    stepper = Stepper(model, history)
    return plain_search(stepper, [traits.observer for traits in traits_of(stepper)])[0]


def _exact(model: Model, history: list[Operation]) -> CheckResult:
    decision = None if model.decide is None else model.decide(history)
    if decision is None:
        return CheckResult.UNKNOWN
    finding = decision.finding()
    if decision.legal and (finding is None or not verify_linearization(model, history, finding.order)):
        raise AssertionError(f"{finding} is no linearization")
    if (
        not decision.legal
        and finding is not None
        and not verify_linearization(model, history, finding.order, partial=True)
    ):
        raise AssertionError(f"{finding} is no part of a linearization")
    return CheckResult.OK if decision.legal else CheckResult.ILLEGAL


def _by_key(method: Callable[[Model, list[Operation]], CheckResult]) -> Callable[[Model, list[Operation]], CheckResult]:
    def judge(model: Model, history: list[Operation]) -> CheckResult:
        assert model.partition is not None
        verdicts = {method(model, part) for part in model.partition(history)}
        for verdict in (CheckResult.ILLEGAL, CheckResult.UNKNOWN):
            if verdict in verdicts:
                return verdict
        return CheckResult.OK

    return judge


def _portfolio(model: Model, history: list[Operation]) -> CheckResult:
    verdict, info = check_operations_verbose(model, history)
    assert (verdict is CheckResult.ILLEGAL) == (info.explanation is not None) == (info.culprit is not None)
    for part, orders in zip(info.partitions, info.partial_linearizations, strict=True):
        for order in orders:
            if not verify_linearization(model, part, order, partial=verdict is CheckResult.ILLEGAL):
                raise AssertionError(f"{order} is no linearization")
    return verdict


METHODS: dict[str, Callable[[Model, list[Operation]], CheckResult]] = {
    "exact": _by_key(_exact),
    "plain": _by_key(lambda model, history: plain_search(Stepper(model, history))[0]),
    "plain, observers": _by_key(_plain),
    "stages": _by_key(lambda model, history: _stages(bare(model), history)),
    "stages, traits": _by_key(lambda model, history: _stages(replace(model, foresight=None), history)),
    "stages, traits, foresight": _by_key(_stages),
    "stages, custom equality": _by_key(
        lambda model, history: _stages(
            replace(model, equal=lambda a, b: a == b, hash=lambda a: hash(a) % 1000), history
        )
    ),
    "portfolio": _portfolio,
}


def small_history(kind: str, rng: random.Random) -> list[Operation]:
    """Up to seven operations."""
    if rng.random() < 0.5:
        return scribble(kind, rng, rng.randrange(1, 8))
    history = simulate(
        kind,
        seed=rng.randrange(2**32),
        operations=rng.randrange(2, 8),
        clients=rng.randrange(1, 5),
        keys=rng.choice((1, 1, 1, 2)),
        values=rng.choice((2, 3, None)),
        writes=0.6,
        lost=rng.choice((0.0, 0.2)),
        maybe=rng.choice((0.0, 0.4)),
        ties=rng.random() < 0.5,
    )
    if rng.random() < 0.6:
        try:
            return corrupt(history, rng)
        except ValueError:
            pass
    return history


def medium_history(kind: str, rng: random.Random) -> list[Operation]:
    """Some dozens of operations: too many for brute force, few enough for the textbook search."""
    history = simulate(
        kind,
        seed=rng.randrange(2**32),
        operations=rng.randrange(8, 32),
        clients=rng.randrange(2, 4 if kind == "string" else 7),  # open appends make a state of each of their orders
        values=rng.choice((2, 3, 5, None)),
        writes=rng.choice((0.4, 0.6)),
        lost=0.0 if kind == "string" else rng.choice((0.0, 0.0, 0.1)),
        maybe=rng.choice((0.0, 0.3)),
        ties=rng.random() < 0.5,
    )
    for _ in range(rng.randrange(3)):
        try:
            history = corrupt(history, rng)
        except ValueError:
            break
    return history


def disagreement(model: Model, history: list[Operation], *, truth: bool | None = None) -> tuple[bool, str]:
    """Whether it is linearizable, by brute force unless `truth` says so, and the methods that say otherwise."""
    if truth is None:
        truth = is_linearizable(model, history)
    wrong = []
    for name, method in METHODS.items():
        try:
            verdict = method(model, history)
        except (AssertionError, ModelError) as error:
            wrong.append(f"{name}: {error}")
            continue
        if verdict is CheckResult.UNKNOWN and name == "exact":
            continue
        if verdict is not (CheckResult.OK if truth else CheckResult.ILLEGAL):
            wrong.append(f"{name}: {verdict.value}")
    return truth, ", ".join(wrong)
