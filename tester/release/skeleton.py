"""Makes a skeleton of a module: its interface and what is given, with `raise NotImplementedError` for the solution.

    reference source --ast--> definitions, each given | cut | left out --> skeleton source

Text is taken over by its place in the source, so a skeleton looks as its author wrote it; comments between definitions
and in bodies that are cut are not taken. Each public definition of a module is named once in its rules, and each name
in the rules is in the module.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from labrpc.errors import UsageError
from tester.parts import PARTS

__all__ = ["LINE_LENGTH", "SUBSTANTIAL", "Cut", "ModuleRules", "exported_names", "skeleton", "split_lines"]

LINE_LENGTH = 120
SUBSTANTIAL = 25
"""Characters of a line of code or comment that nobody writes twice by chance."""

Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign
_DEFINITION = (ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


@dataclass(frozen=True)
class Cut:
    """A function whose body is cut.

    Attributes:
        part: the lab's part that asks for it.
        todo: what the student is to write, in one sentence without a full stop; "": nothing is raised.
        keep: statements of the reference's body that stay, as they are written there.
        code: statements that are given instead of the reference's.
        hint: comments for the student, after these; a paragraph a line.
        docstring: in place of the reference's; None: that one stays.
    """

    part: str = ""
    todo: str = ""
    keep: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    hint: str = ""
    docstring: str | None = None


@dataclass(frozen=True)
class ModuleRules:
    """What becomes of the public definitions of one module, by qualified name: `Raft`, `Raft.start`.

    A class is given whole if it is in `given`; if not, its members are named one by one.

    Attributes:
        file: the module, as release.toml has it.
        docstring: of the module; None: the reference's stays.
        docstrings: of classes, in place of the reference's.
    """

    file: str
    docstring: str | None = None
    given: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    cut: Mapping[str, Cut] = field(default_factory=dict)
    docstrings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        groups = (self.given, self.left_out, self.cut.keys())
        names = [name for group in groups for name in group]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"release.toml, {self.file}: {name} is named twice; it is given, cut or left out")
        for name, cut in self.cut.items():
            if cut.todo and cut.part not in PARTS:
                raise UsageError(
                    f"release.toml, {self.file}, {name}: part {cut.part!r} is not one of {', '.join(PARTS)}"
                )
            if '"' in cut.todo or "\\" in cut.todo:
                raise UsageError(f"release.toml, {self.file}, {name}: its todo must have no double quote or backslash")

    def named(self) -> set[str]:
        """All names in the rules."""
        return {*self.given, *self.left_out, *self.cut, *self.docstrings}


def skeleton(source: str, rules: ModuleRules, exported: Mapping[str, frozenset[str]]) -> str:
    """The skeleton of a module.

    Args:
        source: the reference's.
        rules: what becomes of it.
        exported: for each module of the solution that is released, which public names it has then; names imported from
            the solution's other modules go.

    Raises:
        UsageError: the rules and the reference do not fit each other.
    """
    module = _Module(source, rules)
    return module.written(exported)


def exported_names(source: str, rules: ModuleRules, exported: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The names that the skeleton defines, or can import from `exported`; see `skeleton`."""
    return frozenset(_Module(source, rules).offered(exported))


def split_lines(source: str, rules: ModuleRules | None) -> tuple[set[str], set[str]]:
    """The reference's lines of substance, and parts of lines: (what students may see, what is the solution).

    They may see imports, signatures, docstrings of what stays, and what is given. None: the whole module is left out.
    """
    lines = source.splitlines()
    if rules is None:
        tree = ast.parse(source)
        free = {number for node in tree.body if _is_import(node) or _is_all(node) for number in _line_numbers(node)}
    else:
        module = _Module(source, rules)
        tree, free = module.tree, module.given_line_numbers()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            free |= _head_numbers(node, lines)
    seen: set[str] = set()
    hidden: set[str] = set()
    for number, line in enumerate(lines, start=1):
        for text in _pieces(line):
            if len(text) >= SUBSTANTIAL and "----------" not in text:
                (seen if number in free else hidden).add(text)
    return seen, hidden


def _pieces(line: str) -> set[str]:
    """A line of source, and of that the statement, what it returns, and the comment, each by itself."""
    text = line.strip().strip('"').strip()
    code, _, comment = text.partition("  # ")
    return {text, code, code.removeprefix("return "), comment, text.removeprefix("# ")}


