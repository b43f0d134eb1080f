"""What must hold of a tree before students may have it. Each check names what is wrong, and where.

They read the project and the tree anew and share little with what made it: so that a mistake there is not made twice.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from pathlib import PurePosixPath

from labrpc.errors import UsageError
from tester.release.manifest import Manifest
from tester.release.skeleton import split_lines
from tester.release.tree import MARKER

__all__ = ["check_tree", "leaks", "mentions", "missing_modules", "strangers"]

_PACKAGES = ("labrpc", "raft", "kvraft", "tester")


def check_tree(manifest: Manifest, tree: Mapping[str, bytes]) -> None:
    """Checks the files of a tree.

    Raises:
        UsageError: names all that is wrong.
    """
    wrong = [*strangers(manifest, tree), *leaks(manifest, tree), *mentions(manifest, tree), *missing_modules(tree)]
    if wrong:
        shown = "".join(f"\n  {each}" for each in wrong[:20]) + (
            f"\n  and {len(wrong) - 20} more" if wrong[20:] else ""
        )
        raise UsageError(f"nothing was released, for the tree would not be what it must be:{shown}")


def strangers(manifest: Manifest, tree: Mapping[str, bytes]) -> list[str]:
    """What is in the tree and must not, and what is lacking."""
    allowed = {*manifest.of_kind("given"), *manifest.of_kind("made"), MARKER}
    wrong = [
        f"{file} is in the tree, and release.toml does not have it there" for file in sorted(tree.keys() - allowed)
    ]
    return wrong + [f"{file} is not in the tree" for file in sorted(allowed - tree.keys())]


def leaks(manifest: Manifest, tree: Mapping[str, bytes]) -> list[str]:
    """Where lines of the solution are in the tree."""
    found = []
    seen = {line.strip().strip('"').strip() for text in manifest.texts() for line in text.splitlines()}
    secret: dict[str, str] = {}
    for file in manifest.solutions():
        source = (manifest.root / file).read_text(encoding="utf-8")
        given, hidden = split_lines(source, manifest.modules.get(file))
        seen |= given
        secret |= dict.fromkeys(hidden, file)
    for line in seen & secret.keys():  # given in one place, it is no secret in another
        del secret[line]
    for line in manifest.common_lines:
        if secret.pop(line, None) is None:
            raise UsageError(f"release.toml, absence: {line!r} is no line of the solution any more; take it out")
    for name, content in sorted(tree.items()):
        text = content.decode("utf-8")
        for line, file in sorted(secret.items()):
            if line in text:
                number = text[: text.index(line)].count("\n") + 1
                found.append(f"{name}:{number} has a line of the solution in {file}: {line}")
    return found


def mentions(manifest: Manifest, tree: Mapping[str, bytes]) -> list[str]:
    """Where a tree names what it does not have: files that are left out, or the checkout itself."""
    left_out = manifest.of_kind("left_out")
    shipped = {str(folder) for file in tree for folder in PurePosixPath(file).parents}
    folders = {str(folder) for file in left_out for folder in PurePosixPath(file).parents} - shipped
    modules = {file.removesuffix(".py").replace("/", ".") for file in left_out if file.endswith(".py")}
    modules |= {folder.replace("/", ".") for folder in folders}
    names = {name for name in {*left_out, *folders, *modules} if "/" in name or "." in name.strip(".")}
    names -= set(manifest.known_names)
    root = str(manifest.root)
    found = []
    for name, content in sorted(tree.items()):
        text = content.decode("utf-8")
        there = [each for each in names if each in text]
        word = re.compile(
            r"(?<![\w./-])(?:" + "|".join(map(re.escape, sorted(there))) + r")(?![\w-])" if there else r"(?!)"
        )
        for number, line in enumerate(text.splitlines() if there or root in text else (), start=1):
            match = word.search(line)
            if match or root in line:
                found.append(f"{name}:{number} mentions {match[0] if match else root}, which students do not have")
    return found


def missing_modules(tree: Mapping[str, bytes]) -> list[str]:
    """Imports of our modules that are not in the tree."""
    modules = {file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in tree}
    found = []
    for name, content in sorted(tree.items()):
        if not name.endswith(".py"):
            continue
        for node in ast.walk(ast.parse(content, name)):
            wanted: list[str] = []
            if isinstance(node, ast.Import):
                wanted = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                wanted = [node.module or ""]
                if node.module == "tester":  # from tester import report
                    wanted += [f"tester.{alias.name}" for alias in node.names]
            for module in wanted:
                if module.partition(".")[0] in _PACKAGES and module not in modules:
                    found.append(f"{name}:{node.lineno} imports {module}, which is not in the tree")  # type: ignore[attr-defined]
    return found
