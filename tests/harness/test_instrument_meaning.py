"""Instrumented code means what the plain code means: snippets of all that Python has, run with and without."""

from __future__ import annotations

import ast
import builtins
import sys
import textwrap
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

from labrpc.frames import HostSettings, Report
from labrpc.virtual.host import Host
from labrpc.virtual.instrument import instrument
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.sets import OrderedFrozenSet, OrderedSet, set_operators

FILE = "/server/raft.py"

SERVER_BUILTINS = {
    **vars(builtins),
    **set_operators,
    "__step__": lambda: True,
    "__stepped__": lambda value: value,
    "set": OrderedSet,
    "frozenset": OrderedFrozenSet,
}
"""The builtins of server code, as far as `instrument` counts on them."""


def instrumented(source: str) -> CodeType:
    return compile(instrument(ast.parse(textwrap.dedent(source), FILE)), FILE, "exec", dont_inherit=True)


SNIPPETS = {
    "match": """
        class Point:
            __match_args__ = ("x", "y")
            RED = 3
            def __init__(self, x, y):
                self.x, self.y = x, y
        def f(value):
            match value:
                case 0 | 1 | None: return "small"
                case Point.RED: return "red"
                case -5: return "minus"
                case 1 - 2j: return "complex"
                case "a" | "b" as letter: return letter
                case [1, *rest] if len(rest) - 1 > 0: return rest
                case [x, y]: return x - y
                case {"k": v, **others}: return v, others
                case Point(x=0, y=y): return ("axis", y)
                case Point(x, y): return x | y
                case set(): return "set"
                case _: return "other"
        result = [f(v) for v in (0, 1, None, 3, -5, 1 - 2j, "a", [1, 2, 3], [1, 2], [5, 3], {"k": 1, "z": 2}, Point(0,
                  7),
                                 Point(4, 3), {1, 2}, 9.5)]
    """,
    "nested-comprehensions": """
        xs = [[1, 2], [3], []]
        a = [[y * 2 for y in x if y] for x in xs]
        b = {x[0]: {y for y in x} for x in xs if x}
        c = [(i, j) for i in range(3) for j in range(i) if (i - j) % 2]
        d = list(map(lambda x: [y for y in x], xs))
        e = {k: v for k, v in zip("abc", (x for x in range(3)))}
        f = [[[z for z in range(y)] for y in range(x)] for x in range(3)]
        g = sorted({(x, y) for x in range(2) for y in range(2) if x ^ y})
        h = [x for x in range(20) if x > 2 if x % 2 if x < 11]
        result = a, b, c, d, e, f, g, h
    """,
    "comprehension-scopes": """
        x = "outer"
        funcs = [lambda: x for x in range(3)]
        class C:
            n = 3
            xs = [i for i in range(n)]
            ys = {i - 1 for i in range(n)}
            try:
                zs = [n for _ in range(1)]
            except NameError as error:
                zs = "NameError"
        def f(n):
            def g(): return [n + i for i in range(2)]
            return g
        result = x, [g() for g in funcs], C.xs, C.ys, C.zs, f(5)()
    """,
    "walrus": """
        def f(items):
            if (n := len(items)) > 2:
                last = [y := x, y ** 2] if (x := items[-1]) else []
            values = [y := 10 - x for x in items]
            kept = {(z := x) for x in items}
            while (n := n - 1) > 0:
                items[n] += n
            return n, y, z, last, values, kept, items
        result = f([1, 2, 3])
    """,
    "augmented-assignment": """
        class Box:
            log = []
            def __init__(self): self.x, self.items, self.d = 1, [1, 2, 3], {"k": [0]}
            def __getattr__(self, name): Box.log.append(name); return 7
        b = Box()
        same = b.items
        b.x += 2; b.x -= 1; b.x *= 10; b.x //= 3; b.x **= 2; b.x %= 7
        b.x <<= 2; b.x |= 1; b.x &= 7; b.x ^= 2; b.x >>= 1
        b.items += [4]; b.items[0] += 10; b.items[1:2] += [9, 9]; b.items[-1] -= 1; b.items *= 2
        b.d["k"][0] += 1; b.d["k"] += [1]; b.d["n"] = 5; b.d["n"] -= 3; b.d |= {"m": 1}
        b.missing -= 2
        index = iter(range(10))
        b.items[next(index)] -= 100
        b.items[next(index)] |= 64
        s = t = {1, 2}
        s |= {3}; s &= {1, 3, 4}; s ^= {9}; s -= {1}
        fresh = {1} | {2}
        view = b.d.keys()
        view &= {"k", "n"}
        n = 5; n -= 2; n |= 8; n &= 12; n ^= 3
        result = vars(b), same is b.items, Box.log, next(index), s is t, s, fresh, sorted(view), n
    """,
    "in-place-on-user-classes": """
        class Both:
            def __isub__(self, other): return ("isub", other)
            def __sub__(self, other): return ("sub", other)
            def __or__(self, other): return ("or", other)
            def __ror__(self, other): return ("ror", other)
        class Only:
            def __sub__(self, other): return ("sub", other)
            def __and__(self, other): return NotImplemented
        class Right:
            def __rand__(self, other): return ("rand", type(other).__name__)
            def __rsub__(self, other): return ("rsub", other)
        a = b = Both(); a -= 1; b |= 2
        g = 3; g |= Both()
        c = d = Only(); c -= 3; d &= Right()
        e = f = 5; e -= Right(); f &= Right()
        result = a, b, type(c[0]), c, d, e[0], f, g[0]
    """,
    "operators-on-user-classes": """
        log = []
        class V:
            def __init__(self, n): self.n = n
            def __sub__(self, other):
                log.append("sub")
                return V(self.n - other.n) if isinstance(other, V) else NotImplemented
            def __rsub__(self, other): log.append("rsub"); return V(other - self.n)
            def __and__(self, other): return V(self.n & other.n)
            def __or__(self, other): return [self.n, other]
            def __ror__(self, other): return [other, self.n]
            def __xor__(self, other): return "xor"
            def __rxor__(self, other): return "rxor"
            def __eq__(self, other): return self.n == other.n
        class W(V):
            def __rsub__(self, other): return "W first"
        result = (
            V(5) - V(3) == V(2), (9 - V(4)).n, (V(7) & V(3)).n, V(1) | 2, 2 | V(1), V(1) ^ V(2), 3 ^ V(1),
            V(1) - W(2), log,
            (V(5) - V(3) - V(1)).n,
        )
    """,
    "operators-in-class-bodies": """
        class V:
            def __sub__(self, other): return "method"
            def __and__(self, other): return "method"
            def __or__(self, other): return "method"
            def __xor__(self, other): return "method"
            def __set__(self, instance, value): instance.stored = value
            a, b = 12, 10
            difference = a - b
            both, either, one = a & b, a | b, a ^ b
            members = {a, b}
            doubled = {x for x in (1, 2)}
            a -= b
        class Owner:
            field = V()
        owner = Owner()
        owner.field = 5
        result = V.difference, V.both, V.either, V.one, V.members, V.doubled, V.a, V() - V(), owner.stored
    """,
    "arithmetic": """
        a, b = 12, 10
        big = 2 ** 100
        t = True
        result = (a - b, a & b, a | b, a ^ b, -a - -b, big - a, big ^ big, big | 1, a - b - 1, a - (b - 1), 1 - a - b,
                  a - b * 2,
                  a & ~b, t & False, t | a, t ^ t, 1.5 - a, a - 1.5, 1j - a, len("abc") - a, a - len("abc"),
                  (a - b) ** 2,
                  a << 1 | b, a & b == b, not a & b, a - b if a ^ b else b - a, "%d" % (a - b))
    """,
    "sets": """
        a, b = {1, 2, 3}, {3, 4}
        f = frozenset([1, 9])
        d = {1: "x", 5: "y"}
        e = set()
        a2 = {*a, *b, 7}
        result = (a | b, a & b, a - b, a ^ b, a | f, f | a, type(f | a) is frozenset, type(a | f) is set, e - a, a2,
                  a | d.keys(), d.keys() | a, d.keys() - a, a - d.keys(), d.keys() & a, d.keys() ^ a, d.items() & {(1,
                  "x")},
                  d.keys() | (x for x in (7, 8)), d.keys() & [5], d.keys() - iter([5]), d.keys() - d,
                  sorted(d.keys() | b),
                  {1} < a, a >= {1, 2}, a == {3, 2, 1}, {1, 2} == frozenset([1, 2]), 2 in a, [] in [a], a.isdisjoint(b),
                  isinstance(a, set), isinstance(a - b, set), isinstance(d.keys() - a, set), len(a ^ b), bool(e),
                  {x % 2 for x in a},
                  {(1, 2): {3}}[1, 2], {frozenset([1])} == {frozenset([1])}, a.union([5]), a.copy() is a, {1: {2},
                  3: {4}})
    """,
    "views-of-other-mappings": """
        from collections import ChainMap, OrderedDict, UserDict, defaultdict
        u, o, c = UserDict(a=1, b=2), OrderedDict(b=1, c=2), ChainMap({"c": 1}, {"a": 2})
        keys = u.keys()
        keys |= (x for x in "xy")
        result = (u.keys() & o.keys(), u.keys() | c.keys(), o.keys() - {"b"}, c.keys() ^ {"a"}, {"a"} | u.keys(), keys,
                  u.keys() - (x for x in "a"), {"b", "q"} - o.keys(), defaultdict(int, z=1).keys() | {"q"},
                  {"a"} & u.keys())
    """,
    "dicts-and-counters": """
        from collections import Counter
        d = e = {"a": 1}
        d |= {"b": 2}
        c = Counter("aab") - Counter("ab")
        k = Counter("aab")
        k |= Counter("cc"); k &= Counter("aacc"); k -= Counter("c")
        result = d is e, d, {"a": 0} | d, c, k, Counter("ab") & Counter("b")
    """,
    "chained-assignment": """
        class O: pass
        o = O()
        log = []
        def key(k): log.append(k); return k
        d = {}
        a = o.x = d[key("one")] = d[key("two")] = [1]
        o.x, (o.y, *o.z), d["w"] = 1, (2, 3, 4), 5
        o.x, o.y = o.y, o.x
        a[0], a[0:] = 7, [8, 9]
        result = vars(o), d, a, log
    """,
    "try-finally-with-else": """
        class CM:
            def __init__(self, log, swallow): self.log, self.swallow = log, swallow
            def __enter__(self): self.log.append("enter"); return self
            def __exit__(self, kind, error, tb): self.log.append(kind and kind.__name__); return self.swallow
        def f(kind, swallow):
            log = []
            class O: log2 = log
            try:
                with CM(log, swallow) as O.cm, CM(O.log2, False):
                    O.log2.append("body")
                    if kind: raise kind("boom")
            except (ValueError, KeyError) as error:
                O.log2.append(str(error))
            except Exception:
                O.log2.append("other")
            else:
                O.log2.append("else")
            finally:
                O.log2.append("finally")
            for x in log:
                if x == "never": break
            else:
                O.log2.append("for-else")
            while O.log2[-1] != "while-else": O.log2.append("while-else")
            else: O.log2.append("done")
            return O.log2
        def g():
            for n in range(5):
                try:
                    if n == 1: continue
                    if n == 3: return n
                finally:
                    result_log.append(n)
        result_log = []
        result = [f(k, s) for k in (None, ValueError, KeyError, OSError) for s in (False, True)], g(), result_log
    """,
    "exception-groups": """
        log = []
        try:
            raise ExceptionGroup("g", [ValueError(1), TypeError(2), OSError(3)])
        except* ValueError as group:
            log.append([str(e) for e in group.exceptions])
        except* (TypeError, OSError) as group:
            log.append(len(group.exceptions) - 1)
        else:
            log.append("else")
        finally:
            log.append("finally")
        result = log
    """,
    "generators": """
        class O: pass
        def f(o):
            try:
                o.got = yield 1
                o.got += yield o.got
                x = yield from g(o)
                yield x
            finally:
                o.closed = True
        def g(o):
            o.inner = [(yield o.got), (yield 2)]
            return {v for v in o.inner if v is not None}
        o = O()
        it = f(o)
        log = [next(it), it.send(10), it.send(5), it.send(6), it.send(7)]
        it.close()
        lazy = []
        gen = (lazy.append(x) or x for x in range(3))
        first = next(gen), list(lazy)
        rest = list(gen)
        result = log, vars(o), first, rest, lazy, list(x - y for x in (5, 6) for y in (1, 2))
    """,
    "stop-iteration-in-a-set": """
        it = iter([1, 2])
        try:
            result = {next(it) for _ in range(3)}
        except StopIteration:
            result = "StopIteration"
    """,
    "decorators-and-closures": """
        log = []
        class R:
            def mark(self, *names, sep="-"):
                def wrap(f):
                    log.append(sep.join(names))
                    return lambda *a, **k: (f(*a, **k), len(names) - 1)
                return wrap
        r = R()
        @r.mark("a", "b")
        @r.mark(*["c"], sep="+")
        def f(x, /, y=len(log) - 1, *args, z=[1][0], **kw): return x, y, args, z, kw
        def counter():
            n = 10
            def step(by):
                nonlocal n
                n -= by
                n |= 1
                return n
            return step
        c = counter()
        total = 0
        def add(n):
            global total
            total -= n
            return total
        @staticmethod
        def s(): return 1
        class P:
            @property
            def x(self): return self._x - 1
            @x.setter
            def x(self, value): self._x = value
            @classmethod
            def make(cls): p = cls(); p.x = 5; p.x += 3; return p.x
        result = f(1), f(1, 2, 3, z=4, w=5), [c(1), c(2), c(3)], [add(1), add(2)], s(), P.make(), log
    """,
    "stars": """
        def f(*args, **kw): return args, kw
        class O: xs = [1, 2]; kw = {"a": 1}
        a, *O.rest = range(4)
        *b, c = {*O.xs, 9} - {1}, 5
        d = [0] * 3
        d[0], *d[1:] = 7, 8, 9
        x = *O.xs, *d
        def g(): return *O.xs, 3
        result = f(*O.xs, *x, **O.kw, **{"b": 2}), a, O.rest, b, c, d, g(), [*O.xs, *{1: 2}], {**O.kw, "c": {1} | {2}}
    """,
    "f-strings": """
        class O: x = 5; name = "n"
        a, b, w = 7, 3, 6
        result = (f"{a - b}", f"{O.x!r:>{w - 1}}", f"{ {1, 1} }", f"{a - b=}", f"{a | b:#x}", f"{O.name:*^{w}}",
                  f"{[x for x in 'ab']}",
                  f"{'x' if a & b else 'y'}", f"{ {x for x in (1,)} == {1} }", f"{{}}{a!s}", rf"\\d{a ^ b}",
                  f"{O.x - b:{w}.{b}f}")
    """,
    "type-hints": """
        import typing
        def f(
            x: int | None = None, *, y: set[str] | frozenset[int] = frozenset(), **z: "int | str"
        ) -> dict[str, int] | None:
            n: int | None = x
            m: set[str]
            return n
        class C:
            a: int | None = 1 - 2
            b: "C | None" = None
            c: typing.ClassVar[set[int]] = {1}
        Alias = int | str
        result = (f(3), [str(v).split(".")[-1] for v in (f.__annotations__["x"], f.__annotations__["z"],
                  f.__annotations__["return"])],
                  C.a, str(C.__annotations__["a"]), C.__annotations__["b"], Alias, isinstance(3, int | str),
                  isinstance("", Alias),
                  isinstance(None, int | None), typing.Optional[int] == int | None)
    """,
    "future-annotations": '''
        """A docstring."""
        from __future__ import annotations
        def f(a: Missing | None, *b: x - y) -> set[Missing] | A & B:
            """Its docstring."""
            v: Nothing | None = None
            return v
        class C:
            """Class docstring."""
            x: int | Missing = 5
            y: {1, 2} = 1
        result = __doc__, f.__doc__, C.__doc__, f.__annotations__, C.__annotations__, f(1)
    ''',
    "dataclasses": """
        from dataclasses import dataclass, field, replace, asdict
        LIMIT, USED = 10, 3
        @dataclass(order=True, slots=True)
        class D:
            left: int = LIMIT - USED
            flags: int = LIMIT | USED
            seen: set[int] = field(default_factory=set)
            pairs: list[tuple[int, int]] = field(default_factory=lambda: [(x, x - 1) for x in range(2)])
            maybe: int | None = None
            def take(self): self.left -= 1; self.seen |= {self.left}; self.seen.add(LIMIT ^ USED); return self
        @dataclass(frozen=True)
        class F:
            key: tuple = (1, 2)
        result = (asdict(D().take()), D(1) < D(2), replace(D(), left=0).left, {F(): {1}}[F((1, 2))],
                  D.__annotations__["maybe"] == int | None)
    """,
    "class-bodies": """
        class Base:
            registry = []
            def __init_subclass__(cls, tag=None, **kw):
                super().__init_subclass__(**kw)
                Base.registry.append((cls.__name__, tag))
        class A(Base, tag="a"):
            squares = [x * x for x in range(3)]
            table = {x: [y for y in range(x)] for x in squares}
            odd = {x for x in squares if x & 1}
            gen = list(x - 1 for x in squares)
            for i in range(3):
                squares[i] -= 1
            __private = 5
            def get(self): return self.__private - 1, {self.__private}, __class__.__name__, super().__init__.__name__
            def set_private(self):
                self.__private -= 2; self.__private |= 8
                __x = 5; __x -= 1; __x -= __x - 2
                return self.__private, __x
        class M(type):
            def __and__(cls, other): return "meta and"
            def __or__(cls, other): return "meta or"
        class X(metaclass=M): pass
        result = Base.registry, A.squares, A.table, A.odd, A.gen, A.i, A().get(), A().set_private(), X & 1, X | X
    """,
    "conditionals-and-chains": """
        class O: a, b, c = 1, 5, 3
        log = []
        def v(x): log.append(x); return x
        result = (O.a < O.c < O.b, v(1) < v(0) < v(9), v(3) == v(3) != v(4), O.a if O.a - O.a else O.b,
                  O.a and O.b - O.c or 9,
                  not O.a - 1, O.a in {1, 2} and O.b not in {1}, None is None is not False,
                  (O.a - O.b if O.c & 1 else 0), log)
    """,
    "order-of-evaluation": """
        log = []
        class L:
            def __init__(self, n): log.append(("new", n)); self.n = n
            def __sub__(self, other): log.append(("sub", self.n, other.n)); return self
            def __or__(self, other): log.append(("or", self.n, other.n)); return self
            def __isub__(self, other): log.append(("isub", self.n, other.n)); return self
        class O: pass
        o = O()
        def at(n, x): log.append(("at", n)); return x
        d = {1: L(0)}
        at(1, o).x = L(1) - L(2) | L(3)
        at(2, d)[at(3, 1)] -= L(4)
        at(4, o).x, at(5, d)[at(6, 2)] = L(5), at(7, 8)
        x = L(6); x -= L(7) - L(8)
        {at(8, 1), at(9, 2)}, {at(10, 3): at(11, 4)}
        result = log
    """,
    "slices-and-deletion": """
        class O: xs = list(range(10))
        n = 2
        O.xs[n - 1:n | 4:n ^ 3] = [0] * len(O.xs[n - 1:n | 4:n ^ 3])
        del O.xs[n - 1], O.xs[-n:]
        t = O.xs[::-1][:n - 1 or None]
        O.ys = O.xs[:]; O.ys += O.xs; del O.xs
        result = O.ys, t, hasattr(O, "xs")
    """,
    "assert-and-lambda": """
        class O: x = 1
        pick = lambda o, n=len([1, 2]) - 1, *a, k={1} | {2}: (o.x - n, k, [y for y in a])
        try:
            assert O.x - 1, f"x is {O.x - 1}"
        except AssertionError as error:
            text = str(error)
        result = pick(O), pick(O, 5, 6, 7), text
    """,
    "errors": """
        def attempt(f):
            try:
                return f()
            except Exception as error:
                return type(error).__name__, str(error)
        class O: x = None
        def unbound():
            x -= 1
        def unbound_set():
            x |= y
        def wrong_left():
            n = 5
            n &= "a"
        def from_dict():
            d = {}
            d -= {}
        result = [attempt(f) for f in (
            lambda: 1 - "a", lambda: "a" - 1, lambda: O.x - O.x, lambda: {1} - [1], lambda: [1] | {1},
            lambda: {} - {}, lambda: 5 & 1.5,
            lambda: {[]}, lambda: {x for x in [[]]}, lambda: O.missing - 1, lambda: {1}.missing, lambda: undefined - 1,
            lambda: O() | O() and 1 if 0 else {1}.remove(5), unbound, unbound_set, wrong_left, from_dict,
            lambda: set(5),
            lambda: {1} < 5, lambda: {1: 2}.keys() - 5, lambda: frozenset([1]).add, lambda: set().pop(),
        )]
    """,
    "recursion-and-builtins": """
        def fib(n): return n if n < 2 else fib(n - 1) + fib(n - 2)
        class Node:
            def __init__(self, left=None, right=None): self.left, self.right = left, right
            def __iter__(self):
                for child in (self.left, self.right):
                    if child is not None: yield from child
                yield self
        tree = Node(Node(), Node(Node()))
        __step = 5
        result = (fib(12), len(list(tree)), sum(1 for _ in tree), max({3, 1}), sorted({3, 1} - {3}),
                  any(x.left for x in tree), __step - 1)
    """,
}


