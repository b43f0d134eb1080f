"""How far shrinking is, on a terminal: runs tried, decisions left."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.status import Status
from rich.text import Text

__all__ = ["ShrinkProgress"]


class ShrinkProgress:
    """One line that changes while a run is shrunk, and is gone afterwards.

    Args:
        console: the terminal; None shows nothing.
    """

    def __init__(self, console: Console | None, test: str, seed: int) -> None:
        self._title = f"shrinking {test}, seed {seed}"
        self._status = None if console is None else Status(Text(f"{self._title}: recording"), console=console)

    def tried(self, runs: int, left: int) -> None:
        """Takes in that so many runs were tried, and that so many decisions are left."""
        if self._status is not None:
            self._status.update(
                Text(f"{self._title}: {runs} run{'' if runs == 1 else 's'} tried, {left} decisions left")
            )

    def __enter__(self) -> ShrinkProgress:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()
