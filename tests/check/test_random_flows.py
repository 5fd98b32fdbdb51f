"""Random workflows with random trust: the words of strangers reach what a naive model says.

`RANDOM_CASES=2000 pytest tests/check/test_random_flows.py` makes more; `FIRST_CASE=1000` others.
"""

from __future__ import annotations

import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from orchestrator.calls.call import Attempt, Call
from orchestrator.check.flow import reached, untrusted_flows
from orchestrator.check.strangers import FlowPolicy
from orchestrator.engine.run import Run
from orchestrator.engine.settings import RunSettings
from orchestrator.errors import CallError, Problem
from orchestrator.workflow.model import Workflow
from tests.check.lively_flows import lively
from tests.check.random_flows import BAD, SENSITIVE, STRANGERS, TOOLS, random_flow
from tests.check.taint import Call as Site
from tests.check.taint import Trust, Ways, ways_of
from tests.conftest import ON_ASYNCIO

CASES = int(os.environ.get("RANDOM_CASES", "150"))
FIRST = int(os.environ.get("FIRST_CASE", "0"))
FEW = range(FIRST, FIRST + CASES)
MORE = range(FEW.stop, FEW.stop + 2 * CASES)
EACH = pytest.mark.parametrize(
    "numbers", [FEW, pytest.param(MORE, marks=pytest.mark.slow)], ids=["few", "more"]
)
EVIL = "evil-words"


def policy_of(trust: Trust) -> FlowPolicy:
    return FlowPolicy(trust.untrusted, SENSITIVE, answered_for=trust.answered_for)


def expected(ways: Ways) -> dict[Site, str]:
    """How bad each call is that the words of strangers reach."""
    found = {}
    for site, target in ways.reached().items():
        kind, _, asked = target.partition(" ")
        server, _, tool = asked.partition(":")
        worst = BAD.get(tool, "") if kind == "tool" else "warning"
        known = tool.partition("$")[0] if kind == "read" else tool
        if server in SENSITIVE and (known.startswith("re") or (kind == "read" and not known)):
            worst = "error"
        if worst:
            found[site] = worst
    return found


def field_of(problem: Problem) -> str:
    """Which call of its task a finding is about."""
    steps = problem.path.split("/")[1:]
    while steps[2] == "workflow":
        steps = steps[3:]
    return steps[2] if steps[2].endswith("fallback") else ""


def complaints(number: int) -> Iterator[str]:
    """How the findings in the workflow of a number differ from what the model says."""
    document, trust = random_flow(number)
    ways = ways_of(document, trust)
    found = untrusted_flows(Workflow.load(document), policy_of(trust), TOOLS)
    told = {(str(each.task), field_of(each)): each.severity for each in found}
    if len(told) < len(found):
        yield "a call is told twice"
    for site, worst in expected(ways).items():
        if told.get(site) != worst:
            yield f"missed: {site} is {worst}, told is {told.get(site)}"
    for site in told.keys() - expected(ways).keys():
        yield f"false: {site} is {told[site]}"
    for each in found:
        yield from wrong_way(each, ways)


def wrong_way(problem: Problem, ways: Ways) -> Iterator[str]:
    """What is wrong with the way that a finding tells."""
    tasks = problem.message.rpartition(": ")[2].split(" -> ")
    if tasks[-1] != problem.task:
        yield f"{tasks} does not end at {problem.task}"
    if not any(node.startswith(f"{tasks[0]}#said") for node in ways.said):
        yield f"{tasks[0]} says nothing"
    for start, end in pairwise(tasks):
        if "more)" not in start + end and not connected(start, end, ways):
            yield f"no way leads from {start} to {end}: {tasks}"


def connected(start: str, end: str, ways: Ways) -> bool:
    """Whether data can go from one task to another, at most through the inputs of workflows."""
    seen: set[str] = set()
    left = [node for node in ways.ways if node.rpartition("#")[0] == start]
    while left:
        node = left.pop()
        for other in ways.ways[node] - seen:
            task = other.rpartition("#")[0]
            if task == end:
                return True
            seen.add(other)
            # The inputs and the result of a workflow are no task, nor is an item.
            if task.endswith("/") or task in (start, "") or "#item" in other:
                left.append(other)
    return False


