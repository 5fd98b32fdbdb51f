"""What a model has to know to write a workflow.

The rule of this file: it is text to be put into a prompt, as short as it can be, and the only place
where it stands; every example in it is checked by a test.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.schema.tool import Tool

GUIDE = """\
# How to write a workflow

A workflow is one JSON object: tasks, each of which calls one tool, and references by which a task \
gets what other tasks returned. The engine finds the order in the references and runs at the same \
time whatever can run.

## Fields of the workflow

- `tasks`: required; a list of tasks, in any order.
- `inputs`: what differs from run to run, by name the JSON Schema of each value: \
`"inputs": {"city": {"type": "string", "default": "Oslo"}}`. One without a default has to be given.
- `output`: what the run returns: `"output": {"first": "$OUTPUT[search].items[0].title"}`. Without \
it: the outputs of the tasks that no other task needs, by id.
- `on_error`: `"on_error": "fail_fast"` ends the run at the first failure; else a task that fails \
skips the tasks that need it, and no others.
- Seldom needed: `name` and `description` (for people), `timeout_s` (of the run, seconds), \
`max_concurrency` (calls at a time, 10 if not said), `schedule`.

## Fields of a task

- `id`: required; letters, digits, `_ - . :`; no two alike. Name it after what it gives, `search`; \
ids such as `task1`, `task2` are easily mixed up.
- `tool`: required; `server:tool`, exactly as it is listed.
- `arguments`: an object by the signature of the tool; references anywhere inside.
- `depends_on`: `"depends_on": ["search"]`, for an order that no reference says, as when a task \
reads what another one has stored.
- `for_each`: `"for_each": "$OUTPUT[search].items"`, one call for each item of a list. In \
`arguments`, `$ITEM` is the item, `$ITEM.title` a field of it, and `$INDEX` its position. \
The output of the task is the list of what each call returned, in the order of the items.
- `when`: `"when": "OUTPUT[forecast].temperature_c > 20 && INPUT.city != 'Oslo'"`, an expression. \
If it is false, the task is skipped, and the tasks that need it too. It has no `$ITEM`: filter the \
list of `for_each` instead. Either-or is two tasks, one with a condition and one with `!(...)` of \
it.
- `run_if`: by how the tasks ended that it needs: `all_success` (if not said), `all_done`, \
`any_success`, `any_failed`.
- `retry`: `"retry": 3`, attempts in all, the first included. `timeout_s`: of an attempt, seconds.
- `fallback`: `"fallback": {"value": {"items": []}}`, or another call, \
`"fallback": {"tool": "news:search", "arguments": {"query": "$INPUT.city"}}`: stands in for the \
output if the task fails (of a `for_each`: for the whole list), so give it the shape of that. The \
task then \
counts as `success`.
- Seldom needed: `max_parallel` (items at a time), `critical`, `locks`, \
`timeout_resets_on_progress`.

## References

- `"$OUTPUT[search].items[0].title"`: a place in what task `search` returned; `"$OUTPUT[search]"`: \
all of it. `[-1]` is the last item, `["odd key"]` any name. `"$INPUT.city"`: an input.
- A string that is one reference and nothing else keeps the type of the value: \
`"$OUTPUT[search].items"` is a list. In a longer string it becomes text: \
`"Top story in $INPUT.city: $OUTPUT[search].items[0].title"`.
- `${...}` is an expression in JMESPath, over `OUTPUT[id]`, `STATUS[id]` (`success`, `error`, \
`skipped`; it waits for the task), `INPUT.name` and `ITEM`: `"${OUTPUT[search].items[*].title}"`, \
`"${OUTPUT[search].items[?score > 0.5].url}"`, `"${length(OUTPUT[search].items)}"`, \
`"${join(', ', OUTPUT[search].items[*].title)}"`, of numbers \
`"${join(', ', map(&to_string(@), OUTPUT[search].items[*].score))}"`, \
two fields of each item \
`"${map(&join(': ', [title, url]), OUTPUT[search].items)}"`, \
`"${max_by(OUTPUT[search].items, &score).title}"`, `"${OUTPUT[search].items[:3]}"`; of what a \
`for_each` returned, `"${OUTPUT[searches][].items[].url}"`, `[]` makes one list of lists.
- Texts stand in single quotes in it. There are `&&`, `||`, `!`, comparisons and the functions of \
JMESPath (`contains`, `join`, `length`, `map`, `max_by`, `not_null`, `sort_by`, `sum`, \
`to_string`), and no arithmetic, no `+` of texts, no `? :`. Wildcards, filters, \
slices and functions work in `${...}` and `when` only.
- What is not there, and the output of a task that failed or was skipped, is an error in \
`$OUTPUT[...]`, and null in an expression. So, after two tasks of which one is skipped, a task \
with `"run_if": "any_success"` takes \
`"${not_null(OUTPUT[search].items[0].title, OUTPUT[forecast].conditions, 'none')}"`.
- Without `->` the output of a tool is text, or the JSON in it: take all of it, \
`"$OUTPUT[keywords]"`.
- `$$` is a dollar sign. `"$ERROR.message"`, in a `fallback`: why the task failed.

## What goes wrong most often

