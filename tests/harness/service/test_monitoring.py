"""deploy/monitoring with a real Prometheus: what dashboards and alerts ask for is there in a real cluster."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import json
import math
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from kvraft.rpc import Err
from kvraft.service import AsyncClient, Client, Refused, Unavailable
from kvraft.service.client_metrics import CLIENT_FAILURES, ClientMetrics
from kvraft.service.cluster import free_ports
from kvraft.service.metrics_endpoint import MetricsEndpoint
from tests.harness.service.conftest import ROOT, Processes, eventually, on_loop

MONITORING = ROOT / "deploy" / "monitoring"
DASHBOARDS = MONITORING / "grafana" / "dashboards"
INTERVAL = 0.5
"""Seconds between scrapes."""

PATIENCE = 60.0
"""Seconds: a process takes one or two to start, and a machine that is busy many more."""

needs_prometheus = pytest.mark.skipif(
    shutil.which("prometheus") is None or shutil.which("promtool") is None,
    reason="no Prometheus on this machine (apt-get install prometheus)",
)


@functools.cache
def generator() -> Any:
    """deploy/monitoring/dashboards.py."""
    spec = importlib.util.spec_from_file_location("dashboards", MONITORING / "dashboards.py")
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def panels(name: str) -> list[dict[str, Any]]:
    """Those of one dashboard that show something."""
    dashboard = json.loads((DASHBOARDS / f"{name}.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


# -------------------------------------------------------------- without Prometheus


@pytest.mark.parametrize("name", ["raft", "store"])
def test_the_dashboards_are_what_the_script_makes(name):
    made = generator().text_of(generator().dashboards()[name])
    assert (DASHBOARDS / f"{name}.json").read_text() == made, "make dashboards"


def test_there_are_no_other_dashboards():
    assert {path.stem for path in DASHBOARDS.iterdir()} == set(generator().dashboards())


@pytest.mark.parametrize("name", ["raft", "store"])
def test_panels_are_whole_and_do_not_overlap(name):
    taken: set[tuple[int, int]] = set()
    numbers: list[int] = []
    for panel in json.loads((DASHBOARDS / f"{name}.json").read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        numbers.append(panel["id"])
        if panel["type"] != "row":
            assert panel["description"].endswith("."), panel["title"]
            assert all(target["legendFormat"] for target in panel["targets"])
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
    assert len(set(numbers)) == len(numbers)


# -------------------------------------------------------------- with Prometheus


class Prometheus:
    """A Prometheus that scrapes `targets` (by job) with this project's rules."""

    def __init__(self, folder: Path, targets: dict[str, list[str]]) -> None:
        folder.mkdir()
        (port,) = free_ports(1)
        shutil.copy(MONITORING / "alerts.yml", folder)
        config = (MONITORING / "prometheus.yml").read_text()
        config = re.sub(r"(scrape|evaluation)_interval: 5s", rf"\1_interval: {int(INTERVAL * 1000)}ms", config)
        for job, addresses in targets.items():
            pattern = rf"(job_name: {job}\n    static_configs:\n      - targets: )\[.*\]"
            config, count = re.subn(pattern, lambda match: match[1] + json.dumps(addresses), config)  # noqa: B023
            assert count == 1, job
        (folder / "prometheus.yml").write_text(config)
        subprocess.run(["promtool", "check", "config", folder / "prometheus.yml"], check=True, capture_output=True)
        self.address = f"http://127.0.0.1:{port}"
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [
                *("prometheus", f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
                *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
            ],
            stdout=self._log,
            stderr=self._log,
        )

    def get(self, path: str, **parameters: Any) -> Any:
        """What the API has at `path`."""
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return json.load(response)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from None

    def values(self, query: str, began: float) -> list[float]:
        """What `query` gives since `began`, numbers only."""
        data = self.get("query_range", query=query, start=began, end=time.time(), step=INTERVAL)
        found = [float(value) for series in data["result"] for _, value in series["values"]]
        return [each for each in found if not math.isnan(each)]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@needs_prometheus
