"""Mistakes put into workflows are found before the run, and nothing else is: the mutation test.

What the trial is made of is tested below, so that a checker that says nothing could not pass.
"""

from __future__ import annotations

import json
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import Orchestrator, Workflow
from orchestrator.errors import Problem, Severity
from orchestrator.schema.tool import Tool
from tests.mutation import __main__ as command
from tests.mutation import tables, trial
from tests.mutation.derived import closed, derive
from tests.mutation.judging import Judged, Verdict, judge, judge_mend, mend, news, patched
from tests.mutation.mistakes import Mistake, misspelled
from tests.mutation.oracle import Failed, Outcome, observe
from tests.mutation.originals import PLANS, Original, originals
from tests.mutation.reading import Sight as Reading
from tests.mutation.reading import read, types_at
from tests.mutation.sight import Sight
from tests.mutation.sites import below, leads_somewhere, renamed, sites_of
from tests.mutation.worlds import World, recorded

NOWHERE = Path("nowhere")
needs_plans = pytest.mark.skipif(not PLANS.is_dir(), reason="the recorded plans are not shipped")


@cache
def tried(count: int, plans: Path) -> trial.Trial:
    return trial.run(count, 1, plans)


def complaints(made: trial.Trial) -> str:
    return "\n".join(tables.behind(made))


# The trial.


@needs_plans
def test_of_2500_changes_every_visible_failure_is_reported_in_its_place_and_nothing_else() -> None:
    made = tried(2500, PLANS)
    mistakes = [judged for judged in made.judged if judged.kind != "no mistake"]
    assert len(mistakes) >= 2000
    assert len(made.judged) == 2500
    assert {judged.kind for judged in made.judged} == set(trial.MAKES)
    assert made.holds, complaints(made)


@needs_plans
def test_the_documented_counts_are_those_of_the_trial() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "mutants.md").read_text()
    shown = re.search("<!-- mutants -->\n\n(.*?)\n\n<!-- /mutants -->", documented, re.DOTALL)
    assert shown is not None
    until = tables.COLUMNS.index("false alarms") + 3  # before it stand the bar and the kind
    counted, written = (
        [line.split("|")[:until] for line in text.splitlines()]
        for text in (tables.markdown(tried(2500, PLANS)), shown[1])
    )
    assert counted == written, "run python -m tests.mutation --markdown"


def test_mistakes_in_the_examples_are_reported_in_their_place_and_nothing_else() -> None:
    made = tried(300, NOWHERE)
    assert len(made.judged) == 300
    assert {judged.verdict for judged in made.judged} >= {"caught", "survives"}
    assert made.holds, complaints(made)


def test_in_workflows_that_are_right_nothing_is_an_error() -> None:
    made = tried(300, NOWHERE)
    assert made.originals == 6
    assert not made.errors


def test_the_same_seed_makes_the_same_mistakes() -> None:
    found = anyio.run(originals, NOWHERE)
    first, second, other = (
        [
            (made.__name__, mistake.document)
            for _, _, made, mistake in trial.mistakes(found, 40, random.Random(seed))
        ]
        for seed in (1, 1, 2)
    )
    assert first == second != other


