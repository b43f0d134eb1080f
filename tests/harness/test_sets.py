"""Ordered sets: they agree with the builtin ones in everything but their order, which is that of first insertion."""

from __future__ import annotations

import copy
import enum
import json
import operator
import os
import pickle
import subprocess
import sys
from collections import UserDict
from collections.abc import Callable, MutableSet, Set
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from labrpc.virtual.sets import OrderedFrozenSet, OrderedSet, set_operators, stable_hash

CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Equal values of different types are among them, and few enough that sets often meet.
elements = st.sampled_from([0, 1, 2, 3, 4, True, 1.0, "a", "b", "c", None, (1, 2), (), b"a", frozenset({1}), -0.0])
items = st.lists(elements, max_size=8)

ORDERED = [OrderedSet, OrderedFrozenSet]
BUILTIN = {OrderedSet: set, OrderedFrozenSet: frozenset}

kinds = st.sampled_from(ORDERED)

OPERATORS = [operator.or_, operator.and_, operator.sub, operator.xor]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]
IN_PLACE = [operator.ior, operator.iand, operator.isub, operator.ixor]
METHODS = ["union", "intersection", "difference", "symmetric_difference", "issubset", "issuperset", "isdisjoint"]
UPDATES = ["update", "intersection_update", "difference_update", "symmetric_difference_update"]


def named(function: Any) -> str:
    return getattr(function, "__name__", str(function))


