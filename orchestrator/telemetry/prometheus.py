"""What Prometheus reads of a command: an address that it scrapes, or a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Thread
from wsgiref.simple_server import WSGIServer

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile


class Prometheus:
    """The metrics of this process and nothing else, in the format of Prometheus.

    Args:
        file: Gets them at the end, for the textfile collector of the node exporter.
        address: The host and the port where they can be read meanwhile; port 0: one that is free.

    Attributes:
        reader: For the provider of metrics.

    Raises:
        OSError: Nothing can listen there.
    """

    def __init__(self, file: Path | None = None, address: tuple[str, int] | None = None) -> None:
        self._file, self._registry = file, CollectorRegistry()
        self._server: tuple[WSGIServer, Thread] | None = None
        self.url = ""
        self.reader = PrometheusMetricReader(scope_info_enabled=False, registry=self._registry)
        if address is not None:
            host, port = address
            self._server = start_http_server(port, host, self._registry)
            shown = f"[{host}]" if ":" in host else host
            self.url = f"http://{shown}:{self._server[0].server_port}/metrics"

    def end(self, warn: Callable[[str], None]) -> None:
        """Write the file, and listen no more."""
        if self._file is not None:
            try:
                write_to_textfile(str(self._file), self._registry)
            except OSError as error:
                warn(f"--metrics {self._file} cannot be written: {error.strerror or error}")
        if self._server is not None:
            server, thread = self._server
            server.shutdown()
            server.server_close()
            thread.join()
