"""What the operations to come make of a register's value, and of a string that grows."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Any, Final

from tester.porcupine.timeline import Timeline

__all__ = ["RegisterForesight", "StringForesight"]


class _Nowhere:
    def __repr__(self) -> str:
        return "a value that nothing looks for"


_NOWHERE: Final = _Nowhere()


class RegisterForesight:
    """For operations that compare the state with one value at most, and leave one value at most.

    A value that no operation to come compares with is as good as any other such value: no step can tell.

    A step that leaves a value is hopeless if an operation that has not been called yet needs it, and every operation
    that could bring it back has returned or was used.
    """

    nowhere: Any = _NOWHERE

    def __init__(self, timeline: Timeline) -> None:
        self._rank, self._bit, self._call_stage = timeline.rank, timeline.bit, timeline.call_stage
        self._compared: dict[Any, int] = {}
        """Value -> the last stage at which something returns that compares the state with it."""
        self._needed: dict[Any, int] = {}
        """Value -> the last stage at which something is called that is possible in this state only."""
        self._makers: dict[Any, list[int]] = {}
        """Value -> operations that could leave it, the last to return first."""
        for index, operation in enumerate(timeline.operations):
            input, output = operation.input, operation.output
            rank = timeline.rank[index]
            if input.op == "read":
                if output is None:
                    continue
                value = output.value
                self._needed[value] = max(self._needed.get(value, -1), timeline.call_stage[index])
                self._compared[value] = max(self._compared.get(value, -1), rank)
                continue
            if input.op == "cas":
                value = input.expected
                self._compared[value] = max(self._compared.get(value, -1), rank)
                if output is not None and output.ok:
                    self._needed[value] = max(self._needed.get(value, -1), timeline.call_stage[index])
            if input.op == "write" or ((output is None or output.ok) and input.value != input.expected):
                self._makers.setdefault(input.value, []).append(index)
        for makers in self._makers.values():
            makers.sort(key=timeline.rank.__getitem__, reverse=True)

    def matters(self, stage: int, state: Any) -> bool:
        return self._compared.get(state, -1) >= stage

    def hopeless(self, stage: int, state: Any, next_state: Any, used: int) -> bool:
        if next_state == state or self._needed.get(state, -1) <= stage:
            return False
        for index in self._makers.get(state, ()):
            if self._rank[index] < stage:
                return True
            if self._call_stage[index] > stage or not used & self._bit[index]:
                return False
        return True


class StringForesight:
    """For strings that grow by appends.

    No get to come can tell a string from another if it finds no continuation of either.

    A step is hopeless if a get that has not been called yet finds no continuation of what the step leaves, and there is
    no put left, called before that get returns, of which it finds one: only a put makes a string shorter.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        operations = timeline.operations
        found: dict[str, int] = {}
        self._gets = [index for index in timeline.order if operations[index].input.op == "get"]
        for index in self._gets:
            found[operations[index].output.value] = timeline.rank[index]
        self._puts = [index for index, operation in enumerate(operations) if operation.input.op == "put"]
        self._starts: dict[int, list[int]] = {}
        """Get -> the puts that what it finds may have started with."""
        self._gets.sort(key=timeline.call_stage.__getitem__)
        self._get_calls = [timeline.call_stage[index] for index in self._gets]
        self._texts = sorted(found)
        self._last = [found[text] for text in self._texts]
        self._last_of: dict[str, int] = {}
        """String -> the last stage at which a get returns that finds a continuation of it."""
        longest = max(map(len, self._texts), default=0)
        self.nowhere: Any = "\0" * (longest + 1)

    def matters(self, stage: int, state: Any) -> bool:
        last = self._last_of.get(state)
        if last is None:
            texts = self._texts
            low = bisect_left(texts, state)
            if low == len(texts) or not texts[low].startswith(state):
                last = -1
            else:
                high = bisect_left(texts, state + "\U0010ffff", low)
                while high < len(texts) and texts[high].startswith(state):  # it goes on with that very character
                    high += 1
                last = max(self._last[low:high])
            if len(self._last_of) > _KNOWN:
                self._last_of.clear()
            self._last_of[state] = last
        return last >= stage

    def hopeless(self, stage: int, state: Any, next_state: Any, used: int) -> bool:
        number = bisect_right(self._get_calls, stage)
        if number == len(self._gets):
            return False
        get = self._gets[number]
        text = self._timeline.operations[get].output.value
        if text.startswith(next_state):
            return False
        starts = self._starts.get(get)
        timeline = self._timeline
        if starts is None:
            end = timeline.operations[get].return_time
            assert end is not None
            starts = self._starts[get] = [
                index
                for index in self._puts
                if timeline.operations[index].call_time <= end
                and text.startswith(timeline.operations[index].input.value)
            ]
        for index in starts:
            if timeline.rank[index] >= stage and (timeline.call_stage[index] > stage or not used & timeline.bit[index]):
                return False
        return True


_KNOWN = 10_000
"""So many strings are remembered."""
