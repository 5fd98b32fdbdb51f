"""What an orchestrator has of OpenTelemetry: nothing, until somebody has set up a provider."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from orchestrator.engine.events import Event, Observer, ServerStarting
from orchestrator.servers.config import secrets_in
from orchestrator.servers.pool import ServerPool
from orchestrator.servers.redaction import redact
from orchestrator.telemetry import names
from orchestrator.telemetry.guard import Guard

if TYPE_CHECKING:
    from orchestrator.calls.tracing import Trace
    from orchestrator.engine.tracing import Tracing
    from orchestrator.telemetry.metrics import Meters
    from orchestrator.telemetry.spans import RunTracing

logger = logging.getLogger("orchestrator")


class Telemetry:
    """Traces and measures the runs on a pool, if the program has providers for that.

    Those are the providers of the whole process, which the SDK of MCP uses, too. Without one this
    looks at a table of modules, and imports nothing.
    """

    def __init__(self, pool: ServerPool) -> None:
        self._pool = pool
        self._made: tuple[RunTracing, Meters] | None = None
        self._started: set[str] = set()
        self._guard = Guard(lambda text: text)
        self._listening = ExitStack()  # as long as it is there
        self._listening.enter_context(pool.subscribe(self._on_server, pool.servers))

    def of_run(self) -> tuple[Tracing | None, tuple[Observer, ...]]:
        """What traces a run that begins now, and what observes it; None and nothing without."""
        made = self._make()
        if made is None:
            return None, ()
        from orchestrator.telemetry.metrics import RunMetrics

        tracing, meters = made
        return tracing, (RunMetrics(meters),) if _has_meters() else ()

    def of_call(self) -> Trace | None:
        """What a call without a run is traced inside of; None without a provider."""
        made = self._make()
        return None if made is None else made[0].single()

    def on_commit(self, seconds: float) -> None:
        """Measure a commit of the journal; called in the thread that writes it."""
        made = self._make() if _has_meters() else None
        if made is not None:
            self._guard(None, made[1].commit.record, seconds)

    def _make(self) -> tuple[RunTracing, Meters] | None:
        if not self._pool.is_live or not (has_provider("trace", "tracer") or _has_meters()):
            return None
        if self._made is None:
            self._made = self._guard(None, _made, self._pool)
        return self._made

    def _on_server(self, event: Event) -> None:
        """Count the starts of a server after its first."""
        if not isinstance(event, ServerStarting):
            return
        if event.server in self._started and (made := self._make()) is not None:
            meters = made[1]
            meters.restarts.add(1, {names.SERVER_LABEL: meters.server(event.server)})
        self._started.add(event.server)


def has_provider(signal: str, kind: str) -> bool:
    """Whether there is a provider that is not one of the API, which does nothing."""
    module = sys.modules.get(f"opentelemetry.{signal}")
    if module is None:
        return False
    try:
        provider = getattr(module, f"get_{kind}_provider")()
    except Exception:  # one that a variable names, and that cannot be made
        logger.exception("OpenTelemetry failed: there is no provider of %s", signal)
        return False
    return not type(provider).__module__.startswith(f"opentelemetry.{signal}")


def _has_meters() -> bool:
    return has_provider("metrics", "meter")


def _made(pool: ServerPool) -> tuple[RunTracing, Meters]:
    from opentelemetry import metrics, trace

    from orchestrator.telemetry.metrics import Meters
    from orchestrator.telemetry.spans import RunTracing

    hide = partial(redact, forms=secrets_in(pool.servers.values()), cut=True)
    scope = names.SCOPE, version("mcp-orchestrator")
    meters = Meters(metrics.get_meter(*scope, schema_url=names.SCHEMA_URL), hide)
    return RunTracing(trace.get_tracer(*scope, schema_url=names.SCHEMA_URL), meters, hide), meters