def first_of(values: list[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def wrappings(values: list[Any]) -> dict[str, Callable[[], Any]]:
    """Ways to give `values` to an operation, each as an argument for ours and for the builtin one."""
    return {
        "OrderedSet": lambda: OrderedSet(values),
        "OrderedFrozenSet": lambda: OrderedFrozenSet(values),
        "set": lambda: set(values),
        "frozenset": lambda: frozenset(values),
        "keys": lambda: dict.fromkeys(values).keys(),
        "UserDict.keys": lambda: UserDict(dict.fromkeys(values)).keys(),
        "list": lambda: list(values),
        "tuple": lambda: tuple(values),
        "iterator": lambda: iter(values),
        "dict": lambda: dict.fromkeys(values),
    }


WRAPPINGS = list(wrappings([]))


def outcome(function: Callable[[], Any]) -> Any:
    """What `function` returns, or the type of its error."""
    try:
        return function()
    except Exception as error:
        return type(error)


def consistent(ordered: Any) -> None:
    """What it iterates over, in which order, and what it contains are one and the same."""
    listed = list(ordered)
    assert len(listed) == len(ordered) == len(set(listed))
    assert all(item in ordered for item in listed)
    assert list(reversed(ordered)) == listed[::-1]
    assert BUILTIN[type(ordered)](listed) == ordered
    assert bool(ordered) == bool(listed)


# ------------------------------------------------------------------ operations without a change


@given(kinds, items)
@settings(CALM)
def test_a_set_iterates_in_the_order_of_first_insertion(kind: Any, values: list[Any]) -> None:
    ordered = kind(values)
    assert list(ordered) == first_of(values)
    assert ordered == BUILTIN[kind](values)
    consistent(ordered)


@given(kinds, items, items, st.sampled_from(OPERATORS), st.sampled_from(WRAPPINGS))
@settings(CALM, max_examples=400)
def test_operators_agree_with_builtin_sets(
    kind: Any, left: list[Any], right: list[Any], op: Any, wrapping: str
) -> None:
    make = wrappings(right)[wrapping]
    ours, theirs = outcome(lambda: op(kind(left), make())), outcome(lambda: op(BUILTIN[kind](left), make()))
    assert ours == theirs
    if not isinstance(theirs, type):
        assert type(ours) is kind
        assert list(ours) == in_order(op, left, list(make()))
        consistent(ours)


@given(
    kinds,
    items,
    items,
    st.sampled_from(OPERATORS),
    st.sampled_from(["set", "frozenset", "keys", "UserDict.keys", "list"]),
)
@settings(CALM, max_examples=400)
def test_operators_agree_with_builtin_sets_on_the_right_side(
    kind: Any, left: list[Any], right: list[Any], op: Any, wrapping: str
) -> None:
    make = wrappings(left)[wrapping]
    ours, theirs = outcome(lambda: op(make(), kind(right))), outcome(lambda: op(make(), BUILTIN[kind](right)))
    assert ours == theirs
    if wrapping == BUILTIN[kind].__name__:
        assert type(ours) is kind
        assert list(ours) == in_order(op, list(make()), right)


def in_order(op: Any, left: list[Any], right: list[Any]) -> list[Any]:
    """The result of `op` on sets of these, with its elements in the order in which they were inserted."""
    members = op(set(left), set(right))
    return [item for item in first_of([*left, *right]) if item in members]


@given(kinds, items, items, st.sampled_from(COMPARISONS), st.sampled_from(WRAPPINGS))
@settings(CALM, max_examples=300)
def test_comparisons_agree_with_builtin_sets(
    kind: Any, left: list[Any], right: list[Any], op: Any, wrapping: str
) -> None:
    make = wrappings(right)[wrapping]
    ours, theirs = outcome(lambda: op(kind(left), make())), outcome(lambda: op(BUILTIN[kind](left), make()))
    assert ours == theirs
    assert outcome(lambda: op(make(), kind(left))) == outcome(lambda: op(make(), BUILTIN[kind](left)))


@given(kinds, items, st.lists(st.tuples(items, st.sampled_from(WRAPPINGS)), max_size=3), st.sampled_from(METHODS))
@settings(CALM, max_examples=400)
def test_methods_agree_with_builtin_sets(kind: Any, values: list[Any], others: list[Any], method: str) -> None:
    def call(made: Any) -> Any:
        return outcome(lambda: getattr(made, method)(*(wrappings(other)[wrapping]() for other, wrapping in others)))

    ours, theirs = call(kind(values)), call(BUILTIN[kind](values))
    assert ours == theirs
    if isinstance(ours, (set, frozenset)):
        assert type(ours) is kind
        consistent(ours)


def test_methods_keep_the_order() -> None:
    values = OrderedSet("dacb")
    assert list(values.union("xa", "yx")) == [*"dacbxy"]
    assert list(values.intersection("abc", "bca")) == [*"acb"]
    assert list(values.difference("a", "b")) == [*"dc"]
    assert list(values.symmetric_difference("zbya")) == [*"dczy"]
    assert list(OrderedFrozenSet("dacb").union("xa")) == [*"dacbx"]


@given(kinds, items, elements | st.just([]) | st.builds(set))
@settings(CALM)
def test_membership_agrees_with_builtin_sets(kind: Any, values: list[Any], item: Any) -> None:
    assert outcome(lambda: item in kind(values)) == outcome(lambda: item in BUILTIN[kind](values))


@given(items)
@settings(CALM)
def test_frozensets_hash_like_builtin_ones(values: list[Any]) -> None:
    assert hash(OrderedFrozenSet(values)) == hash(frozenset(values)) == hash(OrderedFrozenSet(reversed(values)))
    assert {OrderedFrozenSet(values): 1}[frozenset(values)] == 1
    assert frozenset(values) in OrderedSet([OrderedFrozenSet(values)])


def test_sets_are_not_hashable() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(OrderedSet())


@pytest.mark.parametrize(
    ("kind", "base", "abstract"),
    [(OrderedSet, set, MutableSet), (OrderedFrozenSet, frozenset, Set)],
    ids=["set", "frozenset"],
)
def test_they_are_instances_of_the_builtin_ones(kind: Any, base: type, abstract: type) -> None:
    assert isinstance(kind(), base)
    assert isinstance(kind(), abstract)
    assert kind[int].__origin__ is kind


@pytest.mark.parametrize("kind", ORDERED)
def test_they_show_as_the_builtin_ones_do(kind: Any) -> None:
    assert repr(kind()) == repr(BUILTIN[kind]())
    assert repr(kind([1])) == repr(BUILTIN[kind]([1]))
    assert repr(OrderedSet(["b", "a"])) == "{'b', 'a'}"


@pytest.mark.parametrize("kind", ORDERED)
@pytest.mark.parametrize("bad", [[[1]], 5, [1, {}]], ids=repr)
def test_what_cannot_be_in_a_set_is_a_type_error(kind: Any, bad: Any) -> None:
    with pytest.raises(TypeError):
        kind(bad)
    with pytest.raises(TypeError):
        kind([1]).union(bad)


# ------------------------------------------------------------------ changes, against the builtin set


class SetAgainstBuiltin(RuleBasedStateMachine):
    """Any sequence of changes: the same members as a builtin set, in the order of a dict's keys."""

    @initialize(values=items)
    def start(self, values: list[Any]) -> None:
        self.ours: OrderedSet = OrderedSet(values)
        self.alias = self.ours
        self.theirs = set(values)
        self.theirs_alias = self.theirs
        self.order = dict.fromkeys(values)

    def both(self, change: Callable[[Any], Any]) -> Any:
        ours, theirs = outcome(lambda: change(self.ours)), outcome(lambda: change(self.theirs))
        assert ours == theirs
        self.follow()
        return ours

    def follow(self, more: list[Any] | None = None) -> None:
        """Updates the expected order: what left is forgotten, what is new comes last, in the order of `more`."""
        for item in [item for item in self.order if item not in self.theirs]:
            del self.order[item]
        for item in more or []:
            if item in self.theirs:
                self.order.setdefault(item)

    @rule(item=elements | st.just([]))
    def add(self, item: Any) -> None:
        self.both(lambda values: values.add(item))
        if item != []:
            self.follow([item])

    @rule(item=elements | st.just([]) | st.just({1}) | st.just({5}), method=st.sampled_from(["discard", "remove"]))
    def take_out(self, item: Any, method: str) -> None:
        self.both(lambda values: getattr(values, method)(item))

    @rule()
    def pop(self) -> None:
        if not self.theirs:
            assert self.both(lambda values: values.pop()) is KeyError
            return
        popped = self.ours.pop()
        assert popped == next(iter(self.order))
        self.theirs.remove(popped)
        self.follow()

    @rule()
    def clear(self) -> None:
        self.both(lambda values: values.clear())

    @rule(values=items, method=st.sampled_from(UPDATES), wrapping=st.sampled_from(WRAPPINGS))
    def update(self, values: list[Any], method: str, wrapping: str) -> None:
        make = wrappings(values)[wrapping]
        self.both(lambda made: getattr(made, method)(make()))
        self.follow(list(make()))

    @rule(first=items, second=items, method=st.sampled_from(UPDATES))
    def update_with_two(self, first: list[Any], second: list[Any], method: str) -> None:
        self.both(lambda made: getattr(made, method)(first, second))
        if method != "symmetric_difference_update":
            self.follow([*first, *second])

    @rule(values=items, op=st.sampled_from(IN_PLACE), wrapping=st.sampled_from(WRAPPINGS))
    def in_place(self, values: list[Any], op: Any, wrapping: str) -> None:
        make = wrappings(values)[wrapping]
        ours, theirs = outcome(lambda: op(self.ours, make())), outcome(lambda: op(self.theirs, make()))
        assert ours == theirs
        assert (ours is self.ours) == (theirs is self.theirs)
        if not isinstance(theirs, type):
            self.ours, self.theirs = ours, theirs
        self.follow(list(make()))

    @rule(op=st.sampled_from(IN_PLACE))
    def in_place_with_itself(self, op: Any) -> None:
        assert op(self.ours, self.ours) is self.ours
        op(self.theirs, self.theirs)
        self.follow()

    @rule(method=st.sampled_from(UPDATES))
    def update_with_itself(self, method: str) -> None:
        self.both(lambda values: getattr(values, method)(values))

    @rule(values=items)
    def initialise_again(self, values: list[Any]) -> None:
        self.ours.__init__(values)  # type: ignore[misc]
        self.theirs.__init__(values)  # type: ignore[misc]
        self.order = dict.fromkeys(values)

    @invariant()
    def members_agree(self) -> None:
        assert self.ours == self.theirs
        assert (self.alias == self.ours) == (self.theirs_alias == self.theirs)
        consistent(self.ours)

    @invariant()
    def the_order_is_that_of_insertion(self) -> None:
        assert list(self.ours) == list(self.order)


SetAgainstBuiltin.TestCase.settings = settings(CALM, max_examples=100, stateful_step_count=30)
TestSetAgainstBuiltin = SetAgainstBuiltin.TestCase


def test_pop_takes_the_oldest() -> None:
    values = OrderedSet("cab")
    values.add("c")
    values.discard("a")
    values.add("a")
    assert [values.pop() for _ in range(3)] == [*"cba"]


def test_a_set_that_is_iterated_over_must_not_change() -> None:
    values = OrderedSet([1, 2])
    iterator = iter(values)
    next(iterator)
    values.add(3)
    with pytest.raises(RuntimeError, match="changed size during iteration"):
        next(iterator)


@pytest.mark.parametrize("kind", ORDERED)
@pytest.mark.parametrize(
    "make_copy",
    [lambda s: s.copy(), copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s)), lambda s: type(s)(s)],
    ids=["method", "copy", "deepcopy", "pickle", "constructor"],
)
def test_copies_are_equal_ordered_and_apart(kind: Any, make_copy: Any) -> None:
    values = kind("dacb")
    made = make_copy(values)
    assert type(made) is kind
    assert list(made) == [*"dacb"]
    assert made == values
    consistent(made)
    if kind is OrderedSet:
        made.add("e")
        made.discard("d")
        assert list(values) == [*"dacb"]


