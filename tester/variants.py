"""Variants: correct Rafts of other designs than the reference's, to show that the judge raises no false alarm.

    tests/correct/batching/ --compose--> DIR/raft/ (the variant's), DIR/kvraft/ (the reference's)   --solution DIR

Each has a `variant.toml`: what sets it apart, and the graded tests that ask for more than correctness, which it fails.

    python -m tester.variants -m 2B --runs 100        pytest's arguments; each variant in turn, without those tests
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from labrpc.errors import UsageError
from tester.graded import graded_test
from tester.run import reference_root

__all__ = ["FOLDER", "Variant", "load_all", "main"]

FOLDER = Path("tests") / "correct"
"""Of the project's own, in a checkout."""

_COMPOSED = Path(".raftlab") / "variants"


@dataclass(frozen=True)
class Variant:
    """One correct Raft.

    Attributes:
        title: what sets it apart.
        lacks: graded tests that it fails, since they ask for what a correct Raft need not have.
    """

    name: str
    folder: Path
    title: str
    lacks: tuple[str, ...]

    def compose(self, root: Path, destination: Path) -> Path:
        """Makes `destination` a solution, with `root`'s kvraft/ on this Raft; returns it."""
        ignored = shutil.ignore_patterns("__pycache__")
        for package in (self.folder / "raft", root / "kvraft"):
            shutil.rmtree(destination / package.name, ignore_errors=True)
            shutil.copytree(package, destination / package.name, ignore=ignored)
        return destination


def load_all(folder: Path) -> list[Variant]:
    """All variants in `folder`, by name.

    Raises:
        UsageError: there are none, or a `variant.toml` makes no sense.
    """
    variants = []
    for path in sorted(folder.glob("*/variant.toml")):
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise UsageError(f"variant {path}: {error}") from None
        if data.keys() != {"title", "lacks"}:
            raise UsageError(f"variant {path} must have exactly the fields title and lacks, not {', '.join(data)}")
        variants.append(Variant(path.parent.name, path.parent, data["title"], tuple(data["lacks"])))
    if not variants:
        raise UsageError(f"there are no variants in {folder}; this needs a checkout of the project")
    return variants


def main(arguments: Sequence[str]) -> int:
    """Runs the graded tests on each variant; pytest's exit code, the first that is not 0."""
    root = reference_root()
    failed = 0
    for variant in load_all(root / FOLDER):
        print(f"\n{variant.name}: {variant.title}", flush=True)
        solution = variant.compose(root, Path.cwd() / _COMPOSED / variant.name)
        lacks = [f"--deselect={graded_test(test).file}::{test}" for test in variant.lacks]
        command = [sys.executable, "-m", "pytest", str(root / "tests" / "labs"), "--solution", str(solution)]
        code = subprocess.run([*command, *lacks, *arguments], check=False).returncode
        failed = failed or code
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