@EACH
@pytest.mark.untraced
def test_the_words_of_strangers_reach_exactly_what_the_model_says(numbers: range) -> None:
    severities = Counter[str]()
    for number in numbers:
        if found := list(complaints(number)):
            shown = json.dumps(random_flow(number)[0], indent=1)
            pytest.fail("\n".join([f"case {number}:", shown, *found]))
        document, trust = random_flow(number)
        severities.update(expected(ways_of(document, trust)).values() or ["none"])
    assert min(severities[each] for each in ("error", "warning", "none")) > len(numbers) / 10


@EACH
@ON_ASYNCIO
@pytest.mark.anyio
@pytest.mark.untraced
async def test_no_call_of_a_run_is_given_words_that_the_references_rule_out(numbers: range) -> None:
    given = Counter[str]()
    for number in numbers[::3]:
        document, trust = random_flow(number)
        workflow = Workflow.load(without_approvals(document))
        sites = {tuple(site) for site in reached(workflow, FlowPolicy(trust.untrusted))}
        for chance in range(2):
            for site in await tainted_calls(workflow, f"{number} {chance}"):
                assert site in sites, (number, site, json.dumps(document))
                given[site[1]] += 1
    assert given[""] > CASES / 100


def without_approvals(document: Any) -> Any:
    """A workflow in which no person is asked whether a call may be made."""
    if isinstance(document, list):
        return [without_approvals(each) for each in document]
    if not isinstance(document, dict):
        return document
    return {name: without_approvals(each) for name, each in document.items() if name != "approve"}


async def tainted_calls(workflow: Workflow, seed: str) -> set[Site]:
    """The calls of a real run that are given what a stranger has said in it."""
    found: set[Site] = set()
    dice = random.Random(seed)
    fails = dice.choice((0.05, 0.3))

    async def call(call: Call, _: Attempt) -> Any:
        text = json.dumps([call.tool, call.arguments])
        if EVIL in text:
            found.add(site_of(call))
        said = EVIL if call.server in STRANGERS else text
        if dice.random() < fails:
            raise CallError("tool_error", said)
        return {"list": [said, {"k": said}, 1], "n": said, "flag": said, "k": said}

    settings = RunSettings(answer=lambda _: "an answer")
    result = await Run(workflow, call, settings).execute()
    assert result.status != "paused"
    return found


@EACH
@ON_ASYNCIO
@pytest.mark.anyio
@pytest.mark.untraced
async def test_where_all_tasks_run_the_words_reach_what_is_proved_and_nothing_else(
    numbers: range,
) -> None:
    count = 0
    for number in numbers:
        document = lively(number)
        workflow = Workflow.load(document)
        sites = {tuple(site) for site in reached(workflow, FlowPolicy(frozenset(STRANGERS)))}
        assert await echoed_calls(workflow) == sites, (number, json.dumps(document))
        count += len(sites)
    assert count > len(numbers)


async def echoed_calls(workflow: Workflow) -> set[Site]:
    """The calls of a real run that are given words of strangers, which each call gives on."""
    found: set[Site] = set()
    turns = Counter[str]()

    async def call(call: Call, _: Attempt) -> Any:
        is_tainted = EVIL in json.dumps(call.arguments)
        if is_tainted:
            found.add(site_of(call))
        turns[call.where] += 1
        said = EVIL if is_tainted or call.server in STRANGERS else "ok"
        if call.tool == "fail":
            raise CallError("tool_error", said)
        return {"said": said, "turn": turns[call.where]}

    await Run(workflow, call, RunSettings()).execute()
    return found


def site_of(call: Call) -> Site:
    own = "fallback" if call.item is None else "item_fallback"
    return re.sub(r"\[\d+\]", "", call.task), own if call.is_fallback else ""