class _Module:
    def __init__(self, source: str, rules: ModuleRules) -> None:
        self.lines = source.splitlines()
        self.rules = rules
        self.tree = ast.parse(source)
        self._check()

    # -------------------------------------------------------------- what there is

    def definitions(self) -> Iterator[Definition]:
        """The module's, without imports and `__all__`."""
        for node in self.tree.body[1:] if _docstring(self.tree) is not None else self.tree.body:
            if _is_import(node) or _is_all(node) or _is_text(node):
                continue
            if not isinstance(node, _DEFINITION):
                self._fail(f"line {node.lineno} is neither a definition nor an import; a skeleton cannot have it")
            yield node

    def members(self, node: ast.ClassDef) -> Iterator[Definition]:
        for member in node.body:
            if _is_text(member) or isinstance(member, ast.Pass):
                continue
            if not isinstance(member, _DEFINITION) or isinstance(member, ast.ClassDef):
                self._fail(f"line {member.lineno} of class {node.name} is no method and no field")
            yield member

    def stays(self, name: str, node: Definition) -> bool:
        """Whether `name`, which `node` defines, is in the skeleton."""
        rules = self.rules
        if name in rules.given or name in rules.cut:
            return True
        return isinstance(node, ast.ClassDef) and any(
            each.startswith(f"{name}.") for each in (*rules.given, *rules.cut)
        )

    def _check(self) -> None:
        known: set[str] = set()
        public: set[str] = set()
        cuttable: set[str] = set()
        for node in self.definitions():
            whole = [name for name in _names(node) if name in self.rules.given or name in self.rules.left_out]
            by_member = isinstance(node, ast.ClassDef) and not whole
            for name in _names(node):
                known.add(name)
                if not by_member and not name.startswith("_"):
                    public.add(name)
            if isinstance(node, ast.FunctionDef):
                cuttable.add(node.name)
            if not isinstance(node, ast.ClassDef):
                continue
            for member in self.members(node):
                for name in _names(member):
                    known.add(f"{node.name}.{name}")
                    if by_member and not node.name.startswith("_") and (not name.startswith("_") or name == "__init__"):
                        public.add(f"{node.name}.{name}")
                if isinstance(member, ast.FunctionDef):
                    cuttable.add(f"{node.name}.{member.name}")
        named = self.rules.named()
        if named - known:
            self._fail(f"{_and(named - known)} is not there any more; take it out of release.toml")
        if public - named:
            self._fail(f"{_and(public - named)} is not mentioned; name it in release.toml: given, cut or left out")
        if self.rules.cut.keys() - cuttable:
            self._fail(f"{_and(self.rules.cut.keys() - cuttable)} is no function, so it cannot be cut")

    def _fail(self, text: str) -> NoReturn:
        raise UsageError(f"release.toml does not fit {self.rules.file}: {text}")

    # -------------------------------------------------------------- the skeleton's text

    def written(self, exported: Mapping[str, frozenset[str]]) -> str:
        rules = self.rules
        body = "".join(self._definition(node) for node in self.definitions())
        docstring = rules.docstring if rules.docstring is not None else _docstring(self.tree)
        offered = self.offered(exported)
        exports = self._exports(offered)
        used = {node.id for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Name)} | set(exports or ())
        imports = self._imports(used, exported)
        parts = [_quoted(docstring, "") if docstring else "", imports]
        if exports is not None:
            parts.append(_list("__all__ = [", [f'"{name}"' for name in exports], "]", self._was_long(exports)))
        return "\n".join(part for part in parts if part).rstrip("\n") + "\n" + body

    def offered(self, exported: Mapping[str, frozenset[str]]) -> set[str]:
        """The names that the skeleton defines or can import from what is released."""
        names = {name for node in self.definitions() for name in _names(node) if self.stays(name, node)}
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom):
                released = exported.get(node.module or "", ())
                names |= {alias.asname or alias.name for alias in node.names if alias.name in released}
        return names

    def _exports(self, offered: set[str]) -> list[str] | None:
        for node in self.tree.body:
            if _is_all(node):
                return [name for name in ast.literal_eval(node.value) if name in offered]  # type: ignore[attr-defined]
        return None

    def _was_long(self, exports: list[str]) -> bool:
        """Whether the reference has `__all__`, of at least as many names, over several lines."""
        [node] = [node for node in self.tree.body if _is_all(node)]
        return node.end_lineno != node.lineno and len(exports) > 1

    def _imports(self, used: set[str], exported: Mapping[str, frozenset[str]]) -> str:
        """The import statements, without names that the skeleton does not use; groups apart as they were."""
        text = ""
        last = 0
        for node in self.tree.body:
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            kept = [alias for alias in node.names if self._is_wanted(node, alias, used, exported)]
            if kept:
                if last and any(not self.lines[number - 1].strip() for number in range(last, node.lineno)):
                    text += "\n"
                text += _import(node, kept) if len(kept) < len(node.names) else self._segment(node)
                last = node.end_lineno or node.lineno
        return text

    @staticmethod
    def _is_wanted(
        node: ast.Import | ast.ImportFrom, alias: ast.alias, used: set[str], exported: Mapping[str, frozenset[str]]
    ) -> bool:
        if isinstance(node, ast.Import):
            return (alias.asname or alias.name).partition(".")[0] in used
        if node.module == "__future__":
            return True
        module = node.module or ""
        own = {name.partition(".")[0] for name in exported}
        if module.partition(".")[0] in own and alias.name not in exported.get(module, ()):
            return False
        return (alias.asname or alias.name) in used

    def _segment(self, node: ast.stmt) -> str:
        """The lines of a statement, its decorators, and the text below a field that describes it."""
        first, last = _span(node)
        return "".join(f"{line}\n" for line in self.lines[first - 1 : last])

    def _described(self, node: Definition, siblings: list[ast.stmt]) -> str:
        text = self._segment(node)
        after = siblings[siblings.index(node) + 1 :]
        if isinstance(node, ast.Assign | ast.AnnAssign) and after and _is_text(after[0]):
            text += self._segment(after[0])
        return text

    def _definition(self, node: Definition) -> str:
        names = _names(node)
        if not any(self.stays(name, node) for name in names):
            return ""
        gap = "\n\n" if isinstance(node, ast.FunctionDef | ast.ClassDef) else "\n"
        if any(name in self.rules.given for name in names):
            return gap + self._described(node, self.tree.body)
        if isinstance(node, ast.FunctionDef):
            return gap + self._cut(node, node.name, "")
        assert isinstance(node, ast.ClassDef), node
        return gap + self._class(node)

    def _class(self, node: ast.ClassDef) -> str:
        docstring = self.rules.docstrings.get(node.name, _docstring(node))
        text = self._header(node)
        if docstring is not None:
            text += _quoted(docstring, "    ")
        was_field = False
        for member in self.members(node):
            qualified = [f"{node.name}.{name}" for name in _names(member)]
            if not any(self.stays(name, member) for name in qualified):
                continue
            is_field = not isinstance(member, ast.FunctionDef)
            if not (is_field and was_field):
                text += "\n"
            was_field = is_field
            if isinstance(member, ast.FunctionDef) and qualified[0] in self.rules.cut:
                text += self._cut(member, qualified[0], "    ")
            else:
                text += self._described(member, node.body)
        return text

    def _header(self, node: ast.FunctionDef | ast.ClassDef) -> str:
        """Decorators and signature."""
        lines = self.lines[_span(node)[0] - 1 : self._body_start(node) - 1]
        return "".join(f"{line}\n" for line in lines if not line.strip().startswith("#"))

    def _body_start(self, node: ast.FunctionDef | ast.ClassDef) -> int:
        first = _span(node.body[0])[0]
        if first == node.lineno:
            self._fail(f"{node.name} has its body in the line of its head; a skeleton needs it below")
        return first

    def _cut(self, node: ast.FunctionDef, name: str, indent: str) -> str:
        cut = self.rules.cut[name]
        inner = indent + "    "
        docstring = cut.docstring if cut.docstring is not None else _docstring(node)
        text = self._header(node)
        if docstring is not None:
            text += _quoted(docstring, inner)
        for number in cut.keep:
            text += self._segment(self._kept(node, name, number))
        for line in cut.code:
            text += f"{inner}{line}\n"
        for paragraph in cut.hint.splitlines():
            for line in textwrap.wrap(paragraph, LINE_LENGTH - len(inner) - 2):
                text += f"{inner}# {line}\n"
        if cut.todo:
            text += _raise(f"{cut.part}: {cut.todo}", inner)
        if not (cut.keep or cut.code or cut.todo):
            self._fail(f"nothing is left of {name}; give it a todo, or code")
        return text

    def _kept(self, node: ast.FunctionDef, name: str, wanted: str) -> ast.stmt:
        source = "\n".join(self.lines)
        found = [each for each in node.body if ast.get_source_segment(source, each) == wanted]
        if len(found) != 1:
            self._fail(f"{name} has the statement {wanted!r} {len(found)} times, must once")
        return found[0]

    # -------------------------------------------------------------- what may be given

    def given_line_numbers(self) -> set[int]:
        """Of the reference: imports, signatures, docstrings that stay, definitions and statements that are given."""
        free: set[int] = set()
        rules = self.rules
        for node in self.tree.body:
            if _is_import(node) or _is_all(node):
                free |= _line_numbers(node)
        if rules.docstring is None and _docstring(self.tree) is not None:
            free |= _line_numbers(self.tree.body[0])
        for node in self.definitions():
            siblings = self.tree.body
            if any(name in rules.given for name in _names(node)):
                free |= self._described_numbers(node, siblings)
            elif isinstance(node, ast.FunctionDef) and node.name in rules.cut:
                free |= self._cut_numbers(node, node.name)
            elif isinstance(node, ast.ClassDef) and self.stays(node.name, node):
                free |= _head_numbers(node, self.lines)
                if node.name not in rules.docstrings and _docstring(node) is not None:
                    free |= _line_numbers(node.body[0])
                for member in self.members(node):
                    name = f"{node.name}.{_names(member)[0]}"
                    if name in rules.given:
                        free |= self._described_numbers(member, node.body)
                    elif isinstance(member, ast.FunctionDef) and name in rules.cut:
                        free |= self._cut_numbers(member, name)
        return free

    def _described_numbers(self, node: Definition, siblings: list[ast.stmt]) -> set[int]:
        free = _line_numbers(node)
        after = siblings[siblings.index(node) + 1 :]
        return free | _line_numbers(after[0]) if after and _is_text(after[0]) else free

    def _cut_numbers(self, node: ast.FunctionDef, name: str) -> set[int]:
        cut = self.rules.cut[name]
        free = _head_numbers(node, self.lines)
        if cut.docstring is None and _docstring(node) is not None:
            free |= _line_numbers(node.body[0])
        for wanted in cut.keep:
            free |= _line_numbers(self._kept(node, name, wanted))
        return free


