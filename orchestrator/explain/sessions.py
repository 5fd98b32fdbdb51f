"""Which servers seem to do one call at a time in each session, from the times of their calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from statistics import fmean, pstdev

from orchestrator.explain.story import Span

MIN_CALLS = 4
SURE = 2.0  # how much more alike calls have to be without the time that they waited for others


def served_ms(spans: Iterable[Span], sessions: int) -> Mapping[str, float] | None:
    """What a server worked for each of its calls, by item, if it does one at a time.

    None if it does not seem so. Where calls wait for each other inside a server, the later ones
    take longer, by what those before them took. Where they do not, that difference is noise: so it
    does one at a time if calls of a tool are much more alike without it.
    """
    calls = sorted(spans, key=lambda span: span.ended_ms)
    if len(calls) < MIN_CALLS or any(len(span.calls_ms) > 1 for span in calls):
        return None
    served: dict[str, float] = {}
    free_ms = [0.0] * sessions  # when each session has answered its last call
    by_tool: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for span in calls:
        session = min(range(sessions), key=free_ms.__getitem__)
        own_ms = span.ended_ms - max(span.started_ms, free_ms[session])
        free_ms[session] = span.ended_ms
        served[span.where] = own_ms
        by_tool[span.target].append((own_ms, span.duration_ms))
    spread = [_spread(column) for rows in by_tool.values() for column in zip(*rows, strict=True)]
    own, whole = sum(spread[::2]), sum(spread[1::2])
    return served if own * SURE < whole else None


def _spread(times: Iterable[float]) -> float:
    """The standard deviation over the mean, weighted by the number of times."""
    found = list(times)
    mean = fmean(found)
    return pstdev(found) / mean * len(found) if mean else 0.0
