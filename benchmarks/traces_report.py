"""Tables of what runs of recorded graphs took, for a terminal, the documentation and programs.

The rule of this file: it shows what `traced` computes. A ratio is the median over the rounds, in
brackets the smallest and the largest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from benchmarks.recorded import Trace
from benchmarks.traced import SLOTS, Measured, Results, Verdict, variants, verdicts


@dataclass(frozen=True, slots=True)
class Grid:
    """A table before it is drawn."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def grids(made: Sequence[Measured]) -> Iterator[Grid]:
    """Everything that is shown: the families, the graphs without a limit, and with each."""
    results = Results(made)
    judged = {(verdict.trace, verdict.slots): verdict for verdict in verdicts(made)}
    yield _families(results)
    yield _orders(results)
    yield _unlimited(results, judged)
    for slots in SLOTS[1:]:
        grid = _limited(results, slots, judged)
        if grid.rows:
            yield grid


def _families(results: Results) -> Grid:
    """What the barrier costs, by family: the median of the graphs, and the worst."""
    rows = []
    for name, traces in _by_family(results.traces):
        cells = [name, str(len(traces))]
        for slots in SLOTS:
            ratios = [results.barrier(trace, slots) for trace in traces]
            cells.append(median_and_worst(ratios))
        rows.append(cells)
    head = ("family", "graphs", "no limit", "8 slots", "32 slots")
    return Grid("What the barrier costs: generations over dataflow, median and worst", head, rows)


def _orders(results: Results) -> Grid:
    """What the order is worth where tasks wait, by family."""
    rows = []
    for name, traces in _by_family(results.traces):
        for slots in SLOTS[1:]:
            waiting = [trace for trace in traces if results.of(trace, slots, "time")]
            cells = [name, str(slots), str(len(waiting))]
            for order in ("first come", "depth"):
                ratios = [results.over_time(trace, slots, order) for trace in waiting]
                cells.append(median_and_worst(ratios))
            if waiting:
                rows.append(cells)
    head = ("family", "slots", "graphs", "first come, first served", "longest path by depth")
    title = "What the order is worth: over the longest path by measured times, median and worst"
    return Grid(title, head, rows)


def _by_family(traces: Sequence[Trace]) -> Iterator[tuple[str, list[Trace]]]:
    for name in dict.fromkeys(trace.family for trace in traces):
        yield name, [trace for trace in traces if trace.family == name]
    if len({trace.family for trace in traces}) > 1:
        yield "all", list(traces)


def median_and_worst(ratios: Sequence[Sequence[float]]) -> str:
    """Of the medians of some graphs; empty if there are none."""
    medians = [median(ratio) for ratio in ratios if ratio]
    return f"{median(medians):.2f}, {max(medians):.2f}" if medians else ""


def _unlimited(results: Results, judged: Mapping[tuple[str, int], Verdict]) -> Grid:
    rows = []
    for trace in results.traces:
        rows.append(
            [
                trace.name,
                str(len(trace.needs)),
                str(len(trace.generations)),
                f"{trace.critical_path_ms:.0f}",
                _of_bound(results.of(trace, 0)),
                _of_bound(results.of(trace, 0, schedule="generations")),
                spread(results.barrier(trace, 0)),
                judged[trace.name, 0].reason,
            ]
        )
    head = ("graph", "tasks", "gen.", "bound, ms", "dataflow", "generations", "barrier", "aim 1.03")
    return Grid(
        "No limit: the time over the longest path, and generations over dataflow", head, rows
    )


def _limited(results: Results, slots: int, judged: Mapping[tuple[str, int], Verdict]) -> Grid:
    rows = []
    for trace in results.traces:
        by_time = results.of(trace, slots, "time")
        if by_time is None:
            continue
        verdict = judged[trace.name, slots]
        rows.append(
            [
                trace.name,
                f"{trace.bound_ms(slots):.0f}{' *' if trace.binds(slots) else ''}",
                f"{verdict.floor:.2f}",
                f"{verdict.simulated:.2f}..{verdict.shaken:.2f}",
                _of_bound(by_time),
                _of_bound(results.of(trace, slots, "depth")),
                _of_bound(results.of(trace, slots, "first come")),
                _of_bound(results.of(trace, slots, schedule="generations")),
                f"{verdict.reason} ({verdict.aim:.2f})",
            ]
        )
    head = (
        "graph",
        "bound, ms",
        "none beats",
        "simulated",
        "by time",
        "by depth",
        "first come",
        "generations",
        "aim",
    )
    return Grid(f"{slots} slots: the time over the bound (* the slots bind)", head, rows)


