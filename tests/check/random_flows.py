"""Random workflows with random trust, made of the random cases of the engine."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from orchestrator.schema.tool import Tool
from tests.check.taint import Trust
from tests.random_cases import Profile, random_case
from tests.stage import as_file

STRANGERS = ("web", "mail")
SERVERS = (*STRANGERS, "a", "b", "c", "d", "e")
ANY: dict[str, Any] = {"type": "object"}
DECLARED: dict[str, dict[str, Any]] = {
    "delete": {"destructive": True},
    "post": {"open_world": True, "read_only": True},
    "read": {"read_only": True},
    "add": {"destructive": False, "open_world": False},
    "silent": {},
}
BAD = {"delete": "error", "post": "error", "silent": "warning", "unknown": "warning"}
TOOLS = {f"{s}:{name}": Tool(s, name, ANY, **DECLARED[name]) for s in SERVERS for name in DECLARED}
SENSITIVE = {"e": ["re*"]}
# A place in an output: a reference to all of it never fails.
_PLACE = re.compile(r"(OUTPUT\[[\w.:-]+\])(?:\.\w+|\[-?\d+\])+")
# What takes time, and what ends a run before the words have come far.
LEFT_OUT: tuple[str, ...] = (
    "delay_s",
    "deadline_s",
    "timeout_s",
    "retry",
    "defaults",
    "finally_timeout_s",
)
LEFT_OUT += ("critical", "end_run", "on_error")
PROFILES = (
    Profile(policies=True, cleans=True),
    Profile(policies=True, inner=True),
    Profile(policies=True, cleans=True, inner=True),
)


def random_flow(number: int) -> tuple[dict[str, Any], Trust]:
    """The workflow of a number, and what its operator says; no task takes time."""
    dice = random.Random(number)
    text = json.dumps(as_file(random_case(number, dice.choice(PROFILES))))
    # The kind of an error is one of ours; the words of a server are in its message.
    workflow = json.loads(
        text.replace("ERROR.kind", "ERROR.message").replace("].kind", "].message")
    )
    change_workflow(dice, workflow)
    paths = list(paths_of(workflow))
    answered = [path for path in paths if dice.random() < 0.03]
    return workflow, Trust(frozenset(STRANGERS), frozenset(answered))


def paths_of(workflow: dict[str, Any], within: str = "") -> Iterator[str]:
    """All tasks, by their path."""
    for task in (*workflow["tasks"], *workflow.get("finally", ())):
        yield within + task["id"]
        if "workflow" in task:
            yield from paths_of(task["workflow"], f"{within}{task['id']}/")


def change_workflow(dice: random.Random, workflow: dict[str, Any]) -> None:
    """Give each call another server and tool, some a person who looks at them, and other texts."""
    if "inputs" in workflow:
        workflow["inputs"] = {name: {} for name in workflow["inputs"]}
    for name in LEFT_OUT:
        workflow.pop(name, None)
    for task in (*workflow["tasks"], *workflow.get("finally", ())):
        for name in LEFT_OUT:
            task.pop(name, None)
        if "repeat" in task:
            task["repeat"]["every_s"] = 0
        for name in ("when", "item_when", "run_if") if dice.random() < 0.7 else ():
            task.pop(name, None)
        for name in ("arguments", "value", "read", "fallback", "item_fallback"):
            if name in task and dice.random() < 0.8:
                text = json.dumps(task[name])
                task[name] = json.loads(_PLACE.sub(r"\1", text).replace("ITEM.k", "ITEM"))
        for call in (task, task.get("fallback"), task.get("item_fallback")):
            if call is not None:
                change_call(dice, call)
        if "workflow" in task:
            change_workflow(dice, task["workflow"])
        if ("tool" in task or "workflow" in task) and dice.random() < 0.1:
            task["approve"] = dice.choice((True, {"message": "May it?"}))
        if "tool" in task and task.get("for_each") is None and dice.random() < 0.05:
            text = next(iter(task.get("arguments", {}).values()), "")
            readable = isinstance(text, str) and text and "LAST" not in text
            kept = {x: task[x] for x in ("id", "depends_on", "run_if", "when") if x in task}
            ask = {"message": f"Which? {text}" if readable else "Which?", "schema": {}}
            task.clear()
            task.update(kept | {"ask": ask})


def change_call(dice: random.Random, call: dict[str, Any]) -> None:
    server = dice.choice(STRANGERS if dice.random() < 0.12 else SERVERS[2:])
    if "tool" in call:
        call["tool"] = f"{server}:{dice.choice((*DECLARED, 'unknown'))}"
    for kind in ("read", "prompt"):
        if kind in call:
            call[kind] = f"{server}:{call[kind].partition(':')[2]}"
    if "arguments" in call and "workflow" not in call:
        given = call["arguments"]
        call["arguments"] = {name: change_value(dice, value) for name, value in given.items()}


def change_value(dice: random.Random, value: Any) -> Any:
    """The same references in another form, or a text that only looks like one."""
    if isinstance(value, str) and value.startswith("$") and dice.random() < 0.3:
        return dice.choice(({value: 1}, [[{"deep": value}]], f"it is {value} or OUTPUT[t0]"))
    return "OUTPUT[t0] and $$OUTPUT[t0]" if dice.random() < 0.02 else value
