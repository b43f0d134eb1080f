"""What figures depend on: the machine, its disk, and what else it does."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from kvraft.load import Histogram

__all__ = ["cpu_seconds", "fsync_times", "load_average", "machine_facts", "memory_bytes"]

FSYNCS = 50
FSYNC_BYTES = 4096


def machine_facts() -> dict[str, Any]:
    """Cores, kernel, versions, the time and the load average, as JSON can hold them."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "raftlab": _version("raftlab"),
        "grpcio": _version("grpcio"),
        "load_average": load_average(),
    }


def load_average() -> float | None:
    """Of the last minute; None where the system has none."""
    with contextlib.suppress(OSError):
        return round(os.getloadavg()[0], 2)
    return None


def fsync_times(folder: Path) -> dict[str, float]:
    """Seconds that it takes there to append 4 KB to a file and make them durable: the median, the 99th percentile.

    Raises:
        OSError: of the file system.
    """
    times = Histogram()
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(FSYNCS):
            began = time.perf_counter()
            file.write(b"x" * FSYNC_BYTES)
            os.fsync(file.fileno())
            times.add(time.perf_counter() - began)
    return {"p50": times.percentile(50), "p99": times.percentile(99), "count": FSYNCS, "bytes": FSYNC_BYTES}


def cpu_seconds(process: int) -> float | None:
    """That a process has computed so far; None where that cannot be known."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return None


def memory_bytes(process: int) -> int | None:
    """That a process has in memory; None where that cannot be known."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _version(package: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None
