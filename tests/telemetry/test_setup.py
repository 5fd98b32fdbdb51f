"""What a command exports: as OTEL_* variables say, and for Prometheus."""

from __future__ import annotations

import gzip
import json
import logging
import sys
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.util._once import Once

from orchestrator.cli import main
from orchestrator.cli.exporting import exporting, prometheus_for
from orchestrator.errors import WorkflowError
from orchestrator.telemetry import setup
from orchestrator.telemetry.telemetry import has_provider
from tests.conftest import Write

VALUE = {"id": "a", "value": 1}


class Collector:
    """Takes what is exported over OTLP: the names of spans and metrics, and of their services."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.services: set[str] = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                """Say nothing."""

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.take(self.path, body)
                self.send_response(200)
                self.end_headers()

        return Handler

    def take(self, path: str, body: bytes) -> None:
        found: Any
        if path == "/v1/traces":
            spans = ExportTraceServiceRequest.FromString(body).resource_spans
            found = [(each.resource, [s.spans for s in each.scope_spans]) for each in spans]
        else:
            measures = ExportMetricsServiceRequest.FromString(body).resource_metrics
            found = [(each.resource, [s.metrics for s in each.scope_metrics]) for each in measures]
        for resource, groups in found:
            attributes = {each.key: each.value.string_value for each in resource.attributes}
            self.services.add(attributes["service.name"])
            self.names |= {each.name for group in groups for each in group}


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No provider before the test, and none after it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(metrics, "_METER_PROVIDER", None)
    monkeypatch.setattr(metrics, "_METER_PROVIDER_SET_ONCE", Once())
    log = logging.getLogger("opentelemetry")
    before = log.propagate, list(log.handlers)
    yield
    log.propagate, log.handlers[:] = before


def test_a_run_is_exported_where_a_variable_says_so(
    collector: Collector, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    assert main(["run", write(VALUE, name="w"), "--quiet", "--no-journal"]) == 0
    assert {"invoke_workflow w", "task a", "orchestrator.runs"} <= collector.names
    assert collector.services == {"orchestrator"}


def test_the_environment_names_the_service_and_leaves_out_a_signal(
    collector: Collector, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{collector.url}/v1/traces")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "nightly")
    assert main(["run", write(VALUE, name="w"), "--quiet", "--no-journal"]) == 0
    assert collector.names == {"invoke_workflow w", "task a"}
    assert collector.services == {"nightly"}
    assert not has_provider("metrics", "meter")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
    ],
)
def test_nothing_is_set_up_that_nobody_asks_for(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with exporting():
        assert not has_provider("trace", "tracer")
        assert not has_provider("metrics", "meter")


def test_an_exporter_that_is_not_there_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with exporting():
        assert not has_provider("trace", "tracer")
        assert not has_provider("metrics", "meter")
    told = capsys.readouterr().err
    assert 'no exporter "zipkin" of traces is installed' in told
    assert 'no exporter "otlp_proto_grpc" of metrics is installed' in told
    assert "otlp_proto_http" in told


def test_an_exporter_that_cannot_be_made_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", "soon")
    with exporting():
        assert not has_provider("metrics", "meter")
    assert 'the exporter "prometheus" of metrics cannot be used: ' in capsys.readouterr().err


def test_a_variable_without_the_extra_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(setup, "find_spec", lambda _: None)
    with exporting():
        assert not has_provider("trace", "tracer")
    told = capsys.readouterr().err
    assert "OTEL_EXPORTER_OTLP_ENDPOINT is set" in told
    assert "pip install 'mcp-orchestrator[otel]'" in told


def test_a_program_keeps_the_providers_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    provider = type("Own", (trace.NoOpTracerProvider,), {"__module__": "own"})()
    meters = type("Own", (metrics.NoOpMeterProvider,), {"__module__": "own"})()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    monkeypatch.setattr(metrics, "_METER_PROVIDER", meters)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    with exporting(prometheus_for(file=tmp_path / "run.prom")):
        assert trace.get_tracer_provider() is provider
        assert metrics.get_meter_provider() is meters
    assert "has a provider of metrics already" in capsys.readouterr().err


def test_the_console_is_stderr(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "600")
    assert main(["run", write(VALUE, name="w"), "--quiet", "--no-journal"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out) == {"a": 1}
    assert '"name": "invoke_workflow w"' in err


def test_a_collector_that_does_not_answer_is_said_once_and_waited_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    go, provider = threading.Event(), TracerProvider(shutdown_on_exit=False)
    monkeypatch.setattr(setup, "FLUSH_S", 0.01)
    monkeypatch.setattr(provider, "shutdown", go.wait)
    monkeypatch.setattr(setup, "_trace", lambda *_: provider)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")
    with exporting():
        for _ in range(3):
            logging.getLogger("opentelemetry.exporter").warning("it does not answer")
    told = capsys.readouterr().err
    go.set()
    assert told.count("OpenTelemetry: it does not answer") == 1
    assert "not all spans were exported: that takes longer than 0.01 s" in told


def test_metrics_of_a_run_are_in_a_file(write: Write, tmp_path: Path) -> None:
    file = tmp_path / "run.prom"
    options = ["--quiet", "--no-journal", "--metrics", str(file)]
    assert main(["run", write(VALUE, name="w"), *options]) == 0
    text = file.read_text()
    assert 'orchestrator_runs_total{status="success",workflow="w"} 1.0' in text.splitlines()
    assert "python_gc" not in text


def test_a_file_that_cannot_be_written_is_an_error_before_the_run(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "run.prom"
    assert main(["run", write(VALUE), "--no-journal", "--metrics", str(file)]) == 2
    assert "No such file or directory" in capsys.readouterr().err
    gone = tmp_path / "gone"
    gone.mkdir()
    with exporting(prometheus_for(file=gone / "run.prom")):
        gone.rmdir()
    assert f"--metrics {gone}/run.prom cannot be written" in capsys.readouterr().err


def test_prometheus_reads_them_meanwhile(write: Write) -> None:
    prometheus = prometheus_for(address=("127.0.0.1", 0))
    with exporting(prometheus):
        assert main(["run", write(VALUE, name="w"), "--quiet", "--no-journal"]) == 0
        with urllib.request.urlopen(prometheus.url) as answer:
            assert b'orchestrator_runs_total{status="success",workflow="w"} 1.0' in answer.read()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(prometheus.url)


def test_an_address_in_use_is_an_error(collector: Collector) -> None:
    port = collector.server.server_port
    with pytest.raises(WorkflowError, match=f"cannot listen on --metrics 127.0.0.1:{port}"):
        prometheus_for(address=("127.0.0.1", port))


def test_prometheus_without_its_extra_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orchestrator.telemetry.prometheus", None)
    with pytest.raises(WorkflowError, match=r"pip install 'mcp-orchestrator\[prometheus\]'"):
        prometheus_for(file=Path("m.prom"))
