"""A forecast in words: the lines below the table, and the one line of a picture.

The rule of this file: text for people out of a forecast; every list in it has a bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

from orchestrator.documents.text import counted, duration, listed
from orchestrator.report.call_counts import Count
from orchestrator.report.effects import Effects, Risk
from orchestrator.report.forecast import Forecast, ServerForecast, TaskForecast
from orchestrator.workflow.model import Schedule

MAX_NAMED = 8
MAX_LINES = 6

ToolUses = dict[str, tuple[Effects, list[str]]]


def in_brief(forecast: Forecast) -> str:
    """The plan in one line: its tasks, its calls, its time."""
    plan = forecast.workflow.plan
    widest = max(map(len, plan.generations))
    time = _time(forecast)
    return (
        f"{counted(len(plan.tasks), 'task')} in {counted(len(plan.generations), 'generation')}, "
        f"at most {counted(widest, 'task')} at once; {_calls(forecast.calls)}"
        + (f"; {time}" if time else "")
    )


def lines_of(forecast: Forecast) -> Iterator[str]:
    """What the table does not say, a line each: the critical path, servers, effects, limits."""
    yield f"{forecast.workflow.name}: {in_brief(forecast)}"
    yield _critical_path(forecast)
    yield from _servers(forecast.servers)
    yield from _effects(forecast)
    yield from _locks(forecast)
    yield f"limits: {', '.join(_limits(forecast))}"
    yield from _bounds(forecast)


def uses(forecast: Forecast) -> ToolUses:
    """Each tool that may be called, with what it declares and the tasks that may call it."""
    found: ToolUses = {}
    for name, task in forecast.tasks.items():
        for target, effects in task.tools if task.calls_something else ():
            found.setdefault(target, (effects, []))[1].append(name)
    return found


def _critical_path(forecast: Forecast) -> str:
    path = forecast.critical_path
    if not path:
        return "critical path: none, nothing is called"
    if forecast.seconds is None:
        long = f"{counted(len(path), 'task')}, no times are known"
    else:
        long = _seconds(forecast.length)
    return f"critical path, marked * ({long}): {listed(path, MAX_NAMED, ' > ')}"


def _time(forecast: Forecast) -> str:
    if forecast.seconds is None:
        return ""
    schedule = forecast.workflow.schedule
    other: Schedule = "dataflow" if schedule == "generations" else "generations"
    at_least = "at least " if forecast.calls.most is None else ""
    known = ""
    if (tasks := len(forecast.tasks)) > forecast.measured:
        known = f", from the times of {forecast.measured:,} of {tasks:,}"
    return (
        f"expected: {at_least}{_seconds(forecast.seconds[schedule])} by {schedule} "
        f"({_seconds(forecast.seconds[other])} by {other}{known})"
    )


def _servers(servers: Iterable[ServerForecast]) -> Iterator[str]:
    now = [_server(server) for server in servers if server.first]
    later = [
        f"{_server(server)} for generation {server.generation}"
        for server in servers
        if not server.first
    ]
    yield f"servers started at once: {listed(now, MAX_NAMED) or 'none'}"
    if later:
        yield f"servers started while these tasks run: {listed(later, MAX_NAMED)}"


def _server(server: ServerForecast) -> str:
    settings = server.settings
    if settings is None:
        return server.name
    said = [
        f"{settings.sessions} sessions" if settings.sessions > 1 else "",
        "required" if settings.required else "",
    ]
    told = ", ".join(filter(None, said))
    return f"{server.name} ({told})" if told else server.name


_SAID: Mapping[Risk | bool | None, str] = {
    "destroys": "destructive",
    "may": "may be destructive (undeclared)",
    "writes": "write, and are not destructive",
    True: "open-world",
    None: "may be open-world (undeclared)",
    "unknown": "not known",
}


def _effects(forecast: Forecast) -> Iterator[str]:
    """Each effect with the tools that have it, and the tasks that call them."""
    tools = uses(forecast)
    if tools and not any(effects.known for effects, _ in tools.values()):
        yield "effects: not known"
        return
    named: dict[Risk | bool | None, list[str]] = defaultdict(list)
    for target, (effects, tasks) in tools.items():
        named[effects.risk].append(f"{target} in {listed(tasks, 3)}")
        if effects.known:
            named[effects.open_world].append(f"{target} in {listed(tasks, 3)}")
    for said, text in _SAID.items():
        if said in named:
            yield f"{text}: {listed(named[said], MAX_NAMED)}"


def _locks(forecast: Forecast) -> Iterator[str]:
    held: dict[str, list[str]] = defaultdict(list)
    for name, task in forecast.tasks.items():
        for lock in task.locks:
            held[f"{lock.name}{' (shared)' if lock.shared else ''}"].append(name)
    if held:
        named = [f"{lock} in {listed(tasks, 3)}" for lock, tasks in held.items()]
        yield f"locks: {listed(named, MAX_NAMED)}"


def _limits(forecast: Forecast) -> Iterator[str]:
    workflow = forecast.workflow
    slots = workflow.max_concurrency
    yield f"{counted(slots, 'call')} at a time" if slots else "any number of calls at a time"
    if workflow.timeout_s is not None:
        yield f"{workflow.timeout_s:g} s for the run"
    writing = {
        target.partition(":")[0]
        for target, (effects, _) in uses(forecast).items()
        if effects.read_only is False
    }
    for server in forecast.servers:
        yield from _limits_of(server)
        settings = server.settings
        if server.name in writing and settings is not None and settings.writes == "serial":
            yield f"writers take turns on {server.name}"


def _limits_of(server: ServerForecast) -> Iterator[str]:
    settings = server.settings
    if settings is None:
        return
    if settings.max_concurrency is not None:
        yield f"{settings.max_concurrency} at a time on {server.name}"
    if settings.rate is not None:
        yield f"{settings.rate} on {server.name}"
    for name, limited in settings.tools.items():
        yield f"{limited.max_concurrency} at a time of {server.name}:{name}"


def _bounds(forecast: Forecast) -> Iterator[str]:
    """Where the number of calls is not simply one for each task, and what it can come to."""
    told = [task for task in forecast.tasks.values() if task.calls.why]
    for task in told[:MAX_LINES]:
        yield f"calls of {task.task.id}: {_bound(task)}"
    if len(told) > MAX_LINES:
        yield f"and {len(told) - MAX_LINES:,} more tasks like these"
    if forecast.ceiling is not None and forecast.ceiling != forecast.calls.most:
        yield f"calls with every retry and fallback: {forecast.ceiling:,} at most"


def _bound(task: TaskForecast) -> str:
    calls = task.calls
    if calls.is_exact:
        return f"{calls.least:,}, {calls.why}"
    if calls.most is None:
        return f"not known ({calls.why})" + (f", {calls.least:,} at least" if calls.least else "")
    return f"{calls.least:,} to {calls.most:,}, {calls.why}"


def _calls(calls: Count) -> str:
    if calls.most is None:
        least = counted(calls.least, "call")
        return f"at least {least}" if calls.least else "any number of calls"
    if calls.is_exact:
        return counted(calls.least, "call")
    return f"{calls.least:,} to {counted(calls.most, 'call')}"


def _seconds(seconds: float) -> str:
    return duration(seconds * 1000) if seconds < 120 else f"{seconds / 60:.0f} min"
