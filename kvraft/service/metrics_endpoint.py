"""Metrics over HTTP, for Prometheus: GET /metrics."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from kvraft.service.node_gauges import NotReadable
from labrpc.errors import UsageError

__all__ = ["MetricsEndpoint"]

log = logging.getLogger("kvraft")

IDLE_SECONDS = 10.0
"""After which a connection on which nothing comes is closed."""


class MetricsEndpoint:
    """Shows `registry` at http://host:port/metrics, from threads of its own, until `close`.

    Args:
        port: 0: any that is free; `port` then says which.

    Raises:
        UsageError: the port is taken, or the host is not this machine's.
    """

    def __init__(self, registry: CollectorRegistry, host: str = "127.0.0.1", port: int = 0) -> None:
        handler = type("Handler", (_Handler,), {"registry": registry})
        try:
            self._server = _Server(host, port, handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(
                f"cannot show metrics on {host}:{port}: {reason}; choose another port (ss -ltnp shows who has "
                f"this one) or host"
            ) from None
        self.port: int = self._server.server_address[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Gives the port back. Twice is fine."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, handler: Any) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        super().__init__(address, handler)  # type: ignore[arg-type]

    def server_bind(self) -> None:  # as its grandparent's: this one asks the name service who we are
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a scrape from %s ended in between", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    registry: CollectorRegistry
    timeout = IDLE_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path != "/metrics":
            self._say(HTTPStatus.NOT_FOUND, "text/plain", b"metrics are at /metrics\n")
            return
        encoder, content_type = choose_encoder(self.headers.get("Accept", ""))
        try:
            body = encoder(self.registry)
        except NotReadable as error:
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"{error}\n".encode())
        except Exception as error:
            log.exception("metrics could not be collected")
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{type(error).__name__}\n".encode())
        else:
            self._say(HTTPStatus.OK, content_type, body)

    do_HEAD = do_GET

    def _say(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        log.debug("metrics: " + format, *arguments)
