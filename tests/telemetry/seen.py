"""What was traced and measured, in a form that tests compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from orchestrator.telemetry.names import SCOPE

Tree = dict[str, Any]


@dataclass
class Seen:
    """The spans and the metrics of a test."""

    exporter: InMemorySpanExporter
    reader: InMemoryMetricReader

    @property
    def spans(self) -> list[ReadableSpan]:
        """Those that have ended, in the order of their begin."""
        ended = self.exporter.get_finished_spans()
        return sorted(ended, key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        """Those of a name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        (span,) = self.named(name)
        return span

    def below(self, parent: ReadableSpan | None = None) -> list[Any]:
        """The names of all spans as a tree: a name, or a name with the list of what is below."""
        number = None if parent is None else context(parent).span_id
        found = []
        for span in self.spans:
            above = None if span.parent is None else span.parent.span_id
            if above == number:
                inside = self.below(span)
                found.append((span.name, inside) if inside else span.name)
        return found

    def metrics(self) -> dict[str, dict[tuple[Any, ...], float]]:
        """Our metrics: by name, and by the values of their attributes; of a histogram its count."""
        data, found = self.reader.get_metrics_data(), {}
        for resource in () if data is None else data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics if scope.scope.name == SCOPE else ():
                    found[metric.name] = {
                        tuple((point.attributes or {}).values()): _number(point)
                        for point in metric.data.data_points
                    }
        return found


def context(span: ReadableSpan) -> Any:
    """The context of a span, which each that has ended has."""
    assert span.context is not None
    return span.context


def about(span: ReadableSpan, *names: str) -> list[Any]:
    """Some of its attributes."""
    return [(span.attributes or {}).get(name) for name in names]


def _number(point: Any) -> float:
    value: float = point.count if hasattr(point, "count") else point.value
    return value
