"""A forecast in a few lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from orchestrator.calls.policy import is_approved
from orchestrator.documents.text import counted, duration, listed, name_of, quoted, visible
from orchestrator.report.forecast import Forecast
from orchestrator.servers.config import TrustedTask, locking_of
from orchestrator.workflow.budget import Budget, amounts

MAX_NAMED = 8
_KEYS = "idempotency keys"
_OF_ALL = {
    "host": " (of all processes of this machine)",
    "cluster": " (of all processes with this journal)",
}
_RISKS = {"destroys": "destructive", "may": "possibly destructive", "unknown": "unknown tools"}


def summary(forecast: Forecast) -> str:
    """The size of a plan: `7 tasks in 4 generations, up to 3 in parallel, 7 calls`."""
    plan = forecast.workflow.plan
    return (
        f"{plan.shape}, up to {max(map(len, plan.generations)):,} in parallel, {_calls(forecast)}"
    )


def lines_of(forecast: Forecast) -> Iterator[str]:
    """What the table of the tasks does not show, line by line."""
    yield f"{name_of(forecast.workflow.name)}: {summary(forecast)}"
    yield f"critical path (*): {_named(forecast.critical_path, ' > ')}"
    if forecast.workflow.schedule == "dataflow":
        yield "schedule: dataflow, so a task starts as soon as all it needs has settled"
    yield from _expected_time(forecast)
    number_of_last = len(forecast.workflow.plan.generations)
    later = [
        f"{name} ({'finally' if number == number_of_last else f'generation {number}'})"
        for name, number in forecast.later.items()
    ]
    after = f"; later: {listed(later, MAX_NAMED)}" if later else ""
    yield f"servers: {listed(forecast.first, MAX_NAMED) or 'none'}{after}"
    yield from _effects(forecast)
    kept = {name: task.task.policies.cache for name, task in forecast.tasks.items()}
    if cached := [f"{name_of(name)} ({of.ttl_s:g} s)" for name, of in kept.items() if of]:
        yield f"answers kept: {listed(cached, MAX_NAMED)}"
    if asks := [name for name, task in forecast.tasks.items() if task.task.kind == "ask"]:
        yield f"asks a person: {_named(asks)}"
    if approved := [name for name in forecast.tasks if _is_approved(forecast, name)]:
        yield f"approved by a person before each call: {_named(approved)}"
    yield f"limits: {'; '.join(_limits(forecast)) or 'none'}"


def operator_lines(budget: Budget | None, trusted: Iterable[TrustedTask]) -> Iterator[str]:
    """What servers.toml grants the runs of a workflow, and the tasks that it answers for."""
    if budget is not None:
        granted = amounts(budget.model_dump(exclude_none=True))
        yield f"operator's budget of a run: {granted}; once more for all finally"
    for each in trusted:
        yield f"operator answers for {name_of(each.task)}: {visible(each.because)}"


def _is_approved(forecast: Forecast, name: str) -> bool:
    """Whether a person is asked before the calls of a task, as the task or its server says."""
    foreseen = forecast.tasks[name]
    task, server = foreseen.task, forecast.servers.get(foreseen.task.server)
    if task.policies.approve is not None:
        return True
    if server is None or not server.approve or task.kind != "tool":
        return False
    may_destroy = foreseen.effects[task.target].risk not in ("reads", "writes")
    return is_approved(server.approve, task.tool, may_destroy)


def _named(names: Iterable[str], between: str = ", ") -> str:
    return listed(map(name_of, names), MAX_NAMED, between)


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
    seconds = dict(forecast.seconds)
    own = seconds.pop(forecast.workflow.schedule)
    ((other, others),) = seconds.items()
    at_least = "at least " if forecast.calls.most is None else ""
    measured, tasks = forecast.measured, len(forecast.tasks)
    yield (
        f"expected time: {at_least}{_seconds(own)} ({other}: {_seconds(others)}), critical path "
        f"{_seconds(forecast.length)}"
        + (f"; measured times of {measured:,} of {tasks:,} tasks" if measured < tasks else "")
        + _measured_in(forecast.runs)
    )


def _measured_in(runs: int | None) -> str:
    if runs is None:
        return ""
    return f" (P50 of {counted(runs, 'run')})" if runs else " (P50 of the tools in other workflows)"


def _effects(forecast: Forecast) -> Iterator[str]:
    """The calls that deserve a look, by effect; those of fallbacks included."""
    found: dict[str, list[str]] = {kind: [] for kind in (*_RISKS.values(), "open-world", _KEYS)}
    for name, task in forecast.tasks.items():
        for target, effects in task.effects.items():
            if effects.risk in _RISKS:
                found[_RISKS[effects.risk]].append(f"{name} ({target})")
            if effects.open_world:
                found["open-world"].append(f"{name} ({target})")
            if effects.idempotency_argument:
                found[_KEYS].append(f"{name} ({target}, as {effects.idempotency_argument})")
    yield from (f"{kind}: {_named(names)}" for kind, names in found.items() if names)


def _limits(forecast: Forecast) -> Iterator[str]:
    workflow = forecast.workflow
    if workflow.max_concurrency:
        yield f"at most {counted(workflow.max_concurrency, 'call')} in flight"
    if workflow.timeout_s is not None:
        yield f"{workflow.timeout_s:g} s for the run"
    if (budget := workflow.budget) is not None:
        yield f"budget: {amounts(budget.model_dump(exclude_none=True))}"
    writing = {
        target.partition(":")[0]
        for task in forecast.tasks.values()
        for target, effects in task.effects.items()
        if effects.read_only is False
    }
    for name in [*forecast.first, *forecast.later]:
        if (settings := forecast.servers.get(name)) is None:
            continue
        in_flight = {"": settings.max_concurrency}
        in_flight |= {f" of {tool}": of.max_concurrency for tool, of in settings.tools.items()}
        limits = [f"{number}{what} in flight" for what, number in in_flight.items() if number]
        limits += [settings.rate] if settings.rate else []
        limits += [f"{of.rate} of {tool}" for tool, of in settings.tools.items() if of.rate]
        if settings.writes == "serial" and name in writing:
            limits.append("writes one at a time")
        if limits:
            of_all = _OF_ALL.get(settings.scope, "")
            yield f"{name}: {', '.join(limits)}{of_all}"
    resources = locking_of(forecast.servers).resources
    for hold in workflow.plan.locks:
        if hold.number is not None:
            yield f"{resources.get(hold.name, 1)} of {quoted(hold.name)} for tasks to hold"


def _seconds(seconds: float) -> str:
    return duration(seconds * 1000) if seconds < 120 else f"{seconds / 60:.0f} min"
