"""Pictures of a run: its graph with how each task ended, and its timeline.

SVG without styles of its own: the page that holds it has them, by class.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from orchestrator.documents.text import MAX_NAME, cut, duration
from orchestrator.explain.story import Span
from orchestrator.report.drawing import LETTER, curve, letters, shorten, xml
from orchestrator.report.layout import Box, Layout, lay_out
from orchestrator.report.run_history import RunHistory
from orchestrator.workflow.graph import union

if TYPE_CHECKING:
    from orchestrator.workflow.graph import Graph
    from orchestrator.workflow.plan import Plan

MAX_LETTERS = 24
BOX_HEIGHT, PADDING, MARGIN = 24.0, 10.0, 8.0
MAX_DRAWN = 2000  # tasks: a larger graph is too dense to read
ROW, BAR, LABEL, WIDTH = 16.0, 11.0, 190.0, 1000.0
MAX_ROWS = 1500  # of the timeline: the longest calls, if there are more
TICKS = 5


def graph(history: RunHistory) -> str:
    """The graph of the tasks; empty if it is too large to be read."""
    plan = history.plan
    if len(plan.tasks) > MAX_DRAWN:
        return ""
    graphs, columns = drawn(plan)
    widths = {
        name: letters(shorten(name, MAX_LETTERS)) * LETTER + 2 * PADDING for name in plan.tasks
    }
    layout = lay_out(graphs, columns, widths, BOX_HEIGHT)
    path = history.path
    parts = [*_edges(layout, set(pairwise(path)))]
    parts += [_box(history, name, layout.boxes[name], name in path) for name in plan.tasks]
    return _svg("graph", layout.width + 2 * MARGIN, layout.height + 2 * MARGIN, MARGIN, parts)


def drawn(plan: Plan) -> tuple[Graph, list[list[str]]]:
    """The graph of all tasks, and its columns; those of `finally` come last."""
    columns = list(chain.from_iterable(stage.generations for stage in plan.stages))
    graphs = plan.graph if plan.finally_ is None else union(s.graph for s in plan.stages)
    return graphs, columns


def _svg(name: str, width: float, height: float, shift: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="{name}" role="img" aria-label="{name}" width="{width:.0f}" '
        f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}">'
        f'<g transform="translate({shift:g} {shift:g})">{"".join(parts)}</g></svg>'
    )


def _edges(layout: Layout, path: set[tuple[str, str]]) -> Iterator[str]:
    """All edges of a kind in one element, and their tips: of a thousand tasks they are most."""
    for kind, is_on_path in (("", False), (" path", True)):
        points = [each for *edge, each in layout.edges if (tuple(edge) in path) is is_on_path]
        if points:
            tips = "".join(f"M{x:.1f} {y:.1f}l-8 -4v8z" for *_, (x, y) in points)
            yield f'<path class="edge{kind}" d="{"".join(map(curve, points))}"/>'
            yield f'<path class="tip{kind}" d="{tips}"/>'


def _box(history: RunHistory, name: str, box: Box, on_path: bool) -> str:
    result = history.result.tasks.get(name)
    status = "none" if result is None else result.status
    lines = [cut(name, MAX_NAME), history.plan.tasks[name].target, status]
    if name in history.tasks:
        lines.append(times(history.tasks[name]))
    kind = f"box {status}{' path' if on_path else ''}"
    return (
        f"<g><title>{xml(chr(10).join(filter(None, lines)))}</title>"
        f'<rect class="{kind}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="5"/><text x="{box.x + PADDING:.1f}" '
        f'y="{box.middle + 4:.1f}">{xml(shorten(name, MAX_LETTERS))}</text></g>'
    )


def times(span: Span) -> str:
    """When a call ran, and what it waited, for a title."""
    text = f"from {duration(span.started_ms)} for {duration(span.duration_ms)}"
    if span.waited_ms >= 1:
        text += f", waited {duration(span.waited_ms)}"
    return text if span.attempts < 2 else f"{text}, {span.attempts} attempts"


def timeline(history: RunHistory) -> str:
    """A bar for each call, and before it, lighter, how long it waited."""
    spans, end_ms = history.calls, max(history.ends_ms, 0.001)
    if len(spans) > MAX_ROWS:
        longest = sorted(spans, key=lambda span: -span.duration_ms)[:MAX_ROWS]
        spans = sorted(longest, key=lambda span: span.started_ms)
    scale = (WIDTH - LABEL - 2 * MARGIN) / end_ms
    path = set(history.path)
    height = ROW * (len(spans) + 1)
    parts = [*_ticks(end_ms, scale, height)]
    for row, span in enumerate(spans, start=1):
        parts.append(_bar(span, row * ROW, scale, on_path=span.root in path))
    return _svg("timeline", WIDTH, height + 2 * MARGIN, MARGIN, parts)


def _ticks(end_ms: float, scale: float, height: float) -> Iterator[str]:
    for number in range(TICKS + 1):
        at_ms = end_ms * number / TICKS
        x = LABEL + at_ms * scale
        anchor = "end" if number == TICKS else "start" if not number else "middle"
        yield f'<path class="tick" d="M{x:.1f} {ROW - 4:g}V{height:g}"/>'
        yield f'<text class="small" x="{x:.1f}" y="9" text-anchor="{anchor}">'
        yield f"{duration(at_ms)}</text>"


def _bar(span: Span, y: float, scale: float, *, on_path: bool) -> str:
    x = LABEL + span.started_ms * scale
    # It counts the start of servers, while the clock of the run stands still.
    waited = min(span.waited_ms, max(0.0, span.started_ms - span.ready_ms)) * scale
    kind = f"bar {span.status}{' path' if on_path else ''}"
    about = "\n".join((cut(span.where, MAX_NAME), span.target, span.status, times(span)))
    wait = (
        f'<rect class="wait" x="{x - waited:.1f}" y="{y + 3:.1f}" width="{waited:.1f}" '
        f'height="{BAR - 6:g}"/>'
        if waited >= 0.5
        else ""
    )
    return (
        f'<g><title>{xml(about)}</title><text class="small" x="0" y="{y + 9:.1f}">'
        f"{xml(shorten(span.where, MAX_LETTERS + 2))}</text>{wait}"
        f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" '
        f'width="{max(1.0, span.duration_ms * scale):.1f}" height="{BAR:g}"/></g>'
    )
