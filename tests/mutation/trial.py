"""Many mutants, each run, checked and judged; chance depends on the seed alone."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import anyio

from orchestrator.errors import Problem
from tests.json_patch import patched
from tests.mutation.documents import exists
from tests.mutation.mutations import Mutant, Row
from tests.mutation.oracle import Outcome, observe
from tests.mutation.rows import KINDS, NO_MISTAKE, ROWS
from tests.mutation.worlds import PLANS, Original, originals
from tests.virtual_clock import VirtualLoop

# The examples say more than recorded plans: expressions, inputs, arrays.
EXAMPLES_SHARE = 0.25
TRIES = 40

Verdict = Literal[
    "caught",
    "too mild",
    "misplaced",
    "missed",
    "false alarm",
    "may fail",
    "fails unseen",
    "not reached",
    "survives",
]
"""`caught`: it fails, the schemas show it, and a finding stands in its place; `too mild`: only a
warning, though the schemas leave no doubt; `misplaced`: findings elsewhere only; `missed`: none;
`false alarm`: it does not fail and has an error; `may fail`: it fails, and the schemas say that it
may; `fails unseen`: it fails and no schema shows it; `not reached`: its task was never begun."""
VISIBLE: tuple[Verdict, ...] = ("caught", "too mild", "misplaced", "missed")
FAULTS: tuple[Verdict, ...] = ("too mild", "misplaced", "missed", "false alarm")
UNSURE: tuple[Verdict, ...] = ("may fail", "fails unseen", "survives")


@dataclass(frozen=True)
class Judged:
    """A mutant, what its run came to, and the findings that the original does not have."""

    original: Original
    row: Row
    mutant: Mutant
    outcome: Outcome
    findings: Sequence[Problem]
    fix: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the findings are worth, given the run."""
        return judge(self.mutant, self.outcome, self.findings)


def judge(mutant: Mutant, outcome: Outcome, findings: Sequence[Problem]) -> Verdict:
    """What findings are worth, given what fails; both without those of the original."""
    sights = {failure.sight for failure in outcome.failures}
    told = [finding for finding in findings if finding.severity != "note"]
    there = [finding.severity for finding in told if mutant.expects(finding.path)]
    if sights & {"certain", "undeclared"}:
        if not there:
            return "misplaced" if told else "missed"
        return "too mild" if "certain" in sights and "error" not in there else "caught"
    if sights:
        return "may fail" if "possible" in sights else "fails unseen"
    paths = [path for path in (*mutant.at, *mutant.within) if path[0] == "tasks"]
    tasks = [mutant.document["tasks"][int(path[1])]["id"] for path in paths]
    if tasks and outcome.reached.isdisjoint(tasks):
        return "not reached"
    return "false alarm" if errors_of(findings) else "survives"


def errors_of(findings: Sequence[Problem]) -> list[Problem]:
    """The findings that say that the workflow will fail."""
    return [finding for finding in findings if finding.severity == "error"]


@dataclass(repr=False)  # asyncio would print all of it
class Trial:
    """The mutants of a seed, and the findings in the originals."""

    seed: int
    originals: int = 0
    findings: list[tuple[Original, Problem]] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)

    def faults(self) -> Iterator[str]:
        """What the checker left out, misplaced or said wrongly, one by one."""
        for original, finding in self.findings:
            if finding.severity == "error" or not exists(original.document, finding.path):
                yield f"ORIGINAL: {original.name} ({original.world.name}): {finding}"
        for judged in self.judged:
            lost = [f for f in judged.findings if not exists(judged.mutant.document, f.path)]
            if lost or judged.verdict in FAULTS:
                places = ["/".join(map(str, p)) for p in (*judged.mutant.at, *judged.mutant.within)]
                yield "\n    ".join(
                    (
                        f"{judged.verdict.upper()}: {judged.row.name}: {judged.original.name} "
                        f"({judged.original.world.name}) at {', '.join(places)}",
                        *(
                            f"run: {each.sight}: {each.reason}"
                            for each in judged.outcome.failures[:3]
                        ),
                        *(
                            f"found: {each.severity} {each}"
                            for each in (*lost, *judged.findings)[:3]
                        ),
                    )
                )

    def table(self) -> str:
        """The counts by kind, as Markdown."""
        groups = {kind: [each for each in self.judged if each.row.kind == kind] for kind in KINDS}
        groups["all mistakes"] = [each for each in self.judged if each.row.kind != NO_MISTAKE]
        groups[NO_MISTAKE] = [each for each in self.judged if each.row.kind == NO_MISTAKE]
        rows = [_counts(judged) for judged in groups.values()]
        lines = [
            f"| {kind} | {' | '.join(row.values())} |"
            for kind, row in zip(groups, rows, strict=True)
        ]
        return "\n".join(
            [f"| kind | {' | '.join(rows[0])} |", f"|---|{'---:|' * len(rows[0])}", *lines]
        )