def result_of(code: CodeType, names: dict[str, Any]) -> Any:
    exec(code, names)
    return names["result"]


@pytest.mark.parametrize("source", SNIPPETS.values(), ids=SNIPPETS.keys())
def test_instrumented_code_does_what_the_plain_code_does(source: str) -> None:
    plain = plain_result_of(source)
    assert (
        comparable(result_of(instrumented(source), {"__name__": "builtins", "__builtins__": SERVER_BUILTINS})) == plain
    )


@pytest.mark.parametrize("source", SNIPPETS.values(), ids=SNIPPETS.keys())
def test_code_on_a_host_does_what_the_plain_code_does(tmp_path: Path, source: str) -> None:
    (tmp_path / "raft").mkdir()
    (tmp_path / "raft" / "__init__.py").write_text(textwrap.dedent(source), encoding="utf-8")
    host = Host(HostSettings("0", 1, bytes(16), "host", [], 3, 1000, 0, 1 << 20), CodeBundle.build(tmp_path, {}))
    host.spawn("main", host.loader.import_module, "raft")
    reports = [effect for effect in host.step(0, 1_000_000_000, []).effects if isinstance(effect, Report)]
    assert not reports, reports[0].text
    assert comparable(host.loader.modules["raft"].result) == plain_result_of(source)


