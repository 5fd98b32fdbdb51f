"""Random workflows in which every task runs, so that all that can be reached is.

Whatever a task reads it gives on; a list of a `for_each` is read as a whole by what others read, a
fallback reads the error that it stands in for, and what fails has no output.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

OWN = ("a", "b", "c")
STRANGERS = ("web", "mail")


@dataclass
class Plan:
    """What is written of a workflow so far.

    Attributes:
        readable: What has outputs: the references to all of them.
        failed: The tasks that fail.
        fails: Whether any does, so that a workflow inside fails, too.
    """

    dice: random.Random
    within: str = ""
    tasks: list[dict[str, Any]] = field(default_factory=list)
    readable: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    fails: bool = False

    def words(self, *more: str) -> Any:
        """A literal, or something that reads one of the outputs, or of `more`."""
        roots = [*self.readable, *more]
        if not roots or self.dice.random() < 0.4:
            return self.dice.choice(("text", 7, ["OUTPUT[t0]"], "$$OUTPUT[t0]"))
        root = self.dice.choice(roots)
        forms: tuple[Any, ...] = (
            f"${root}",
            f"it is ${root}!",
            f"${{to_string({root})}}",
            f"${{[{root}, 'x'][0]}}",
            {f"a ${root}": 1},
            [["x", {"deep": f"${root}"}]],
        )
        return self.dice.choice(forms)

    def server(self) -> str:
        return self.dice.choice(STRANGERS if self.dice.random() < 0.25 else OWN)

    def error_of(self, task: dict[str, Any]) -> Any:
        """What reads the error of a task that fails, by a task that runs all the same."""
        task["run_if"] = "all_done"
        return f"${{not_null(ERROR[{self.dice.choice(self.failed)}].message, 'x')}}"


def lively(number: int) -> dict[str, Any]:
    """The workflow of a number."""
    return workflow(Plan(random.Random(number)), depth=0)


def workflow(plan: Plan, depth: int) -> dict[str, Any]:
    for place in range(plan.dice.randint(2, 7 - 2 * depth)):
        add_task(plan, f"{plan.within}t{place}", depth)
    made: dict[str, Any] = {"tasks": plan.tasks}
    if plan.dice.random() < 0.3:
        made["output"] = plan.words()
    if plan.dice.random() < 0.3:
        last = {"id": f"{plan.within}end", "tool": f"{plan.server()}:echo"}
        made["finally"] = [{**last, "arguments": {"x": plan.words()}}]
    return made


def add_task(plan: Plan, name: str, depth: int) -> None:
    task: dict[str, Any] = {"id": name}
    if depth < 2 and plan.dice.random() < 0.2:
        inner(plan, task, depth)
    else:
        # What nobody reads is the output of a workflow inside.
        plan.dice.choice([*KINDS, *([] if depth else [product])])(plan, task)
    plan.tasks.append(task)


def call(plan: Plan, task: dict[str, Any]) -> None:
    task |= {"tool": f"{plan.server()}:echo", "arguments": {"x": plan.words(), "y": plan.words()}}
    if plan.failed and plan.dice.random() < 0.5:
        task["arguments"]["z"] = plan.error_of(task)
    plan.readable.append(f"OUTPUT[{task['id']}]")


def each(plan: Plan, task: dict[str, Any]) -> None:
    task |= {"tool": f"{plan.server()}:echo", "for_each": [plan.words(), "x"]}
    task["arguments"] = {"x": plan.dice.choice(("$ITEM", "${[ITEM]}", {"a": "b$ITEM"}))}
    plan.readable += [f"OUTPUT[{task['id']}]", f"ITEMS[{task['id']}]"]


def product(plan: Plan, task: dict[str, Any]) -> None:
    """Nobody reads it: how many items there are may say more than one of the lists."""
    task |= {"tool": f"{plan.server()}:echo", "for_each": {n: [plan.words()] for n in "pq"}}
    one = ("$ITEM.p", "${to_string(ITEM.p)}", "x$ITEM.q", "$ITEM", "${[ITEM.p, ITEM.q]}")
    task["arguments"] = {"x": plan.dice.choice(one)}


def value(plan: Plan, task: dict[str, Any]) -> None:
    task["value"] = {"x": plan.words(), "y": plan.words()}
    plan.readable.append(f"OUTPUT[{task['id']}]")


def read(plan: Plan, task: dict[str, Any]) -> None:
    root = plan.dice.choice(plan.readable) if plan.readable else "RUN.id"
    task["read"] = f"{plan.server()}:note://${{to_string({root})}}"
    plan.readable.append(f"OUTPUT[{task['id']}]")


def fails(plan: Plan, task: dict[str, Any]) -> None:
    task |= {"tool": f"{plan.server()}:fail", "arguments": {"x": plan.words()}}
    plan.failed.append(task["id"])
    plan.fails = True


def instead(plan: Plan, task: dict[str, Any]) -> None:
    """A fallback, of the task or of its items, after which there are two of them."""
    task |= {"tool": f"{plan.server()}:fail", "arguments": {"x": plan.words()}}
    words = {"e": plan.dice.choice(("$ERROR.message", "${ERROR.message}")), "x": plan.words()}
    by_call = {"tool": f"{plan.server()}:echo", "arguments": words}
    last = plan.dice.choice(({"value": words}, by_call))
    if plan.dice.random() < 0.5:
        task["fallback"] = last
    else:
        task |= {"for_each": [plan.words()], "item_fallback": last}
        task["arguments"]["y"] = "$ITEM"
    plan.readable.append(f"OUTPUT[{task['id']}]")


def again(plan: Plan, task: dict[str, Any]) -> None:
    task |= {"tool": f"{plan.server()}:echo", "repeat": {"until": "LAST.turn == 2", "every_s": 0}}
    task["arguments"] = {"x": plan.words(), "last": plan.dice.choice(("$LAST", "was $LAST", 1))}
    if plan.dice.random() < 0.5:
        others = ["LAST", *plan.readable[:1]]
        task["repeat"]["collect"] = f"[{', '.join(others)}]"
    plan.readable.append(f"OUTPUT[{task['id']}]")


KINDS = (call, call, each, value, read, fails, instead, again)


def inner(plan: Plan, task: dict[str, Any], depth: int) -> None:
    inside = Plan(plan.dice, f"{task['id']}.", readable=["INPUT.a"])
    task |= {"workflow": workflow(inside, depth + 1) | {"inputs": {"a": {}, "b": {}}}}
    task["arguments"] = {"a": plan.words(), "b": plan.words()}
    if plan.dice.random() < 0.3:
        task |= {"for_each": ["x", "y"] if depth else [plan.words()]}
        task["arguments"]["a"] = ["$ITEM", plan.words()]
    plan.fails |= inside.fails
    # How many items there are says something of their list, and what comes out may not.
    if not inside.fails and "for_each" not in task:
        plan.readable.append(f"OUTPUT[{task['id']}]")
