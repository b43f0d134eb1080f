"""Step points: where they are and are not, what they make possible, and that lines keep their numbers."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import sys
import textwrap
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType
from typing import Any

import pytest

import raft
from labrpc.frames import HostSettings, Output, Report
from labrpc.virtual.host import Host
from labrpc.virtual.instrument import instrument
from labrpc.virtual.loader import CodeBundle
from labrpc.virtual.sets import OrderedFrozenSet, OrderedSet, set_operators

FILE = "/server/raft.py"


def instrumented(source: str) -> CodeType:
    return compile(instrument(ast.parse(textwrap.dedent(source), FILE)), FILE, "exec", dont_inherit=True)


def server_builtins(step: Callable[[], bool], stepped: Callable[[Any], Any]) -> dict[str, Any]:
    """The builtins of server code, as far as `instrument` counts on them."""
    return {
        **vars(builtins),
        **set_operators,
        "__step__": step,
        "__stepped__": stepped,
        "set": OrderedSet,
        "frozenset": OrderedFrozenSet,
    }


class Counted:
    """A namespace in which instrumented code has run, and how many step points it passed, each with its line."""

    def __init__(self, source: str, **names: Any) -> None:
        self.lines: list[int] = []
        self.on_stepped: Callable[[], object] | None = None
        self.names: dict[str, Any] = {
            "__builtins__": server_builtins(self._step, self._stepped),
            "__name__": "m",
            **names,
        }
        exec(instrumented(source), self.names)

    def _step(self) -> bool:
        self.lines.append(sys._getframe(1).f_lineno)
        return True

    def _stepped(self, value: Any) -> Any:
        self.lines.append(sys._getframe(1).f_lineno)
        if self.on_stepped is not None:
            self.on_stepped()
        return value


# ------------------------------------------------------------------ where step points are


def marked_and_found(source: str) -> tuple[dict[int, set[str]], dict[int, set[str]]]:
    """By line: the marks that `source` has in comments (`# step split inner`), and the step points put there."""
    source = textwrap.dedent(source)
    marks: dict[int, set[str]] = {}
    for number, line in enumerate(source.splitlines(), 1):
        _, _, comment = line.partition("# ")
        if comment:
            marks[number] = set(comment.split())
    found: dict[int, set[str]] = {}
    tree = instrument(ast.parse(source))
    before = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("__step__", "__stepped__")
        ):
            kind = "split" if node.func.id == "__stepped__" else "step" if node in before else "inner"
            found.setdefault(node.lineno, set()).add(kind)
    return marks, found


PLACES = {
    "attributes-and-subscripts": """
        def f(self, x, y):
            x = y
            x = y + 1
            x = self.y  # step
            self.x = y  # step
            x = y[0]  # step
            y[0] = x  # step
            del y[0]  # step
            del x
            self.f(x)  # step
            len(x)
            assert self.x, "no"  # step
            raise self.error  # step
            return self.x  # step
    """,
    "load-and-store": """
        def f(self, x, y):
            self.x += 1  # step split
            self.x[y] -= x  # step split
            x += 1
            x += self.y  # step
            self.x = self.y  # step split
            self.x, x = x, self.y[0]  # step split
            self.x = y = 1  # step
            self.x: int = self.y  # step split
            self.x: int = y  # step
            self.x: int  # step
    """,
    "annotations-are-no-touch": """
        def f(a: x.y = 1, *b: x[0]) -> x.y:
            z: list[int] = []
            w: typing.Any = z
            v: list[int] = z[:]  # step
    """,
    "blocks": """
        def f(self, x):
            with self.mu:  # step
                x = 1
                self.x = 1  # step
            with lock as self.y:  # step
                pass
            if self.x:  # step
                self.x = 1  # step
            elif x[1]:  # step
                x = 2
            else:
                self.x = 3  # step
            try:
                self.x = 1  # step
            except ValueError:
                self.x = 2  # step
            else:
                self.x = 3  # step
            finally:
                self.x = 4  # step
            match self.x:  # step
                case 1:
                    self.x = 1  # step
                case Color.RED:
                    x = 1
            match x:
                case 1:
                    x[0] = 1  # step
    """,
    "loops": """
        def f(self, xs):
            for x in xs:
                y = x  # step
                z = y
            for x in self.xs:  # step
                y = x.z  # step
                y = x.z  # step
            else:
                y = 1
            while True:
                pass  # step
            while self.x:  # step
                continue  # step
            for x in xs:
                import y  # step
            for x in xs:
                def g():  # step
                    pass
    """,
    "comprehensions": """
        def f(xs):
            a = [x for x in xs]  # inner
            a = {x for x in xs}  # inner
            a = {x: y for x in xs for y in xs}  # inner
            a = sum(x for x in xs)  # inner
            a = [x.y for x in xs]  # step inner
            a = [y for x in xs if x for y in [z for z in x]]  # inner
            return a
    """,
    "print-and-annotate": """
        def f(self, xs):
            print(self.x)
            print("x", self.x[0], [x.y for x in xs], {y for y in xs}, file=sys.stderr)
            annotate("tag", f"{self.x}")
            x = print(self.x)  # step
            self.print(self.x)  # step
            log.print()  # step
            print
            if x: print(self.x)
            y = [x for x in xs]  # inner
    """,
    "print-in-loops": """
        def f(self, xs):
            for x in xs:
                print(self.x)
                annotate("a", self.x)
                self.x = 1  # step
                print(self.x)
            for x in xs:
                print(self.x)  # step
                print(self.y)
            while True:
                print(1)
                break  # step
    """,
    "intervals": """
        def f(self, xs):
            with annotate("a", f"{self.x} {[x for x in xs]}") as noted:
                noted.end()
                self.x = 1  # step
            self.waiting = annotate("a", f"{self.x} {[x for x in xs]}")
            self.waiting.end()
            other: Annotation = annotate("a", self.x)
            other.end()
            self.waiting.end(1)  # step
            self.nobody.end()  # step
            self.waiting.x = 1  # step
            self.xs[0] = annotate("a", "b")  # step
            with self.mu, annotate("a", "b"):  # step
                pass
            for x in xs:
                with annotate("a", "b"):
                    self.waiting.end()
                    with annotate("a", "b"):
                        print(x)
                        y = x  # step
                    z = x
            while xs:
                with annotate("a", "b"):  # step
                    print(self.x)
            for x in xs:
                with annotate("a", "b"):
                    self.x += x  # step split
    """,
    "docstrings": '''
        def f(self):
            """A docstring with self.x in it."""
            self.x = 1  # step
        class C:
            """Another."""
            def g(self):
                """self.y"""
    ''',
    "finalisers": """
        class C:
            def __del__(self):
                self.x += 1
                for x in self.xs:
                    self.y = [z for z in x]
            def close(self):
                self.x = 1  # step
    """,
    "imports-and-declarations": """
        import a.b
        from a.b import c
        def f():
            import a.b
            from a.b import c
            global x
            def g():
                nonlocal y
                pass
    """,
    "lambdas": """
        def f(x):
            y = lambda: x.z
            y = lambda a, b=1: x[0] + a.b
            y(lambda: x.z)
            x.y(lambda: x)  # step
    """,
    "module-and-class-level": """
        import sys
        x = sys.path[0]
        x.y = x.z
        sys.path[0] += x
        class C(x.y):
            a = x.y
            b = {x[0]: 1}
            b[1] = a
            @x.decorated
            def f(self):
                self.x = 1  # step
            class D:
                c = x.y
                def g(self):
                    self.x = 1  # step
        f = x.y(lambda: x.z)
    """,
    "nested-functions": """
        def f(self):
            @self.decorated
            def g():
                self.x = 1  # step
            class D:
                c = self.x
                def h(self):
                    self.x = 1  # step
            async def k():
                await self.x  # step
    """,
    "generators": """
        def f(self):
            yield 1
            yield self.x  # step
            x = yield
            self.y = yield x  # step
            self.y = yield self.x  # step split
            yield from self.xs  # step
    """,
}


@pytest.mark.parametrize("source", PLACES.values(), ids=PLACES.keys())
def test_step_points_are_where_the_marks_are(source: str) -> None:
    marks, found = marked_and_found(source)
    assert found == marks


def test_a_step_point_runs_on_the_line_of_its_statement() -> None:
    counted = Counted(
        """
        def f(self, xs):
            self.x = 1
            for x in xs:
                y = x
            self.x += (
                len(xs)
            )
            return [
                x
                for x in xs
            ]
        """
    )
    counted.names["f"](type("Any", (), {})(), "ab")
    assert counted.lines[:4] == [3, 5, 5, 6]
    assert all(9 <= line <= 12 for line in counted.lines[5:])
    assert len(counted.lines) == 8 - 1


def test_a_comprehension_steps_at_each_turn() -> None:
    counted = Counted("def f(): return [x + y for x in range(3) for y in range(4) if y % 2]")
    assert counted.names["f"]() == [1, 3, 2, 4, 3, 5]
    assert len(counted.lines) == 12


WITH_PRINTS = """
    def f(self, xs):
        print("begin", self.total)
        for x in xs:
            print(f"{x}: {[y for y in xs]}")
            annotate("turn", str(self.total))
            self.total += x
            print(self.total)
        print({y for y in xs}, sum(y for y in xs))
        while True:
            annotate("a", "b")
            print(len(xs))
            break
        for x in xs:
            print(x)
            pass
        with self:
            print(self.total)
            if self.total:
                print(self.total)
                self.total -= 1
        return self.total
