"""Do all ways to a verdict agree with brute force? `python -m benchmarks.checker_agreement --histories 100000`.

Small histories with made up answers, and simulated ones with one answer changed, are judged by trying every order, and
by: the exact decision of each model, the plain search and the general search, each with and without what the model
tells them, and the portfolio, whose linearizations are verified.
"""

from __future__ import annotations

import random
from argparse import ArgumentParser
from collections import Counter

from rich.console import Console
from rich.progress import track
from rich.table import Table

from tester.porcupine import CheckResult
from tests.harness.porcupine.agreement import METHODS, disagreement, medium_history, small_history
from tests.harness.porcupine.histories import MODELS

__all__ = ["main"]

MEDIUM = 20
"""One of so many histories is of some dozens of operations, and compared with what the textbook search says of it."""


def main() -> None:
    parser = ArgumentParser(description=__doc__, prog="python -m benchmarks.checker_agreement")
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    console = Console()
    models = {kind: make() for kind, make in MODELS.items()}
    counts: Counter[tuple[str, bool]] = Counter()
    kinds = list(models)
    for number in track(range(options.histories), "judging", console=console, transient=True):
        kind = kinds[number % len(kinds)]
        rng = random.Random(f"{options.seed} {number}")
        if number // len(kinds) % MEDIUM:
            history = small_history(kind, rng)
            legal, wrong = disagreement(models[kind], history)
        else:
            history = medium_history(kind, rng)
            truth = METHODS["plain"](models[kind], history) is CheckResult.OK
            legal, wrong = disagreement(models[kind], history, truth=truth)
        if wrong:
            lines = "\n".join(map(repr, history))
            raise SystemExit(f"history {number} of seed {options.seed}, {kind}, legal: {legal}, but {wrong}\n{lines}")
        counts[kind, legal] += 1
    table = Table("model", "legal", "illegal", title="all methods agree with brute force")
    for kind in kinds:
        table.add_row(kind, f"{counts[kind, True]:,}", f"{counts[kind, False]:,}")
    console.print(table)


if __name__ == "__main__":
    main()
