"""The same seed is the same run on every supported Python, under every hash seed, in both virtual worlds."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from labrpc.disturbance import Disturbance
from labrpc.streams import Streams

ROOT = Path(__file__).parents[2]
OTHERS = ("3.11", "3.12", "3.13")
SEEDS = range(105, 110)
HERE = f"{sys.version_info[0]}.{sys.version_info[1]}"


def journal_hashes(python: str, folder: Path, servers: str, hash_seed: str) -> dict[str, str]:
    """Journal hash by test id and seed of part 2A under seeds that have every schedule of mix, run by `python`."""
    assert {Disturbance(Streams(seed)).schedule for seed in SEEDS} == {"uniform", "swarm", "pct"}
    results = folder / f"{servers}-{hash_seed}.xml"
    seeds = ["--seed", str(SEEDS[0]), "--runs", str(len(SEEDS))]
    command = [python, "-m", "pytest", "tests/labs", "-m", "2A", *seeds, "--servers", servers,
               "-q", "-p", "no:cacheprovider", f"--junitxml={results}"]  # fmt: skip
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST"):
        environment.pop(name, None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {}
    for case in ElementTree.parse(results).iter("testcase"):
        properties = {entry.get("name"): entry.get("value") or "" for entry in case.iter("property")}
        found[f"{case.get('name')} {properties['seed']}"] = properties["journal_hash"]
    assert len(found) == 15
    return found


@pytest.fixture(scope="module")
def hashes_here(tmp_path_factory) -> dict[str, str]:
    return journal_hashes(sys.executable, tmp_path_factory.mktemp("here"), "threads", "0")


@pytest.mark.parametrize(("servers", "hash_seed"), [("threads", "1"), ("processes", "0"), ("processes", "random")])
def test_equal_runs_in_both_worlds_and_under_every_hash_seed(hashes_here, tmp_path, servers, hash_seed):
    assert journal_hashes(sys.executable, tmp_path, servers, hash_seed) == hashes_here


@pytest.mark.parametrize("servers", ["threads", "processes"])
@pytest.mark.parametrize("version", [version for version in OTHERS if version != HERE])
def test_equal_runs_on_every_python(hashes_here, tmp_path, version, servers):
    python = ROOT / f".venv-{version}" / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no environment .venv-{version}: `make pythons` makes one where python{version} is installed")
    assert journal_hashes(str(python), tmp_path, servers, "2") == hashes_here