"""


def test_adding_prints_and_annotations_adds_no_step_points() -> None:
    passed = []
    for source in (
        WITH_PRINTS,
        "\n".join(line for line in WITH_PRINTS.splitlines() if "print(" not in line and "annotate(" not in line),
    ):
        counted = Counted(source, print=lambda *args: None, annotate=lambda tag, text: None)
        this = type("This", (), {"total": 0, "__enter__": lambda self: self, "__exit__": lambda self, *args: None})()
        assert counted.names["f"](this, [1, 2, 3]) == 5
        passed.append(len(counted.lines))
    assert passed[0] == passed[1] > 0


# ------------------------------------------------------------------ what step points make possible


@pytest.mark.parametrize(
    "statement",
    [
        "self.x += 1",
        "self.x = self.x + 1",
        "self.x: int = self.x + 1",
        "self.d['x'] += 1",
        "self.y = self.x = self.x + 1",
    ],
)
def test_an_update_can_be_lost_between_load_and_store(statement: str) -> None:
    class This:
        def __init__(self) -> None:
            self.d: dict[str, int] = self.__dict__
            self.x = 1

    this = This()
    counted = Counted(f"def f(self): {statement}")
    counted.on_stepped = lambda: setattr(this, "x", 100)
    counted.names["f"](this)
    assert this.x == 2


COUNTER = """
import threading