def test_a_deep_copy_copies_what_is_inside() -> None:
    class Box:
        pass

    box = Box()
    for kind in ORDERED:
        (made,) = copy.deepcopy(kind([box]))
        assert type(made) is Box
        assert made is not box
        (same,) = copy.copy(kind([box]))
        assert same is box


# ------------------------------------------------------------------ subclasses


class Tagged(OrderedSet):
    """As student code would write it: a constructor of its own, and more attributes."""

    def __init__(self, tag: str, values: Any = ()) -> None:
        self.tag = tag
        super().__init__(values)


class Careless(OrderedSet):
    def __init__(self, tag: str) -> None:
        self.tag = tag


class FrozenTagged(OrderedFrozenSet):
    pass


def test_a_subclass_may_have_a_constructor_of_its_own() -> None:
    tagged = Tagged("t", "ba")
    assert list(tagged) == ["b", "a"]
    for made in (tagged | {"c"}, tagged & {"b"}, tagged - {"x"}, tagged ^ {"z"}, tagged.union("c"), tagged.copy()):
        assert type(made) is OrderedSet  # builtin operators give the base class, too
    tagged |= {"c"}
    assert type(tagged) is Tagged
    assert (tagged.tag, list(tagged)) == ("t", [*"bac"])


def test_a_subclass_may_forget_to_call_the_constructor() -> None:
    careless = Careless("t")
    assert list(careless) == []
    careless.add(1)
    assert careless == {1}