def test_the_command_counts_by_kind_and_saves_everything(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "all.json"
    options = ["--plans", str(NOWHERE), "--count", "60"]
    assert command.main([*options, "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    assert "60 changes of 6 workflows, seed 1" in shown
    assert "bad expression" in shown
    saved = json.loads(file.read_text())
    assert saved["holds"]
    assert len(saved["mistakes"]) == 60
    assert [each["kind"] for each in saved["rows"]][-2:] == ["all mistakes", "no mistake"]
    assert command.main([*options, "--markdown"]) == 0
    assert capsys.readouterr().out.startswith("| kind | mistakes |")
    with pytest.raises(SystemExit):
        command.main(["--count", "0"])


def test_a_checker_that_does_not_look_at_schemas_is_found_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def findings(_: Orchestrator, workflow: dict[str, Any]) -> list[Problem]:
        Workflow.load(workflow)
        return []

    monkeypatch.setattr(Orchestrator, "findings", findings)
    made = trial.run(200, 1, NOWHERE)
    assert not made.holds
    assert {fault.verdict for fault in made.faults} == {"missed"}
    missed = {fault.kind for fault in made.faults}
    assert missed >= {"wrong tool", "argument name", "type", "path", "bad expression"}
    assert missed.isdisjoint({"cycle", "missing task", "no mistake"})


def test_a_checker_that_cries_wolf_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async def findings(_: Orchestrator, workflow: dict[str, Any]) -> list[Problem]:
        Workflow.load(workflow)
        places = [f"/tasks/{index}" for index in range(len(workflow["tasks"]) + 1)]
        text = str(hash(json.dumps(workflow)))  # another one for each workflow
        return [Problem("wrong_type", text, place) for place in places]

    monkeypatch.setattr(Orchestrator, "findings", findings)
    made = trial.run(60, 1, NOWHERE)
    assert {"misplaced", "false alarm"} <= {fault.verdict for fault in made.faults}
    assert made.errors
    assert made.lost


def test_a_fault_of_the_checker_is_listed_and_is_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = anyio.run(silent_trial)
    monkeypatch.setattr(trial, "run", lambda *_: made)
    assert command.main([]) == 1
    assert "MISSED: path, a step: plan (recorded plans) at /tasks/1/arguments/n" in (
        capsys.readouterr().out
    )


# What a trial is made of: a plan of two tasks, and its tools as they were recorded.

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


async def silent_trial() -> trial.Trial:
    """A trial of a checker that finds nothing."""
    mistake = Mistake(plan("$OUTPUT[a].m"), ("/tasks/1/arguments/n",))
    outcome = await observe(mistake.document, original())
    verdict = judge(mistake, outcome, [])
    judged = Judged(original(), "path", "a step", mistake, outcome, (), verdict, None)
    return trial.Trial(1, 1, judged=[judged])


def test_schemas_are_derived_from_what_was_seen() -> None:
    values = [{"n": 1, "list": [1, 2.5]}, {"n": None, "list": [], "more": True}]
    assert derive(values) == {
        "type": "object",
        "properties": {
            "n": {"type": ["integer", "null"]},
            "list": {"type": "array", "items": {"type": "number"}},
            "more": {"type": "boolean"},
        },
        "required": ["n", "list"],
    }
    assert derive(values, depth=0) == {"type": "object"}
    assert derive([]) == {}


def test_a_closed_schema_forbids_what_it_does_not_declare_and_leaves_names_alone() -> None:
    inner = {"type": "object", "properties": {"properties": {"type": "string"}}}
    schema = {"anyOf": [inner, {"type": "null"}], "$defs": {"x": inner}, "items": inner}
    shut = {**inner, "additionalProperties": False}
    assert closed(schema) == {
        "anyOf": [shut, {"type": "null"}],
        "$defs": {"x": shut},
        "items": shut,
    }
    assert closed(True) is True


@pytest.mark.parametrize(
    ("path", "sight", "types"),
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
    path: tuple[str | int, ...], sight: Reading, types: set[str] | None
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
    assert read(schema, path)[0] == sight
    assert types_at(schema, path) == types


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
async def test_what_another_call_answered_is_made_up_and_the_own_plan_comes_first() -> None:
    document = plan()
    document["tasks"][0] = {**document["tasks"][0], "arguments": {"text": "y"}}
    assert (await observe(document, original())).failures == []
    document["tasks"][0] = {**document["tasks"][0], "arguments": {"text": "never seen"}}
    assert (await observe(document, original())).reached == {"a", "b"}


def finding(path: str, severity: Severity = "error") -> Problem:
    return Problem("wrong_type", "it is wrong", path, severity=severity)


HERE, THERE = "/tasks/1/arguments/n", "/tasks/0/arguments/text"


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
        (["possible"], [finding(HERE, "note")], "may fail, told"),
        (["possible"], [finding(THERE)], "may fail, untold"),
        (["unseen"], [], "fails unseen"),
        ([], [finding(HERE)], "false alarm"),
        ([], [finding(HERE, "warning")], "survives"),
    ],
)
def test_a_mistake_is_judged_by_what_fails_and_what_was_said_of_it(
    sights: list[Sight], findings: list[Problem], verdict: Verdict
) -> None:
    mistake = Mistake(plan("7"), (HERE,))
    outcome = Outcome([Failed("b", sight, "") for sight in sights], {"a", "b"})
    assert judge(mistake, outcome, findings) == verdict


def test_what_no_run_reaches_is_not_judged() -> None:
    assert judge(Mistake(plan("7"), (HERE,)), Outcome(reached={"a"}), []) == "not reached"


def test_a_place_may_be_a_whole_part_of_the_file() -> None:
    mistake = Mistake(plan(["x"]), within=("/tasks/1",))
    assert mistake.is_there("/tasks/1/arguments/n/0")
    assert not mistake.is_there("/tasks/1/arguments/n/1")  # nothing is there
    assert not mistake.is_there("/tasks/0")


def test_what_is_found_in_the_original_is_no_news() -> None:
    known = finding(THERE)
    assert news([known, finding(HERE)], [known]) == ()
    other = Problem("wrong_type", "it is wrong, too", HERE)
    assert news([known, other], [known]) == (other,)


def test_a_patch_is_applied_to_a_copy() -> None:
    document: dict[str, Any] = {"a": {"b~/c": 1}, "list": [1, 3]}
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/list/0", "value": 1},
        {"op": "replace", "path": "/a/b~0~1c", "value": 2},
        {"op": "add", "path": "/list/1", "value": 2},
        {"op": "add", "path": "/list/-", "value": 4},
        {"op": "move", "from": "/a", "path": "/moved"},
        {"op": "remove", "path": "/list/0"},
    ]
    assert patched(document, operations) == {"list": [2, 3, 4], "moved": {"b~/c": 2}}
    assert document == {"a": {"b~/c": 1}, "list": [1, 3]}


def test_a_mend_is_worth_what_is_found_after_it() -> None:
    replacement = ({"op": "replace", "path": HERE, "value": "$OUTPUT[a].n"},)
    offered = Problem("wrong_type", "", HERE, replacement=replacement)
    mended = mend(plan("$OUTPUT[a].m"), [finding(THERE), offered, offered])
    assert mended == plan()
    assert mend(plan(), [finding(HERE)]) is None
    assert judge_mend(plan(), None, []) is None
    assert judge_mend(plan(), mended, []) == "gives the original back"
    assert judge_mend(plan("7"), mended, [finding(HERE, "warning")]) == "leaves no error"
    assert judge_mend(plan("7"), mended, [finding(HERE)]) == "leaves errors"


def test_a_misspelled_name_is_another_one_that_nobody_has() -> None:
    chance = random.Random(1)
    made = {misspelled("ab", chance, {"a", "b"}) for _ in range(200)}
    assert made == {"aab", "abb", "ba", "Ab", "aB"}
    assert {misspelled("7", chance) for _ in range(20)} == {"77"}


def test_references_are_found_with_their_parts() -> None:
    (site,) = sites_of('x $OUTPUT[a-1].b["c d"][0].', ("tasks", 0, "arguments", "x"))
    assert (site.id, site.path, site.task) == ("a-1", ("b", "c d", 0), 0)
    assert site.segments == [".b", '["c d"]', "[0]"]
    assert site.with_path(".z") == "x $OUTPUT[a-1].z."
    assert site.with_id("q") == 'x $OUTPUT[q].b["c d"][0].'
    assert not site.is_alone
    assert [found.in_braces for found in sites_of("$INPUT.x ${not_null(OUTPUT[a], 1)}")] == [
        True,
        False,
    ]
    assert next(sites_of("${ OUTPUT[a].b }")).is_alone
    assert list(sites_of("OUTPUT[a] is no reference")) == []


def test_the_tasks_below_a_task_are_those_that_need_it() -> None:
    document = plan(depends_on=["a"])
    document["tasks"].append(
        {"id": "c", "tool": "s:use", "arguments": {}, "when": "STATUS[b] == 'x'"}
    )
    assert below(document, "a") == {"a", "b", "c"}
    assert below(document, "c") == {"c"}


def test_a_member_is_renamed_in_its_place_and_places_are_looked_up() -> None:
    made = renamed({"a": {"x": 1, "y": 2}}, ("a", "x"), "z")
    assert list(made["a"]) == ["z", "y"]
    assert leads_somewhere(made, "/a/z")
    assert leads_somewhere(made, "")
    assert not leads_somewhere(made, "/a/x")
    assert not leads_somewhere([1], "/1")


def test_a_world_lists_its_tools_by_server() -> None:
    tools = [Tool(server, name, {"type": "object"}) for server, name in ("ax", "ay", "bx")]
    by_target = {tool.target: tool for tool in tools}
    world = World("three", by_target, lambda _: pytest.fail("nothing is called"))
    assert set(world.servers()) == {"a", "b"}