class Counter:
    def __init__(self):
        self.mu = threading.Lock()
        self.count = 0

    def add(self):
        {body}

counter = Counter()
threads = [threading.Thread(target=counter.add) for _ in range(2)]

def main():
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(counter.count)
"""

RACES = {
    "augmented": ("self.count += 1", True),
    "plain": ("self.count = self.count + 1", True),
    "two-statements": ("count = self.count; self.count = count + 1", True),
    "with-a-lock": ("with self.mu: self.count += 1", False),
}


@pytest.mark.parametrize(("body", "can_lose"), RACES.values(), ids=RACES.keys())
def test_a_stall_at_some_step_point_loses_an_update_unless_there_is_a_lock(
    tmp_path: Path, body: str, can_lose: bool
) -> None:
    (tmp_path / "raft").mkdir()
    (tmp_path / "raft" / "__init__.py").write_text(COUNTER.format(body=body))
    bundle = CodeBundle.build(tmp_path, {})
    results = {count_with_a_stall(bundle, gap) for gap in range(40)}
    assert results == ({"1", "2"} if can_lose else {"2"})


def count_with_a_stall(bundle: CodeBundle, gap: int) -> str:
    """What the counter shows if the running thread is stalled once, after `gap` step points."""
    never = 10**9
    overrides = [("host/stall/gap", 0, gap), ("host/stall/gap", 1, never), ("host/stall/length", 0, never)]
    host = Host(HostSettings("0", 1, bytes(16), "host", overrides, never, 1_000_000, 0, 1 << 20), bundle)
    host.spawn("main", lambda: host.loader.import_module("raft").main())
    now: int | None = 0
    lines: list[str] = []
    while now is not None:
        step = host.step(now, 10_000_000, [])
        assert not any(isinstance(effect, Report) for effect in step.effects)
        lines += [effect.text for effect in step.effects if isinstance(effect, Output)]
        now = step.wake
    host.end()
    return " ".join(lines)


# ------------------------------------------------------------------ line numbers


def code_objects(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from code_objects(constant)


def lines_of(code: CodeType) -> dict[tuple[str, int], set[int]]:
    """By function: the lines it has code on. A set comprehension is a list comprehension here."""
    found: dict[tuple[str, int], set[int]] = {}
    for part in code_objects(code):
        lines = {line for _, _, line in part.co_lines() if line}
        name = (part.co_name.replace("<setcomp>", "<listcomp>"), part.co_firstlineno)
        found.setdefault(name, set()).update(lines)
    return found


STDLIB = ["queue", "heapq", "fractions", "statistics", "textwrap", "dataclasses", "enum", "argparse", "typing", "ast"]
SOURCES = [
    *sorted(Path(raft.__file__).parent.glob("*.py")),
    *(Path(importlib.util.find_spec(n).origin) for n in STDLIB),
]


@pytest.mark.parametrize("path", SOURCES, ids=[path.name for path in SOURCES])
def test_every_line_of_real_files_keeps_its_number(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    first_lines = {node.lineno for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt)}
    plain = lines_of(compile(source, FILE, "exec", dont_inherit=True))
    ours = lines_of(instrumented(source))
    assert ours.keys() == plain.keys()
    for name, lines in ours.items():
        assert plain[name] <= lines
        assert lines - plain[name] <= first_lines  # a line that holds no more than `if (` has a step point now


FAILING = """
    import operator


    def fail(x):
        items = [x, x]
        for item in items:
            total = {
                item - "a"
                for item
                in items
            }


    class Thing:
        def __init__(self):
            self.x = 0

        def attribute(self):
            self.x += 1
            self.x = (
                self.x
                + self.missing
            )

        def subscript(self):
            values = {1, 2}
            return values[
                0
            ]

        def name(self):
            with open("/"):
                pass

        def difference(self):
            return (
                self.x
                - "text"
            )

        def chained(self):
            try:
                self.difference()
            except TypeError:
                self.x = 1
                raise ValueError(
                    self.x
                ) from None

        def loop(self):
            for x in (1, 2):
                while True:
                    self.x += 1

                    x -= "text"
"""


@pytest.mark.parametrize(
    "call",
    ["fail(1)", *(f"Thing().{name}()" for name in ("attribute", "subscript", "name", "difference", "chained", "loop"))],
)
def test_tracebacks_show_the_lines_of_the_source(call: str) -> None:
    source = textwrap.dedent(FAILING)
    assert places_of_error(instrumented(source), call) == places_of_error(
        compile(source, FILE, "exec", dont_inherit=True), call
    )


def places_of_error(code: CodeType, call: str) -> list[int | None]:
    names: dict[str, Any] = {"__builtins__": server_builtins(lambda: True, lambda value: value), "__name__": "m"}
    exec(code, names)
    with pytest.raises((TypeError, AttributeError, ValueError, OSError)) as caught:
        eval(call, names)
    frames = traceback.extract_tb(caught.tb)
    return [frame.lineno for frame in frames if frame.filename == FILE]