def test_a_subclass_of_a_frozenset_copies_to_the_base_class() -> None:
    made = FrozenTagged("ba")
    assert list(made) == ["b", "a"]
    for result in (made.copy(), made | {"c"}, made - {"a"}):
        assert type(result) is OrderedFrozenSet
    original = OrderedFrozenSet("a")
    assert original.copy() is original


def test_a_copy_keeps_a_subclasss_attributes() -> None:
    class Plain(OrderedSet):
        pass

    plain = Plain("ba")
    plain.tag = "t"
    for made in (copy.copy(plain), copy.deepcopy(plain)):
        assert (type(made), list(made), made.tag) == (Plain, ["b", "a"], "t")


# ------------------------------------------------------------------ the operators that instrumented code calls


@given(
    items, items, st.sampled_from(["and", "or", "xor", "sub"]), st.sampled_from(WRAPPINGS), st.sampled_from(WRAPPINGS)
)
@settings(CALM, max_examples=500)
def test_operators_of_instrumented_code_agree_with_the_plain_ones(
    left: list[Any], right: list[Any], name: str, left_wrapping: str, right_wrapping: str
) -> None:
    make_left, make_right = wrappings(left)[left_wrapping], wrappings(right)[right_wrapping]
    plain = {"and": operator.and_, "or": operator.or_, "xor": operator.xor, "sub": operator.sub}[name]
    for prefix, function in (("", plain), ("i", IN_PLACE[["or", "and", "sub", "xor"].index(name)])):
        theirs = outcome(lambda function=function: function(make_left(), make_right()))
        ours = outcome(lambda prefix=prefix: set_operators[f"__set_{prefix}{name}__"](make_left(), make_right()))
        assert ours == theirs
        if type(theirs) is set and left_wrapping != "set":
            assert type(ours) is OrderedSet
            assert list(ours) == in_order(plain, list(make_left()), list(make_right()))


