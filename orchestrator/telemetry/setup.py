"""Providers for a command: exporters as the variables OTEL_* say, and what Prometheus reads.

The SDK is an extra, and is imported only where something asks for it. A program that uses this
package has providers of its own; so has a command under `opentelemetry-instrument`.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import entry_points, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.documents.text import cut, listed, quoted
from orchestrator.telemetry.telemetry import has_provider

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from orchestrator.telemetry.prometheus import Prometheus

# Of the end of a command: a collector that does not answer must not hold it for longer.
FLUSH_S = 5.0
# A run of thousands of calls ends more spans at a time than the queue of the SDK holds (2,048).
QUEUE = 50_000
MAX_MESSAGE = 300
Signal = Literal["traces", "metrics"]
Warn = Callable[[str], None]


@contextmanager
def providers(warn: Warn, prometheus: Prometheus | None = None) -> Iterator[None]:
    """Have providers in the block, as far as they are asked for; then export what is left.

    Args:
        warn: Receives a sentence where something cannot be exported.
        prometheus: What Prometheus reads, if it is asked for.
    """
    wanted = {signal: _wanted(signal, os.environ) for signal in _SIGNALS}
    if prometheus is None and not _is_there(wanted, warn):
        yield
        return
    log = logging.getLogger("opentelemetry")
    log.addHandler(_Failures(warn))
    log.propagate = False
    resource, ends = _resource(), dict[str, Callable[[], None]]()
    if (spans := _trace(resource, wanted["traces"], warn)) is not None:
        ends["spans"] = spans.shutdown
    if (metrics := _measure(resource, wanted["metrics"], prometheus, warn)) is not None:
        ends["metrics"] = metrics.shutdown
    try:
        yield
    finally:
        if prometheus is not None:  # before the end of its reader
            prometheus.end(warn)
        _end(ends, warn)


_SIGNALS: tuple[Signal, ...] = ("traces", "metrics")
_OTLP = "OTEL_EXPORTER_OTLP_"


def _asking(env: Mapping[str, str]) -> str:
    """The variable that asks for an export."""
    names = [f"OTEL_{signal.upper()}_EXPORTER" for signal in _SIGNALS]
    names += [f"{_OTLP}{signal.upper()}_ENDPOINT" for signal in _SIGNALS]
    return next((name for name in names if env.get(name)), f"{_OTLP}ENDPOINT")


def _wanted(signal: Signal, env: Mapping[str, str]) -> list[str]:
    """The exporters of a signal that the environment asks for."""
    if env.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    given = env.get(f"OTEL_{signal.upper()}_EXPORTER", "")
    named = [name.strip() for name in given.split(",") if name.strip()]
    if not named and (env.get(f"{_OTLP}ENDPOINT") or env.get(f"{_OTLP}{signal.upper()}_ENDPOINT")):
        named = ["otlp"]
    return [name for name in named if name != "none"]


def _entry_point(name: str, signal: Signal, env: Mapping[str, str]) -> str:
    """Under which name an exporter is registered."""
    if name != "otlp":
        return name
    own = env.get(f"{_OTLP}{signal.upper()}_PROTOCOL") or env.get(f"{_OTLP}PROTOCOL") or ""
    return "otlp_proto_grpc" if own.strip() == "grpc" else "otlp_proto_http"


def _exporters(names: Iterable[str], signal: Signal, warn: Warn) -> Iterator[Any]:
    """The exporters of a signal, as far as they are there."""
    for name in names:
        registered, group = (
            _entry_point(name, signal, os.environ),
            f"opentelemetry_{signal}_exporter",
        )
        found = entry_points(group=group, name=registered)
        if not found:
            known = listed(sorted({each.name for each in entry_points(group=group)}), 9)
            what = f"no exporter {quoted(registered)} of {signal} is installed"
            warn(f"{what}, so none are exported (installed: {known})")
            continue
        try:
            make = next(iter(found)).load()
            # stdout has the result of the command.
            yield make(out=sys.stderr) if registered == "console" else make()
        except Exception as error:  # of somebody else's code, with somebody else's settings
            warn(f"the exporter {quoted(registered)} of {signal} cannot be used: {error}")


def _is_there(wanted: Mapping[Signal, list[str]], warn: Warn) -> bool:
    """Whether the SDK is needed, and installed."""
    if not any(wanted.values()):
        return False
    if find_spec("opentelemetry.sdk") is not None:
        return True
    fix = "pip install 'mcp-orchestrator[otel]', or unset it"
    warn(f"{_asking(os.environ)} is set, and nothing is exported without the extra: {fix}")
    return False


def _trace(resource: Resource, names: list[str], warn: Warn) -> TracerProvider | None:
    exporters = [] if has_provider("trace", "tracer") else list(_exporters(names, "traces", warn))
    if not exporters:
        return None
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    size = None if "OTEL_BSP_MAX_QUEUE_SIZE" in os.environ else QUEUE
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=size))
    trace.set_tracer_provider(provider)
    return provider


def _measure(
    resource: Resource, names: list[str], prometheus: Prometheus | None, warn: Warn
) -> MeterProvider | None:
    if has_provider("metrics", "meter"):
        if prometheus is not None:
            warn("the process has a provider of metrics already, so Prometheus gets none of ours")
        return None
    readers = list(map(_reader, _exporters(names, "metrics", warn)))
    if prometheus is not None:
        readers.append(prometheus.reader)
    if not readers:
        return None
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider

    provider = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
    metrics.set_meter_provider(provider)
    return provider


def _reader(exporter: Any) -> MetricReader:
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader

    is_reader = isinstance(exporter, MetricReader)
    return exporter if is_reader else PeriodicExportingMetricReader(exporter)


def _end(ends: Mapping[str, Callable[[], None]], warn: Warn) -> None:
    """Export what is left, in threads: the SDK waits half a minute for what does not answer."""
    threads = {what: threading.Thread(target=end, daemon=True) for what, end in ends.items()}
    for thread in threads.values():
        thread.start()
    latest = time.monotonic() + FLUSH_S
    for what, thread in threads.items():
        thread.join(max(0.0, latest - time.monotonic()))
        if thread.is_alive():
            warn(f"not all {what} were exported: that takes longer than {FLUSH_S:g} s")


class _Failures(logging.Handler):
    """Says the first thing that goes wrong: exporters try again, and say it again each time."""

    def __init__(self, warn: Warn) -> None:
        super().__init__(logging.WARNING)
        self._warn, self._has_said = warn, False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._has_said:
            self._has_said = True
            self._warn(f"OpenTelemetry: {cut(record.getMessage(), MAX_MESSAGE)}")


def _resource() -> Resource:
    """What the telemetry is of: ours, unless the environment says it."""
    from opentelemetry.sdk.resources import Resource

    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    about = {"service.version": version("mcp-orchestrator")}
    if not (named or os.environ.get("OTEL_SERVICE_NAME")):
        about["service.name"] = "orchestrator"
    return Resource.create(about)
