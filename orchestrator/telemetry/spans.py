"""A run as spans: the run, its tasks, their items, each attempt; the SDK's own are below those."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from anyio import get_cancelled_exc_class
from opentelemetry import context as contexts
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, TraceFlags, Tracer
from opentelemetry.util.types import Attributes

from orchestrator.calls.call import Call
from orchestrator.calls.causes import Cause
from orchestrator.calls.tracing import Trace
from orchestrator.engine.outcome import Cancelled, Failure, Skipped
from orchestrator.engine.result import ItemResult, RunResult, TaskResult
from orchestrator.engine.tracing import Tracing
from orchestrator.errors import CallError
from orchestrator.telemetry import names
from orchestrator.telemetry.guard import Guard, Hide
from orchestrator.telemetry.metrics import CallMeter, Meters
from orchestrator.workflow.inner import WORKFLOW


class RunTracing(Tracing):
    """Traces the runs of an orchestrator, each with a guard of its own.

    Args:
        tracer: Makes the spans.
        meters: Measure the calls.
        hide: Hides the secrets of the servers.
    """

    def __init__(self, tracer: Tracer, meters: Meters, hide: Hide) -> None:
        self._tracer, self._meters, self._hide = tracer, meters, hide

    def run(self, workflow: str, run_id: str, schedule: str, first: str, origin: str) -> _Current:
        """See `Tracing`. A run that goes on with another is a trace of its own, linked to that."""
        root = self._root()
        name = root.text(workflow)
        about: dict[str, str | bool] = {
            names.OPERATION: names.INVOKE_WORKFLOW,
            names.AGENT: name,
            names.RUN_ID: run_id,
            names.SCHEDULE: schedule,
        }
        # Links, and no parents: those processes may have been gone for days.
        linked = {names.TAKEN_UP: _named(first), names.REUSES: _named(origin)}
        links = [Link(to, {names.LINK: why}) for why, to in linked.items() if to is not None]
        if linked[names.TAKEN_UP] is not None:
            about[names.RESUMED] = True
        return _Current(root.below(names.RUN_SPAN.format(name), about, links))

    def single(self) -> Trace:
        """What a call without a run is traced inside of: whatever its caller is."""
        return self._root()

    def _root(self) -> SpanTrace:
        guard = Guard(self._hide)
        meter = CallMeter(self._meters, guard)
        return SpanTrace(self._tracer, meter, guard, contexts.get_current())


def _named(identity: str) -> SpanContext | None:
    """What a `traceparent` names; None for no valid one."""
    parts = identity.split("-")
    try:
        numbers = [int(part, 16) for part in parts[1:]]
        trace_id, span_id, flags = numbers
    except ValueError:
        return None
    named = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))
    return named if named.is_valid else None


class SpanTrace(Trace):
    """A span, and what begins inside of it."""

    __slots__ = ("_guard", "_meter", "_span", "_task", "_tracer", "context", "text")

    def __init__(
        self,
        tracer: Tracer,
        meter: CallMeter,
        guard: Guard,
        context: Context,
        span: Span = trace.INVALID_SPAN,
        task: str = "",
    ) -> None:
        self._tracer, self._meter, self._guard = tracer, meter, guard
        self.context, self._span, self._task = context, span, task
        self.text = guard.text

    def below(
        self, name: str, about: Attributes, links: list[Link] | None = None, task: str = ""
    ) -> SpanTrace:
        """A span inside of this one, whatever the current one is."""
        nothing: Span = trace.INVALID_SPAN
        start = partial(self._tracer.start_span, attributes=about, links=links)
        span = self._guard(nothing, start, name, self.context)
        inside = trace.set_span_in_context(span, self.context)
        return SpanTrace(self._tracer, self._meter, self._guard, inside, span, task)

    @property
    def identity(self) -> str:
        """See `Trace`."""
        of = self._span.get_span_context()
        is_real = of.is_valid and self._span.is_recording()
        return f"00-{of.trace_id:032x}-{of.span_id:016x}-{of.trace_flags:02x}" if is_real else ""

    @property
    def carrier(self) -> Mapping[str, str]:
        """See `Trace`."""
        carrier: dict[str, str] = {}
        self._guard(None, propagate.inject, carrier, self.context)
        return carrier

    def task(self, path: str, task: str) -> SpanTrace:
        """See `Trace`."""
        about = {names.TASK: self._guard.text(path)}
        return self.below(names.TASK_SPAN.format(self._guard.text(task)), about, task=task)

    def item(self, index: int) -> SpanTrace:
        """See `Trace`."""
        name = names.ITEM_SPAN.format(self._guard.text(self._task))
        return self.below(name, {names.ITEM: index}, task=self._task)

    def attempt(self, call: Call, number: int) -> AbstractContextManager[Trace]:
        """See `Trace`."""
        name, about = _described(call, self._guard)
        about[names.ATTEMPT] = number
        if call.item is not None:
            about[names.ITEM] = call.item
        if call.turn:
            about[names.TURN] = call.turn + 1
        if call.is_fallback:
            about[names.FALLBACK] = True
        return _Attempt(self.below(name, about), call, self._meter)

    def end(self, result: Any, now_ms: float) -> None:
        """See `Trace`."""
        self._guard(None, self._end, result, now_ms)

    def _end(self, result: RunResult | TaskResult | ItemResult | None, now_ms: float) -> None:
        span = self._span
        if span.is_recording():
            match result:
                case RunResult():
                    self._end_run(result)
                case TaskResult() | ItemResult():
                    self._end_task(result, now_ms)
                case None:
                    self.fail("cancelled")
        span.end()

    def _end_run(self, result: RunResult) -> None:
        self._span.set_attribute(names.RUN_STATUS, result.status)
        if result.reason is not None:
            self._span.set_attribute(names.RUN_REASON, result.reason)
        counts = result.summary
        if result.error is not None:
            self.fail(result.error.kind, result.error.message)
        elif counts["failed"] or result.status in ("failed", "cancelled"):
            failed = f"{counts['failed']} of {counts['total']} tasks failed"
            self.fail(result.reason or "task_failed", failed)

    def _end_task(self, result: TaskResult | ItemResult, now_ms: float) -> None:
        about: dict[str, str | int | bool] = {names.STATUS: result.status}
        about[names.CALLS] = result.attempts
        if result.cached:
            about[names.CACHED] = True
        match result.outcome:
            case Failure(error):
                self.fail(error.kind, error.message)
            case Cancelled(reason):
                self.fail("cancelled", reason)
            case Skipped(reason):
                about[names.REASON] = self._guard.text(reason)
            case _ if result.error is not None:
                about[names.RECOVERED] = True
        self._span.set_attributes(about)
        now_ns = time.time_ns()
        for cause, since_ms, waited_ms in result.waits:
            since_ns = now_ns - round((now_ms - since_ms) * 1e6)
            self._span.add_event(names.WAIT, _wait(cause, waited_ms / 1000), since_ns)

    def fail(self, kind: str, message: str = "") -> None:
        """Say why it failed."""
        self._span.set_attribute(names.ERROR_TYPE, kind)
        self._span.set_status(Status(StatusCode.ERROR, self._guard.text(message) or None))

    def end_attempt(self, error: BaseException | None) -> None:
        """An attempt has ended; a timeout and a cancellation leave it as errors do."""
        match error:
            case None:
                pass
            case CallError():
                self._guard(None, self.fail, error.kind, error.error.message)
            case _ if isinstance(error, get_cancelled_exc_class()):
                self._guard(None, self.fail, "cancelled")
            case _:
                self._guard(None, self.fail, type(error).__name__)
        self._guard(None, self._span.end)


class _Current:
    """Makes a span current in a block."""

    def __init__(self, trace: SpanTrace) -> None:
        self._trace = trace

    def __enter__(self) -> SpanTrace:
        self._token = contexts.attach(self._trace.context)
        return self._trace

    def __exit__(self, *_: object) -> None:
        contexts.detach(self._token)


class _Attempt:
    """An attempt while its block runs: its span is current there, so the SDK's own is below it."""

    def __init__(self, trace: SpanTrace, call: Call, meter: CallMeter) -> None:
        self._trace, self._current = trace, _Current(trace)
        self._measured = None if call.server == WORKFLOW else meter.measured(call)

    def __enter__(self) -> SpanTrace:
        if self._measured is not None:
            self._measured.begin()
        return self._current.__enter__()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._current.__exit__()
        self._trace.end_attempt(error)
        if self._measured is not None:
            self._measured.end(error)


def _described(call: Call, guard: Guard) -> tuple[str, dict[str, str | int | bool]]:
    """The name and the attributes of an attempt; its arguments are in neither."""
    tool, about = guard.text(call.tool), dict[str, str | int | bool]()
    about[names.TASK] = guard.text(call.task)
    if call.server == WORKFLOW:
        about |= {names.OPERATION: names.INVOKE_WORKFLOW, names.AGENT: tool}
        return names.RUN_SPAN.format(tool), about
    about[names.SERVER] = guard.text(call.server)
    if call.kind == "read":
        return names.READ_SPAN, about
    if call.kind == "prompt":
        about[names.PROMPT] = tool
        return names.PROMPT_SPAN.format(tool), about
    about |= {names.OPERATION: names.EXECUTE_TOOL, names.TOOL: tool}
    return names.TOOL_SPAN.format(tool), about


def _wait(cause: Cause, seconds: float) -> Attributes:
    about: dict[str, str | float] = {names.WAIT_REASON: cause.kind, names.WAIT_S: seconds}
    # The name of a lock is made of arguments.
    if cause.of and cause.kind not in ("lock", "other"):
        about[names.WAIT_FOR] = cause.of
    return about
