"""The student's tree, in memory: path -> bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from labrpc.errors import UsageError
from tester.release.links import without_dead_links
from tester.release.made import constraints, pyproject
from tester.release.manifest import FILE, Manifest
from tester.release.skeleton import exported_names, skeleton

__all__ = ["MARKER", "Tree", "make_tree", "marker_of"]

Tree = dict[str, bytes]

MARKER = "release.json"
"""In a released tree: what it was made of, and where students write."""

_VERSION = 1
_TEMPLATES = FILE.parent / "student"


def make_tree(manifest: Manifest) -> Tree:
    """All files of the tree, the marker included.

    Raises:
        UsageError: the rules do not fit the project.
    """
    root = manifest.root
    tree: Tree = {file: (root / file).read_bytes() for file in manifest.of_kind("given")}
    tree |= {file: text.encode() for file, text in _skeletons(manifest).items()}
    ours = (root / "pyproject.toml").read_text(encoding="utf-8")
    for file in manifest.of_kind("made"):
        if file in tree:
            continue
        if file == "pyproject.toml":
            text = pyproject(ours, manifest.pyproject)
        elif file == "constraints.txt":
            text = constraints((root / file).read_text(encoding="utf-8"), pyproject(ours, manifest.pyproject))
        elif (root / _TEMPLATES / file).is_file():
            text = (root / _TEMPLATES / file).read_text(encoding="utf-8")
        else:
            raise UsageError(f"release.toml has {file} made, but there is no {_TEMPLATES / file}")
        tree[file] = text.encode()
    for file in [file for file in tree if file.endswith(".md")]:
        tree[file] = without_dead_links(file, tree[file].decode(), tree).encode()
    tree[MARKER] = _marker(manifest, tree)
    return tree


def _skeletons(manifest: Manifest) -> dict[str, str]:
    sources = {file: (manifest.root / file).read_text(encoding="utf-8") for file in manifest.modules}
    exported: dict[str, frozenset[str]] = {}
    for file in sorted(sources, key=lambda file: file.endswith("__init__.py")):  # packages export what modules have
        exported[_module_name(file)] = exported_names(sources[file], manifest.modules[file], exported)
    return {file: skeleton(source, manifest.modules[file], exported) for file, source in sources.items()}


def _module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _marker(manifest: Manifest, tree: Mapping[str, bytes]) -> bytes:
    data = {
        "format": "raftlab-release",
        "version": _VERSION,
        "student": list(manifest.student),
        "files": {file: hashlib.sha256(content).hexdigest() for file, content in sorted(tree.items())},
    }
    return (json.dumps(data, indent=1) + "\n").encode()


def marker_of(folder: Path) -> dict[str, Any] | None:
    """What the marker in `folder` says; None if that is no released tree."""
    try:
        data = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or (data.get("format"), data.get("version")) != ("raftlab-release", _VERSION):
        return None
    files = data.get("files")
    if not isinstance(files, dict) or not all(_is_inside(file) for file in files):
        return None
    return data


def _is_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts
