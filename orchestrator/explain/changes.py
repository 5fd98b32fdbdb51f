"""The changes to its settings that a run may have gained from, and what each saves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from orchestrator.documents.text import quoted
from orchestrator.explain.path import Analysis
from orchestrator.explain.sessions import served_ms
from orchestrator.explain.story import Span
from orchestrator.explain.what_if import Settings, WhatIf
from orchestrator.workflow.model import Schedule

TRIED_SERVERS = 5  # those with the most time on the path
TRIED_TASKS = 3
WORTH_MS = 1.0
_MOST = 1000  # what a limit is raised to that is as good as none


@dataclass(frozen=True, slots=True)
class Change:
    """A change, and what the run would have taken with it.

    Attributes:
        kind: `schedule`, `max_concurrency`, `server_limit`, `rate`, `writes`, `faster_server`,
            `without_task`, `sessions` or `started`.
        of: The server, `server:pattern` or task; empty for the run.
        words: What is changed, as a sentence has it.
        how: What to write; empty for one that no setting makes.
        settings: The settings with it.
        duration_ms: What the run takes.
        saves_ms: How much less that is.
    """

    kind: str
    of: str
    words: str
    how: str
    settings: Settings
    duration_ms: float = 0.0
    saves_ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The change as a JSON object."""
        names = ("kind", "of", "words", "how")
        times = {name: round(getattr(self, name), 3) for name in ("duration_ms", "saves_ms")}
        return {name: getattr(self, name) for name in names} | times


def best_changes(
    analysis: Analysis, what_if: WhatIf, settings: Settings
) -> tuple[float, list[Change]]:
    """What the engine takes as it was, milliseconds, and the changes, the best one first."""
    as_it_was_ms = what_if.duration_ms(settings)
    found = []
    for change in _candidates(analysis, settings):
        took_ms = what_if.duration_ms(change.settings)
        saves_ms = as_it_was_ms - took_ms
        if saves_ms >= WORTH_MS:
            found.append(replace(change, duration_ms=took_ms, saves_ms=saves_ms))
    return as_it_was_ms, sorted(found, key=lambda change: -change.saves_ms)


def _candidates(analysis: Analysis, settings: Settings) -> Iterator[Change]:
    story = analysis.story
    other: Schedule = "dataflow" if story.schedule == "generations" else "generations"
    words, how = f"schedule {other}", f"--schedule {other}"
    yield Change("schedule", "", words, how, replace(settings, schedule=other))
    waited = {wait.cause for wait in analysis.waits if wait.cause is not None}
    for cause in sorted(waited):
        match cause.kind:
            case "max_concurrency":
                for limit in (2 * settings.max_concurrency, 0):
                    words = f"max_concurrency {limit}" if limit else "no max_concurrency of the run"
                    changed = replace(settings, max_concurrency=limit)
                    how = f"--max-concurrency {limit}"
                    yield Change("max_concurrency", "", words, how, changed)
            case "server_limit" | "rate" | "writers":
                yield from _of_server(settings, cause.kind, cause.of)
            case "server_start":
                words, how = "servers that are ready from the start", "orchestrator up"
                yield Change("started", "", words, how, replace(settings, started=True))
    yield from _of_sessions(analysis, settings)
    servers: dict[str, float] = {}
    tasks: dict[str, float] = {}
    for step in analysis.path:
        if step.cause is None:
            tasks[step.span.task] = tasks.get(step.span.task, 0.0) + step.took_ms
            servers[step.span.server] = servers.get(step.span.server, 0.0) + step.took_ms
    for name in _longest(servers, TRIED_SERVERS):
        if name:
            words = f"server {quoted(name)} answering twice as fast"
            yield Change("faster_server", name, words, "", _factor(settings, name, 0.5))
    for name in _longest(tasks, TRIED_TASKS):
        words = f"without the time of task {quoted(name)}"
        yield Change("without_task", name, words, "", _factor(settings, name, 0.0))


def _longest(times: Mapping[str, float], most: int) -> list[str]:
    return sorted(times, key=lambda name: -times[name])[:most]


def _factor(settings: Settings, of: str, factor: float) -> Settings:
    return replace(settings, factors={of: factor})


def _of_sessions(analysis: Analysis, settings: Settings) -> Iterator[Change]:
    """Twice the sessions of each server whose calls seem to wait for each other inside of it."""
    by_server: dict[str, list[Span]] = defaultdict(list)
    for span in analysis.story.spans:
        if span.server:
            by_server[span.server].append(span)
    for server, spans in by_server.items():
        limits = settings.limits.get(server, {})
        own, most = limits.get("sessions", 1), limits.get("max_concurrency")
        sessions = min(2 * own, most) if isinstance(most, int) and most else 2 * own
        served = served_ms(spans, own) if sessions > own else None
        if served is not None:
            more = {**limits, "sessions": sessions, "max_concurrency": sessions}
            changed = replace(settings, limits={**settings.limits, server: more}, times=served)
            words = f"{sessions} sessions of {quoted(server)}, which seems to do one call at a time"
            how = f"[servers.{server}] sessions = {sessions}"
            yield Change("sessions", server, words, how, changed)


def _of_server(settings: Settings, kind: str, of: str) -> Iterator[Change]:
    """Changes of one limit of a server, or of tools of it."""
    server, has_pattern, pattern = of.partition(":")
    limits = dict(settings.limits.get(server, {}))
    tools = dict(limits.get("tools", {}))
    own = dict(tools.get(pattern, {})) if has_pattern else limits
    table = f"[servers.{server}.tools.{quoted(pattern)}]" if has_pattern else f"[servers.{server}]"

    def changed(name: str, value: Any) -> Change:
        new = {**own, name: value}
        all_limits = {**limits, "tools": {**tools, pattern: new}} if has_pattern else new
        words = f"{name} {value} for {quoted(of)}"
        how = f"{table} {name} = {value if isinstance(value, int) else quoted(str(value))}"
        of_all = {**settings.limits, server: all_limits}
        called = "writes" if kind == "writers" else kind
        return Change(called, of, words, how, replace(settings, limits=of_all))

    if kind == "writers":
        yield changed("writes", "parallel")
    elif kind == "rate" and isinstance(own.get("rate"), str):
        count, _, unit = own["rate"].partition("/")
        yield changed("rate", f"{2 * int(count)}/{unit}")
    elif isinstance(own.get("max_concurrency"), int):
        yield changed("max_concurrency", 2 * own["max_concurrency"])
        yield changed("max_concurrency", _MOST)
