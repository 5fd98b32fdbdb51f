"""A plan as one SVG picture, without references to other files.

Names that are cut in the picture are complete in its titles, which viewers show on hover.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise

from orchestrator.documents.text import MAX_NAME, cut
from orchestrator.expressions.templates import written
from orchestrator.report.drawing import LETTER, curve, letters, shorten, xml
from orchestrator.report.forecast import Forecast, TaskForecast
from orchestrator.report.layout import Box, Layout, lay_out
from orchestrator.report.plan_text import summary
from orchestrator.workflow.graph import union
from orchestrator.workflow.plan import LockPlan

MARGIN = 24.0
TOP = 66.0
LEGEND_HEIGHT = 44.0
HEADING_LETTER, SMALL_LETTER = 9.3, 6.7  # of 15 and 11 px
MAX_LETTERS = 30
MIN_WIDTH = 110.0
PADDING = 12.0
BOX_HEIGHT = 46.0
FLAT_HEIGHT = 24.0
MANY = 40  # with more tasks than that in a generation, boxes have one line

# By the risk of a task, which is also its CSS class: the text of the legend; fill and line on a
# light background; fill and line on a dark one. The contrast of text is above 7 to 1 on all fills.
KINDS = {
    "reads": ("read-only", "#e3f1e5", "#3f7d4e", "#1d3324", "#7fbf8e"),
    "writes": ("writes", "#fdf0cf", "#9a6b00", "#3a2f12", "#e0b656"),
    "destroys": ("destructive", "#fbdedb", "#b3261e", "#441c1a", "#f28b82"),
    "may": ("possibly destructive", "#fbeee6", "#b3261e", "#33231c", "#f28b82"),
    "unknown": ("unknown tool", "#eceef1", "#6b7280", "#2a2e35", "#9aa3b0"),
}
LIGHT = """\
text { font-family: ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace; fill: #16181d }
.name { font-size: 15px; font-weight: bold }
.id { font-weight: bold }
.small { font-size: 11px; font-weight: normal; fill: #4a505c }
.paper { fill: #ffffff }
.edge { fill: none; stroke: #9aa1ad; stroke-width: 1.2 }
.tip { fill: #9aa1ad }
.edge.path { stroke: #16181d; stroke-width: 2.6 }
.tip.path { fill: #16181d }
.box { stroke-width: 1.2 }
.box.path { stroke-width: 3 }
.may { stroke-dasharray: 5 3 }
.open { fill: #1f5fbf }
"""
DARK = """\
text { fill: #eceef1 }
.small { fill: #b9c0cb }
.paper { fill: #14161a }
.edge { stroke: #6b7280 }
.tip { fill: #6b7280 }
.edge.path { stroke: #ffffff }
.tip.path { fill: #ffffff }
.open { fill: #7fb0ff }
"""


def svg(forecast: Forecast) -> str:
    """The plan as an SVG document, each generation a column."""
    plan = forecast.workflow.plan
    columns = list(chain.from_iterable(stage.generations for stage in plan.stages))
    flat = max(map(len, columns)) > MANY
    height = FLAT_HEIGHT if flat else BOX_HEIGHT
    widths = {name: _width(task, flat) for name, task in forecast.tasks.items()}
    graph = plan.graph if plan.finally_ is None else union(s.graph for s in plan.stages)
    layout = lay_out(graph, columns, widths, height)
    legend = list(_legend(forecast))
    name, brief = shorten(forecast.workflow.name, 80), summary(forecast)
    widest = max(HEADING_LETTER * letters(name), SMALL_LETTER * letters(brief))
    legend_width = sum(46 + SMALL_LETTER * len(text) for _, text in legend)
    width = max(layout.width, widest, legend_width) + 2 * MARGIN
    below = TOP + layout.height + LEGEND_HEIGHT
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{below:.0f}" '
            f'viewBox="0 0 {width:.0f} {below:.0f}" role="img" font-size="12">',
            f"<title>{xml(cut(forecast.workflow.name, MAX_NAME))}</title>",
            _style(),
            f'<rect class="paper" width="{width:.0f}" height="{below:.0f}"/>',
            f'<text class="name" x="{MARGIN:g}" y="26">{xml(name)}</text>',
            f'<text class="small" x="{MARGIN:g}" y="45">{xml(brief)}</text>',
            f'<g transform="translate({MARGIN:g} {TOP:g})">',
            *_edges(forecast, layout),
            *(_task(task, layout.boxes[task.task.id], flat) for task in forecast.tasks.values()),
            "</g>",
            *_legend_lines(legend, TOP + layout.height + LEGEND_HEIGHT / 2 + 8),
            "</svg>",
        ]
    )


def _style() -> str:
    light, dark = (
        "".join(f".{kind} {{ fill: {k[at]}; stroke: {k[at + 1]} }}\n" for kind, k in KINDS.items())
        for at in (1, 3)
    )
    return (
        f"<style>\n{LIGHT}{light}@media (prefers-color-scheme: dark) {{\n{DARK}{dark}}}\n</style>"
    )


def _edges(forecast: Forecast, layout: Layout) -> Iterator[str]:
    path = set(pairwise(forecast.critical_path))
    # The critical path is drawn last, on top of all others.
    for needed, task, points in sorted(layout.edges, key=lambda edge: edge[:2] in path):
        kind = " path" if (needed, task) in path else ""
        x, y = points[-1]
        tip = f"M{x:.1f} {y:.1f}l-8 -4v8z"
        yield f'<path class="edge{kind}" d="{curve(points)}"/><path class="tip{kind}" d="{tip}"/>'


def _task(task: TaskForecast, box: Box, flat: bool) -> str:
    kind = task.risk + (" path" if task.critical else "")
    is_stack = task.task.policies.for_each is not None
    pieces = [f"<g><title>{xml(_whole(task))}</title>"]
    pieces += [_rect(box, task.risk, shift) for shift in (6.0, 3.0) if is_stack]
    pieces.append(_rect(box, kind, 0.0))
    if task.is_open:
        pieces.append(_dot(box.x + box.width - 9, box.y + 9))
    left, shown = box.x + PADDING, shorten(task.task.id, MAX_LETTERS)
    times = f'<tspan class="small" dx="7">{xml(task.times.strip())}</tspan>' if task.times else ""
    line = box.middle + 4 if flat else box.y + 19
    pieces.append(f'<text class="id" x="{left:.1f}" y="{line:.1f}">{xml(shown)}{times}</text>')
    if not flat:
        target = xml(shorten(task.task.target, MAX_LETTERS))
        pieces.append(f'<text class="small" x="{left:.1f}" y="{box.y + 35:.1f}">{target}</text>')
    return "".join([*pieces, "</g>"])


def _rect(box: Box, kind: str, shift: float) -> str:
    return (
        f'<rect class="box {kind}" x="{box.x + shift:.1f}" y="{box.y - shift:.1f}" '
        f'width="{box.width:.1f}" height="{box.height:.1f}" rx="6"/>'
    )


def _dot(x: float, y: float) -> str:
    return f'<circle class="open" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'


def _whole(task: TaskForecast) -> str:
    locks = task.task.policies.locks
    lines = [
        task.task.id,
        task.description,
        task.task.target,
        "finally" if task.task.generation is None else "",
        f"effects: {task.does}",
        f"calls: {task.calls}" + (f" ({task.calls.why})" if task.calls.why else ""),
        f"depends on: {', '.join(task.task.dependencies)}" if task.task.dependencies else "",
        f"fallback: {task.fallback}" if task.fallback else "",
        f"locks: {', '.join(map(_lock, locks))}" if locks else "",
    ]
    return "\n".join(cut(line, MAX_NAME) for line in lines if line)


def _lock(lock: LockPlan) -> str:
    return written(lock.name) + (f" ({lock.count})" if lock.count else "")


def _width(task: TaskForecast, flat: bool) -> float:
    first = shorten(task.task.id, MAX_LETTERS) + task.times
    second = "" if flat else shorten(task.task.target, MAX_LETTERS)
    widest = max(letters(first), letters(second))
    return max(MIN_WIDTH, widest * LETTER + 2 * PADDING + (10 if task.is_open else 0))


def _legend(forecast: Forecast) -> Iterator[tuple[str, str]]:
    """The classes in the picture, and what they mean."""
    tasks = forecast.tasks.values()
    risks = {task.risk for task in tasks}
    yield from ((kind, text) for kind, (text, *_) in KINDS.items() if kind in risks)
    if forecast.workflow.plan.fans_out:
        yield "stack", "one call per item"
    if any(task.is_open for task in tasks):
        yield "open", "open-world"
    yield "path", "critical path"


def _legend_lines(legend: Iterable[tuple[str, str]], y: float) -> Iterator[str]:
    x = MARGIN
    for kind, text in legend:
        sign = Box(x, y - 11, 18, 12)
        match kind:
            case "path":
                yield f'<path class="edge path" d="M{x:.1f} {y - 4:.1f}h18"/>'
            case "open":
                yield _dot(x + 9, y - 5)
            case "stack":
                yield from (_rect(sign, "unknown", shift) for shift in (4.0, 2.0, 0.0))
            case _:
                yield _rect(sign, kind, 0.0)
        yield f'<text class="small" x="{x + 26:.1f}" y="{y:.1f}">{xml(text)}</text>'
        x += 46 + SMALL_LETTER * len(text)
