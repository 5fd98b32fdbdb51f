"""Exports what a command does: to OpenTelemetry as OTEL_* variables say, and to Prometheus."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.cli.diagnostics import complain
from orchestrator.errors import Problem, WorkflowError

if TYPE_CHECKING:
    from orchestrator.telemetry.prometheus import Prometheus


@contextmanager
def exporting(prometheus: Prometheus | None = None) -> Iterator[None]:
    """Export what happens in the block, if anything asks for it; else nothing is imported."""
    if prometheus is None and not any(name.startswith("OTEL_") for name in os.environ):
        yield
        return
    from orchestrator.telemetry.setup import providers

    with providers(complain, prometheus):
        yield


def to_file(options: argparse.Namespace) -> Prometheus | None:
    """The metrics in the file that `--metrics` names; None without."""
    return None if options.metrics is None else prometheus_for(file=options.metrics)


def prometheus_for(file: Path | None = None, address: tuple[str, int] | None = None) -> Prometheus:
    """What Prometheus reads of this command.

    Raises:
        WorkflowError: The exporter is not installed, or nothing can listen there.
    """
    try:
        from orchestrator.telemetry.prometheus import Prometheus
    except ImportError:
        hint = "pip install 'mcp-orchestrator[prometheus]'"
        message = "--metrics needs the exporter for Prometheus, which is not installed"
        raise WorkflowError("usage", [Problem("usage", message, hint=hint)]) from None
    try:
        return Prometheus(file, address)
    except OSError as error:
        assert address is not None
        why = f"cannot listen on --metrics {address[0]}:{address[1]}: {error.strerror or error}"
        raise WorkflowError("usage", [Problem("usage", why)]) from None
