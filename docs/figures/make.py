"""Writes the figures: `make figures`.

python docs/figures/make.py            NAME.py --> NAME.svg, for each
python docs/figures/make.py --check    1 if a committed figure is not what its script makes
"""

from __future__ import annotations

import sys
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER))

import grading_run  # noqa: E402  (found by the line above)
import layers  # noqa: E402
import one_put  # noqa: E402
import one_rpc  # noqa: E402
import preemption  # noqa: E402
import raft_log  # noqa: E402

__all__ = ["FIGURES", "made_files"]

FIGURES = (layers, one_rpc, preemption, raft_log, one_put, grading_run)


def made_files() -> dict[Path, str]:
    """File -> its text, as the scripts make it today."""
    return {FOLDER / f"{figure.__name__}.svg": figure.draw().svg() for figure in FIGURES}


def main() -> int:
    """The exit code: 0 if all is written, or as it should be."""
    changed = [file for file, text in made_files().items() if not file.exists() or file.read_text("utf-8") != text]
    is_check = sys.argv[1:] == ["--check"]
    for file in changed:
        print(f"{file.name} {'is not what its script makes' if is_check else 'is written'}")
        if not is_check:
            file.write_text(made_files()[file], encoding="utf-8")
    return 1 if is_check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
