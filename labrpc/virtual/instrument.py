"""Step points: an AST pass over the code under test, so that the scheduler can preempt it anywhere that matters.

A call to `__step__()` is put before each statement that touches an attribute or a subscript, at the top of each loop
body and into each comprehension; `__stepped__(value)` goes between the load and the store of statements that do both
(`self.x += 1` can lose an update, as it can on real threads). Line numbers stay, so tracebacks show the real source.

Looking at a failing run does not change it: bare `print(...)` and `annotate(...)` statements get none, nor do
`with annotate(...):`, `waiting = annotate(...)` (or `self.waiting`) and then `waiting.end()`. `__del__` gets none,
since the garbage collector may call it anywhere.

Sets become insertion-ordered (see `sets.py`): hash order of strings differs from process to process.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeGuard

__all__ = ["instrument"]

_NO_STEP = (
    ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal,
    ast.Pass, ast.Break, ast.Continue,
)  # fmt: skip
_SILENT_CALLS = {"print", "annotate"}
_BODIES = ("body", "orelse", "finalbody")
_NOT_HEADER = {*_BODIES, "handlers", "cases", "annotation"}
# The names end as no method's does: in a class body that defines `__sub__`, `__sub__(a, b)` would call that.
_SET_OPERATORS: dict[type[ast.operator], str] = {
    ast.BitAnd: "__set_and__",
    ast.BitOr: "__set_or__",
    ast.BitXor: "__set_xor__",
    ast.Sub: "__set_sub__",
}


def instrument(tree: ast.Module) -> ast.Module:
    """`tree` with step points and ordered sets; it is changed in place."""
    silent = _Silent(tree)
    tree = _Expressions(silent).visit(tree)
    steps = _Steps(silent)
    for statement in tree.body:
        steps.descend(statement)  # plain statements of the module itself run once, at import, and get none
    return ast.fix_missing_locations(tree)


def order_sets(tree: ast.Module) -> ast.Module:
    """`tree` with ordered sets and no step points, for library code that runs on a host; it is changed in place."""
    ordered: ast.Module = ast.fix_missing_locations(_Expressions(None).visit(tree))
    return ordered


class _Touches(ast.NodeVisitor):
    """Whether an expression reads or writes an attribute or a subscript now (a lambda's body runs later)."""

    def __init__(self) -> None:
        self.found = False

    def visit_Attribute(self, node: ast.Attribute) -> None:
        self.found = True

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.found = True

    def visit_Lambda(self, node: ast.Lambda) -> None:
        pass


def _touch(*nodes: ast.AST | None) -> bool:
    visitor = _Touches()
    for node in nodes:
        if node is not None:
            visitor.visit(node)
    return visitor.found


def _header(statement: ast.stmt) -> list[ast.AST]:
    """The expressions of the statement itself, without nested blocks."""
    found: list[ast.AST] = []
    for name, value in ast.iter_fields(statement):
        if name in _NOT_HEADER:
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.AST):
                found.append(node)
    return found


def _calls(node: ast.AST | None, names: set[str]) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _targets(statement: ast.AST) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) else []


