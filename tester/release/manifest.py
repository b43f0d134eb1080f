"""Reads release.toml, and decides on every file of the project: given, made or left out."""

from __future__ import annotations

import fnmatch
import functools
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labrpc.errors import UsageError
from tester.release.skeleton import Cut, ModuleRules

__all__ = ["FILE", "Manifest", "files_of", "load_manifest"]

FILE = Path("tester") / "release" / "release.toml"
"""In a checkout of the project."""

_KINDS = ("given", "made", "left_out")
_CUT_KEYS = {"part", "todo", "keep", "code", "hint", "docstring"}
_MODULE_KEYS = {"docstring", "given", "left_out", "cut", "docstrings"}


@dataclass(frozen=True)
class Manifest:
    """What release.toml says of the project at `root`.

    Attributes:
        student: the folders that students write in.
        files: each file of the project by its path, "/" between folders: "given", "made" or "left_out".
        modules: the rules for each module of the solution that is made.
        common_lines, known_names: what a tree may have though the solution has it, or though it is left out.
        no_solution: patterns of files that stand where students write, and are no part of any solution.
        pyproject: what students' pyproject.toml has of ours; see `tester.release.made`.
    """

    root: Path
    student: tuple[str, ...]
    files: Mapping[str, str]
    modules: Mapping[str, ModuleRules]
    common_lines: tuple[str, ...]
    known_names: tuple[str, ...]
    no_solution: tuple[str, ...]
    pyproject: Mapping[str, Any]

    def of_kind(self, kind: str) -> list[str]:
        """The files of one kind, sorted."""
        return sorted(file for file, its in self.files.items() if its == kind)

    def solution(self) -> list[str]:
        """The reference's files: all that stands where students write, whatever becomes of it."""
        return sorted(file for file in self.files if file.split("/")[0] in self.student)

    def solutions(self) -> list[str]:
        """The Python files of the reference, and of other solutions that are left out, in folders of the same names."""
        others = [file for file in self.of_kind("left_out") if {*file.split("/")[:-1]} & {*self.student}]
        files = {file for file in {*self.solution(), *others} if file.endswith(".py")}
        for pattern in self.no_solution:
            free = {file for file in files if _pattern(pattern).fullmatch(file)}
            if not free:
                raise UsageError(f"release.toml, no_solution: no file is {pattern} any more; take it out")
            files -= free
        return sorted(files)

    def texts(self) -> list[str]:
        """What release.toml itself has to say to students: docstrings, hints, code."""
        texts: list[str] = []
        for rules in self.modules.values():
            texts += [rules.docstring or "", *rules.docstrings.values()]
            for cut in rules.cut.values():
                texts += [cut.docstring or "", cut.hint, cut.todo, *cut.code]
        return texts


def load_manifest(root: Path) -> Manifest:
    """The manifest of the checkout at `root`.

    Raises:
        UsageError: there is none, it makes no sense, or it does not fit the files that are there.
    """
    try:
        data = tomllib.loads((root / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"a release needs a checkout of the project: there is no {FILE} in {root}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{FILE}: {error}") from None
    _only(data, {"student", "files", "pyproject", "absence", "modules"}, "release.toml")
    _only(data["files"], set(_KINDS), "[files]")
    _only(data["pyproject"], {"tables", "without", "addopts_without"}, "[pyproject]")
    _only(data["absence"], {"lines", "names", "no_solution"}, "[absence]")
    files = _decided(root, {kind: data["files"][kind] for kind in _KINDS})
    modules = {file: _module(file, rules) for file, rules in data["modules"].items()}
    absence = data["absence"]
    manifest = Manifest(
        root=root,
        student=tuple(data["student"]),
        files=files,
        modules=modules,
        common_lines=tuple(absence["lines"]),
        known_names=tuple(absence["names"]),
        no_solution=tuple(absence["no_solution"]),
        pyproject=data["pyproject"],
    )
    made = {file for file in manifest.solution() if files[file] == "made"}
    if made != modules.keys():
        wrong = ", ".join(sorted(made ^ modules.keys()))
        raise UsageError(f"release.toml must have rules for exactly the modules that are made; look at {wrong}")
    given = [file for file in manifest.solution() if files[file] == "given"]
    if given:
        raise UsageError(f"release.toml gives {', '.join(given)} as it is; what stands where students write is made")
    return manifest


def files_of(root: Path) -> Iterator[str]:
    """The paths of all files below `root`, seen from there, but for what its .gitignore names, and .git."""
    ignored = [".git"]
    if (root / ".gitignore").exists():
        ignored += [line.rstrip("/") for line in (root / ".gitignore").read_text(encoding="utf-8").split() if line]
    yield from _files_below(root, "", ignored)


def _files_below(folder: Path, prefix: str, ignored: list[str]) -> Iterator[str]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in ignored):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _files_below(Path(entry.path), f"{prefix}{entry.name}/", ignored)
        else:
            yield f"{prefix}{entry.name}"


def _decided(root: Path, patterns: Mapping[str, list[str]]) -> dict[str, str]:
    files = list(files_of(root))
    found: dict[str, list[tuple[str, str]]] = {file: [] for file in files}
    for kind, of_kind in patterns.items():
        for pattern in of_kind:
            matches = [file for file in files if _pattern(pattern).fullmatch(file)]
            if not matches:
                raise UsageError(f"release.toml, {kind}: no file is {pattern} any more; take it out")
            for file in matches:
                found[file].append((kind, pattern))
    undecided = [file for file, by in found.items() if not by]
    if undecided:
        some = ", ".join(undecided[:5]) + (f" and {len(undecided) - 5} more" if len(undecided) > 5 else "")
        raise UsageError(f"release.toml does not say what becomes of {some}; put it under given, made or left_out")
    for file, by in found.items():
        if len(by) > 1:
            both = " and ".join(f"{pattern} ({kind})" for kind, pattern in by)
            raise UsageError(f"release.toml has {file} twice: {both}")
        if (root / file).is_symlink():
            raise UsageError(f"{file} is a link; what is released must be files")
    return {file: by[0][0] for file, by in found.items()}


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    translated = ""
    for piece in re.split(r"(\*\*/|\*\*|\*)", text):
        translated += {"**/": "(?:[^/]+/)*", "**": ".+", "*": "[^/]+"}.get(piece, re.escape(piece))
    return re.compile(translated)


def _module(file: str, data: dict[str, Any]) -> ModuleRules:
    _only(data, _MODULE_KEYS, f"module {file}", required=False)
    cut = {}
    for name, entry in data.get("cut", {}).items():
        _only(entry, _CUT_KEYS, f"{file}, {name}", required=False)
        cut[name] = Cut(
            part=entry.get("part", ""),
            todo=entry.get("todo", ""),
            keep=tuple(entry.get("keep", ())),
            code=tuple(entry.get("code", ())),
            hint=entry.get("hint", "").strip(),
            docstring=entry.get("docstring"),
        )
    return ModuleRules(
        file=file,
        docstring=data.get("docstring"),
        given=frozenset(data.get("given", ())),
        left_out=frozenset(data.get("left_out", ())),
        cut=cut,
        docstrings=data.get("docstrings", {}),
    )


def _only(data: Mapping[str, Any], keys: set[str], where: str, *, required: bool = True) -> None:
    wrong = data.keys() ^ keys if required else data.keys() - keys
    if wrong:
        raise UsageError(f"{where} of release.toml: {', '.join(sorted(wrong))} is missing or unknown")
