"""A forecast in words: the lines below the table, and the one line of a picture.

The rule of this file: text for people out of a forecast; every list in it has a bound.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from orchestrator.counting import Count
from orchestrator.effects import Effects
from orchestrator.forecast import Forecast, ServerForecast, TaskForecast
from orchestrator.workflow import Schedule

MAX_NAMED = 8
MAX_LINES = 6

ToolUses = dict[str, tuple[Effects, list[str]]]


def in_brief(forecast: Forecast) -> str:
    """The plan in one line: its tasks, its calls, its time."""
    plan = forecast.workflow.plan
    widest = max(map(len, plan.generations))
    time = _time(forecast)
    return (
        f"{_number(len(plan.tasks), 'task')} in {_number(len(plan.generations), 'generation')}, "
        f"at most {_number(widest, 'task')} at once; {_calls(forecast.calls)}"
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
        long = f"{_number(len(path), 'task')}, no times are known"
    else:
        long = _seconds(forecast.length)
    return f"critical path, marked * ({long}): {_listed(path, ' > ')}"


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
    yield f"servers started at once: {_listed(now) or 'none'}"
    if later:
        yield f"servers started while these tasks run: {_listed(later)}"


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


_SAYING: tuple[tuple[str, Callable[[Effects], bool]], ...] = (
    ("destructive", lambda effects: effects.may_write and effects.destructive is True),
    (
        "may be destructive (undeclared)",
        lambda effects: effects.may_write and effects.destructive is None,
    ),
    (
        "write, and are not destructive",
        lambda effects: effects.may_write and effects.destructive is False,
    ),
    ("open-world", lambda effects: effects.known and effects.open_world is True),
    (
        "may be open-world (undeclared)",
        lambda effects: effects.known and effects.open_world is None,
    ),
    ("not known", lambda effects: not effects.known),
)


def _effects(forecast: Forecast) -> Iterator[str]:
    """Each effect with the tools that have it, and the tasks that call them."""
    tools = uses(forecast)
    if tools and not any(effects.known for effects, _ in tools.values()):
        yield "effects: not known"
        return
    for text, has in _SAYING:
        named = [
            f"{target} in {_listed(tasks, most=3)}"
            for target, (effects, tasks) in tools.items()
            if has(effects)
        ]
        if named:
            yield f"{text}: {_listed(named)}"


def _locks(forecast: Forecast) -> Iterator[str]:
    held: dict[str, list[str]] = defaultdict(list)
    for name, task in forecast.tasks.items():
        for lock in task.locks:
            held[f"{lock.name}{' (shared)' if lock.shared else ''}"].append(name)
    if held:
        named = [f"{lock} in {_listed(tasks, most=3)}" for lock, tasks in held.items()]
        yield f"locks: {_listed(named)}"


def _limits(forecast: Forecast) -> Iterator[str]:
    workflow = forecast.workflow
    slots = workflow.max_concurrency
    yield f"{_number(slots, 'call')} at a time" if slots else "any number of calls at a time"
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
        least = _number(calls.least, "call")
        return f"at least {least}" if calls.least else "any number of calls"
    if calls.is_exact:
        return _number(calls.least, "call")
    return f"{calls.least:,} to {_number(calls.most, 'call')}"


def _listed(names: Iterable[str], between: str = ", ", most: int = MAX_NAMED) -> str:
    """Names in a line; of very many the first ones."""
    all_names = list(names)
    shown = between.join(all_names[:most])
    more = len(all_names) - most
    return f"{shown} and {more:,} more" if more > 0 else shown


def _number(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _seconds(seconds: float) -> str:
    if seconds < 1:
        milliseconds = seconds * 1000
        return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.1f} ms"
    return f"{seconds:.2f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
