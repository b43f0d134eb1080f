"""The `kvraft` command."""

from __future__ import annotations

import typer

__all__ = ["main"]

app = typer.Typer(
    name="kvraft",
    help="The fault-tolerant key/value store that the lab ends in.",
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def kvraft() -> None:
    """The fault-tolerant key/value store that the lab ends in."""
    typer.echo(
        "kvraft: no command yet; the store runs in the lab (pytest -m 4A) and is a library (from kvraft import Clerk)",
        err=True,
    )
    raise typer.Exit(2)


def main() -> None:
    """Entry point."""
    app()
