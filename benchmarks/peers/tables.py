"""The numbers of all peers: tables, Markdown and JSON, and where we are not first.

The rule of this file: it shows what was measured, in the order of the catalogue, and picks nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from benchmarks.measure import Measurement
from benchmarks.peers.catalogue import OURS
from benchmarks.peers.jobs import Job
from benchmarks.peers.rounds import Report
from benchmarks.report import ratio

HEADINGS = ("n", "P50, ms", "P95, ms", "x orchestrator", "CPU, ms", "peak, MB")
FASTEST = "fastest"

LEGEND = (
    "CPU is that of the client process, for one repetition; for `cold` that of the servers too. "
    "The peak is that of the client process; for `cold` of the largest one."
)


def heading(report: Report) -> str:
    """The machine, the versions and what the columns mean."""
    facts = report.facts
    load = ", ".join(f"{load:.2f}" for load in facts["load_average"])
    lines = [
        f"{facts['date']}: {facts['cores']} cores, {facts['system']}, load before {load}",
        f"{facts['python']}; servers on mcp {facts['packages']['mcp']}, over stdio",
        *(f"{name}: {versions}" for name, versions in _versions(report)),
        "A ratio is the median of the rounds, with their 5th to 95th percentile in brackets.",
        LEGEND,
    ]
    return "\n".join(lines) + "\n"


def _versions(report: Report) -> Iterator[tuple[str, str]]:
    for name, versions in report.versions.items():
        yield name, ", ".join(f"{package} {number}" for package, number in versions.items())


def measured(report: Report, job: Job) -> list[Measurement]:
    """The measurements of a job, in the order of the catalogue."""
    order = [peer.name for peer in report.peers]
    found = [each for each in report.measurements if each.scenario == job.name]
    return sorted(found, key=lambda each: order.index(each.variant))


def fastest(measurements: Sequence[Measurement]) -> str:
    """The peer with the least median; empty if there is none."""
    if not measurements:
        return ""
    return min(measurements, key=p50).variant


def p50(measurement: Measurement) -> float:
    """The median of its times, milliseconds."""
    found = measurement.quantity("p50_ms")
    assert found is not None, "every measurement has a time"
    return found


def rows(report: Report, job: Job) -> Iterator[tuple[str, list[str], str]]:
    """For each peer: its name, its cells, and the mark of the fastest or why there are none."""
    found = {each.variant: each for each in measured(report, job)}
    first = fastest(list(found.values()))
    for peer in report.peers:
        if peer.name in found:
            yield peer.name, cells(found[peer.name]), FASTEST if peer.name == first else ""
        else:
            reason = report.failures.get((job.name, peer.name), "not measured")
            yield peer.name, [""] * len(HEADINGS), reason


def cells(measurement: Measurement) -> list[str]:
    """What `HEADINGS` names."""
    ratios = measurement.ratios.get(OURS)
    return [
        str(len(measurement.times_ms)),
        f"{p50(measurement):.1f}",
        f"{measurement.quantity('p95_ms'):.1f}",
        ratio(ratios) if ratios else "",
        f"{measurement.values['cpu_ms']:.1f}",
        f"{measurement.values['peak_rss_mb']:.0f}",
    ]


def tables(report: Report) -> Iterator[Table]:
    """A table for each job."""
    for job in report.jobs:
        title = Text.assemble((job.name, "bold"), f": {job.title}", style="")
        shown = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="")
        shown.add_column("", min_width=24, no_wrap=True)
        for name in HEADINGS:
            shown.add_column(name, justify="right", no_wrap=True)
        shown.add_column("", overflow="fold")
        for name, filled, remark in rows(report, job):
            shown.add_row(name, *filled, Text(remark))
        yield shown


def behind(report: Report) -> Iterator[str]:
    """A line for each job that another peer does in less time than the orchestrator."""
    for job in report.jobs:
        found = {each.variant: each for each in measured(report, job)}
        first = fastest(list(found.values()))
        if OURS not in found or first == OURS:
            continue
        ours, theirs = p50(found[OURS]), p50(found[first])
        yield (
            f"{job.name}: {first} is first with {theirs:.1f} ms; orchestrator takes {ours:.1f} ms, "
            f"{ours - theirs:.1f} ms ({(ours / theirs - 1) * 100:.1f} %) more; "
            f"by round {ratio(found[first].ratios[OURS])} x orchestrator"
        )


def markdown(report: Report) -> str:
    """All of it for the documentation."""
    facts = report.facts
    parts = [
        f"Measured on {facts['date'][:10]}: {facts['cores']} cores, {facts['system']}, "
        f"{facts['python']}; servers on mcp {facts['packages']['mcp']}. {LEGEND}",
        "\n".join(_markdown_peers(report)),
    ]
    for job in report.jobs:
        parts += [f"**{job.name}**: {job.title}", "\n".join(_markdown_table(report, job))]
    lines = [f"- {line}" for line in behind(report)]
    if lines:
        parts += ["Where `orchestrator` is not first:", "\n".join(lines)]
    return "\n\n".join(parts)


def _markdown_peers(report: Report) -> Iterator[str]:
    versions = dict(_versions(report))
    yield "| peer | versions | what it does |"
    yield "|---|---|---|"
    for peer in report.peers:
        yield f"| {peer.name} | {versions.get(peer.name, '')} | {peer.note} |"


def _markdown_table(report: Report, job: Job) -> Iterator[str]:
    yield f"| | {' | '.join(HEADINGS)} |"
    yield f"|---|{'---:|' * len(HEADINGS)}"
    for name, filled, remark in rows(report, job):
        if any(filled):
            shown = f"**{name}**" if remark == FASTEST else name
            yield f"| {shown} | {' | '.join(filled)} |"
        else:
            yield f"| {name}: {remark.replace('|', '/')} |{' |' * len(HEADINGS)}"


def document(report: Report) -> dict[str, Any]:
    """Everything as JSON: the machine, the versions, every single time, and what failed."""
    return {
        "machine": report.facts,
        "versions": report.versions,
        "measurements": [each.to_dict() for each in report.measurements],
        "failures": [
            {"workload": job, "peer": peer, "reason": reason}
            for (job, peer), reason in report.failures.items()
        ],
    }
