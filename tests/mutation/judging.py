"""What is to be made of a mistake: what the run says, beside what the checker found before it.

The rule of this file: pure functions of an outcome and of findings.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from orchestrator.errors import Problem
from tests.mutation.mistakes import Kind, Mistake
from tests.mutation.oracle import Outcome
from tests.mutation.originals import Original
from tests.mutation.sites import Document, get, ids, leads_somewhere

Verdict = Literal[
    "caught",
    "too mild",
    "misplaced",
    "missed",
    "may fail, told",
    "may fail, untold",
    "fails unseen",
    "not reached",
    "false alarm",
    "survives",
]
"""What became of a mistake.

`caught`: it fails, the schemas show it, and a finding stands in its place. `too mild`: there is
only a warning where the schemas leave no doubt. `misplaced`: findings stand elsewhere only.
`missed`: there is none. `may fail`: it fails, and the schemas only say that it may. `fails unseen`:
it fails, and no schema shows it. `not reached`: its task was never begun. `false alarm`: it does
not fail, and was reported as an error. `survives`: it does not fail, and was not.
"""
Mend = Literal["gives the original back", "leaves no error", "leaves errors"]
FAULTS: tuple[Verdict, ...] = ("too mild", "misplaced", "missed", "false alarm")
SEEN: tuple[Verdict, ...] = ("caught", "too mild", "misplaced", "missed")


@dataclass(frozen=True)
class Judged:
    """A mistake, and what became of it.

    Attributes:
        original: The workflow that it was put into.
        kind: Its kind, and `name` the mistake itself.
        name: See `kind`.
        mistake: The workflow with the mistake.
        outcome: What the run came to.
        findings: What the checker found, without what it finds in the original.
        verdict: What is to be made of it.
        mends: What the replacements of the findings are worth; None if none was offered.
    """

    original: Original
    kind: Kind
    name: str
    mistake: Mistake
    outcome: Outcome
    findings: tuple[Problem, ...]
    verdict: Verdict
    mends: Mend | None

    @property
    def strays(self) -> list[Problem]:
        """The errors that stand in no place of the mistake."""
        return [e for e in errors_of(self.findings) if not self.mistake.is_there(e.path)]

    @property
    def lost(self) -> list[Problem]:
        """The findings that stand nowhere in the file."""
        return nowhere(self.mistake.document, self.findings)


def errors_of(findings: Iterable[Problem]) -> list[Problem]:
    """The findings that say that it will fail."""
    return [finding for finding in findings if finding.severity == "error"]


def nowhere(document: Document, findings: Iterable[Problem]) -> list[Problem]:
    """The findings whose path leads nowhere in the file."""
    return [each for each in findings if not leads_somewhere(document, each.path)]


def news(findings: Sequence[Problem], known: Sequence[Problem]) -> tuple[Problem, ...]:
    """The findings that are not among those that are known, wherever they stand."""
    before = {(finding.code, finding.task, finding.message) for finding in known}
    return tuple(f for f in findings if (f.code, f.task, f.message) not in before)


def judge(mistake: Mistake, outcome: Outcome, findings: Sequence[Problem]) -> Verdict:
    """What is to be made of a mistake, by what the run and the checker say.

    Args:
        mistake: The mistake.
        outcome: What the run came to, without what fails in the original.
        findings: What the checker found, without what it finds in the original.
    """
    sights = {failure.sight for failure in outcome.failures}
    told = [finding for finding in findings if finding.severity != "note"]
    there = [finding for finding in told if mistake.is_there(finding.path)]
    noted = any(mistake.is_there(finding.path) for finding in findings)
    if sights & {"certain", "undeclared"}:
        if not there:
            return "misplaced" if told else "missed"
        return "too mild" if "certain" in sights and not errors_of(there) else "caught"
    if "possible" in sights:
        return "may fail, told" if noted else "may fail, untold"
    if sights:
        return "fails unseen"
    if not _reached(mistake, outcome):
        return "not reached"
    return "false alarm" if errors_of(findings) else "survives"


def _reached(mistake: Mistake, outcome: Outcome) -> bool:
    """Whether any task that the mistake is in was begun."""
    names = ids(mistake.document)
    places = [path.split("/") for path in (*mistake.at, *mistake.within)]
    tasks = [names[int(place[2])] for place in places if place[1] == "tasks"]
    return not tasks or any(task in outcome.reached for task in tasks)


def mend(mistaken: Document, findings: Iterable[Problem]) -> Document | None:
    """The workflow after the replacements of all findings; None if none has one."""
    offered: list[Sequence[Mapping[str, Any]]] = []
    for finding in findings:
        if finding.replacement and finding.replacement not in offered:
            offered.append(finding.replacement)
    return patched(mistaken, [each for one in offered for each in one]) if offered else None


def judge_mend(original: Document, mended: Document | None, left: Iterable[Problem]) -> Mend | None:
    """What a mend is worth, by what is found after it; None if none was offered."""
    if mended is None:
        return None
    if mended == original:
        return "gives the original back"
    return "leaves errors" if errors_of(left) else "leaves no error"


def patched(document: Document, operations: Iterable[Mapping[str, Any]]) -> Document:
    """The document after the operations of a JSON Patch (RFC 6902): add, remove, replace, move."""
    made = copy.deepcopy(document)
    for operation in operations:
        value = operation.get("value")
        if operation["op"] == "move":
            value = _taken(made, operation["from"])
        if operation["op"] == "remove":
            _taken(made, operation["path"])
        elif operation["op"] != "test":
            _put(made, operation["path"], value, replaces=operation["op"] == "replace")
    return made


def _place(document: Any, path: str) -> tuple[Any, Any]:
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    holder = document
    for step in steps[:-1]:
        holder = get(holder, (int(step) if isinstance(holder, list) else step,))
    last: Any = steps[-1]
    if isinstance(holder, list):
        last = len(holder) if last == "-" else int(last)
    return holder, last


def _taken(document: Any, path: str) -> Any:
    holder, step = _place(document, path)
    return holder.pop(step)


def _put(document: Any, path: str, value: Any, *, replaces: bool) -> None:
    holder, step = _place(document, path)
    if isinstance(holder, list) and not replaces:
        holder.insert(step, value)
    else:
        holder[step] = value