# ------------------------------------------------------------------ the pieces


def _names(node: Definition) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _is_import(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _is_all(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and _names(node) == ["__all__"]


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _docstring(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str | None:
    return ast.get_docstring(node)


def _span(node: ast.stmt) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(each.lineno for each in decorators)])
    return first, node.end_lineno or node.lineno


def _line_numbers(node: ast.stmt) -> set[int]:
    first, last = _span(node)
    return set(range(first, last + 1))


def _head_numbers(node: ast.FunctionDef | ast.ClassDef, lines: list[str]) -> set[int]:
    """The lines of decorators and signature, without comments."""
    numbers = range(_span(node)[0], _span(node.body[0])[0])
    return {number for number in numbers if not lines[number - 1].strip().startswith("#")}


def _quoted(text: str, indent: str) -> str:
    """A docstring, as it is written in source."""
    text = text.strip("\n")
    escaped = text.replace("\\", "\\\\").replace('"""', '\\"""')
    lines = [f"{indent}{line}" if line else "" for line in escaped.split("\n")]
    lines[0] = f'{indent}"""{escaped.split(chr(10))[0]}'
    if len(lines) == 1:
        return f'{lines[0]}"""\n'
    return "\n".join(lines) + f'\n{indent}"""\n'


def _raise(text: str, indent: str) -> str:
    one_line = f'{indent}raise NotImplementedError("{text}")'
    if len(one_line) <= LINE_LENGTH:
        return one_line + "\n"
    inner = indent + "    "
    pieces = textwrap.wrap(text, LINE_LENGTH - len(inner) - 3, drop_whitespace=False)
    return f"{indent}raise NotImplementedError(\n" + "".join(f'{inner}"{piece}"\n' for piece in pieces) + f"{indent})\n"


def _import(node: ast.Import | ast.ImportFrom, names: list[ast.alias]) -> str:
    shown = [alias.name if alias.asname is None else f"{alias.name} as {alias.asname}" for alias in names]
    if isinstance(node, ast.Import):
        return f"import {', '.join(shown)}\n"
    head = f"from {'.' * node.level}{node.module or ''} import "
    one_line = head + ", ".join(shown)
    return f"{one_line}\n" if len(one_line) <= LINE_LENGTH else _list(f"{head}(", shown, ")", is_long=True)


def _list(head: str, entries: list[str], tail: str, is_long: bool) -> str:
    one_line = f"{head}{', '.join(entries)}{tail}"
    if not is_long and len(one_line) <= LINE_LENGTH:
        return one_line + "\n"
    return f"{head}\n" + "".join(f"    {entry},\n" for entry in entries) + f"{tail}\n"


def _and(names: set[str]) -> str:
    return " and ".join(sorted(names))
