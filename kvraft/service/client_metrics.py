"""Metrics of clients for Prometheus.

    registry = CollectorRegistry()
    metrics = ClientMetrics(registry)
    MetricsEndpoint(registry, port=9199)                     GET /metrics; or prometheus_client.push_to_gateway(…)
    with Client(nodes, metrics=metrics) as client: …

All `Client`s of a process may share one, for they share an event loop; so may all `AsyncClient`s of one loop.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry

from kvraft.rpc import Err
from kvraft.service.client import Closed, Unavailable
from kvraft.service.tallies import Counters, Gauges, Histograms, Tallies

__all__ = ["CLIENT_FAILURES", "ClientMetrics"]

CLIENT_FAILURES = ("version", "no_key", "maybe", "unavailable", "refused", "closed", "cancelled")
"""Label `reason` of operations that did not do what was asked. The first three are answers to puts: another version, no
such key, it cannot be known. The others are ends without an answer: none in time, the cluster does not take it, the
client was closed, the program gave it up."""

_METHODS = ("get", "put")

_REFUSED = {Err.VERSION: "version", Err.NO_KEY: "no_key", Err.MAYBE: "maybe"}


class ClientMetrics:
    """What clients ask, how long it takes, and what becomes of it; in `registry` from now on.

    Args:
        clock: seconds, as time.monotonic().
    """

    def __init__(self, registry: CollectorRegistry, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        latency = Histograms("kv_request_latency_seconds", "From a call to its end, retries included.", ["method"])
        requests = Counters("kv_client_requests_total", "Operations begun.", ["method"])
        retries = Counters("kv_client_retries_total", "Times that one was sent again.", ["method"])
        failures = Counters(
            "kv_client_failures_total", "Operations that did not do what was asked.", ["method", "reason"]
        )
        in_flight = Gauges("kv_client_in_flight", "Operations begun and not ended.")
        version = Gauges("kv_observed_version", "Of the key last read or written.", ["method"])
        failovers = Histograms(
            "kv_failover_duration_seconds", "From sending what finds no leader to the next answer.", ["event"]
        )
        self._latency = [latency.of(method) for method in _METHODS]
        self._requests = [requests.of(method) for method in _METHODS]
        self._retries = [retries.of(method) for method in _METHODS]
        self._failures = [{reason: failures.of(method, reason) for reason in CLIENT_FAILURES} for method in _METHODS]
        self._in_flight = in_flight.of()
        self._version = [version.of(method) for method in _METHODS]
        self._failovers = failovers.of("client")
        registry.register(Tallies([latency, requests, retries, failures, in_flight, version, failovers]))

    # -------------------------------------------------------------- what clients tell, on their loop

    def begun(self, is_put: bool, at: float, done: Any, version: int = 0) -> None:
        """An operation has begun; `done` is a future of its answer. A put expects `version`."""
        self._requests[is_put].value += 1
        self._in_flight.value += 1
        done.add_done_callback(functools.partial(self._ended, is_put, at, version))

    def retried(self, is_put: bool) -> None:
        """It is sent again."""
        self._retries[is_put].value += 1

    def failed_over(self, seconds: float) -> None:
        """A leader answers, so long after another one has ceased to."""
        self._failovers.observe(seconds)

    def _ended(self, is_put: bool, began: float, version: int, done: Any) -> None:
        self._in_flight.value -= 1
        self._latency[is_put].observe(self._clock() - began)
        reason = ""
        if done.cancelled():
            reason = "cancelled"
        elif (error := done.exception()) is not None:
            reason = _reason(error)
        else:
            answer = done.result()
            if answer.err is Err.OK:
                self._version[is_put].value = version + 1 if is_put else answer.version
            elif is_put:
                reason = _REFUSED[answer.err]
        if reason:
            self._failures[is_put][reason].value += 1


def _reason(error: BaseException) -> str:
    if isinstance(error, Closed):
        return "closed"
    return "unavailable" if isinstance(error, Unavailable) else "refused"