def _of_bound(measured: Measured | None) -> str:
    return "" if measured is None else spread(measured.of_bound)


def spread(ratios: Sequence[float]) -> str:
    """The median with the smallest and the largest; the median alone if there is no more."""
    if len(ratios) < 2:
        return f"{median(ratios):.2f}" if ratios else ""
    return f"{median(ratios):.2f} ({min(ratios):.2f}..{max(ratios):.2f})"


def tables(made: Sequence[Measured]) -> Iterator[tuple[str, Table]]:
    """The tables for a terminal, each with its title."""
    for grid in grids(made):
        shown = Table(box=SIMPLE_HEAD)
        for number, name in enumerate(grid.head):
            shown.add_column(name, justify="right" if number else "left", no_wrap=True)
        for row in grid.rows:
            shown.add_row(*row)
        yield grid.title, shown


def markdown(made: Sequence[Measured], facts: Mapping[str, Any]) -> str:
    """The tables for the documentation."""
    parts = [f"```text\n{heading(facts)}\n```"]
    for grid in grids(made):
        lines = [f"**{grid.title}**", "", _row(grid.head), _row(["---"] * len(grid.head))]
        parts.append("\n".join([*lines, *map(_row, grid.rows)]))
    return "\n\n".join(parts)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in cells)} |"


def heading(facts: Mapping[str, Any]) -> str:
    """The machine, and what is not delay in a call."""
    load = ", ".join(f"{load:.2f}" for load in facts["load_average"])
    return (
        f"{facts['date']}: {facts['cores']} cores, {facts['system']}, {facts['python']} on "
        f"{facts['backend']}, load before {load}\n"
        f"{facts['rounds']} rounds, delays times {facts['scale']:g}; server {facts['server']}: "
        f"{facts['server_ms']:.2f} ms a call alone, {facts['call_ms']:.2f} ms with the client"
    )


def expectation(traces: Sequence[Trace], rounds: int) -> str:
    """How long it will take."""
    ways = [(trace, way) for trace in traces for way in variants(trace)]
    ms = sum(trace.simulated_ms(way.slots, way.simulated_order) for trace, way in ways)
    runs = f"{len(ways) * rounds} runs of {len(traces)} graphs in {rounds} rounds"
    return f"{runs}: about {ms * rounds / 60_000:.1f} minutes, most of it waiting"


def line(measured: Measured) -> str:
    """A measurement in one line, while others are still being made."""
    over = median(measured.times_ms) / measured.simulated_ms
    return (
        f"  {measured.trace.name}, {measured.variant.name}: {median(measured.times_ms):.0f} ms, "
        f"{spread(measured.of_bound)} of the bound, {over:.3f} of the simulated run"
    )


def document(facts: Mapping[str, Any], made: Sequence[Measured]) -> dict[str, Any]:
    """Everything as JSON: the machine, every single time, the bounds and the verdicts."""
    return {
        "machine": dict(facts),
        "measurements": [
            {
                "trace": each.trace.name,
                "family": each.trace.family,
                "schedule": each.variant.schedule,
                "order": each.variant.order,
                "slots": each.variant.slots,
                "bound_ms": each.trace.bound_ms(each.variant.slots),
                "floor_ms": each.trace.floor_ms(each.variant.slots),
                "simulated_ms": each.simulated_ms,
                "times_ms": list(each.times_ms),
            }
            for each in made
        ],
        "verdicts": [
            {
                "trace": each.trace,
                "slots": each.slots,
                "aim": each.aim,
                "of_bound": each.measured,
                "floor": each.floor,
                "simulated": each.simulated,
                "shaken": each.shaken,
                "reason": each.reason,
                "is_ours": each.is_ours,
            }
            for each in verdicts(made)
        ],
    }
