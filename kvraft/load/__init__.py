"""Load for a cluster of the service, and what came of it.

from kvraft.load import Load, run

result = run(Load(clients=50, read_share=0.5, seconds=10), ["a:7000", "b:7000", "c:7000"])
result.throughput, result.kinds["put"].times.percentile(99)

run ──load, addresses──> processes of clients ──operations──> the nodes
    <──each second───── (counts, times, records)

load.py       Load: what is asked
histogram.py  how long things took, to 0.4 %
result.py     Result: what came of it; Second; Recorded
clients.py    the clients, on one event loop
worker.py     a process of clients
runner.py     run: starts the processes, and puts together what they say
"""

from kvraft.load.histogram import RELATIVE_ERROR, Histogram
from kvraft.load.load import Load
from kvraft.load.result import ANSWERS, Kind, Recorded, Result, Second
from kvraft.load.runner import LoadFailed, run

__all__ = [
    "ANSWERS",
    "RELATIVE_ERROR",
    "Histogram",
    "Kind",
    "Load",
    "LoadFailed",
    "Recorded",
    "Result",
    "Second",
    "run",
]
