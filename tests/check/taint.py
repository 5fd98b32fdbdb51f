"""Which calls the words of strangers can reach, as naive code over the JSON of a workflow.

The rule of this file: it shares nothing with the package, and is written to be obviously right and
never to be fast. Every place that holds data is a node, and every way that data can take is an edge
between two of them; a call is reached if any way leads from what a stranger says to its arguments.

Nodes are named by the path of their task: `t.output`, `t.error`, `t.arguments`, `t.item.NAME` ...
"""

from __future__ import annotations

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

_REFERENCE = re.compile(
    r"(?P<of>OUTPUT|ITEMS|ERROR)\[(?P<task>[\w.:-]+)\]"
    r"|INPUT\.(?P<input>\w+)|(?P<all>INPUT)\b"
    r"|ITEM\b(?:\.(?P<member>\w+))?|(?P<index>INDEX)\b|(?P<last>LAST)\b|(?P<own>ERROR)\b"
)
_IN_TEXT = re.compile(r"\$\$|\$\{(?P<expression>[^}]*)\}|\$(?P<path>[A-Z]+(?:\[[\w.:-]+\]|\.\w+)?)")

Call = tuple[str, str]
"""The path of a task, and `fallback` or `item_fallback` if it is no call of its own."""


@dataclass(frozen=True)
class Trust:
    """What an operator says.

    Attributes:
        untrusted: The servers of strangers.
        answered_for: The tasks whose output and calls somebody answers for, by path.
    """

    untrusted: frozenset[str]
    answered_for: frozenset[str] = frozenset()


@dataclass
class Ways:
    """All ways that data can take in a workflow.

    Attributes:
        ways: From each node to others.
        said: The nodes of what strangers say.
        calls: Of each call the node of its arguments, what it calls, and if a person approves it.
    """

    trust: Trust
    ways: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    said: set[str] = field(default_factory=set)
    calls: dict[Call, tuple[str, str, bool]] = field(default_factory=dict)

    def reached(self) -> dict[Call, str]:
        """What each call asks for that the words of strangers reach, unless a person sees it."""
        found, left = set(self.said), deque(self.said)
        while left:
            for node in self.ways[left.popleft()] - found:
                found.add(node)
                left.append(node)
        return {
            call: target
            for call, (node, target, is_approved) in self.calls.items()
            if node in found and not is_approved and call[0] not in self.trust.answered_for
        }


def ways_of(workflow: Mapping[str, Any], trust: Trust) -> Ways:
    """All ways that data can take in a workflow."""
    made = Ways(trust)
    add_workflow(made, workflow, "")
    return made


def add_workflow(made: Ways, workflow: Mapping[str, Any], within: str) -> None:
    """Add a workflow; its inputs are the nodes `within` + `#input.NAME`, its output `#result`."""
    tasks = [*workflow["tasks"], *workflow.get("finally", [])]
    for task in tasks:
        add_task(made, task, within)
        made.ways[f"{within}{task['id']}#error"].add(f"{within}#failure")
    if "output" in workflow:
        for node in nodes_in(workflow["output"], within, {}):
            made.ways[node] |= {f"{within}#result", f"{within}#failure"}
        return
    needed = {name for task in workflow["tasks"] for name in waited_for(task)}
    for task in workflow["tasks"]:
        if task["id"] not in needed:
            made.ways[f"{within}{task['id']}#output"] |= {f"{within}#result", f"{within}#failure"}


def waited_for(task: Mapping[str, Any]) -> set[str]:
    """The tasks that a task names in any way."""
    named: set[str] = set(task.get("depends_on", ()))
    for name, value in task.items():
        if name not in ("id", "workflow", "tool", "prompt"):
            is_condition = name in ("when", "item_when", "repeat")
            for text in strings(value):
                for found in references(text, condition=is_condition):
                    named |= {found["task"]} - {None}
                if "STATUS[" in text:
                    named |= set(re.findall(r"STATUS\[([\w.:-]+)\]", text))
    return named


