"""A Dask cluster on this machine: a real scheduler, and workers in processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.harness.grade.a_class import ROOT


class DaskCluster:
    """A scheduler, and workers that are started one by one."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.workers: list[subprocess.Popen[bytes]] = []
        self._start("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        self.address = self._said(0, rb"Scheduler at: +(tcp://[0-9.:]+)")

    def start_worker(self) -> None:
        arguments = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self._folder))
        self._start("worker", self.address, *arguments)
        self.workers.append(self._processes[-1])

    def _start(self, *arguments: str) -> None:
        log = (self._folder / f"{len(self._processes)}.log").open("wb")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
        self._processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self._folder))
        log.close()

    def _said(self, number: int, pattern: bytes) -> str:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            text = (self._folder / f"{number}.log").read_bytes()
            if found := re.search(pattern, text):
                return found[1].decode()
            time.sleep(0.05)
        raise AssertionError(f"it did not start:\n{text.decode()}")

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
            process.wait()
