"""Recorded graphs as a picture: what the barrier costs each, and one run under each schedule.

The rule of this file: it draws what was measured, with what `plot` draws with.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.plot import BLUE, GREY, ORANGE
from benchmarks.traced import Measured, Results

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(made: Sequence[Measured], path: Path) -> None:
    """Draw to a file; its suffix says the format. The run shown is of the graph it costs most."""
    from matplotlib.figure import Figure

    results = Results(made)
    costs = {trace.name: median(results.barrier(trace, 0)) for trace in results.traces}
    worst = max(results.traces, key=lambda trace: costs[trace.name])
    figure = Figure(figsize=(13, 6.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.35))
    _bars(figure.add_subplot(grid[:, 0]), costs)
    above = figure.add_subplot(grid[0, 1])
    below = figure.add_subplot(grid[1, 1], sharex=above)
    for axes, schedule in ((above, "generations"), (below, "dataflow")):
        run = results.of(worst, 0, schedule=schedule)  # type: ignore[arg-type]
        _timeline(axes, f"{worst.name} by {schedule}", run.timeline if run else ())
    below.set_xlabel("milliseconds since the run began")
    figure.savefig(path, dpi=150)


def _bars(axes: Axes, costs: dict[str, float]) -> None:
    ranked = sorted(costs.items(), key=lambda item: -item[1])
    for row, (_, cost) in enumerate(ranked):
        axes.barh(row, cost, color=ORANGE if cost > 1.1 else BLUE, height=0.65)
        axes.text(cost + 0.03, row, f"{cost:.2f}", va="center", fontsize=8)
    axes.axvline(1.0, color=GREY, linewidth=1)
    axes.set_yticks(range(len(ranked)), [name for name, _ in ranked], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(costs.values()) * 1.12)
    axes.set_xlabel("time by generations over time by dataflow")
    axes.set_title("What the barrier costs, without a limit", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _timeline(axes: Axes, title: str, tasks: Sequence[tuple[str, float, float]]) -> None:
    """Each task as a line over time, those that began first on top."""
    ranked = sorted(tasks, key=lambda task: task[1])
    for row, (_, started_ms, duration_ms) in enumerate(ranked):
        axes.barh(row, max(duration_ms, 4.0), left=started_ms, color=BLUE, height=0.9)
    end_ms = max((start + took for _, start, took in ranked), default=0.0)
    axes.set_title(f"{title}: {end_ms:.0f} ms", fontsize=11, loc="left")
    axes.invert_yaxis()
    axes.set_ylabel(f"{len(ranked)} tasks")
    axes.set_yticks([])
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
