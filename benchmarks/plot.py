"""The numbers as a picture: speedups as bars, and the uneven graph over time under both schedules.

The rule of this file: it is the only one that imports matplotlib, and only where it draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Measurement, percentile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY = "#3b6ea8", "#d9822b", "#8a8f98"
LANES = {"x": BLUE, "y": ORANGE, "z": "#5a9367"}


def missing() -> str:
    """What to say if matplotlib is not there; empty if it is."""
    if find_spec("matplotlib") is not None:
        return ""
    return "--plot needs matplotlib: pip install 'mcp-orchestrator[plot]'"


def draw(measurements: Sequence[Measurement], facts: Mapping[str, Any], path: Path) -> None:
    """Draw what there is among the measurements to a file; its suffix says the format."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 6.5), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1, 1.15))
    bars = [measured for measured in measurements if _is_bar(measured)]
    speedups(figure.add_subplot(grid[:, 0]), bars)
    above = figure.add_subplot(grid[0, 1])
    below = figure.add_subplot(grid[1, 1], sharex=above)
    for axes, schedule in ((above, "generations"), (below, "dataflow")):
        timeline(axes, schedule, _timeline_of(measurements, schedule))
    below.set_xlabel("milliseconds since the run began")
    figure.suptitle(
        f"{facts['python']}, {facts['cores']} cores, {facts['backend']}, {facts['date'][:10]}",
        fontsize=9,
        color=GREY,
    )
    figure.savefig(path, dpi=150)


def _is_bar(measured: Measurement) -> bool:
    return "speedup" in measured.ratios and measured.scenario != "cold"


def speedups(axes: Axes, measurements: Sequence[Measurement]) -> None:
    """A bar for each speedup with its spread, and a mark where the ideal is."""
    names = [_label(measured) for measured in measurements]
    for row, measured in enumerate(measurements):
        low, middle, high = (
            percentile(measured.ratios["speedup"], percent) for percent in (5, 50, 95)
        )
        axes.barh(row, middle, color=BLUE, height=0.62)
        axes.plot([low, high], [row, row], color="black", linewidth=1.2)
        if (ideal := measured.values.get("ideal_speedup")) is not None:
            axes.plot([ideal, ideal], [row - 0.38, row + 0.38], color=ORANGE, linewidth=2)
        axes.text(max(high, ideal or 0) + 0.15, row, f"{middle:.2f}x", va="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_xlabel("times as fast as the sequential run")
    axes.set_title("Speedup (line: 5th to 95th percentile; orange: ideal)", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


def _label(measured: Measurement) -> str:
    if measured.scenario == "branches":
        return f"{measured.variant} branch{'es' if measured.variant != '1' else ''}"
    plain = measured.variant == "generations" and measured.scenario != "uneven"
    return measured.scenario if plain else f"{measured.scenario}, {measured.variant}"


def _timeline_of(
    measurements: Sequence[Measurement], schedule: str
) -> Sequence[tuple[str, float, float]]:
    for measured in measurements:
        if (measured.scenario, measured.variant) == ("uneven", schedule):
            return measured.timeline
    return ()


def timeline(axes: Axes, schedule: str, bars: Sequence[tuple[str, float, float]]) -> None:
    """The tasks of one run of the uneven graph over time."""
    for row, (task, started_ms, duration_ms) in enumerate(bars):
        color = LANES.get(task.rpartition(".")[2], GREY)
        axes.barh(row, duration_ms, left=started_ms, color=color, height=0.7)
    axes.set_yticks(range(len(bars)), [task for task, _, _ in bars], fontsize=8)
    axes.invert_yaxis()
    end_ms = max((start + duration for _, start, duration in bars), default=0.0)
    took = f"{end_ms:.0f} ms" if bars else "not measured"
    axes.set_title(f"The uneven graph by {schedule}: {took}", fontsize=11, loc="left")
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)