def add_task(made: Ways, task: Mapping[str, Any], within: str) -> None:
    """Add what a task reads, asks for and gives."""
    path = f"{within}{task['id']}"
    lists = task.get("for_each")
    lists = {} if lists is None else lists if isinstance(lists, dict) else {"": lists}
    own = {name: f"{path}#item.{name}" for name in lists}
    for name, each in lists.items():
        for node in nodes_in(each, within, {}):
            made.ways[node].add(own[name])
        # How many there are, and an error about them.
        made.ways[own[name]] |= {f"{path}#output", f"{path}#cause"}
    if "repeat" in task:
        own["LAST"] = f"{path}#answer"
    for name in ("when", "item_when", "locks", "approve"):
        for node in nodes_in(task.get(name), within, own, condition="when" in name):
            made.ways[node].add(f"{path}#cause")
    # Which items, or which turns, are in the output.
    chosen = [task.get("item_when"), task.get("repeat", {}).get("until")]
    for node in nodes_in(chosen, within, own, condition=True):
        made.ways[node] |= {f"{path}#output", f"{path}#cause"}
    for node in nodes_in(task.get("repeat", {}).get("collect"), within, own, condition=True):
        made.ways[node] |= {f"{path}#output", f"{path}#cause"}
    add_own(made, task, within, path, own)
    made.ways[f"{path}#answer"].add(f"{path}#output")
    # A fallback reads the error of what it stands in for, and not its own.
    made.ways[f"{path}#cause"] |= {f"{path}#last cause", f"{path}#error"}
    made.ways[f"{path}#last cause"].add(f"{path}#error")
    for name in ("item_fallback", "fallback"):
        items = {key: node for key, node in own.items() if key != "LAST"}
        cause, failure = f"{path}#cause", f"{path}#last cause"
        readable = {**items, "ERROR": cause}
        if name == "fallback":
            readable, failure = {"ERROR": failure}, f"{path}#error"
        if (instead := task.get(name)) is None:
            continue
        if "tool" in instead:
            to = f"{path}#arguments of {name}"
            ends = {f"{path}#output", failure}
            add_call(made, instead, (path, name), to, ends, within, readable)
            continue
        for node in nodes_in(instead["value"], within, readable):
            made.ways[node] |= {f"{path}#output", failure}
    made.ways[f"{path}#output"].add(f"{path}#items")
    made.ways[f"{path}#error"].add(f"{path}#items")
    if path in made.trust.answered_for:
        for end in ("output", "error"):
            made.ways[f"{path}#{end}"] = Nothing()


class Nothing(set[str]):
    """The ways from a node that no way leads from."""

    def add(self, _: str) -> None:
        """Add nothing."""

    def __ior__(self, _: Any) -> Nothing:  # type: ignore[override,misc]
        return self


def add_own(
    made: Ways, task: Mapping[str, Any], within: str, path: str, own: Mapping[str, str]
) -> None:
    """Add what a task does."""
    if "value" in task:
        for node in nodes_in(task["value"], within, own):
            made.ways[node] |= {f"{path}#answer", f"{path}#cause"}
    elif "ask" in task:
        for node in nodes_in(task["ask"], within, own):
            made.ways[node].add(f"{path}#cause")
    elif "workflow" in task:
        for name, value in task.get("arguments", {}).items():
            for node in nodes_in(value, within, own):
                made.ways[node] |= {f"{path}/#input.{name}", f"{path}#cause"}
        add_workflow(made, task["workflow"], f"{path}/")
        made.ways[f"{path}/#result"].add(f"{path}#answer")
        made.ways[f"{path}/#failure"].add(f"{path}#cause")
    else:
        ends = {f"{path}#answer", f"{path}#cause"}
        add_call(made, task, (path, ""), f"{path}#arguments", ends, within, own)


def add_call(
    made: Ways,
    call: Mapping[str, Any],
    site: Call,
    arguments: str,
    ends: set[str],
    within: str,
    own: Mapping[str, str],
) -> None:
    """Add a call: what it is given can come back in what it gives, also in its error."""
    kind = next(kind for kind in ("tool", "read", "prompt") if kind in call)
    server, _, asked = call[kind].partition(":")
    given = asked if kind == "read" else call.get("arguments", {})
    for node in nodes_in(given, within, own):
        made.ways[node].add(arguments)
    made.ways[arguments] |= ends
    if server in made.trust.untrusted:
        said = f"{site[0]}#said {site[1]}"
        made.said.add(said)
        made.ways[said] |= ends
    is_approved = kind == "tool" and bool(call.get("approve"))
    made.calls[site] = arguments, f"{kind} {server}:{asked}", is_approved


def strings(value: Any) -> Iterator[str]:
    """All strings in a value, names of properties too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from strings(each)


def references(text: str, *, condition: bool) -> Iterator[re.Match[str]]:
    """The references in a string."""
    if condition:
        yield from _REFERENCE.finditer(text)
        return
    for found in _IN_TEXT.finditer(text):
        if found["expression"] is not None:
            yield from _REFERENCE.finditer(found["expression"])
        elif found["path"] is not None and (one := _REFERENCE.match(found["path"])):
            yield one


def nodes_in(
    value: Any, within: str, own: Mapping[str, str], *, condition: bool = False
) -> Iterable[str]:
    """The nodes that a value reads; `own` are those of its task, lists of items by name."""
    items = {name: node for name, node in own.items() if name not in ("LAST", "ERROR")}
    for text in strings(value):
        for found in references(text, condition=condition):
            if found["task"] is not None:
                root = {"OUTPUT": "output", "ITEMS": "items", "ERROR": "error"}[found["of"]]
                yield f"{within}{found['task']}#{root}"
            elif found["input"] is not None:
                yield f"{within}#input.{found['input']}"
            elif found["all"] is not None:
                yield f"{within}#input.*"
            elif found["last"] is not None:
                yield from [own["LAST"]] if "LAST" in own else []
            elif found["own"] is not None:
                yield from [own["ERROR"]] if "ERROR" in own else []
            elif found["member"] in items:
                yield items[found["member"]]
            else:
                yield from items.values()
