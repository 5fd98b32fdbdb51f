"""Where the time of a run went, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from orchestrator.calls.causes import Cause, Kind
from orchestrator.documents.text import counted, duration, name_of
from orchestrator.explain.changes import Change
from orchestrator.explain.path import Analysis, Step

MOST_STEPS = 20
MOST_WAITS = 5
BEST = 3
_SETTINGS: Mapping[Kind, str] = {
    "max_concurrency": "max_concurrency",
    "server_limit": "max_concurrency",
    "writers": "writes = serial",
    "retry": "backoff of retry",
    "repeat": "every_s of repeat",
    "items": "max_parallel",
}
# What calls of other runs hold, too, where runs share their servers.
SHARED: frozenset[Kind] = frozenset({"server_limit", "writers", "turn", "lock"})
OFF_SHARE = 0.05  # of the time of the run, by which the engine may be off without a word


def words(cause: Cause) -> str:
    """What was waited for, with the setting that decides it."""
    setting = _SETTINGS.get(cause.kind)
    start = "the start of " if cause.kind == "server_start" else ""
    return f"{start}{cause}{f' ({setting})' if setting else ''}" or "the engine and the journal"


def path_lines(analysis: Analysis) -> Iterator[str]:
    """The path, a line for each step; of a long one the longest steps."""
    path = [step for step in analysis.path if step.took_ms > 0]
    shown = set(map(id, sorted(path, key=lambda step: -step.took_ms)[:MOST_STEPS]))
    for step in path:
        if id(step) in shown:
            yield f"{duration(step.from_ms):>8}  {step_words(step)}"
    if (more := len(path) - len(shown)) > 0:
        yield f"{'':8}  and {counted(more, 'shorter step')} (--json has all)"


def step_words(step: Step) -> str:
    """A step of the path, or a wait."""
    name, took = name_of(step.span.where), duration(step.took_ms)
    if step.cause is None:
        return f"{name} ({name_of(step.span.target)}) took {took}"
    held = ""
    if step.holder is not None:
        held = f", held by {name_of(step.holder.where)}"
    elif step.cause.kind in SHARED:  # a record says nothing of other runs
        held = ", held by no call of this run"
    return f"{name} waited {took} for {words(step.cause)}{held}"


def wait_lines(analysis: Analysis) -> Iterator[str]:
    """The longest waits, and how many more there are."""
    waits = analysis.waits
    yield from map(step_words, waits[:MOST_WAITS])
    if more := waits[MOST_WAITS:]:
        in_all = sum(wait.took_ms for wait in more)
        yield f"and {counted(len(more), 'more wait')}, {duration(in_all)} together (--json has all)"


def best(changes: Sequence[Change]) -> list[Change]:
    """The changes that save most, each setting once."""
    seen: set[tuple[str, str]] = set()
    found = []
    for change in changes:
        if (change.kind, change.of) not in seen:
            seen.add((change.kind, change.of))
            found.append(change)
    return found[:BEST]


def change_lines(changes: Sequence[Change], as_it_was_ms: float) -> Iterator[str]:
    """The best changes."""
    for number, change in enumerate(best(changes), 1):
        how = f" ({change.how})" if change.how else ""
        share = change.saves_ms / as_it_was_ms if as_it_was_ms else 0.0
        saves = f"saves {duration(change.saves_ms)}, {share:.0%}"
        yield f"{number}. {change.words}{how}: {duration(change.duration_ms)}, {saves}"


def doubt(analysis: Analysis, as_it_was_ms: float) -> str:
    """What has to be said of these numbers; empty if nothing."""
    took_ms = analysis.story.duration_ms
    if abs(took_ms - as_it_was_ms) <= max(OFF_SHARE * took_ms, 10.0):
        return ""
    return (
        f"The engine alone, with the recorded times, takes {duration(as_it_was_ms)} for this run, "
        f"which took {duration(took_ms)}: what is saved is against the former."
    )
