"""The numbers as pictures: ratios as bars, and runs over time.

The rule of this file: it is the only one that imports matplotlib, and only where it draws. What is
drawn comes as data from `panels`; `bars` and `timeline` draw on any axes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import panels
from benchmarks.measure import Bar, Measurement
from benchmarks.panels import Chart, Panel, Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, PURPLE, TEAL = "#4477aa", "#e08e3c", "#6a9a5b", "#9467a8", "#45a3a8"
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, TEAL)
GREY, DARK, PALE, LIGHT = "#7d838c", "#1d232b", "#c6cbd3", "#e3e5e8"
SMALL = 8
# Inches; at a width of 900 pixels, as of a page, one is 90 pixels.
WIDTH = 10.0
RIGHT, GAP, HEAD = 0.2, 0.45, 0.35
DPI = 180
BARS_SAY = "median of the rounds; black: 5th to 95th percentile; orange: ideal, or by hand"
TIMELINES_SAY = (
    "milliseconds since the run began; outlined: the longest path; "
    "a colour for each generation, server or run; pale: waiting for its turn"
)


def missing() -> str:
    """What to say if matplotlib is not there; empty if it is."""
    if find_spec("matplotlib") is not None:
        return ""
    return "--plot needs matplotlib: pip install 'mcp-orchestrator[plot]'"


def draw(measurements: Sequence[Measurement], facts: Mapping[str, Any], path: Path) -> list[Path]:
    """Draw the comparison to a file, and the runs over time to one beside it.

    Args:
        measurements: What was measured.
        facts: Where and when; see `report.machine`.
        path: Of the comparison; its suffix says the format. The other file is `timelines_at(path)`.

    Returns:
        The files that were written: a picture that would be empty is not.
    """
    written: list[Path] = []
    if found := panels.charts(measurements):
        _save(comparison(found), BARS_SAY, facts, path)
        written.append(path)
    if runs := panels.panels(measurements):
        _save(timelines(runs), TIMELINES_SAY, facts, timelines_at(path))
        written.append(timelines_at(path))
    return written


def timelines_at(path: Path) -> Path:
    """Where the runs over time are drawn, beside a comparison."""
    return path.with_name(f"{path.stem}-timelines{path.suffix}")


def _save(figure: Figure, said: str, facts: Mapping[str, Any], path: Path) -> None:
    told = f"{facts['python']}, {facts['cores']} cores, {facts['backend']}, {facts['date'][:10]}"
    top = 1 - 0.12 / figure.get_figheight()
    figure.text(0.1 / WIDTH, top, said, va="top", size=SMALL - 1, color=GREY)
    figure.text(1 - RIGHT / WIDTH, top, told, ha="right", va="top", size=SMALL - 1, color=GREY)
    figure.savefig(path, dpi=DPI)


def comparison(charts: Sequence[Chart]) -> Figure:
    """Ratios of all kinds: speedups on the left, whatever else there is on the right."""
    from matplotlib.figure import Figure

    columns = [charts[:1], charts[1:]] if len(charts) > 1 else [charts]
    sizes = [[_chart_height(chart) for chart in column] for column in columns]
    height = max(sum(column) for column in sizes) + 0.2
    figure = Figure(figsize=(WIDTH, height))
    for column, (shown, tall) in enumerate(zip(columns, sizes, strict=True)):
        top = 0.2
        for chart, own in zip(shown, tall, strict=True):
            place = _place(column, len(columns), top, own - HEAD - GAP, height, left=1.45)
            axes = figure.add_axes(place)
            bars(axes, chart.bars, title=chart.title, axis=chart.axis)
            top += own
    return figure


def _chart_height(chart: Chart) -> float:
    return 0.22 * len(chart.bars) + HEAD + GAP


def _place(
    column: int, columns: int, top: float, own: float, height: float, left: float
) -> tuple[float, float, float, float]:
    """Where axes of a height lie in a figure, below `top`, in inches; as fractions of it."""
    wide = WIDTH / columns
    bottom = height - top - HEAD - own
    return (
        (column * wide + left) / WIDTH,
        bottom / height,
        (wide - left - RIGHT) / WIDTH,
        own / height,
    )


def bars(
    axes: Axes, spreads: Sequence[Spread], *, title: str = "", axis: str = "", color: str = BLUE
) -> None:
    """A bar for each ratio: its median, a line for its spread, and a mark where the ideal is.

    Args:
        axes: Where to draw.
        spreads: The ratios, from above to below.
        title: Of all of them.
        axis: What a ratio of 1 means.
        color: Of the bars.
    """
    most = max((max(each.high, each.ideal or 0.0) for each in spreads), default=1.0)
    for row, each in enumerate(spreads):
        axes.barh(row, each.middle, color=color, height=0.62)
        axes.plot([each.low, each.high], [row, row], color=DARK, linewidth=1.6)
        if each.ideal is not None:
            axes.plot([each.ideal] * 2, [row - 0.4, row + 0.4], color=ORANGE, linewidth=2.2)
        end = max(each.high, each.ideal or 0.0) + 0.02 * most
        axes.text(end, row, f"{each.middle:.2f}x", va="center", size=SMALL)
    axes.set_yticks(range(len(spreads)), [each.label for each in spreads], size=SMALL)
    axes.set_xlim(0, 1.15 * most)
    axes.set_ylim(len(spreads) - 0.4, -0.6)
    axes.set_xlabel(axis, size=SMALL, color=GREY)
    _plain(axes, title)


def timelines(runs: Sequence[Panel]) -> Figure:
    """Runs over time in two columns, each panel as high as its tasks need."""
    from matplotlib.figure import Figure

    columns = _columns(runs)
    height = max(sum(map(_panel_height, column)) for column in columns) + 0.4
    figure = Figure(figsize=(WIDTH, height))
    for number, column in enumerate(columns):
        top = 0.25
        for run in column:
            place = _place(number, len(columns), top, _rows_height(run), height, left=1.1)
            _panel(figure.add_axes(place), run)
            top += _panel_height(run)
    return figure


def _panel(axes: Axes, run: Panel) -> None:
    timeline(
        axes,
        run.bars,
        title=run.title,
        groups=run.groups,
        critical=run.critical,
        waited_ms=run.waited_ms,
        end_ms=run.end_ms,
        by_group=run.by_group,
    )


def _columns(runs: Sequence[Panel]) -> list[list[Panel]]:
    """The runs in columns of about the same height; those of one scenario stay together."""
    scenarios = dict.fromkeys(run.scenario for run in runs)
    heights = {
        name: sum(_panel_height(run) for run in runs if run.scenario == name) for name in scenarios
    }
    columns: list[set[str]] = [set() for _ in range(min(2, len(scenarios)))]
    for name in sorted(scenarios, key=heights.__getitem__, reverse=True):
        min(columns, key=lambda column: sum(heights[each] for each in column)).add(name)
    return [[run for run in runs if run.scenario in column] for column in columns]


def _panel_height(run: Panel) -> float:
    return _rows_height(run) + HEAD + 0.25


def _rows_height(run: Panel) -> float:
    return max(len(run.bars) * (0.085 if run.by_group else 0.19), 0.5)


def timeline(
    axes: Axes,
    tasks: Sequence[Bar],
    *,
    title: str = "",
    groups: Mapping[str, str] | None = None,
    critical: Iterable[str] = (),
    waited_ms: Mapping[str, float] | None = None,
    end_ms: float = 0.0,
    by_group: bool = False,
) -> None:
    """The tasks of a run over time, from above to below.

    Args:
        axes: Where to draw.
        tasks: Their ids, when they started and how long they took, milliseconds.
        title: Of the run.
        groups: What each task is coloured by.
        critical: The tasks that get an outline.
        waited_ms: How long each waited before it started, milliseconds; drawn in a pale colour.
        end_ms: How long the axis is at least, milliseconds.
        by_group: Whether only the groups are named, where the tasks are too many.
    """
    groups, longest = groups or {}, set(critical)
    names = list(dict.fromkeys(groups.get(task, "") for task, _, _ in tasks))
    for row, (task, started_ms, duration_ms) in enumerate(tasks):
        color = PALETTE[names.index(groups.get(task, "")) % len(PALETTE)]
        if wait_ms := (waited_ms or {}).get(task):
            axes.barh(row, wait_ms, left=started_ms - wait_ms, color=PALE, height=0.72)
        edge = DARK if task in longest else "none"
        axes.barh(
            row, duration_ms, left=started_ms, color=color, height=0.72, edgecolor=edge, zorder=2
        )
        end_ms = max(end_ms, started_ms + duration_ms)
    labels = [groups.get(task, "") if by_group else task for task, _, _ in tasks]
    places = _middles(labels) if by_group else dict(enumerate(labels))
    axes.set_yticks(list(places), list(places.values()), size=SMALL - 1)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    axes.set_xlim(0, 1.02 * end_ms)
    axes.grid(axis="x", color=LIGHT, linewidth=0.7)
    axes.set_axisbelow(True)
    _plain(axes, title)


def _middles(labels: Sequence[str]) -> dict[float, str]:
    """Each label once, in the middle of its rows."""
    rows: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return {sum(mine) / len(mine): label for label, mine in rows.items()}


def _plain(axes: Axes, title: str) -> None:
    """What all pictures have in common."""
    axes.set_title(title, size=SMALL + 1, loc="left", color=DARK)
    axes.tick_params(axis="x", labelsize=SMALL - 1, colors=GREY)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