1. A task that refers to itself. `$OUTPUT[x]` is what another task, `x`, has returned. Wrong: \
`{"id": "summary", "tool": "text:summarize", "arguments": {"text": "$OUTPUT[summary].text"}}`; \
right: `"$OUTPUT[search].items[0].title"`, the task that the text comes from.
2. An id that no task has, often off by one. Look up each id in your list of tasks.
3. A circle: if `b` needs `a`, then `a` must need neither `b` nor what needs `b`.
4. A field that is not there. Read the type behind the `->` of that very tool; nothing is wrapped \
in `result` or `output` unless it says so.
5. Arguments that are missing, misspelt, or of another type than the signature says.
"""

EXAMPLE: dict[str, Any] = {
    "inputs": {"topics": {"type": "array", "items": {"type": "string"}}},
    "tasks": [
        {
            "id": "collected",
            "tool": "news:search",
            "for_each": "$INPUT.topics",
            "arguments": {"query": "$ITEM"},
            "retry": 2,
            "fallback": {"value": []},
        },
        {
            "id": "report",
            "tool": "text:summarize",
            "arguments": {"text": "${join('. ', OUTPUT[collected][*].items[0].title)}"},
            "when": "length(OUTPUT[collected]) > 0",
        },
    ],
    "output": {
        "calls": "${length(OUTPUT[collected])}",
        "report": "${not_null(OUTPUT[report], 'nothing was found')}",
    },
}

CHECK = """\
## Check it

`orchestrator validate FILE --json` calls no tool and says all that is wrong: what, where (a JSON \
Pointer), the nearest right names, and how to mend it. Mend everything and check again until it is \
valid; then `orchestrator run FILE`.
"""

_PLAIN = frozenset({"type", "title", "description"})  # nothing that a value could miss
_SCALARS = ("string", "integer", "number", "boolean")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES_OF_TEXTS = ("text", "content", "message", "body", "input", "prompt", "query", "question")


def example_of(tools: Iterable[Tool]) -> dict[str, Any]:
    """A workflow of two of the tools; or of others, if no two of these go together."""
    usable = [tool for tool in tools if tool.read_only is not False and not tool.destructive]
    takers = [tool for tool in usable if _is_taker(tool)]
    givers = [tool for tool in usable if _needed(tool)]
    if not takers or not givers:
        return EXAMPLE
    giver = min(givers, key=_order_of_givers)
    others = [tool for tool in takers if tool.target != giver.target] or takers
    return _workflow(giver, min(others, key=lambda tool: _order_of_takers(tool, giver.server)))


def workflow_text(workflow: Mapping[str, Any]) -> str:
    """A workflow as JSON with a line for each field and each task."""
    lines = [f"  {to_json(name)}: {_field_text(value)}" for name, value in workflow.items()]
    return "{\n" + ",\n".join(lines) + "\n}"


def _field_text(value: Any) -> str:
    if not isinstance(value, list):
        return to_json(value)
    return "[\n" + ",\n".join(f"    {to_json(item)}" for item in value) + "\n  ]"


def _workflow(giver: Tool, taker: Tool) -> dict[str, Any]:
    """The giver for each item of an input, and the taker for what all of these gave."""
    first, *more = kinds = _needed(giver)
    inputs = {f"{first}_list": {"type": "array", "items": {"type": kinds[first]}}}
    inputs |= {name: {"type": kinds[name]} for name in more}
    (argument,) = _needed(taker)
    field = next(iter(_texts_of(giver)), None)
    joined = (
        f"join(', ', OUTPUT[collected][*].{field})" if field else "to_string(OUTPUT[collected])"
    )
    collected = {
        "id": "collected",
        "tool": giver.target,
        "for_each": f"$INPUT.{first}_list",
        "arguments": {first: "$ITEM", **{name: f"$INPUT.{name}" for name in more}},
        "retry": 2,
        "fallback": {"value": []},
    }
    report = {
        "id": "report",
        "tool": taker.target,
        "arguments": {argument: f"${{{joined}}}"},
        "when": "length(OUTPUT[collected]) > 0",
    }
    return {"inputs": inputs, "tasks": [collected, report], "output": EXAMPLE["output"]}


def _order_of_givers(tool: Tool) -> tuple[Any, ...]:
    """Best is one that says that it only reads, takes one text, and gives several fields."""
    kinds, given = _needed(tool), _texts_of(tool)
    is_simple = list(kinds.values()) == ["string"]
    return tool.read_only is None, not given, not is_simple, -_fields(tool), tool.target


def _order_of_takers(tool: Tool, server: str) -> tuple[Any, ...]:
    """Best is one that says that it only reads, takes a text, and is on another server."""
    (name,) = _needed(tool)
    known = _NAMES_OF_TEXTS.index(name) if name in _NAMES_OF_TEXTS else len(_NAMES_OF_TEXTS)
    return tool.read_only is None, tool.server == server, known, tool.target


def _is_taker(tool: Tool) -> bool:
    return list(_needed(tool).values()) == ["string"]


def _needed(tool: Tool) -> dict[str, str]:
    """The types of what a tool requires; none if it requires something that is no plain scalar."""
    required, listed = tool.input_schema.get("required"), tool.input_schema.get("properties")
    if not isinstance(required, list) or not isinstance(listed, Mapping):
        return {}
    kinds = {str(name): _plain_type(name, listed.get(name)) for name in required}
    return {} if "" in kinds.values() else kinds


def _texts_of(tool: Tool) -> list[str]:
    """The fields of a tool's output that are always there and are texts, what it took last."""
    schema = tool.output_schema or {}
    required, listed = schema.get("required"), schema.get("properties")
    if not isinstance(required, list) or not isinstance(listed, Mapping):
        return []
    taken = _needed(tool)
    texts = [str(name) for name in required if _plain_type(name, listed.get(name)) == "string"]
    return sorted(texts, key=lambda name: name in taken)


def _fields(tool: Tool) -> int:
    listed = (tool.output_schema or {}).get("properties")
    return len(listed) if isinstance(listed, Mapping) else 0


def _plain_type(name: Any, schema: Any) -> str:
    """The type of a field that any value of that type fits; empty if there may be more to it."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(schema, Mapping):
        return ""
    kind = schema.get("type")
    return kind if kind in _SCALARS and _PLAIN.issuperset(schema) else ""
