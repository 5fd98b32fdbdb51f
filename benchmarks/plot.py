"""The ratios as bars: speedups on the left, and times beside the same work by hand on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Measurement, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, GREY, DARK = "#4477aa", "#e08e3c", "#7d838c", "#1d232b"
SMALL = 8
TITLES = {
    "speedup": "Speedup over a sequential run",
    "one_session": "Throughput over that of one session",
    "by_hand": "Time beside the same work by hand; less is better",
}
LEGEND = "median of the rounds; black: 5th to 95th percentile; orange: ideal, or by hand"


def missing() -> str:
    """The error message if matplotlib is not installed; empty if it is."""
    if find_spec("matplotlib") is not None:
        return ""
    return "--plot needs matplotlib: pip install 'mcp-orchestrator[plot]'"


def draw(measurements: Sequence[Measurement], facts: Mapping[str, Any], path: Path) -> None:
    """Draw the ratios to a file, whose suffix is the format; `facts` is `report.machine`."""
    # An optional dependency, which takes a second to import.
    from matplotlib.figure import Figure

    charts = {name: bars_of(measurements, name) for name in TITLES}
    shown = {name: bars for name, bars in charts.items() if bars}
    figure = Figure(figsize=(10, 1 + 0.24 * max(map(len, shown.values()), default=1)))
    figure.set_layout_engine("constrained")
    for column, (name, bars) in enumerate(shown.items(), start=1):
        _bars(figure.add_subplot(1, len(shown), column), TITLES[name], bars)
    machine = f"{facts['python']}, {facts['cores']} cores, {facts['backend']}, {facts['date'][:10]}"
    figure.suptitle(f"{LEGEND}\n{machine}", size=SMALL - 1, color=GREY)
    figure.savefig(path, dpi=180)


# A label, the ratios by round, and the ideal if there is one.
Bar = tuple[str, Sequence[float], float | None]


def bars_of(measurements: Sequence[Measurement], ratio: str) -> list[Bar]:
    return [
        (
            f"{measured.scenario}, {measured.variant}",
            measured.ratios[ratio],
            1.0 if ratio == "by_hand" else measured.values.get("ideal_speedup"),
        )
        for measured in measurements
        if measured.ratios.get(ratio)
    ]


def _bars(axes: Axes, title: str, bars: Sequence[Bar]) -> None:
    most = max(max(*ratios, ideal or 0.0) for _, ratios, ideal in bars)
    for row, (_, ratios, ideal) in enumerate(bars):
        low, middle, high = spread(ratios)
        axes.barh(row, middle, color=BLUE, height=0.62)
        axes.plot([low, high], [row, row], color=DARK, linewidth=1.6)
        if ideal is not None:
            axes.plot([ideal] * 2, [row - 0.4, row + 0.4], color=ORANGE, linewidth=2.2)
        end = max(high, ideal or 0.0) + 0.02 * most
        axes.text(end, row, f"{middle:.2f}x", va="center", size=SMALL)
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars], size=SMALL)
    axes.set_xlim(0, 1.2 * most)
    axes.set_ylim(len(bars) - 0.4, -0.6)  # the first bar at the top
    axes.set_title(title, size=SMALL + 1, loc="left", color=DARK)
    axes.tick_params(axis="x", labelsize=SMALL - 1, colors=GREY)
    axes.spines[["top", "right"]].set_visible(False)