def plain_result_of(source: str) -> Any:
    return comparable(
        result_of(compile(textwrap.dedent(source), FILE, "exec", dont_inherit=True), {"__name__": "builtins"})
    )


def comparable(value: Any) -> Any:
    """`value` with its sequences' types shown, and without the names of our set classes in texts of errors."""
    if isinstance(value, str):
        return value.replace("OrderedFrozenSet", "frozenset").replace("OrderedSet", "set")
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *(comparable(item) for item in value)]
    return value


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
def test_generic_syntax_is_left_alone() -> None:
    source = """
        type Pair[T] = tuple[T, T] | None
        def first[T: int | str](x: Pair[T]) -> T | None: return x[0] - 1 if x else None
        class Box[T: (int, str)]:
            def __init__(self, x: T): self.x = x
        result = first((3, 4)), Box[int](5).x, str(Pair.__value__), str(first.__type_params__[0].__bound__)
    """
    result = result_of(instrumented(source), {"__name__": "builtins", "__builtins__": SERVER_BUILTINS})
    assert result == (2, 5, "tuple[T, T] | None", "int | str")


# ------------------------------------------------------------------ the order of sets


@pytest.mark.parametrize(
    "expression",
    [
        "{*names}",
        "{name for name in names}",
        "set(names)",
        "frozenset(names)",
        "set(names) | {names[0]}",
        "dict.fromkeys(names).keys() | {names[3]}",
        "dict.fromkeys(names).keys() & set(reversed(names))",
        "dict.fromkeys(names).keys() - {'none'}",
        "dict.fromkeys(names[:4]).keys() ^ dict.fromkeys(names[4:]).keys()",
        "dict.fromkeys(names[:4]).keys() | (name for name in names[4:])",
        "UserDict.fromkeys(names).keys() | (name for name in names)",
        "set(names) - {'none'}",
        "set(names) & UserDict.fromkeys(names).keys()",
        "set(names).union(reversed(names))",
        "augmented(dict.fromkeys(names[:4]).keys(), names[4:])",
        "augmented(set(names[:4]), dict.fromkeys(names[4:]).keys())",
        "{key: 0 for key in {*names}}",
    ],
)
def test_sets_of_server_code_iterate_in_insertion_order(expression: str) -> None:
    names = [f"name-{n * 7 % 11}" for n in range(8)]
    source = f"""
        from collections import UserDict
        def augmented(first, second):
            first |= second
            return first
        result = list({expression})
    """
    namespace = {"__name__": "builtins", "__builtins__": SERVER_BUILTINS, "names": names}
    assert result_of(instrumented(source), namespace) == names