def test_the_files_are_what_prometheus_takes():
    for what, path in (("config", "prometheus.yml"), ("rules", "alerts.yml")):
        done = subprocess.run(
            ["promtool", "check", what, MONITORING / path], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_each_alert_fires_when_it_should_and_only_then(tmp_path):
    for path in (MONITORING / "alerts.yml", Path(__file__).with_name("alerts_test.yml")):
        shutil.copy(path, tmp_path)
    command = ["promtool", "test", "rules", "alerts_test.yml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    names = re.findall(r"- alert: (\w+)", (tmp_path / "alerts.yml").read_text())
    assert all((tmp_path / "alerts_test.yml").read_text().count(name) >= 2 for name in names), "one was forgotten"


@contextlib.contextmanager
def load(client: Client) -> Iterator[None]:
    """Traffic of two threads that write the same keys, so that they are at odds."""
    over = threading.Event()

    def work() -> None:
        version = 0
        while not over.is_set():
            with contextlib.suppress(Unavailable):
                client.put("contended", "x" * 500, version)
                for reads in ("index", "lease", "log"):
                    version = client.get("contended", reads=reads)[1]
            time.sleep(0.005)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def fail_in_every_way(cluster: Processes, metrics: ClientMetrics) -> None:
    """Each reason of kv_client_failures_total, but maybe, which lost answers bring about."""
    with Client(cluster.peers, metrics=metrics) as client:
        client.put("fails", "1", 0)
        assert client.put("fails", "1", 7) is Err.VERSION
        assert client.put("nowhere", "1", 7) is Err.NO_KEY
        with pytest.raises(Refused):
            client.put("", "1", 0)
    with Client(["127.0.0.1:1"], metrics=metrics) as client:
        with pytest.raises(Unavailable):
            client.put("fails", "1", 0, timeout=0.1)
        waits = client.get_later("fails")
        client.close()
        with pytest.raises(Unavailable, match="closed"):
            waits.result(5)

    async def cancel() -> None:
        async with AsyncClient(["127.0.0.1:1"], metrics=metrics) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("fails"), 0.05)

    on_loop(cancel())


def ways_of(metrics: ClientMetrics) -> set[str]:
    return {reason for each in metrics._failures for reason, count in each.items() if count.value}


@needs_prometheus
def test_every_panel_and_alert_finds_what_it_asks_for(tmp_path):
    registry = CollectorRegistry()
    metrics, endpoint = ClientMetrics(registry), MetricsEndpoint(registry)
    ports = free_ports(3)
    began = time.time()
    with contextlib.ExitStack() as stack:
        stack.callback(endpoint.close)
        cluster = Processes(tmp_path / "cluster", 0)
        cluster.peers = [f"127.0.0.1:{port}" for port in free_ports(3)]
        stack.callback(cluster.close)

        def start(number: int) -> None:
            cluster.start(number, "--snapshot-bytes", "100000", "--metrics-port", str(ports[number]))

        for number in range(3):
            start(number)
        targets = {
            "kvraft": [f"127.0.0.1:{port}" for port in ports],
            "kvraft-clients": [f"127.0.0.1:{endpoint.port}"],
        }
        prometheus = Prometheus(tmp_path / "prometheus", targets)
        stack.callback(prometheus.close)
        client = stack.enter_context(Client(cluster.peers, metrics=metrics))
        client.put("ready", "", 0, timeout=PATIENCE)
        eventually(lambda: prometheus_sees(prometheus, "count(raft_current_term)", 3), PATIENCE)
        with load(client):
            fail_in_every_way(cluster, metrics)
            leader = cluster.leader(client)
            away = (leader + 1) % 3
            cluster.processes[away].send_signal(signal.SIGKILL)
            cluster.processes[away].wait()
            before = client.status(cluster.peers[leader], timeout=10).last_index
            for put in [client.put_later(f"key-{number}", "x" * 1000, 0, timeout=30) for number in range(300)]:
                put.result()
            eventually(lambda: has_cut_its_log(client, cluster, before), PATIENCE)
            start(away)
            installed = 'raft_snapshot_duration_seconds_count{kind="install"}'
            eventually(lambda: prometheus_sees(prometheus, installed, 1), PATIENCE)
            # A put that waits for a majority when its leader is killed is sent again.
            leader = cluster.leader(client)
            cluster.processes[leader].send_signal(signal.SIGKILL)
            cluster.processes[leader].wait()
            eventually(lambda: client.put("after", "1", client.get("after")[1]) is Err.OK, PATIENCE)
            start(leader)
            eventually(lambda: prometheus_sees(prometheus, "count(raft_current_term)", 3), PATIENCE)
            for node in cluster.peers:  # one that hands over stands for election at its leader's word
                with contextlib.suppress(Unavailable, Refused):
                    client.transfer_leadership(node, (cluster.leader(client) + 1) % 3)
            time.sleep(4 * INTERVAL)
        assert ways_of(metrics) >= set(CLIENT_FAILURES) - {"maybe"}
        assert_everything_is_found(prometheus, began)


def has_cut_its_log(client: Client, cluster: Processes, index: int) -> bool:
    """Whether the leader has a snapshot of more than the log up to `index`."""
    return client.status(cluster.peers[cluster.leader(client)], timeout=10).snapshot_index > index


def prometheus_sees(prometheus: Prometheus, query: str, least: float) -> bool:
    time.sleep(INTERVAL / 4)
    try:
        result = prometheus.get("query", query=query)["result"]
    except OSError:  # it starts
        return False
    return any(float(each["value"][1]) >= least for each in result)


def assert_everything_is_found(prometheus: Prometheus, began: float) -> None:
    instances = {each["metric"]["instance"] for each in prometheus.get("query", query="raft_current_term")["result"]}
    chosen = {
        "$node": ".*",
        "$instance": "|".join(map(re.escape, sorted(instances))).replace("\\", "\\\\"),
        "$__rate_interval": "4s",
        "$__range": "60s",
    }
    assert not prometheus.values("raft_no_such_series", began)
    problems = []
    for name in ("raft", "store"):
        dashboard = json.loads((DASHBOARDS / f"{name}.json").read_text())
        queries = [(panel["title"], target["expr"]) for panel in panels(name) for target in panel["targets"]]
        queries += [(each["name"], each["expr"]) for each in dashboard["annotations"]["list"]]
        assert len(queries) > 40
        for title, query in queries:
            for variable, value in chosen.items():
                query = query.replace(variable, value)
            assert "$" not in query, query
            values = prometheus.values(query, began)
            if not values:
                problems.append(f"{name}: {title}: {query}")
    assert not problems, "\n".join(problems)
    (group,) = prometheus.get("rules")["groups"]
    assert len(group["rules"]) == (MONITORING / "alerts.yml").read_text().count("- alert:")
    for rule in group["rules"]:
        assert rule["health"] == "ok", rule
        prometheus.get("query", query=rule["query"])
