"""Mistakes in workflows are found before the run, and nothing else is: the mutation test.

Its own parts are tested below, so that a checker that says nothing could not pass.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Workflow, WorkflowError
from orchestrator.errors import Problem, Severity
from tests.mutation import trial
from tests.mutation.__main__ import main
from tests.mutation.mutations import Mutant
from tests.mutation.oracle import Failed, Outcome, observe
from tests.mutation.rows import ROWS
from tests.mutation.schemas import Reading, Sight, closed, derive, read, types_at
from tests.mutation.trial import Verdict, judge, mutants, news
from tests.mutation.worlds import PLANS, ROOT, Original, World, originals, recorded

NOWHERE = Path("nowhere")


# The trial.


@pytest.mark.slow
@pytest.mark.skipif(not PLANS.is_dir(), reason="the recorded plans are not shipped")
def test_of_many_mutants_every_visible_failure_is_reported_in_its_place_and_nothing_else() -> None:
    made = trial.run(1000, 1)  # as docs/mutants.md has it
    assert list(made.faults()) == []
    assert len(made.judged) == 1000
    assert {judged.row.name for judged in made.judged} == {row.name for row in ROWS}
    documented = (ROOT / "docs" / "mutants.md").read_text(encoding="utf-8")
    for line in made.table().splitlines():
        until_false_alarm = "|".join(line.split("|")[:9])
        assert until_false_alarm in documented, "run python -m tests.mutation"


def test_mistakes_in_the_examples_are_reported_in_their_place_and_nothing_else() -> None:
    made = trial.run(150, 1, NOWHERE)
    assert list(made.faults()) == []
    assert (made.originals, len(made.judged)) == (6, 150)
    assert [judged.findings for judged in made.judged if judged.fix == "errors"] == []
    assert {judged.verdict for judged in made.judged} >= {"caught", "survives"}


def test_the_same_seed_makes_the_same_mutants() -> None:
    found = anyio.run(originals, NOWHERE)
    first, second, other = (
        [mutant.document for _, _, mutant in mutants(found, 60, random.Random(seed))]
        for seed in (1, 1, 2)
    )
    assert first == second != other


def test_the_command_counts_by_kind_and_lists_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--plans", str(NOWHERE), "--count", "60"]
    assert main(options) == 0
    printed = capsys.readouterr().out
    assert "60 mutants of 6 workflows, seed 1" in printed
    assert "| bad expression | " in printed
    monkeypatch.setattr(World, "check", says_nothing)
    assert main(options) == 1
    assert "MISSED: misspelled tool: " in capsys.readouterr().out


async def says_nothing(_: World, document: dict[str, Any]) -> list[Problem]:
    """A checker that looks at the workflow and at no schema."""
    try:
        Workflow.load(document)
    except WorkflowError as error:
        return list(error.problems)
    return []


def test_a_checker_that_does_not_look_at_schemas_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(World, "check", says_nothing)
    made = trial.run(120, 1, NOWHERE)
    faults = [judged for judged in made.judged if judged.verdict in trial.FAULTS]
    assert {judged.verdict for judged in faults} == {"missed"}
    missed = {judged.row.kind for judged in faults}
    assert missed >= {"wrong tool", "argument name", "type", "path", "bad expression"}
    assert missed.isdisjoint({"cycle", "missing task", "no mistake"})


def test_a_checker_that_cries_wolf_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def check(_: World, document: dict[str, Any]) -> list[Problem]:
        places = [f"/tasks/{index}" for index in range(len(document["tasks"]) + 1)]
        text = str(hash(json.dumps(document)))  # another one for each workflow
        return [Problem("wrong_type", text, place) for place in places]

    monkeypatch.setattr(World, "check", check)
    made = trial.run(60, 1, NOWHERE)
    assert {"misplaced", "false alarm"} <= {judged.verdict for judged in made.judged}
    faults = list(made.faults())
    assert any(fault.startswith("ORIGINAL: ") for fault in faults)
    assert len(faults) > 60


# Its parts, on a plan of two tasks whose calls were recorded.

CASE: dict[str, Any] = {
    "name": "plan",
    "tasks": [
        {"id": "a", "tool": "s:make", "arguments": {"text": "x"}},
        {"id": "b", "tool": "s:use", "arguments": {"n": "$OUTPUT[a].n"}},
    ],
    "expected": {
        "resolved_arguments": {"a": {"text": "x"}, "b": {"n": 3}},
        "results": {"a": {"n": 3, "many": [1, 2], "mixed": "text", "whole": None}, "b": {}},
    },
}
OTHER: dict[str, Any] = {
    "name": "other",
    "tasks": [
        {"id": "a", "tool": "s:make", "arguments": {"text": "y"}},
        {"id": "b", "tool": "s:text", "arguments": {"n": "y"}},
    ],
    "expected": {
        "resolved_arguments": {"a": {"text": "y"}, "b": {"n": "y"}},
        "results": {"a": {"n": 4, "many": [], "mixed": 5, "whole": 6}, "b": {}},
    },
}


def plan(argument: Any = "$OUTPUT[a].n", **more: Any) -> dict[str, Any]:
    first, second = CASE["tasks"]
    return {"name": "plan", "tasks": [first, {**second, "arguments": {"n": argument}, **more}]}


def original(*, is_closed: bool = False) -> Original:
    world = recorded([CASE, OTHER])
    results = {"a": ("s:make", CASE["expected"]["results"]["a"])}
    return Original("plan", plan(), world.closed() if is_closed else world, results)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("document", "is_closed", "sight"),
    [
        (plan(), False, None),
        (plan("$OUTPUT[a].m"), True, "certain"),
        (plan("$OUTPUT[a].m"), False, "undeclared"),
        (plan("$OUTPUT[a].many[7]"), True, "unseen"),
        (plan("$OUTPUT[a].n.x"), False, "certain"),
        (plan("$OUTPUT[a].many"), False, "certain"),
        (plan("$OUTPUT[a].mixed"), False, "possible"),
        (plan("$OUTPUT[a].whole", tool="s:text"), False, "possible"),
        (plan("$OUTPUT[a].many", tool="s:text"), False, "certain"),
        (plan("$OUTPUT[a].n and more"), False, "certain"),
        (plan("many"), False, "certain"),
        (plan("${length(OUTPUT[a].m)}"), True, "certain"),
        (plan("${length(OUTPUT[a].m)}"), False, "undeclared"),
        (plan("${length(OUTPUT[a].n)}"), False, "unseen"),
        (plan(for_each="$OUTPUT[a].n"), False, "certain"),
        (plan(tool="s:nothing"), False, "certain"),
        (plan("$OUTPUT[nobody].n"), False, "certain"),
        ({**plan(), "output": "$OUTPUT[b].no"}, True, "certain"),
    ],
)
async def test_the_oracle_says_how_far_the_schemas_show_a_failure(
    document: dict[str, Any], is_closed: bool, sight: Sight | None
) -> None:
    outcome = await observe(document, original(is_closed=is_closed))
    assert {failure.sight for failure in outcome.failures} == ({sight} if sight else set())


@pytest.mark.anyio
@pytest.mark.parametrize("text", ["y", "never seen"])
async def test_a_call_is_answered_whatever_its_arguments(text: str) -> None:
    document = plan()
    document["tasks"][0] = {**document["tasks"][0], "arguments": {"text": text}}
    outcome = await observe(document, original())
    assert (outcome.failures, outcome.reached) == ([], {"a", "b"})


def finding(path: str, severity: Severity = "error") -> Problem:
    return Problem("wrong_type", "it is wrong", path, severity=severity)


HERE, THERE = "/tasks/1/arguments/n", "/tasks/0/arguments/text"
AT = ("tasks", 1, "arguments", "n")


@pytest.mark.parametrize(
    ("sights", "findings", "verdict"),
    [
        (["certain"], [finding(HERE)], "caught"),
        (["certain"], [finding(HERE), finding(THERE)], "caught"),
        (["certain"], [finding(HERE, "warning")], "too mild"),
        (["certain"], [finding(THERE)], "misplaced"),
        (["certain"], [finding(f"{HERE}/x")], "misplaced"),
        (["certain"], [finding(HERE, "note")], "missed"),
        (["certain"], [], "missed"),
        (["undeclared"], [finding(HERE, "warning")], "caught"),
        (["undeclared"], [], "missed"),
        (["possible"], [finding(HERE, "note")], "may fail"),
        (["unseen"], [], "fails unseen"),
        ([], [finding(HERE)], "false alarm"),
        ([], [finding(HERE, "warning")], "survives"),
    ],
)
def test_a_mutant_is_judged_by_what_fails_and_what_was_found(
    sights: list[Sight], findings: list[Problem], verdict: Verdict
) -> None:
    outcome = Outcome([Failed("b", sight, "") for sight in sights], {"a", "b"})
    assert judge(Mutant(plan("7"), [AT]), outcome, findings) == verdict


def test_a_mutant_that_no_run_reaches_is_not_judged() -> None:
    assert judge(Mutant(plan("7"), [AT]), Outcome(reached={"a"}), []) == "not reached"


def test_a_finding_may_stand_anywhere_within_a_part_of_the_file_that_exists() -> None:
    mutant = Mutant(plan(["x"]), within=[("tasks", 1)])
    assert mutant.expects("/tasks/1/arguments/n/0")
    assert not mutant.expects("/tasks/1/arguments/n/1")
    assert not mutant.expects("/tasks/0")


def test_a_finding_of_the_original_is_no_news() -> None:
    known, other = finding(THERE), Problem("wrong_type", "it is wrong, too", HERE)
    assert news([known, finding(HERE), other], [known]) == [other]


@pytest.mark.parametrize(
    ("path", "reading", "types"),
    [
        (("a",), "declared", {"integer"}),
        (("b",), "may be absent", {"string"}),
        (("c",), "not declared", None),
        (("a", "x"), "ruled out", None),
        (("list", 0), "declared", {"number", "integer"}),
        (("list", "x"), "ruled out", None),
        (("any", "x"), "unknown", None),
        (("any", 3), "unknown", None),
        (("maybe", "x"), "may be absent", {"string"}),
        (("closed", "y"), "ruled out", None),
    ],
)
def test_a_schema_is_read_step_by_step(
    path: tuple[str | int, ...], reading: Reading, types: set[str] | None
) -> None:
    named = {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]}
    schema = {
        "$defs": {"named": named},
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"type": "string"},
            "list": {"type": "array", "items": {"type": "number"}},
            "any": {},
            "maybe": {"anyOf": [{"$ref": "#/$defs/named"}, {"type": "null"}]},
            "closed": {**named, "additionalProperties": False},
        },
        "required": ["a", "list", "any", "maybe", "closed"],
    }
    assert read(schema, path)[0] == reading
    assert types_at(schema, path) == types


def test_schemas_are_derived_from_values_and_closed() -> None:
    values = [{"n": 1, "list": [1, 2.5]}, {"n": None, "list": [], "properties": {"x": True}}]
    inner = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}
    derived = {
        "type": "object",
        "properties": {
            "n": {"type": ["integer", "null"]},
            "list": {"type": "array", "items": {"type": "number"}},
            "properties": inner,
        },
        "required": ["n", "list"],
    }
    assert derive(values) == derived
    assert derive(values, depth=0) == {"type": "object"}
    assert closed({"anyOf": [inner], "$defs": {"x": inner}, "items": True}) == {
        "anyOf": [{**inner, "additionalProperties": False}],
        "$defs": {"x": {**inner, "additionalProperties": False}},
        "items": True,
    }
