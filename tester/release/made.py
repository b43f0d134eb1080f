"""What is made for students besides skeletons: pyproject.toml and constraints.txt, from ours."""

from __future__ import annotations

import copy
import importlib.metadata
import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from labrpc.errors import UsageError

__all__ = ["constraints", "pyproject"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def pyproject(ours: str, rules: Mapping[str, Any]) -> str:
    """Students' pyproject.toml.

    Args:
        ours: the text of the project's.
        rules: `tables` to take, keys that these go `without`, and `addopts_without`, words for pytest that go.

    Raises:
        UsageError: something that the rules name is not there any more.
    """
    source = tomllib.loads(ours)
    made: dict[str, Any] = {}
    for name in rules["tables"]:
        _put(made, name, copy.deepcopy(_get(source, name)))
    for name in rules["without"]:
        table, _, key = name.rpartition(".")
        _get(source, name)
        _get(made, table).pop(key)
    options = made["tool"]["pytest"]["ini_options"]
    for word in rules["addopts_without"]:
        if word not in options["addopts"]:
            raise UsageError(f"release.toml: pytest's addopts have no {word} any more")
        options["addopts"].remove(word)
    packages = made["tool"]["setuptools"]["packages"]["find"]
    packages["include"] = sorted(packages["include"])
    return "\n".join(_tables(made, "")).lstrip("\n")


def constraints(ours: str, made_pyproject: str) -> str:
    """Students' constraints.txt: of ours, what the dependencies of `made_pyproject` need, directly or not.

    Raises:
        UsageError: one of them is not installed here, so that it cannot be asked what it needs.
    """
    needed: set[str] = set()
    todo = [_canonical(each) for each in tomllib.loads(made_pyproject)["project"]["dependencies"]]
    pinned = {_canonical(line): line for line in ours.splitlines() if line and not line.startswith("#")}
    while todo:
        name = todo.pop()
        if name in needed or name not in pinned:  # what is not pinned is for another system
            continue
        needed.add(name)
        try:
            requirements = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            raise UsageError(f"{name} is not installed here; install the project as its README says") from None
        todo += [_canonical(each) for each in requirements if "extra ==" not in each]
    lines = [line for name, line in sorted(pinned.items()) if name in needed]
    return "\n".join(["# Exact versions that the lab is tested with; pip reads them with -c.", *lines]) + "\n"


def _canonical(requirement: str) -> str:
    found = _NAME.match(requirement)
    if found is None:
        raise UsageError(f"{requirement!r} is no requirement")
    return re.sub(r"[-_.]+", "-", found[0]).lower()


def _get(data: dict[str, Any], name: str) -> Any:
    found: Any = data
    for key in name.split("."):
        if not isinstance(found, dict) or key not in found:
            raise UsageError(f"release.toml takes {name} of pyproject.toml, which is not there any more")
        found = found[key]
    return found


def _put(data: dict[str, Any], name: str, value: Any) -> None:
    *tables, key = name.split(".")
    for table in tables:
        data = data.setdefault(table, {})
    data[key] = value


def _tables(data: dict[str, Any], name: str) -> list[str]:
    """The lines of a table and of those within it. Basic strings of TOML are written as JSON's are."""
    lines = []
    plain = {key: value for key, value in data.items() if not isinstance(value, dict)}
    if plain:
        lines += ["", *([f"[{name}]"] if name else [])]
        for key, value in plain.items():
            lines += _entry(_key(key), value)
    for key, value in data.items():
        if isinstance(value, dict):
            lines += _tables(value, f"{name}.{_key(key)}" if name else _key(key))
    return [*lines, ""] if not name else lines


def _entry(key: str, value: Any) -> list[str]:
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and len(text) > 90:
        return [f"{key} = [", *(f"    {json.dumps(each, ensure_ascii=False)}," for each in value), "]"]
    return [f"{key} = {text}"]


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key)
