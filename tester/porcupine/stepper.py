"""A model as a search uses it: steps that are checked, and states that can be keys of a dictionary.

States that are hashable and compared by `==` are used as they are. Others are *boxed*: each state is looked up among
those seen, and equal ones share one box. With `Model.hash` that is one look into a bucket; without (unhashable states,
or an `equal` of the model's own without a `hash`) a state is compared with every state on record, so a model of such
states should have a `hash`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from tester.porcupine.errors import ModelError
from tester.porcupine.model import Model, Operation

__all__ = ["IMPOSSIBLE", "Stepper", "replay"]


class _Impossible:
    def __repr__(self) -> str:
        return "IMPOSSIBLE"


IMPOSSIBLE: Final = _Impossible()
"""What comes of a step that the model does not allow."""

_SAMPLE = 16
"""As many first steps are taken twice, to find out models that are not functions, or that change states in place."""
_BOXES = 256
"""With more boxes than that, `Stepper.forget` makes room."""


class _Box:
    __slots__ = ("state",)

    def __init__(self, state: Any) -> None:
        self.state = state


class Stepper:
    """Steps of `model` by the `operations` of one partition; `boxed` if states turned out not to be hashable.

    Raises:
        ModelError: from each method, if the model raised or gave no (bool, state); names the operation.
    """

    def __init__(self, model: Model, operations: Sequence[Operation], *, boxed: bool = False) -> None:
        self.model = model
        self.operations = operations
        self._step = model.step
        self._inputs = [operation.input for operation in operations]
        self._outputs = [operation.output for operation in operations]
        self._sample = _SAMPLE
        self._buckets: dict[int, list[_Box]] = {}
        self._boxes = 0
        try:
            initial = model.init()
        except Exception as error:
            raise ModelError(f"the model's init raised {error!r}") from error
        self.boxed = boxed or model.equal is not None or model.hash is not None or not _is_hashable(initial)
        self.initial = self._box(initial) if self.boxed else initial
        self.apply: Callable[[Any, int], Any] = self._step_boxed if self.boxed else self.step
        """(state, a box or not, operation) -> the next state, or IMPOSSIBLE."""

    def step(self, state: Any, operation: int) -> Any:
        """From one of the model's own states to the next, or IMPOSSIBLE."""
        if self._sample:
            self._sample -= 1
            self._try_twice(state, operation)
        try:
            possible, following = self._step(state, self._inputs[operation], self._outputs[operation])
        except Exception as error:
            raise self._broken(operation, state, error) from error
        if possible is True:
            return following
        if possible is False:
            return IMPOSSIBLE
        raise ModelError(
            f"the model's step answered {possible!r} for {self.describe(operation)}; it must answer (bool, state)"
        )

    def _step_boxed(self, box: Any, operation: int) -> Any:
        following = self.step(box.state, operation)
        return IMPOSSIBLE if following is IMPOSSIBLE else self._box(following)

    def _try_twice(self, state: Any, operation: int) -> None:
        try:
            before = copy.deepcopy(state)
            comparable = self.same(before, state)
        except Exception:  # a state that cannot be copied: then only the answers are compared
            before, comparable = state, False
        try:
            possible, following = self._step(state, self._inputs[operation], self._outputs[operation])
            again, after = self._step(state, self._inputs[operation], self._outputs[operation])
        except Exception as error:
            raise self._broken(operation, state, error) from error
        if again is not possible or (possible is True and not self.same(after, following)):
            raise ModelError(
                f"the model's step gave two answers for {self.describe(operation)} in state {before!r}: "
                f"({possible!r}, {following!r}) and ({again!r}, {after!r}); "
                "it must be a function of state and operation"
            )
        if comparable and not self.same(before, state):
            raise ModelError(
                f"the model's step changed the state {before!r} that it was given to {state!r}, for "
                f"{self.describe(operation)}; it must make a new one"
            )

    def same(self, left: Any, right: Any) -> bool:
        """Whether two of the model's own states are equal."""
        equal = self.model.equal
        return left is right or bool(left == right if equal is None else equal(left, right))

    def _box(self, state: Any) -> _Box:
        try:
            code = 0 if self.model.hash is None else self.model.hash(state)
            bucket = self._buckets.setdefault(code, [])
            for box in bucket:
                if self.same(box.state, state):
                    return box
        except Exception as error:
            raise ModelError(f"the model's hash or equal raised {error!r} for state {state!r}") from error
        box = _Box(state)
        bucket.append(box)
        self._boxes += 1
        return box

    def forget(self, keep: Iterable[Any]) -> None:
        """Makes room when nothing but the states in `keep` is in use any more."""
        if self._boxes > _BOXES:
            self._buckets = {}
            self._boxes = 0
            for box in keep:
                code = 0 if self.model.hash is None else self.model.hash(box.state)
                self._buckets.setdefault(code, []).append(box)
                self._boxes += 1

    def unboxed(self, state: Any) -> Any:
        """The model's own state."""
        return state.state if self.boxed else state

    def describe(self, operation: int) -> str:
        return self.model.describe_operation(self._inputs[operation], self._outputs[operation])

    def _broken(self, operation: int, state: Any, error: Exception) -> ModelError:
        if isinstance(error, ModelError):
            return error
        return ModelError(f"the model's step failed for {self.describe(operation)} in state {state!r}: {error!r}")


def replay(stepper: Stepper, order: Iterable[int]) -> int | None:
    """The first operation of `order` that is not possible in its turn; None if all are."""
    state = stepper.unboxed(stepper.initial)
    for operation in order:
        state = stepper.step(state, operation)
        if state is IMPOSSIBLE:
            return operation
    return None


def _is_hashable(state: Any) -> bool:
    try:
        hash(state)
    except TypeError:
        return False
    return True
