"""A bench for lone Raft servers, see `lone_server.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.harness.paper.lone_server import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    """Makes servers: `bench(me=0, servers=5, …)`."""
    bench = Bench()
    yield bench
    bench.close()
