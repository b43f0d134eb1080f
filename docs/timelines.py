"""The pages of the runs that docs tell: those of the gallery, and those of the handouts' stories.

    docs/gallery/NAME.json, docs/stories.toml --run again--> FOLDER/NAME.html, and NAME-history.html where clerks ran

    python docs/timelines.py FOLDER

The site shows them in iframes (docs/conf.py). A run is the same each time, so they need not be kept.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import stories

from labrpc.errors import HarnessError
from tester import mutants
from tester.failures import keep_run
from tester.gallery.entries import load_entries
from tester.graded import GradedTest, graded_test
from tester.report import verdict
from tester.run import Options, Run
from tester.shrunk import ShrunkRun

__all__ = ["GALLERY", "names", "write"]

DOCS = Path(__file__).parent
ROOT = DOCS.parent
GALLERY = DOCS / "gallery"


def write(folder: Path) -> None:
    """Writes the pages of all runs into `folder`.

    Raises:
        HarnessError: a run does not fail any more.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in names():
        with _failing(name) as (test, run, error), TemporaryDirectory() as kept:
            cluster = run.clusters[-1]
            facts = {"test": test.name, "seed": str(run.seed)}
            title = f"{name}: {test.name}, seed {run.seed}"
            at = getattr(error, "at", None)
            keep_run(Path(kept), cluster, title=title, verdict=verdict(error), focus=at, facts=facts)
            for page, file in (("timeline.html", f"{name}.html"), ("history.html", f"{name}-history.html")):
                if (Path(kept) / page).exists():
                    (folder / file).write_bytes((Path(kept) / page).read_bytes())


@functools.cache
def names() -> tuple[str, ...]:
    """The runs: a mistake of the gallery, or a story, each."""
    shown = [entry.mutant for entry in load_entries(GALLERY / "entries.toml")]
    return (*shown, *(story.name for story in stories.load_stories()))


@contextlib.contextmanager
def _failing(name: str) -> Iterator[tuple[GradedTest, Run, Exception]]:
    """The run of that name, and what it ended with."""
    with TemporaryDirectory() as folder:
        told = {story.name: story for story in stories.load_stories()}.get(name)
        if told is not None:
            test = stories.test_of(told)
            run = Run(told.seed, Options(solution=stories.plant(told, Path(folder))))
        else:
            kept = ShrunkRun.load(GALLERY / f"{name}.json")
            test = graded_test(kept.test)
            solution = mutants.find(ROOT / mutants.FOLDER, name).plant(ROOT, Path(folder))
            run = Run(kept.seed, Options(solution=solution), plan=kept.plan(recorded=True))
        try:
            error = test.attempt(run)
            if not isinstance(error, AssertionError):
                raise HarnessError(f"{name}: {test.name} under seed {run.seed} does not fail as it is told; {error!r}")
            yield test, run, error
        finally:
            run.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python docs/timelines.py FOLDER")
    write(Path(sys.argv[1]))
