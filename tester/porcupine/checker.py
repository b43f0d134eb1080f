"""The way from a history to a verdict.

Each partition goes through what is quickest for most: the model's own decision, then, if it is small, the textbook
search with a small budget, then the general search. Those take turns, so that one bad partition ends it all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import TypeAlias

from tester.porcupine.errors import ModelError
from tester.porcupine.explain import explain_stuck
from tester.porcupine.info import LinearizationInfo, is_in_time
from tester.porcupine.model import (
    CheckResult,
    Decision,
    Event,
    EventKind,
    Model,
    NondeterministicModel,
    Operation,
    Traits,
)
from tester.porcupine.plain import Prefixes, plain_search
from tester.porcupine.search import StageSearch, traits_of
from tester.porcupine.stepper import Stepper, replay
from tester.porcupine.validate import operations_of_events, validate_history

__all__ = ["check_events", "check_events_verbose", "check_operations", "check_operations_verbose"]

_SMALL = 400
"""The plain search is tried on partitions of at most so many operations: its memo has masks as wide as the history."""
_FEW = 20
"""And only if so many clients at most made them: with more, it has too many orders to try."""
_BUDGET_FACTOR, _BUDGET = 6, 50
"""Steps of the model that it may take: so many for each operation, and so many more."""
_PREFIX_OPERATIONS, _PREFIX_BUDGET = 2_000, 5_000
"""An illegal partition of at most so many operations is searched for how far each can be placed, for so many steps."""
_REST_BUDGET = 20_000
"""Configurations spent on where an illegal partition went wrong, and on each other one that is still undecided."""

_AnyModel: TypeAlias = Model | NondeterministicModel


def check_operations(
    model: _AnyModel,
    history: Sequence[Operation],
    *,
    timeout: float | None = None,
    clients: Collection[Hashable] | None = None,
) -> CheckResult:
    """Whether `history`, in any order, is linearizable.

    Args:
        timeout: seconds after which a search gives up, with UNKNOWN; None: it does not, and memory stays bounded.
        clients: the only client ids there are; None: any.

    Raises:
        HistoryError: nothing can have recorded this history; names the operation.
        ModelError: the model raised, or is not a function of state and operation; names the operation.
    """
    return _Check(model, history, timeout, clients).verdict()


def check_operations_verbose(
    model: _AnyModel,
    history: Sequence[Operation],
    *,
    timeout: float | None = None,
    clients: Collection[Hashable] | None = None,
) -> tuple[CheckResult, LinearizationInfo]:
    """As `check_operations`, and what the verdict rests on."""
    check = _Check(model, history, timeout, clients)
    return check.verdict(), check.info()


def check_events(
    model: _AnyModel,
    history: Sequence[Event],
    *,
    timeout: float | None = None,
    clients: Collection[Hashable] | None = None,
) -> CheckResult:
    """As `check_operations`, for a history of which only the order of calls and returns is known."""
    return _event_check(model, history, timeout, clients).verdict()


def check_events_verbose(
    model: _AnyModel,
    history: Sequence[Event],
    *,
    timeout: float | None = None,
    clients: Collection[Hashable] | None = None,
) -> tuple[CheckResult, LinearizationInfo]:
    """As `check_events`, and what the verdict rests on. Times are the events' positions in their partition."""
    check = _event_check(model, history, timeout, clients)
    return check.verdict(), check.info()


def _event_check(
    model: _AnyModel, history: Sequence[Event], timeout: float | None, clients: Collection[Hashable] | None
) -> _Check:
    operations = operations_of_events(history)
    partition = model.partition_events
    split: Callable[[], list[list[Operation]]] | None = None
    if partition is not None:

        def split() -> list[list[Operation]]:
            calls = (event.id for event in history if event.kind is EventKind.CALL)
            by_id = dict(zip(calls, operations, strict=True))
            parts = partition(history)
            return [[by_id[event.id] for event in part if event.kind is EventKind.CALL] for part in parts]

    anonymous = all(event.client_id == 0 for event in history)
    return _Check(model, operations, timeout, clients, split, anonymous=anonymous)


