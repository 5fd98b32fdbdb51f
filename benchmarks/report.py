"""The numbers as tables and as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmarks.measure import Measurement, Settings, spread
from benchmarks.suite import SCENARIOS
from benchmarks.targets import Verdict

PACKAGES = ("mcp-orchestrator", "mcp", "anyio", "networkx", "pydantic", "trio")
MIN_WIDTH = 160

# The headings of the quantities that a table shows beside the times.
COLUMNS = {
    "nobody": "nobody watching",
    "speedup": "speedup",
    "ideal_speedup": "ideal",
    "critical_path": "x critical path",
    "one_session": "x one session",
    "calls_per_s": "calls/s",
    "processes": "processes",
    "of_generations": "x generations",
    "by_hand": "x by hand",
    "orchestrator": "x orchestrator",
    "one_task": "x one task",
    "all_written": "x when all is written",
    "of_median": "slowest x median",
    "most_mb": "MB",
    "grown_mb": "MB more",
    "descriptors": "descriptors more",
    "bare_anyio": "x bare anyio",
    "bare_anyio_fastest": "fastest",
    "bare_jsonschema": "x bare jsonschema",
    "growth": "x smallest",
    "growth_fastest": "fastest",
    "per_task_us": "us/task",
    "load_per_task_us": "us to load",
    "workflow_bytes_per_task": "B/task loaded",
    "run_bytes_per_task": "B/task run",
    "at_once": "at once",
    "ideal_ms": "ideal ms",
    "of_ideal": "x ideal",
    "now_mb": "MB now",
    "predicted_ms": "predicted ms",
    "of_measured": "x measured",
    "cost": "us",
    "rows_a_second": "rows/s",
    "commits_a_second": "commits/s",
    "calls_a_minute": "calls/min",
    "database": "% of database",
    "wait_ms": "wait ms",
    "wait_p95_ms": "P95 of waits",
    "cpu_per_task_us": "us of CPU/task",
}
WRAPPED = {COLUMNS[name] for name in ("load_per_task_us", "workflow_bytes_per_task")}


def machine(settings: Settings) -> dict[str, Any]:
    """Where and when the numbers were measured: cores, versions, load, date."""
    used = (name for name in PACKAGES if name != "trio" or settings.backend == "trio")
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": {name: version(name) for name in used},
        "backend": settings.backend,
        "quick": settings.quick,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def heading(facts: Mapping[str, Any]) -> str:
    """The machine in two lines, and how to read the tables."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    load = ", ".join(f"{load:.2f}" for load in facts["load_average"])
    return (
        f"{facts['date']}: {facts['cores']} cores, {facts['system']}, load before {load}\n"
        f"{facts['python']} on {facts['backend']}; {packages}\n"
        "Times of n repetitions in ms; with fewer than 100, P99 is close to the slowest.\n"
        "A speedup is over a sequential run that was made. A ratio is the median of the rounds, "
        "with their 5th to 95th percentile in brackets.\n"
    )


def show(facts: Mapping[str, Any], tables: Iterable[Table]) -> None:
    console = Console()
    if not console.is_terminal:  # a pipe or file gets 80 columns: too few for the tables
        console = Console(width=max(console.width, MIN_WIDTH))
    console.print(heading(facts), highlight=False)
    for each in tables:
        console.print(each)


def save(path: Path, document: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def tables(measurements: Sequence[Measurement]) -> Iterator[Table]:
    for name in dict.fromkeys(each.scenario for each in measurements):
        yield table(name, SCENARIOS[name], [each for each in measurements if each.scenario == name])


def table(name: str, title: str, measurements: Sequence[Measurement]) -> Table:
    """Measurements with the columns for which any of them has a value."""
    shown = [column for column in COLUMNS if any(cell(each, column) for each in measurements)]
    # A Text, since a title such as "[a, b] -> c" would be read as markup.
    full_title = Text.assemble((name, "bold"), f": {title}")
    headings = ("n", "P50", "P95", "P99", *(COLUMNS[column] for column in shown))
    filled = new_table(full_title, "", *headings)
    for each in measurements:
        times = [each.quantity(percentile) for percentile in ("p50_ms", "p95_ms", "p99_ms")]
        cells = ["" if time is None else f"{time:.1f}" for time in times]
        cells += [cell(each, column) for column in shown]
        filled.add_row(each.variant, str(len(each.times_ms) or ""), *cells)
    if notes := dict.fromkeys(each.note for each in measurements if each.note):
        filled.caption, filled.caption_justify = Text("\n".join(notes)), "left"
    return filled


def new_table(title: str | Text, *headings: str, left: int = 1) -> Table:
    """An empty table, whose first `left` columns are aligned left and the others right."""
    empty = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="")
    for number, name in enumerate(headings):
        justify: Any = "left" if number < left else "right"
        empty.add_column(name, justify=justify, no_wrap=name not in WRAPPED)
    return empty


def cell(measured: Measurement, name: str) -> str:
    """A value, or a ratio with its spread."""
    if measured.ratios.get(name):
        return ratio(measured.ratios[name])
    value = measured.values.get(name)
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def line(measured: Measurement) -> str:
    """A measurement in one line, shown while others are still measured."""
    ratios = [f"{COLUMNS[name]} {ratio(each)}" for name, each in measured.ratios.items() if each]
    median = measured.quantity("p50_ms")
    return f"{measured.scenario}, {measured.variant}: {median:.1f} ms  {'  '.join(ratios)}"


def ratio(values: Sequence[float]) -> str:
    """The median of a ratio and its spread; the spread is left out for fewer than two values."""
    if len(values) < 2:
        return f"{values[0]:.2f}" if values else ""
    low, middle, high = spread(values)
    return f"{middle:.2f} ({low:.2f}..{high:.2f})"


def verdict_table(verdicts: Iterable[Verdict], title: str) -> Table:
    shown = new_table(title, "target", "quantity", "measured", "limit", "aim", "", left=2)
    for verdict in verdicts:
        target = verdict.target
        if not verdict.holds:
            outcome = "[red]missed[/]"
        else:
            outcome = "[green]met[/]" if verdict.meets_aim else "[yellow]within the margin[/]"
        shown.add_row(
            f"{target.scenario}, {target.variant}",
            target.quantity,
            "not measured" if verdict.measured is None else f"{verdict.measured:,.2f}",
            f"{target.compare} {target.limit:,g}",
            f"{target.aim:,g}",
            outcome,
        )
    return shown


def document(
    facts: Mapping[str, Any], measurements: Iterable[Measurement], verdicts: Iterable[Verdict]
) -> dict[str, Any]:
    """Everything as JSON: the machine, every single time, and the verdicts."""
    targets = [
        asdict(v.target) | {"measured": v.measured, "holds": v.holds, "meets_aim": v.meets_aim}
        for v in verdicts
    ]
    numbers = [measured.to_dict() for measured in measurements]
    return {"machine": facts, "measurements": numbers, "targets": targets}


def failures(error: BaseException) -> Iterator[BaseException]:
    """The errors of nested groups."""
    # The task groups of servers and clients wrap what a run raises.
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from failures(inner)
    else:
        yield error
