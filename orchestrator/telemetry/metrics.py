"""Counts runs, tasks and calls, and measures how long they take and wait."""

from __future__ import annotations

import anyio
from opentelemetry.metrics import Histogram, Meter

from orchestrator.calls.call import Call
from orchestrator.documents.text import cut, visible
from orchestrator.engine import events
from orchestrator.engine.result import Waits
from orchestrator.errors import CallError
from orchestrator.telemetry import names
from orchestrator.telemetry.guard import Guard, Hide

# Plans that models write may have any number of names, and each makes series that are kept.
MAX_NAMES, MAX_NAME, OTHER = 200, 100, "other"


class Names:
    """What may be an attribute of a metric: the first names that come, and `OTHER` for the rest."""

    def __init__(self, hide: Hide) -> None:
        self._known: dict[str, str] = {}
        self._hide = hide

    def __call__(self, name: str) -> str:
        """The name as an attribute."""
        if name not in self._known:
            if len(self._known) >= MAX_NAMES:
                return OTHER
            self._known[name] = visible(cut(self._hide(name), MAX_NAME))
        return self._known[name]


class Meters:
    """The instruments of an orchestrator."""

    def __init__(self, meter: Meter, hide: Hide) -> None:
        def histogram(name: str, unit: str, description: str) -> Histogram:
            advisory = list(names.BUCKETS_S)
            return meter.create_histogram(
                name, unit, description, explicit_bucket_boundaries_advisory=advisory
            )

        self.runs = meter.create_counter(*names.RUNS)
        self.run_duration = histogram(*names.RUN_DURATION)
        self.tasks = meter.create_counter(*names.TASKS)
        self.call_duration = histogram(*names.CALL_DURATION)
        self.call_wait = histogram(*names.CALL_WAIT)
        self.retries = meter.create_counter(*names.RETRIES)
        self.in_flight = meter.create_up_down_counter(*names.IN_FLIGHT)
        self.restarts = meter.create_counter(*names.RESTARTS)
        self.commit = histogram(*names.COMMIT)
        self.workflow, self.server, self.tool = Names(hide), Names(hide), Names(hide)


class CallMeter:
    """Measures the attempts of a run; of a resource, its URI is no attribute."""

    def __init__(self, meters: Meters, guard: Guard) -> None:
        self._meters, self._guard = meters, guard

    def measured(self, call: Call) -> Measured:
        """An attempt that is about to begin."""
        meters = self._meters
        tool = meters.tool(call.tool) if call.kind != "read" else names.READ_SPAN
        return Measured(meters, self._guard, meters.server(call.server), tool)


class Measured:
    """An attempt."""

    __slots__ = ("_began", "_guard", "_meters", "_server", "_tool")

    def __init__(self, meters: Meters, guard: Guard, server: str, tool: str) -> None:
        self._meters, self._guard, self._server, self._tool = meters, guard, server, tool
        self._began = 0.0

    def begin(self) -> None:
        """It begins."""
        self._began = anyio.current_time()
        self._guard(None, self._meters.in_flight.add, 1, {names.SERVER_LABEL: self._server})

    def end(self, error: BaseException | None) -> None:
        """It has ended."""
        seconds = anyio.current_time() - self._began
        self._guard(None, self._meters.in_flight.add, -1, {names.SERVER_LABEL: self._server})
        status = "success" if error is None else "cancelled"
        if isinstance(error, CallError):
            status = "cancelled" if error.kind == "cancelled" else "error"
        about = {
            names.SERVER_LABEL: self._server,
            names.TOOL_LABEL: self._tool,
            names.STATUS_LABEL: status,
        }
        self._guard(None, self._meters.call_duration.record, seconds, about)


class RunMetrics(events.Observer):
    """Counts what happens in one run."""

    def __init__(self, meters: Meters) -> None:
        self._meters, self._workflow = meters, ""
        self._servers: dict[tuple[str, int | None], str] = {}  # called last, by task and item

    def on_event(self, event: events.Event) -> None:
        """Count it."""
        meters = self._meters
        match event:
            case events.TaskStarted(task=task, item=item, server=server):
                self._servers[task, item] = server
            case events.TaskSettled(task=task, result=result):
                self._servers.pop((task, None), None)
                self._waited(result.waits)
                if not event.is_inside:
                    meters.tasks.add(1, {names.STATUS_LABEL: result.status})
            case events.ItemSettled(task=task, item=item, result=item_result):
                self._servers.pop((task, item), None)
                self._waited(item_result.waits)
            case events.RetryDecided(task=task, item=item, error=error, wait_ms=wait_ms):
                if wait_ms is not None:
                    server = meters.server(self._servers.get((task, item), ""))
                    about = {names.SERVER_LABEL: server, names.KIND_LABEL: error.kind}
                    meters.retries.add(1, about)
            case events.RunStarted(workflow=workflow):
                self._workflow = meters.workflow(workflow)
            case events.RunSettled(result=run):
                about = {names.WORKFLOW_LABEL: self._workflow}
                meters.run_duration.record(run.duration_ms / 1000, about)
                meters.runs.add(1, {**about, names.STATUS_LABEL: run.status})

    def _waited(self, waits: Waits) -> None:
        for cause, _, waited_ms in waits:
            about = {names.REASON_LABEL: cause.kind}
            self._meters.call_wait.record(waited_ms / 1000, about)
