"""The numbers, for people and for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from benchmarks.measure import Measurement, Settings, percentile
from benchmarks.suite import SCENARIOS
from benchmarks.targets import Verdict

PACKAGES = ("mcp-orchestrator", "mcp", "anyio", "networkx", "pydantic", "trio")

COLUMNS = {
    "speedup": "speedup",
    "ideal_speedup": "ideal",
    "critical_path": "x critical path",
    "one_session": "x one session",
    "calls_per_s": "calls/s",
    "processes": "processes",
    "of_generations": "x generations",
    "by_hand": "x by hand",
    "bare_anyio": "x bare anyio",
    "bare_jsonschema": "x bare jsonschema",
    "growth": "x smallest",
    "per_task_us": "us/task",
    "load_per_task_us": "us to load",
    "workflow_bytes_per_task": "B/task loaded",
    "run_bytes_per_task": "B/task run",
    "at_once": "at once",
}
"""The columns that a table may have beside the times: the quantity and its heading."""

WRAPPED = {COLUMNS[name] for name in ("load_per_task_us", "workflow_bytes_per_task")}


def machine(settings: Settings) -> dict[str, Any]:
    """Where and when the numbers were made: cores, versions, load, date."""
    packages = {name: version(name) for name in PACKAGES if name != "trio" or _uses_trio(settings)}
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "packages": packages,
        "backend": settings.backend,
        "quick": settings.quick,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _uses_trio(settings: Settings) -> bool:
    return settings.backend == "trio"


def heading(facts: dict[str, Any]) -> str:
    """The machine in three lines."""
    packages = ", ".join(f"{name} {number}" for name, number in facts["packages"].items())
    load = ", ".join(f"{load:.2f}" for load in facts["load_average"])
    return (
        f"{facts['date']}: {facts['cores']} cores, {facts['system']}, load before {load}\n"
        f"{facts['python']} on {facts['backend']}; {packages}\n"
        "Times of n repetitions in ms; with fewer than 100, P99 is close to the slowest.\n"
        "A speedup is over a sequential run that was made. A ratio is the median of the rounds, "
        "with their 5th to 95th percentile in brackets.\n"
    )


def tables(measurements: Sequence[Measurement]) -> Iterator[Table]:
    """A table for each scenario."""
    for name in dict.fromkeys(measured.scenario for measured in measurements):
        yield table(name, [found for found in measurements if found.scenario == name])


def table(scenario: str, measurements: Sequence[Measurement]) -> Table:
    """Measurements with the columns that any of them has something for."""
    names = [name for name in COLUMNS if any(cell(found, name) for found in measurements)]
    notes = dict.fromkeys(measured.note for measured in measurements if measured.note)
    title = Text.assemble((scenario, "bold"), f": {SCENARIOS[scenario].title}", style="")
    shown = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="")
    shown.caption, shown.caption_justify = "; ".join(notes) or None, "left"
    shown.add_column("", min_width=20, no_wrap=True)
    for heading in ("n", "P50", "P95", "P99", *(COLUMNS[name] for name in names)):
        shown.add_column(heading, justify="right", no_wrap=heading not in WRAPPED)
    for measured in measurements:
        shown.add_row(*row(measured, names))
    return shown


def row(measured: Measurement, names: Iterable[str]) -> list[str]:
    """One measurement: its name, repetitions, percentiles, and the columns that are wanted."""
    times = [measured.quantity(name) for name in ("p50_ms", "p95_ms", "p99_ms")]
    cells = ["" if time is None else f"{time:.1f}" for time in times]
    cells += [cell(measured, name) for name in names]
    return [measured.variant, str(len(measured.times_ms) or ""), *cells]


def cell(measured: Measurement, name: str) -> str:
    """A value, or a ratio with its spread."""
    if measured.ratios.get(name):
        return ratio(measured.ratios[name])
    value = measured.values.get(name)
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def line(measured: Measurement) -> str:
    """A measurement in one line, to be shown while others are still being made."""
    median = measured.quantity("p50_ms")
    said = [f"{COLUMNS[name]} {cell(measured, name)}" for name in measured.ratios]
    return f"{measured.scenario}, {measured.variant}: {median:.1f} ms  {'  '.join(said)}"


def ratio(values: Sequence[float]) -> str:
    """The median of a ratio and its spread."""
    low, middle, high = (percentile(values, percent) for percent in (5, 50, 95))
    return f"{middle:.2f} ({low:.2f}..{high:.2f})"


def verdict_table(verdicts: Iterable[Verdict], title: str) -> Table:
    """Targets, what was measured, and whether they hold."""
    shown = Table(title=title, title_justify="left")
    for name in ("target", "quantity"):
        shown.add_column(name, no_wrap=True)
    for name in ("measured", "limit", "aim", ""):
        shown.add_column(name, justify="right", no_wrap=True)
    for verdict in verdicts:
        target = verdict.target
        measured = "not measured" if verdict.measured is None else f"{verdict.measured:,.2f}"
        shown.add_row(
            f"{target.scenario}, {target.variant}",
            target.quantity,
            measured,
            f"{target.compare} {target.limit:,g}",
            f"{target.aim:,g}",
            _in_words(verdict),
        )
    return shown


def _in_words(verdict: Verdict) -> str:
    if not verdict.holds:
        return "[red]missed[/]"
    return "[green]met[/]" if verdict.meets_aim else "[yellow]within the margin[/]"


def document(
    facts: dict[str, Any], measurements: Iterable[Measurement], verdicts: Iterable[Verdict]
) -> dict[str, Any]:
    """Everything as JSON: the machine, every single time, and the verdicts."""
    return {
        "machine": facts,
        "measurements": [measured.to_dict() for measured in measurements],
        "targets": [
            {
                "scenario": verdict.target.scenario,
                "variant": verdict.target.variant,
                "quantity": verdict.target.quantity,
                "compare": verdict.target.compare,
                "limit": verdict.target.limit,
                "aim": verdict.target.aim,
                "measured": verdict.measured,
                "holds": verdict.holds,
                "meets_aim": verdict.meets_aim,
            }
            for verdict in verdicts
        ],
    }