class _Part:
    """One partition on its way to a verdict."""

    def __init__(self, model: Model, operations: list[Operation]) -> None:
        self.model = model
        self.operations = operations
        self.verdict = CheckResult.UNKNOWN
        self.decision: Decision | None = None
        self.search: StageSearch | None = None
        self._boxed = False
        self._traits: list[Traits] = []
        self._order: list[int] | None = None
        self._run: Iterator[None] | None = None

    def begin(self) -> None:
        """All that is quick."""
        if self.model.decide is not None:
            self.decision = self.model.decide(self.operations)
            if self.decision is not None:
                self.verdict = CheckResult.OK if self.decision.legal else CheckResult.ILLEGAL
                return
        if len(self.operations) <= _SMALL and len({operation.client_id for operation in self.operations}) <= _FEW:
            self._hashing(self._plain)
        if self.verdict is CheckResult.UNKNOWN:
            self._hashing(self._start)

    def advance(self) -> None:
        """A slice of the general search."""
        self._hashing(self._slice)

    def _hashing(self, work: Callable[[], None]) -> None:
        """Does `work`; again with boxed states, from the start, if states turn out not to be hashable."""
        try:
            work()
        except TypeError:
            if self._boxed or self.model.equal is not None or self.model.hash is not None:
                raise
            self._boxed = True
            if work == self._slice:
                self._start()
            work()

    def _stepper(self) -> Stepper:
        return Stepper(self.model, self.operations, boxed=self._boxed)

    def _plain(self) -> None:
        stepper = self._stepper()
        self._traits = traits_of(stepper)
        observers = None if self.model.traits is None else [traits.observer for traits in self._traits]
        budget = _BUDGET_FACTOR * len(self.operations) + _BUDGET
        self.verdict, order = plain_search(stepper, observers, budget=budget)
        if self.verdict is CheckResult.OK:
            self._accept(stepper, order)

    def _start(self) -> None:
        stepper = self._stepper()
        self.search = StageSearch(self.model, stepper, self._traits or traits_of(stepper))
        self._run = self.search.run()

    def _slice(self) -> None:
        search, run = self.search, self._run
        assert search is not None
        assert run is not None
        next(run, None)
        self.verdict = search.verdict
        if self.verdict is CheckResult.OK:
            self._accept(search.stepper, search.order())

    def _accept(self, stepper: Stepper, order: list[int]) -> None:
        """What was found must hold when it is done once more."""
        wrong = replay(stepper, order)
        if wrong is not None or not is_in_time(self.operations, order):
            where = "" if wrong is None else f" at {stepper.describe(wrong)}"
            raise ModelError(
                f"the model does not allow a linearization that it allowed step by step, any more{where}; "
                "its step must be a function of state and operation, and its traits must hold in every state"
            )
        self._order = order

    # -------------------------------------------------------------- what the verdict rests on

    def linearization(self) -> list[int]:
        """Of a legal partition."""
        if self._order is None:
            finding = None if self.decision is None else self.decision.finding()
            if finding is None:
                self._start()
                while self.verdict is CheckResult.UNKNOWN or self._order is None:
                    self.advance()
            else:
                self._accept(self._stepper(), finding.order)
        assert self._order is not None
        return self._order

    def look_on(self, budget: int) -> None:
        """Goes on for a while, though the whole is decided."""
        if self.search is None:
            self.begin()
        while self.search is not None and self.verdict is CheckResult.UNKNOWN:
            self.advance()
            if self.search.configurations >= budget:
                break

    def prefixes(self, budget: int) -> tuple[list[list[int]], int | None, str | None]:
        """Of a partition that is illegal, or undecided: partial linearizations, the culprit and why."""
        found = Prefixes(len(self.operations))
        finding = None if self.decision is None else self.decision.finding()
        if finding is not None and finding.order:
            found.offer(finding.order)
            return found.distinct(), finding.culprit, finding.explanation
        stepper = self._stepper()
        if budget and len(self.operations) <= _PREFIX_OPERATIONS:
            self._hashing(lambda: self._offer_prefixes(found))
        search = self._retrace(budget)
        order = search.order()
        found.offer(order)
        if finding is not None:
            return found.distinct(), finding.culprit, finding.explanation
        if self.verdict is CheckResult.UNKNOWN:
            return found.distinct(), None, None
        stuck = search.stuck
        if stuck is None:  # the search had no time to find out
            placed = frozenset(order)
            left = [index for index in search.timeline.order if index not in placed]
            stuck = left[0]
        return found.distinct(), stuck, explain_stuck(stepper, stuck, order)

    def _offer_prefixes(self, found: Prefixes) -> None:
        plain_search(self._stepper(), budget=_PREFIX_BUDGET, prefixes=found)

    def _retrace(self, budget: int) -> StageSearch:
        """A search that does not look ahead: where it gets stuck is where things went wrong."""
        search = self.search
        if self.verdict is CheckResult.ILLEGAL or search is None:
            self._hashing(self._start_retrace)
            retraced = self._retraced
            for _ in self._retraces:
                if retraced.configurations >= budget:
                    break
            if retraced.verdict is CheckResult.ILLEGAL or search is None or search.verdict is CheckResult.UNKNOWN:
                return retraced
        return search

    def _start_retrace(self) -> None:
        stepper = self._stepper()
        self._retraced = StageSearch(self.model, stepper, traits_of(stepper), look_ahead=False)
        self._retraces = self._retraced.run()
        next(self._retraces, None)


