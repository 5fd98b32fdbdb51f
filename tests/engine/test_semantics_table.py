"""docs/semantics.md is true: each combination has one row, and does what the row says."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby, product
from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.result import RunResult, TaskResult
from orchestrator.workflow.model import Schedule, Workflow
from tests.model import Case, Fault, Retry, Row, Task
from tests.stage import Stage, as_file, play
from tests.terms import Term, UnresolvedError, literal
from tests.virtual_clock import Backend, virtual_clock

pytestmark = [pytest.mark.anyio, pytest.mark.untraced]

DOCUMENT = Path(__file__).parents[2] / "docs" / "semantics.md"
TOGETHER = 60
ALONE_EVERY = 47
OTHER_SCHEDULE_EVERY = 9
LATER_S = 15.0

Table = list[dict[str, str]]

DEPENDENCIES = {"one succeeded": "ok", "one failed": "bad", "one did not run": "gone"}
YES_NO = ("yes", "no")
START = {
    **dict.fromkeys(DEPENDENCIES, YES_NO),
    "run_if": ("all_success", "all_done", "any_success", "any_failed"),
    "when": ("true", "false", "fails"),
}
CALLS = {
    "no": ("answer", "answer on retry", "all fail", "not resolved", "not accepted"),
    "yes": ("answer", "answer on retry", "some fail", "all fail", "none to make", "not resolved"),
}
FALLBACKS = ("none", "value", "tool", "broken value", "failing tool")
STATUSES = (
    "success",
    "skipped by its condition",
    "skipped by a dependency",
    "error",
    "cancelled alone",
)
SCHEDULES: tuple[Schedule, ...] = ("generations", "dataflow")
ENDS = (
    "all succeed",
    "some fail",
    "all fail",
    "end at a failure",
    "are ended as a success",
    "are ended as failed",
    "reach the limit of the run",
    "are cancelled",
)  # of the tasks, before those of `finally`; tests/engine/test_finally.py runs them
LAST = (*STATUSES[:4], "cancelled")
END = {"critical": YES_NO, "on_error": ("continue", "fail_fast")}


@pytest.fixture
def anyio_backend() -> Backend:
    """trio, with a clock that jumps to the next deadline whenever all tasks wait."""
    return virtual_clock("trio")


# Reading the tables.


def tables() -> list[Table]:
    """The tables of the document, each as a list of rows by column."""
    blocks = re.findall(r"(?:^\|.*\|\n)+", DOCUMENT.read_text(), re.MULTILINE)
    found = []
    for block in blocks:
        head, _, *rows = [
            [cell.strip().replace("`", "") for cell in line.strip("|").split("|")]
            for line in block.splitlines()
        ]
        found.append([dict(zip(head, row, strict=True)) for row in rows])
    return found


STARTS, WORDS, RESULTS, EACH_ITEM, TURNS, CONSEQUENCES, ENDED_BY, FINALLY, INSIDE = tables()


def rows_of(table: Table, combination: Mapping[str, str]) -> Table:
    """The rows that cover a combination."""
    return [
        row
        for row in table
        if all(
            row[name] == "any" or value in row[name].split(", ")
            for name, value in combination.items()
        )
    ]


def the_row(table: Table, **combination: str) -> dict[str, str]:
    (row,) = rows_of(table, combination)
    return row


def combinations(domain: Mapping[str, tuple[str, ...]]) -> Iterator[dict[str, str]]:
    """Every combination of the values of some columns."""
    for values in product(*domain.values()):
        yield dict(zip(domain, values, strict=True))


def all_results() -> Iterator[dict[str, str]]:
    for for_each, calls in CALLS.items():
        for chosen, fallback in product((*calls, "condition fails"), FALLBACKS):
            yield {"for_each": for_each, "its calls": chosen, "fallback": fallback}


INNER_ENDS = (
    *("succeed or are skipped", "one fails", "end at a failure", "are ended as a success"),
    *("are ended as failed", "reach the limit of the inner workflow"),
)
ITEM_CALLS = (
    *("answer", "answer on retry", "answer in a later turn"),
    *("fails", "not resolved", "used up", "too late"),
)  # of an item; tests/engine/test_items_table.py runs them
OF_ITEMS = {
    "item_when": ("true", "false", "fails"),
    "its call": ITEM_CALLS,
    "item_fallback": FALLBACKS,
}
INNER_OUTPUTS = ("resolves", "does not resolve")

TURNS_END = (
    *("until is true in the end", "until is never true", "one fails"),
    *("until cannot be evaluated", "reach deadline_s"),
)
END_RUNS = ("success", "failed")
ENDERS = ("success", "recovered", "error", "skipped by its condition")
OF_TURNS = {"the turns": TURNS_END, "collect": ("no", "yes")}
OF_END_RUN = {
    "the task with end_run": ENDERS,
    "end_run": END_RUNS,
    "a task has failed": ("no", "yes"),
}

COVERED = [
    (STARTS, list(combinations(START))),
    (RESULTS, list(all_results())),
    (EACH_ITEM, list(combinations(OF_ITEMS))),
    (CONSEQUENCES, list(combinations({"status": STATUSES, **END}))),
    (
        FINALLY,
        list(combinations({"the tasks": ENDS, "a task of finally": (*STATUSES[:4], "cancelled")})),
    ),
    (TURNS, list(combinations(OF_TURNS))),
    (ENDED_BY, list(combinations(OF_END_RUN))),
    (
        INSIDE,
        list(combinations({"the tasks inside": INNER_ENDS, "its output": INNER_OUTPUTS})),
    ),
]
TABLES = ["start", "result", "items", "consequence", "finally", "turns", "end run", "inside"]


@pytest.mark.parametrize(("table", "domain"), COVERED, ids=TABLES)
def test_each_combination_is_covered_by_exactly_one_row(
    table: Table, domain: list[dict[str, str]]
) -> None:
    for combination in domain:
        assert len(rows_of(table, combination)) == 1, combination


@pytest.mark.parametrize(("table", "domain"), COVERED, ids=TABLES)
def test_no_row_names_a_value_that_does_not_occur(
    table: Table, domain: list[dict[str, str]]
) -> None:
    for row in table:
        for name in domain[0]:
            known = {combination[name] for combination in domain}
            assert row[name] == "any" or set(row[name].split(", ")) <= known, row
        assert any(row in rows_of(table, combination) for combination in domain), row


def test_the_words_for_calls_are_explained() -> None:
    used = {combination["its calls"] for combination in all_results()}
    assert {row["value"] for row in WORDS} == used


# Running the combinations.


@dataclass(frozen=True)
class Combination:
    """A value for each column of the three tables that decides something."""

    start: Mapping[str, str]
    result: Mapping[str, str]
    end: Mapping[str, str]

    @cached_property
    def started(self) -> str:
        return the_row(STARTS, **self.start)["the task"]

    @cached_property
    def came_to(self) -> dict[str, str]:
        """The row of its result, if it was not skipped."""
        if self.started == "starts":
            return the_row(RESULTS, **self.result)
        return the_row(RESULTS, **{**self.result, "its calls": "condition fails"})

    @cached_property
    def status(self) -> str:
        """How it ends, in the words of the last table."""
        return self.started if self.started.startswith("skipped") else self.came_to["status"]

    @cached_property
    def consequence(self) -> dict[str, str]:
        return the_row(CONSEQUENCES, status=self.status, **self.end)

    @property
    def fails_at_once(self) -> bool:
        """Whether it fails in the very moment in which it is judged."""
        not_made = ("not resolved", "not accepted")
        called = self.started == "starts" and self.result["its calls"] not in not_made
        return not called and self.result["fallback"] in ("none", "broken value")

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(DEPENDENCIES[name] for name in DEPENDENCIES if self.start[name] == "yes")


def all_combinations() -> list[Combination]:
    """Every combination that can be: under fail_fast no dependency failed, or the run had ended."""
    found = []
    for start, result, end in product(combinations(START), all_results(), combinations(END)):
        ended_before = start["one failed"] == "yes" and end["on_error"] == "fail_fast"
        if result["its calls"] != "condition fails" and not ended_before:
            found.append(Combination(start, result, end))
    return found


ALL = all_combinations()
NO = Fault("tool_error")
FIRST_NO = Fault("protocol_error")
ITEMS = ("x", "y", "z")


def _unresolved(_: object) -> Any:
    raise UnresolvedError


BROKEN = Term("${length(5)}", _unresolved)
NO_LIST = Term("${length('abc')}", lambda _: 3)
ROWS: Mapping[str, tuple[tuple[Row, ...], ...]] = {
    "answer": (((1, "a0"),), ((2, "a1"),), ((1, "a2"),)),
    "answer on retry": (((1, NO), (1, "a0")), ((1, "a1"),), ((1, NO), (1, "a2"))),
    "some fail": (((1, "a0"),), ((2, FIRST_NO),), ((1, NO),)),
    "all fail": (((2, FIRST_NO),), ((1, NO),), ((1, NO),)),
}
ARGUMENTS = {"not resolved": {"x": BROKEN}, "not accepted": {"x": literal("text")}}
WHEN = {"true": literal(True), "false": literal(False), "fails": replace(BROKEN, text="length(5)")}


def subject(name: str, chosen: Combination) -> Task:
    """A task that is what a combination says."""
    calls, fallback = chosen.result["its calls"], chosen.result["fallback"]
    each = chosen.result["for_each"] == "yes"
    items = (
        NO_LIST if calls == "not resolved" else literal([] if calls == "none to make" else [*ITEMS])
    )
    task = Task(
        name,
        rows=ROWS.get(calls, ROWS["answer"]),
        arguments={} if each else ARGUMENTS.get(calls, {}),
        refuses="string",
        depends_on=chosen.needs,
        run_if=chosen.start["run_if"],
        when=WHEN[chosen.start["when"]],
        for_each=items if each else None,
        retry=Retry(2, 1.0, jitter=0.0),
        critical=chosen.end["critical"] == "yes",
    )
    if fallback.endswith("value"):
        return replace(task, fallback_value=BROKEN if "broken" in fallback else literal("instead"))
    if fallback.endswith("tool"):
        answer = NO if "failing" in fallback else "instead"
        return replace(task, fallback_arguments={}, fallback_rows=((1, answer),))
    return task


def case_of(chosen: list[Combination]) -> Case:
    """A workflow of subjects with the same dependencies, and of two tasks that look on."""
    needs, end = chosen[0].needs, chosen[0].end
    rest = (
        Task("ok"),
        Task("bad", rows=(((1, NO),),)),
        Task("gone", when=literal(False)),
        Task("running", depends_on=needs, run_if="all_done", rows=(((LATER_S, "ran"),),)),
        Task("later", depends_on=("running",)),
    )
    used = [task for task in rest if task.id not in DEPENDENCIES.values() or task.id in needs]
    subjects = [subject(f"s{number}", each) for number, each in enumerate(chosen)]
    return Case((*used, *subjects), fail_fast=end["on_error"] == "fail_fast")


async def check(chosen: list[Combination], schedule: Schedule) -> None:
    """Run combinations in one workflow, and hold each of them to its rows."""
    case = case_of(chosen)
    stage, result = await play(case, Workflow.load(as_file(case)), schedule)
    for number, each in enumerate(chosen):
        check_task(each, stage, result[f"s{number}"])
    check_run(chosen, result)


def check_task(chosen: Combination, stage: Stage, found: TaskResult) -> None:
    assert chosen.status.startswith(found.status), (chosen, found)
    if found.status == "skipped":
        row = {"output": "none", "error": "none", "recovered": "no"}
        assert not any(task == found.id for task, _ in stage.made), chosen
        assert found.reason, chosen
    else:
        row = chosen.came_to
    calls = chosen.result["its calls"]
    kind, _, noted = row["error"].partition(", ")
    error = found.error
    assert found.output == OUTPUTS[row["output"]](calls), (chosen, found)
    assert (error.kind if error else None) == ERRORS[kind](calls), (chosen, found)
    assert ("fallback_error" in (error.details if error else {})) == bool(noted), (chosen, found)
    assert found.recovered == (row["recovered"] == "yes"), (chosen, found)


OUTPUTS: Mapping[str, Any] = {
    "none": lambda _: None,
    "the answer": lambda _: "a0",
    "the answers": lambda _: ["a0", "a1", "a2"],
    "an empty list": lambda _: [],
    "the fallback's": lambda _: "instead",
    "the answers, null for a failed item": lambda calls: [
        "a0" if calls == "some fail" else None,
        None,
        None,
    ],
}
ERRORS: Mapping[str, Any] = {
    "none": lambda _: None,
    "the call's": lambda _: "protocol_error",
    "the first failed item's": lambda _: "protocol_error",
    "reference_error": lambda _: "reference_error",
    "invalid_arguments": lambda _: "invalid_arguments",
}


def check_run(chosen: list[Combination], result: RunResult) -> None:
    """The others and the run as a whole, by the last table."""
    rows = [each.consequence for each in chosen]
    running, later = result["running"].status, result["later"].status
    if any(row["the rest"] == "is ended" for row in rows):
        assert len(chosen) == 1
        at_that_moment = ("cancelled", "skipped") if chosen[0].fails_at_once else ("cancelled",)
        assert running in at_that_moment, chosen
        assert later == "skipped", chosen
    else:
        assert (running, later) == ("success", "success"), chosen
    effects = [row["the run, if all else succeeds"] for row in rows]
    if "bad" in chosen[0].needs:
        effects.append("partial")
    assert result.status == max(effects, key=("success", "partial", "failed").index), chosen


def in_workflows() -> Iterator[list[Combination]]:
    """All combinations, those that end the run alone, the others in company of their like."""

    def alike(chosen: Combination) -> tuple[Any, ...]:
        return chosen.needs, *chosen.end.values(), chosen.status

    for _, group in groupby(sorted(ALL, key=alike), key=alike):
        members = list(group)
        size = 1 if members[0].consequence["the rest"] == "is ended" else TOGETHER
        for start in range(0, len(members), size):
            yield members[start : start + size]


@pytest.mark.slow
async def test_every_combination_does_what_its_rows_say(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "orchestrator")
    seen = 0
    for chosen in in_workflows():
        await check(chosen, "generations")
        seen += len(chosen)
    assert seen == len(ALL) == 15_840


async def test_combinations_alone_do_what_their_rows_say() -> None:
    for chosen in ALL[::ALONE_EVERY]:
        await check([chosen], "generations")


@pytest.mark.parametrize("end", list(combinations(END)), ids=str)
async def test_a_task_that_is_cancelled_alone_does_what_the_last_table_says(
    end: dict[str, str],
) -> None:
    task = Task("a", critical=end["critical"] == "yes", fallback_value=literal("instead"))
    rest = (Task("b", rows=(((2.0, "b"),),)), Task("c", depends_on=("b",)))
    fail_fast = end["on_error"] == "fail_fast"
    case = Case((task, *rest), fail_fast=fail_fast, cancelled_tasks={"a": 0.5})
    row = the_row(CONSEQUENCES, status="cancelled alone", **end)
    for schedule in SCHEDULES:
        _, result = await play(case, Workflow.load(as_file(case)), schedule)
        assert (result["a"].status, result["a"].output) == ("cancelled", None)
        assert not result["a"].recovered
        assert row["the rest"] == "goes on"
        assert (result["b"].status, result["c"].status) == ("success", "success")
        assert result.status == row["the run, if all else succeeds"]


@pytest.mark.slow
async def test_the_other_schedule_does_the_same() -> None:
    for chosen in list(in_workflows())[::OTHER_SCHEDULE_EVERY]:
        await check(chosen, "dataflow")
    for one in ALL[:: ALONE_EVERY * 2]:
        await check([one], "dataflow")
