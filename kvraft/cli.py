"""The `kvraft` command."""

from __future__ import annotations

import os

import typer

__all__ = ["main"]

app = typer.Typer(
    name="kvraft",
    help="The fault-tolerant key/value store that the lab ends in, as a service.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 the service failed or refused, 2 misuse, 3 not done, see `put --help`."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # gRPC reads it when it is imported
    try:
        from kvraft.bench import command as bench
        from kvraft.scenarios import commands as scenarios
        from kvraft.service import commands
    except ImportError as error:
        typer.echo(f"kvraft: {error}", err=True)
        raise SystemExit(2) from None
    commands.register(app)
    bench.register(app)
    scenarios.register(app)
    app()