def _counts(judged: Sequence[Judged]) -> dict[str, str]:
    verdicts = Counter(each.verdict for each in judged)
    told = Counter(each.verdict for each in judged if each.findings)
    fixes = Counter(each.fix for each in judged)
    counts = {"mutants": len(judged), "fail visibly": sum(verdicts[each] for each in VISIBLE)}
    counts |= {verdict: verdicts[verdict] for verdict in (*VISIBLE, "false alarm", "not reached")}
    return {name: str(count) for name, count in counts.items()} | {
        **{f"{verdict} (told)": f"{verdicts[verdict]} ({told[verdict]})" for verdict in UNSURE},
        "fixes": str(fixes.total() - fixes[""]),
        "original back": str(fixes["original"]),
        "no error left": str(fixes["no error"]),
    }


def run(count: int, seed: int, plans: Path = PLANS) -> Trial:
    """Judge so many mutants, on an event loop whose time is virtual.

    Args:
        count: How many.
        seed: The same seed makes the same mutants.
        plans: The folder of recorded plans; it may be missing.
    """
    options = {"loop_factory": VirtualLoop}
    return anyio.run(_trial, count, seed, plans, backend="asyncio", backend_options=options)


async def _trial(count: int, seed: int, plans: Path) -> Trial:
    found = await originals(plans)
    made = Trial(seed, len(found) // 2)
    known: dict[int, tuple[list[Problem], Outcome]] = {}
    for original in found:
        findings = await original.world.check(original.document)
        made.findings += [(original, finding) for finding in findings]
        known[id(original)] = findings, await observe(original.document, original)
    for original, row, mutant in mutants(found, count, random.Random(seed)):
        findings, expected = known[id(original)]
        outcome = await observe(mutant.document, original, mutant.in_expressions)
        outcome.failures = [each for each in outcome.failures if each not in expected.failures]
        new = news(await original.world.check(mutant.document), findings)
        fix = await _fix(original, mutant, new, findings)
        made.judged.append(Judged(original, row, mutant, outcome, new, fix))
    return made


def news(findings: Sequence[Problem], known: Sequence[Problem]) -> list[Problem]:
    """The findings that are not among those known, wherever they stand."""
    before = {(finding.code, finding.task, finding.message) for finding in known}
    return [each for each in findings if (each.code, each.task, each.message) not in before]


async def _fix(
    original: Original, mutant: Mutant, found: Sequence[Problem], known: Sequence[Problem]
) -> str:
    """What the replacements of the findings are worth, all together; empty if there is none."""
    offered = [finding.replacement for finding in found if finding.replacement]
    if not offered:
        return ""
    distinct = [each for number, each in enumerate(offered) if each not in offered[:number]]
    fixed = patched(mutant.document, [operation for each in distinct for operation in each])
    if fixed == original.document:
        return "original"
    return "errors" if errors_of(news(await original.world.check(fixed), known)) else "no error"


def mutants(
    found: Sequence[Original], count: int, chance: random.Random
) -> Iterator[tuple[Original, Row, Mutant]]:
    """So many mutants, no two the same, of each row about as many; fewer if there are no more."""
    examples = [original for original in found if original.world.name.startswith("examples")]
    recorded = [original for original in found if original not in examples]
    rows, seen = list(ROWS), set[str]()
    while rows and len(seen) < count:
        for row in list(rows):
            for _ in range(TRIES):
                of_examples = not recorded or chance.random() < EXAMPLES_SHARE
                original = chance.choice(examples if of_examples else recorded)
                mutant = row.make(original, chance)
                key = mutant and f"{original.world.name} {json.dumps(mutant.document)}"
                if mutant and key and key not in seen:
                    seen.add(key)
                    yield original, row, mutant
                    break
            else:
                rows.remove(row)
            if len(seen) >= count:
                return
