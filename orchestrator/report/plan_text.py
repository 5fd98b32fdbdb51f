"""A forecast in a few lines of text, each of bounded length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.documents.text import counted, duration, listed
from orchestrator.expressions.templates import written
from orchestrator.report.forecast import Forecast, ServerForecast
from orchestrator.workflow.model import Schedule

MAX_NAMED = 8


def summary(forecast: Forecast) -> str:
    """The size of a plan: `7 tasks in 4 generations, up to 3 in parallel, 7 calls`."""
    plan = forecast.workflow.plan
    return (
        f"{counted(len(plan.tasks), 'task')} in {counted(len(plan.generations), 'generation')}, "
        f"up to {max(map(len, plan.generations)):,} in parallel, {_calls(forecast)}"
    )


def lines_of(forecast: Forecast) -> Iterator[str]:
    """What the table of the tasks does not show, line by line."""
    yield f"{forecast.workflow.name}: {summary(forecast)}"
    path = listed(forecast.critical_path, MAX_NAMED, " > ")
    yield f"critical path (marked *): {path}" if path else "critical path: none"
    yield from _expected_time(forecast)
    for when, names in _servers(forecast.servers):
        yield f"servers started {when}: {listed(names, MAX_NAMED)}"
    for what, names in _effects(forecast):
        yield f"{what}: {listed(names, MAX_NAMED)}"
    locks = [
        f"{written(lock.name)}{', shared' if lock.shared else ''} ({name})"
        for name, task in forecast.tasks.items()
        for lock in task.task.policies.locks
    ]
    if locks:
        yield f"locks: {listed(locks, MAX_NAMED)}"
    yield f"limits: {'; '.join(_limits(forecast)) or 'none'}"


def _calls(forecast: Forecast) -> str:
    calls, ceiling = forecast.calls, forecast.ceiling
    if calls.most is None:
        return f"at least {counted(calls.least, 'call')}" if calls.least else "any number of calls"
    least = "" if calls.least == calls.most else f"{calls.least:,} to "
    repeated = "" if ceiling == calls.most else f" (at most {ceiling:,} with retries and fallbacks)"
    return f"{least}{counted(calls.most, 'call')}{repeated}"


def _expected_time(forecast: Forecast) -> Iterator[str]:
    if forecast.seconds is None:
        return
    schedule = forecast.workflow.schedule
    other: Schedule = "dataflow" if schedule == "generations" else "generations"
    at_least = "at least " if forecast.calls.most is None else ""
    measured, tasks = forecast.measured, len(forecast.tasks)
    yield (
        f"expected time: {at_least}{_seconds(forecast.seconds[schedule])} "
        f"({other}: {_seconds(forecast.seconds[other])}), critical path "
        f"{_seconds(forecast.length)}"
        + (f"; measured times of {measured:,} of {tasks:,} tasks" if measured < tasks else "")
    )


def _servers(servers: Iterable[ServerForecast]) -> Iterator[tuple[str, list[str]]]:
    first = [_server(server) for server in servers if server.first]
    later = [_server(server) for server in servers if not server.first]
    yield "first", first or ["none"]
    if later:
        yield "later", later


def _server(server: ServerForecast) -> str:
    sessions = 1 if server.settings is None else server.settings.sessions
    notes = [] if server.first else [f"generation {server.generation}"]
    notes += [f"{sessions} sessions"] if sessions > 1 else []
    return f"{server.name} ({', '.join(notes)})" if notes else server.name


def _effects(forecast: Forecast) -> Iterator[tuple[str, list[str]]]:
    """The calls that deserve a second look, by effect."""
    calls = [
        (f"{name} ({target})", effects)
        for name, task in forecast.tasks.items()
        for target, effects in task.effects.items()
        if task.calls.most != 0  # a task that is certainly skipped has no effects
    ]
    for what, names in {
        "destructive calls": [name for name, effects in calls if effects.risk == "destroys"],
        "possibly destructive calls": [name for name, effects in calls if effects.risk == "may"],
        "open-world calls": [name for name, effects in calls if effects.open_world],
        "calls of unknown tools": [name for name, effects in calls if not effects.known],
    }.items():
        if names:
            yield what, names


def _limits(forecast: Forecast) -> Iterator[str]:
    workflow = forecast.workflow
    if workflow.max_concurrency:
        yield f"at most {counted(workflow.max_concurrency, 'call')} in flight"
    if workflow.timeout_s is not None:
        yield f"{workflow.timeout_s:g} s for the run"
    writing = {
        target.partition(":")[0]
        for task in forecast.tasks.values()
        for target, effects in task.effects.items()
        if effects.read_only is False and task.calls.most != 0
    }
    for server in forecast.servers:
        if limits := list(_limits_of(server, server.name in writing)):
            yield f"{server.name}: {', '.join(limits)}"


def _limits_of(server: ServerForecast, is_written: bool) -> Iterator[str]:
    settings = server.settings
    if settings is None:
        return
    if settings.max_concurrency is not None:
        yield f"{settings.max_concurrency} in flight"
    if settings.rate is not None:
        yield settings.rate
    for name, limited in settings.tools.items():
        yield f"{limited.max_concurrency} of {name} in flight"
    if is_written and settings.writes == "serial":
        yield "writes one at a time"


def _seconds(seconds: float) -> str:
    return duration(seconds * 1000) if seconds < 120 else f"{seconds / 60:.0f} min"
