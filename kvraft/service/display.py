"""A cluster's state as a table, or as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

__all__ = ["status_lines", "status_table"]

_STYLES = {"leader": "bold green", "candidate": "yellow", "follower": ""}


def status_table(found: Mapping[str, Any], rates: Mapping[str, float] | None = None) -> Table:
    """A row for each node, by address; None: it does not answer. `rates`: operations a second."""
    table = Table(box=None, pad_edge=False)
    for title in ("node", "address", "role", "term", "commit", "applied", "lag", "log MB", "keys", "op/s"):
        table.add_column(title, justify="left" if title in ("address", "role") else "right")
    newest = max((each.commit_index for each in found.values() if each is not None), default=0)
    for number, (address, each) in enumerate(found.items()):
        if each is None:
            table.add_row(str(number), address, "does not answer", style="red")
            continue
        table.add_row(
            str(each.id),
            address,
            each.role,
            str(each.term),
            str(each.commit_index),
            str(each.applied_index),
            str(newest - each.applied_index),
            f"{each.log_bytes / 1e6:.1f}",
            str(each.keys),
            f"{rates.get(address, 0):.0f}" if rates is not None else "",
            style=_STYLES.get(each.role, ""),
        )
    return table


def status_lines(found: Mapping[str, Any], rates: Mapping[str, float]) -> str:
    """One line for all, for logs."""
    parts = []
    for number, each in enumerate(found.values()):
        if each is None:
            parts.append(f"{number}: down")
        else:
            parts.append(f"{each.id}: {each.role} term {each.term} applied {each.applied_index}")
    return f"{'; '.join(parts)}; {sum(rates.values()):.0f} op/s"
