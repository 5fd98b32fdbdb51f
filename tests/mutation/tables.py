"""What a trial came to, as tables, Markdown and JSON.

The rule of this file: it counts and shows; nothing is judged or left out here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from tests.mutation.judging import SEEN, Judged
from tests.mutation.mistakes import Kind
from tests.mutation.trial import MAKES, Trial

COLUMNS = (
    "mistakes",
    "fail visibly",
    "caught",
    "too mild",
    "misplaced",
    "missed",
    "false alarms",
    "may fail (told)",
    "fail unseen (told)",
    "survive (told)",
    "not reached",
    "mends offered",
    "original back",
    "leave no error",
)
MAX_SHOWN = 20


@dataclass(frozen=True)
class Row:
    """The counts of some mistakes; the attributes are the columns."""

    name: str
    counts: tuple[int | str, ...]


def row(name: str, judged: Sequence[Judged]) -> Row:
    """Count some mistakes."""
    verdicts = Counter(each.verdict for each in judged)
    mends = Counter(each.mends for each in judged if each.mends is not None)
    may_fail = verdicts["may fail, told"] + verdicts["may fail, untold"]
    return Row(
        name,
        (
            len(judged),
            sum(verdicts[verdict] for verdict in SEEN),
            *(verdicts[verdict] for verdict in (*SEEN, "false alarm")),
            _told(may_fail, verdicts["may fail, told"]),
            _told(verdicts["fails unseen"], _findings(judged, "fails unseen")),
            _told(verdicts["survives"], _findings(judged, "survives")),
            verdicts["not reached"],
            sum(mends.values()),
            mends["gives the original back"],
            mends["leaves no error"],
        ),
    )


def _told(count: int, told: int) -> str:
    return f"{count} ({told})" if count else "0"


def _findings(judged: Sequence[Judged], verdict: str) -> int:
    return sum(bool(each.findings) for each in judged if each.verdict == verdict)


def rows(trial: Trial) -> list[Row]:
    """A row for each kind of mistake, then one for all mistakes, then one for what is none."""
    by_kind: dict[Kind, list[Judged]] = {kind: [] for kind in MAKES}
    for judged in trial.judged:
        by_kind[judged.kind].append(judged)
    harmless = by_kind.pop("no mistake")
    mistakes = [each for each in trial.judged if each.kind != "no mistake"]
    made = [row(kind, judged) for kind, judged in by_kind.items()]
    return [*made, row("all mistakes", mistakes), row("no mistake", harmless)]


def heading(trial: Trial) -> str:
    """What was tried."""
    worlds = Counter(judged.original.world.name for judged in trial.judged)
    parts = ", ".join(f"{count:,} in {name}" for name, count in sorted(worlds.items()))
    count = f"{len(trial.judged):,} changes of {trial.originals:,} workflows"
    return f"{count}, seed {trial.seed}: {parts}\n"


def table(trial: Trial) -> Table:
    """All counts."""
    made = Table(box=SIMPLE_HEAD, title="Mistakes, and what was said of them before the run")
    made.add_column("kind", no_wrap=True)
    for column in COLUMNS:
        made.add_column(column, justify="right")
    for each in rows(trial):
        bad = [column in ("too mild", "misplaced", "missed", "false alarms") for column in COLUMNS]
        cells = [
            Text(str(count), style="bold red" if wrong and count else "")
            for count, wrong in zip(each.counts, bad, strict=True)
        ]
        made.add_row(each.name, *cells, end_section=each.name == "malformed reference")
    return made


def behind(trial: Trial) -> Iterator[str]:
    """What stands behind the counts: the findings in originals, and the faults, one by one."""
    yield from originals(trial)
    yield from _some(
        "an error in a workflow that is right",
        [f"{each.name} ({each.world.name}): {finding}" for each, finding in trial.errors],
    )
    yield from _some(
        "a finding that stands nowhere in the file",
        [f"{each.name} ({each.world.name}): {finding}" for each, finding in trial.lost],
    )
    for judged in trial.faults[:MAX_SHOWN]:
        yield from fault(judged)
    if (more := len(trial.faults) - MAX_SHOWN) > 0:
        yield f"and {more} more"


def originals(trial: Trial) -> Iterator[str]:
    """The findings in the originals, counted."""
    counts = Counter(
        (finding.severity, finding.code, each.world.name) for each, finding in trial.findings
    )
    for (severity, code, world), count in sorted(counts.items()):
        yield f"originals, {world}: {count} x {severity} {code}"
    if not counts:
        yield "originals: no finding"


def _some(what: str, lines: Sequence[str]) -> Iterator[str]:
    for line in lines[:MAX_SHOWN]:
        yield f"{what}: {line}"
    if (more := len(lines) - MAX_SHOWN) > 0:
        yield f"{what}: and {more} more"


def fault(judged: Judged) -> Iterator[str]:
    """One thing that the checker said wrong or left out."""
    name = f"{judged.kind}, {judged.name}"
    where = f"{judged.original.name} ({judged.original.world.name})"
    places = " ".join((*judged.mistake.at, *judged.mistake.within))
    yield f"{judged.verdict.upper()}: {name}: {where} at {places}"
    for failure in judged.outcome.failures[:3]:
        yield f"    run: {failure.sight}: {failure.reason}"
    for finding in judged.findings[:3]:
        yield f"    found: {finding.severity} {finding.code} {finding}"


def markdown(trial: Trial) -> str:
    """The table for the documentation."""
    lines = [
        f"| kind | {' | '.join(COLUMNS)} |",
        f"|---|{'---:|' * len(COLUMNS)}",
        *(f"| {each.name} | {' | '.join(map(str, each.counts))} |" for each in rows(trial)),
    ]
    return "\n".join(lines)


def document(trial: Trial) -> dict[str, Any]:
    """Everything as JSON."""
    return {
        "seed": trial.seed,
        "originals": trial.originals,
        "holds": trial.holds,
        "rows": [
            {"kind": r.name, **dict(zip(COLUMNS, r.counts, strict=True))} for r in rows(trial)
        ],
        "findings_in_originals": list(originals(trial)),
        "mistakes": [_as_json(judged) for judged in trial.judged],
    }


def _as_json(judged: Judged) -> dict[str, Any]:
    return {
        "kind": judged.kind,
        "mistake": judged.name,
        "workflow": judged.original.name,
        "world": judged.original.world.name,
        "places": [*judged.mistake.at, *judged.mistake.within],
        "verdict": judged.verdict,
        "run": [f"{each.sight}: {each.reason}" for each in judged.outcome.failures],
        "findings": [finding.to_dict() for finding in judged.findings],
        "mends": judged.mends,
    }
