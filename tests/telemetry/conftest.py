"""Providers that keep in memory what they get, in place of those of the process for one test."""

from __future__ import annotations

from collections.abc import Iterator

import mcp.shared._otel as sdk
import pytest
from opentelemetry import trace
from opentelemetry.metrics import _internal as metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.telemetry.seen import Seen


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Seen]:
    """What the process traces and measures in this test."""
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    spans, measures = TracerProvider(), MeterProvider([reader])
    spans.add_span_processor(SimpleSpanProcessor(exporter))
    # A process can set them once; here each test has its own, and other tests none.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", spans)
    monkeypatch.setattr(metrics, "_METER_PROVIDER", measures)
    monkeypatch.setattr(sdk, "_tracer", spans.get_tracer("mcp-python-sdk"))
    yield Seen(exporter, reader)
    spans.shutdown()
    measures.shutdown()
