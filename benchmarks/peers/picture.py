"""The peers as bars, a panel for each workload.

The rule of this file: it imports matplotlib only where it draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from benchmarks.measure import Measurement, percentile
from benchmarks.peers.catalogue import OURS
from benchmarks.peers.jobs import Job
from benchmarks.peers.rounds import Report
from benchmarks.peers.tables import measured, p50
from benchmarks.plot import BLUE, GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLE_WIDTH = 58
LOG_FROM = 8
"""The axis of a panel is logarithmic if its slowest peer takes so many times the fastest."""


def draw(report: Report, path: Path) -> None:
    """Draw the measurements to a file; its suffix says the format."""
    from matplotlib.figure import Figure

    columns = min(3, len(report.jobs))
    lines = -(-len(report.jobs) // columns)
    figure = Figure(figsize=(5.2 * columns + 1, 3.4 * lines + 0.6), layout="constrained")
    for number, job in enumerate(report.jobs, start=1):
        bars(figure.add_subplot(lines, columns, number), job, measured(report, job))
    facts = report.facts
    figure.suptitle(
        f"Median time, milliseconds; line: 5th to 95th percentile. "
        f"{facts['python']}, {facts['cores']} cores, {facts['date'][:10]}",
        fontsize=10,
        color=GREY,
    )
    figure.savefig(path, dpi=130)


def bars(axes: Axes, job: Job, measurements: Sequence[Measurement]) -> None:
    """A bar for each peer, with its spread and its median in numbers."""
    times = [p50(each) for each in measurements]
    for row, (each, middle) in enumerate(zip(measurements, times, strict=True)):
        low, high = (percentile(each.times_ms, percent) for percent in (5, 95))
        axes.barh(row, middle, color=BLUE if each.variant == OURS else GREY, height=0.66)
        axes.plot([low, high], [row, row], color="black", linewidth=1.2)
        axes.annotate(
            f"{middle:,.0f}",
            (max(high, middle), row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(times)), [each.variant for each in measurements], fontsize=8)
    axes.invert_yaxis()
    logarithmic = bool(times) and max(times) >= LOG_FROM * min(times)
    scale(axes, times, logarithmic=logarithmic)
    title = f"{job.name}: {job.title}{' (log)' if logarithmic else ''}"
    axes.set_title(fill(title, TITLE_WIDTH), fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def scale(axes: Axes, times: Sequence[float], *, logarithmic: bool) -> None:
    """The axis of the times, in plain numbers, with room for those at the ends of the bars."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(numticks=6, subs=(1.0, 3.0)))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(min(times) / 2, max(times) * 4)
    else:
        axes.margins(x=0.16)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.tick_params(axis="x", labelsize=8)