class _Check:
    """One history on its way to a verdict."""

    def __init__(
        self,
        model: _AnyModel,
        history: Sequence[Operation],
        timeout: float | None,
        clients: Collection[Hashable] | None,
        split: Callable[[], list[list[Operation]]] | None = None,
        *,
        anonymous: bool = False,
    ) -> None:
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._model = model.to_model() if isinstance(model, NondeterministicModel) else model
        validate_history(self._model, history, clients, anonymous=anonymous)
        parts = self._split(history, split)
        if sum(map(len, parts)) != len(history):
            raise ModelError(f"the model's partition made {sum(map(len, parts))} operations of {len(history)}")
        self._parts = [_Part(self._model, part) for part in parts]
        self._illegal: _Part | None = None

    def _split(
        self, history: Sequence[Operation], split: Callable[[], list[list[Operation]]] | None
    ) -> list[list[Operation]]:
        partition = self._model.partition
        try:
            if split is not None:
                return split()
            return [list(history)] if partition is None else [list(part) for part in partition(history)]
        except Exception as error:
            raise ModelError(f"the model's partition raised {error!r}") from error

    def verdict(self) -> CheckResult:
        open_parts = []
        late = False
        for part in sorted(self._parts, key=lambda part: len(part.operations)):
            part.begin()
            if part.verdict is CheckResult.ILLEGAL:
                self._illegal = part
                return CheckResult.ILLEGAL
            if part.verdict is CheckResult.UNKNOWN:
                open_parts.append(part)
            late = self._is_late()
            if late:
                break
        while open_parts and not late:
            for part in open_parts:
                part.advance()
                if part.verdict is CheckResult.ILLEGAL:
                    self._illegal = part
                    return CheckResult.ILLEGAL
                late = self._is_late()
                if late:
                    break
            open_parts = [part for part in open_parts if part.verdict is CheckResult.UNKNOWN]
        undecided = any(part.verdict is CheckResult.UNKNOWN for part in self._parts)
        return CheckResult.UNKNOWN if undecided else CheckResult.OK

    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def info(self) -> LinearizationInfo:
        """Of the verdict that was reached. Partitions that an illegal one left undecided are looked at for a while."""
        budget = 0 if self._is_late() else _REST_BUDGET
        orders: list[list[list[int]]] = []
        explanation: str | None = None
        culprit: tuple[int, int] | None = None
        for number, part in enumerate(self._parts):
            if part.verdict is CheckResult.UNKNOWN and self._illegal is not None:
                part.look_on(budget)
            if part.verdict is CheckResult.OK:
                orders.append([part.linearization()])
                continue
            partial, stuck, why = part.prefixes(budget)
            orders.append(partial)
            if part is self._illegal and stuck is not None:
                explanation, culprit = why, (number, stuck)
        return LinearizationInfo([part.operations for part in self._parts], orders, explanation, culprit)