def _last_name(node: ast.expr) -> str | None:
    """`waiting` of `waiting` and of `self.waiting`."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else None


class _Silent:
    """Which statements of a module only print or annotate.

    What `x.end()` ends is known by its name: it is silent if the module says `x = annotate(...)`, or `as x`, somewhere.
    """

    def __init__(self, tree: ast.Module) -> None:
        nodes = list(ast.walk(tree))
        named = [target for node in nodes if self._is_noted(node) for target in _targets(node)]
        named += [
            item.optional_vars for node in nodes if self.is_block(node) for item in node.items if item.optional_vars
        ]
        self._names = {_last_name(node) for node in named} - {None}

    def __contains__(self, statement: ast.AST) -> bool:
        if isinstance(statement, ast.Expr):
            return _calls(statement.value, _SILENT_CALLS) or self._is_end(statement.value)
        return self._is_noted(statement)

    def is_block(self, statement: ast.AST) -> TypeGuard[ast.With]:
        """Whether it is a `with` that does nothing but annotate: only what is inside counts."""
        return isinstance(statement, ast.With) and all(
            _calls(item.context_expr, {"annotate"}) and (item.optional_vars is None or _last_name(item.optional_vars))
            for item in statement.items
        )

    def first_loud(self, statements: list[ast.stmt]) -> ast.stmt | None:
        """The first statement that does more than print and annotate."""
        for statement in statements:
            if self.is_block(statement):
                inner = self.first_loud(statement.body)
                if inner is not None:
                    return inner
            elif statement not in self:
                return statement
        return None

    def _is_noted(self, statement: ast.AST) -> bool:
        targets = _targets(statement)
        return bool(targets) and _calls(statement.value, {"annotate"}) and all(map(_last_name, targets))  # type: ignore[attr-defined]

    def _is_end(self, node: ast.expr) -> bool:
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "end"
            and not node.args
            and not node.keywords
            and _last_name(node.func.value) in self._names
        )


def _call(name: str, at: ast.AST, *args: ast.expr) -> ast.Call:
    call = ast.Call(ast.Name(name, ast.Load()), list(args), [])
    ast.copy_location(call, at)
    ast.copy_location(call.func, at)
    return call


def _step_before(statement: ast.stmt) -> ast.stmt:
    return ast.copy_location(ast.Expr(_call("__step__", statement)), statement)


def _split_load_and_store(statement: ast.stmt) -> None:
    if isinstance(statement, ast.AugAssign):
        if _touch(statement.target):  # the target is loaded before the right side is evaluated
            statement.value = _call("__stepped__", statement.value, statement.value)
    elif isinstance(statement, (ast.Assign, ast.AnnAssign)) and statement.value is not None:
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        if _touch(*targets) and _touch(statement.value):
            statement.value = _call("__stepped__", statement.value, statement.value)


class _Steps:
    """Puts step points between statements."""

    def __init__(self, silent: _Silent) -> None:
        self._silent = silent

    def descend(self, statement: ast.stmt) -> None:
        """Instruments what is inside `statement`."""
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if statement.name != "__del__":
                statement.body = self._block(statement.body)
            return
        if isinstance(statement, ast.ClassDef):  # its body runs once, at import
            for inner in statement.body:
                self.descend(inner)
            return
        loop = isinstance(statement, (ast.For, ast.While, ast.AsyncFor))
        for name in _BODIES:
            body = getattr(statement, name, None)
            if body:
                # A loop's own step point is that of its first statement which is not silent, if there is one.
                owed = self._silent.first_loud(body) or body[0] if loop and name == "body" else None
                setattr(statement, name, self._block(body, owed))
        for part in (*getattr(statement, "handlers", ()), *getattr(statement, "cases", ())):
            part.body = self._block(part.body)

    def _block(self, statements: list[ast.stmt], owed: ast.stmt | None = None) -> list[ast.stmt]:
        """`statements` with their step points; `owed` gets one in any case."""
        result: list[ast.stmt] = []
        for statement in statements:
            if statement is owed or self._wants_step(statement):
                result.append(_step_before(statement))
            if self._silent.is_block(statement):
                statement.body = self._block(statement.body, owed)
            elif statement not in self._silent:
                _split_load_and_store(statement)
                self.descend(statement)
            result.append(statement)
        return result

    def _wants_step(self, statement: ast.stmt) -> bool:
        if isinstance(statement, _NO_STEP) or statement in self._silent or self._silent.is_block(statement):
            return False
        return _touch(*_header(statement))


class _Expressions(ast.NodeTransformer):
    """Steps in comprehensions, and ordered sets. Annotations stay as they are: `int | None` is no set."""

    def __init__(self, silent: _Silent | None) -> None:
        self._silent = silent
        self._steps = silent is not None

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return node if node.name == "__del__" else self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        returns, node.returns = node.returns, None
        self.generic_visit(node)
        node.returns = returns
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        return self._statement(node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        return self._statement(node)

    def visit_With(self, node: ast.With) -> ast.AST:
        if self._silent is None or not self._silent.is_block(node):
            self.generic_visit(node)
        else:
            with self._no_steps():
                node.items = [self.visit(item) for item in node.items]
            node.body = [self.visit(statement) for statement in node.body]
        return node

    def _statement(self, node: ast.stmt) -> ast.AST:
        if self._silent is None or node not in self._silent:
            self.generic_visit(node)
        else:
            with self._no_steps():
                self.generic_visit(node)
        return node

    @contextmanager
    def _no_steps(self) -> Iterator[None]:
        before, self._steps = self._steps, False
        yield
        self._steps = before

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._comprehension(node)

    def visit_DictComp(self, node: ast.DictComp) -> ast.AST:
        return self._comprehension(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.AST:
        return self._comprehension(node)

    def visit_SetComp(self, node: ast.SetComp) -> ast.AST:
        self._comprehension(node)
        # No generator expression: in one, a StopIteration of the element becomes a RuntimeError.
        return _call("__ordered_set__", node, ast.copy_location(ast.ListComp(node.elt, node.generators), node))

    def visit_Set(self, node: ast.Set) -> ast.AST:
        self.generic_visit(node)
        return _call("__ordered_set__", node, ast.copy_location(ast.List(node.elts, ast.Load()), node))

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Operators between dict views make plain sets: order those too. Arithmetic with a number is left alone."""
        self.generic_visit(node)
        helper = _SET_OPERATORS.get(type(node.op))
        if helper is None or _is_number(node.left) or _is_number(node.right):
            return node
        return _call(helper, node, node.left, node.right)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        """`keys &= other.keys()` makes a plain set if `keys` is a dict view; it is ordered if `keys` is a mere name."""
        self.generic_visit(node)
        helper = _SET_OPERATORS.get(type(node.op))
        if helper is None or not isinstance(node.target, ast.Name) or _is_number(node.value):
            return node
        old = ast.copy_location(ast.Name(node.target.id, ast.Load()), node.target)
        value = _call(helper.replace("__set_", "__set_i"), node, old, node.value)
        return ast.copy_location(ast.Assign([node.target], value), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        annotation, node.annotation = node.annotation, ast.Constant(None)
        self._statement(node)
        node.annotation = annotation
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        node.defaults = [self.visit(value) for value in node.defaults]
        node.kw_defaults = [self.visit(value) if value is not None else None for value in node.kw_defaults]
        return node

    def _comprehension(self, node: ast.ListComp | ast.DictComp | ast.GeneratorExp | ast.SetComp) -> ast.AST:
        self.generic_visit(node)
        if self._steps:
            node.generators[-1].ifs.insert(0, _call("__step__", node))
        return node


def _is_number(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return True
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("len", "int", "float", "min", "max", "round", "abs")
    return isinstance(node, ast.BinOp) and (_is_number(node.left) or _is_number(node.right))