@given(st.integers(), st.integers(), st.sampled_from(["and", "or", "xor", "sub"]))
@settings(CALM)
def test_operators_of_instrumented_code_compute(left: int, right: int, name: str) -> None:
    plain = {"and": operator.and_, "or": operator.or_, "xor": operator.xor, "sub": operator.sub}[name]
    for prefix in ("", "i"):
        result = set_operators[f"__set_{prefix}{name}__"](left, right)
        assert result == plain(left, right)
        assert type(result) is int


def test_a_builtin_set_is_changed_in_place() -> None:
    values = alias = {1, 2}
    values = set_operators["__set_ior__"](values, {3})
    assert values is alias
    assert alias == {1, 2, 3}


# ------------------------------------------------------------------ hashes


class Color(enum.Enum):
    RED = 1


class Err(enum.StrEnum):
    OK = "Ok"


class Key(NamedTuple):
    client: str
    number: int


class Name(str):
    __slots__ = ()


HASHED = """
    "", "abc", "é\\ud800", b"", b"abc", None, True, 0, -1, 7, 2**70, 1.5, float("inf"),
    (), ("a", 1), ("a", ("b", None, b"c")),
    frozenset(["a", "b", "c"]), frozenset([("x", 1), ("y", 2)]), Color.RED, Err.OK, Key("c0", 3), Name("n"),
    (frozenset(["p", "q"]), Color.RED),
"""

IN_A_PROCESS = f"""
import enum, json
from typing import NamedTuple
from labrpc.virtual.sets import OrderedFrozenSet, OrderedSet, stable_hash
Color = enum.Enum("Color", [("RED", 1)])
Err = enum.StrEnum("Err", [("OK", "Ok")])
Key = NamedTuple("Key", [("client", str), ("number", int)])
class Name(str): pass
values = [{HASHED}]
orders = [list(kind(f"host-{{n * 7 % 20}}" for n in range(20))) for kind in (OrderedSet, OrderedFrozenSet)]
print(json.dumps([[stable_hash(value) for value in values], orders, hash("abc")]))
"""


def in_a_process(hash_seed: int) -> Any:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS], env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_hashes_and_orders_are_the_same_in_every_process() -> None:
    (hashes, orders, salted), (others, other_orders, other_salted) = in_a_process(1), in_a_process(2)
    assert salted != other_salted
    assert hashes == others
    assert orders == other_orders
    assert hashes == [stable_hash(value) for value in eval(f"[{HASHED}]")]


HASHES = [
    ("", 22125486566988442),
    ("abc", 60012850110631570),
    (b"abc", 60012850110631570),
    (None, 24301),
]


@pytest.mark.parametrize(("value", "expected"), HASHES, ids=repr)
def test_hashes_are_the_same_in_every_version(value: object, expected: int) -> None:
    assert stable_hash(value) == expected


@given(elements, elements)
@settings(CALM, max_examples=300)
def test_equal_values_have_equal_hashes(left: Any, right: Any) -> None:
    if left == right:
        assert stable_hash(left) == stable_hash(right)
        assert stable_hash((left, "x")) == stable_hash((right, "x"))
        assert stable_hash(frozenset([left])) == stable_hash(OrderedFrozenSet([right]))


def test_a_member_of_a_string_enum_hashes_as_its_value() -> None:
    assert stable_hash(Err.OK) == stable_hash("Ok")
    assert stable_hash(Name("n")) == stable_hash("n")
    assert stable_hash(Key("a", 1)) == stable_hash(("a", 1))


def test_a_class_with_a_hash_of_its_own_keeps_it() -> None:
    class Own(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 42

    assert stable_hash(Own("x")) == 42
    with pytest.raises(TypeError, match="unhashable"):
        stable_hash([])
    with pytest.raises(TypeError, match="unhashable"):
        stable_hash((1, []))


def test_hashes_rarely_collide() -> None:
    assert len({stable_hash(f"key-{n}") for n in range(10_000)}) == 10_000
