"""What a model has to know to write a workflow, as text for a prompt.

It is as short as possible; tests check every example in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.documents.encode import to_json
from orchestrator.schema.tool import Tool

GUIDE = """\
# How to write a workflow

A workflow is one JSON object. Its tasks each call one tool; references in their arguments pass \
the output of one task to another. The references give the order; everything \
else runs in parallel.

## Fields of the workflow

- `tasks`: required; an array of tasks, in any order.
- `inputs`: values that differ from run to run, a JSON Schema by name: `"inputs": {"city": \
{"type": "string", "default": "Oslo"}}`. An input without a default is required.
- `output`: what the run returns: `"output": {"first": "$OUTPUT[search].items[0].title"}`. \
Default: the outputs of the tasks that no other task depends on, by id.
- `on_error`: `"on_error": "fail_fast"` ends the run at the first failure. By default a failed \
task skips only the tasks that depend on it.
- `finally`: tasks that clean up when all others have settled, even after a failure or an \
interrupt: `"finally": [{"id": "stop", "tool": "vm:stop", "when": \
"STATUS[search] == 'success'"}]`. They may read every task; no other task may read them.
- Rarely needed: `name`, `description`, `timeout_s` (of the run, seconds), `finally_timeout_s`, \
`max_concurrency` (calls in flight, default 10), `budget` (`{"calls": 100}`), `schedule`, \
`defaults` (`timeout_s`, `retry`, \
`on_item_error` of all tasks).

## Fields of a task

- `id`: required, unique; letters, digits, `_ - . :`. Name it after its output, such as `search`, \
not `task1`.
- `tool`: `server:tool`, exactly as listed; or `value`, a template of the output: calls nothing.
- `workflow`: in place of `tool`, several steps as one task, such as for each item: `{"inputs": \
{"id": {}}, "tasks": [...], "output": "$OUTPUT[last]"}`, or the path of a file. `arguments` are \
its inputs; inside, only `$INPUT.id` and its own tasks are readable.
- `read`: in place of `tool`, a resource as `server:uri`, with references in the URI. `prompt`: in \
place of `tool`, a prompt as `server:name`, with `arguments`; the output is its messages.
- `ask`: in place of `tool`, asks a person: `{"message": "To whom?", "schema": {"type": "string"}}`.
- `arguments`: an object that fits the signature of the tool; references anywhere inside.
- `depends_on`: `"depends_on": ["search"]`, for an order that no reference implies.
- `for_each`: `"for_each": "$OUTPUT[search].items"` makes one call per item of an array. In \
`arguments`, `$ITEM` is the item, `$ITEM.title` a property of it, `$INDEX` its position. The \
output of the task is the array of the outputs of the calls, in the order of the items. For all \
combinations: `"for_each": {"city": ["Oslo"], "unit": ["C", "F"]}`, with `$ITEM.city`.
- `when`: `"when": "OUTPUT[forecast].temperature_c > 20 && INPUT.city != 'Oslo'"`, an expression. \
If it is false, the task and the tasks that depend on it are skipped. For each item, write \
`item_when`: `"item_when": "ITEM.score > 1"`. For either-or write two tasks, one with `!(...)`.
- `run_if`: which outcomes of its dependencies let it run: `all_success` (default), `all_done`, \
`any_success`, `any_failed`.
- `retry`: `"retry": 3`, attempts including the first. `timeout_s`: of one attempt, seconds.
- `fallback`: `"fallback": {"value": {"items": []}}`, or another call, `"fallback": {"tool": \
"news:search", "arguments": {"query": "$INPUT.city"}}`: replaces the output if the task fails (of \
a `for_each`: the whole array), so give it the same type. The task is then a `success`.
- `item_fallback`: as `fallback`, for each item that fails: `{"value": {"id": "$ITEM", "why": \
"$ERROR.kind"}}`. `on_item_error`: `stop` lets no item begin after one has failed.
- `repeat`: to poll, `{"until": "LAST.state == 'done'", "every_s": 5, "max_times": 60}`; for all \
pages, `{"until": "LAST.next == null", "every_s": 0, "collect": "LAST.items"}` and `arguments` \
such as `{"cursor": "$LAST.next"}`. `$LAST` is the answer before, null at first.
- Rarely needed: `max_parallel` (items at a time), `spread` (over workers), `critical`, \
`approve` (`true`: a person is asked before the call), `locks`, `delay_s`, `deadline_s` (over \
all attempts), `end_run` (`success` or `failed`, when it has succeeded), `description`, \
`timeout_resets_on_progress`, `cache` (`{"ttl_s": 60}`, of read-only tools).

## References

- `"$OUTPUT[search].items[0].title"`: a path in the output of task `search`; `"$OUTPUT[search]"`: \
all of it. `[-1]` is the last item, `["odd key"]` any property. `"$INPUT.city"`: an input.
- A string that is exactly one reference keeps the type of the value: `"$OUTPUT[search].items"` is \
an array. In a longer string a reference becomes text: `"Top story in $INPUT.city: \
$OUTPUT[search].items[0].title"`.
- `${...}` is a JMESPath expression over `OUTPUT[id]`, `STATUS[id]` (`success`, `error`, \
`skipped`; it waits for the task), `INPUT.name` and `ITEM`: `"${OUTPUT[search].items[*].title}"`, \
`"${OUTPUT[search].items[?score > 0.5].url}"`, `"${length(OUTPUT[search].items)}"`, `"${join(', ', \
OUTPUT[search].items[*].title)}"`, of numbers `"${join(', ', map(&to_string(@), \
OUTPUT[search].items[*].score))}"`, of two properties `"${map(&join(': ', [title, url]), \
OUTPUT[search].items)}"`, `"${max_by(OUTPUT[search].items, &score).title}"`, \
`"${OUTPUT[search].items[:3]}"`; over the output of a `for_each`, \
`"${OUTPUT[searches][].items[].url}"`, where `[]` flattens arrays.
- In expressions, strings are in single quotes. There are `&&`, `||`, `!`, comparisons and the \
functions of JMESPath (`contains`, `join`, `length`, `map`, `max_by`, `not_null`, `sort_by`, \
`sum`, `to_string`), and `from_json(text)`, `to_json`, `split(text, ',')`, `lower`, `upper`, \
`trim`, `replace`, `slice(text, 0, 80)`, `zip(a, b)`, `product(a, b)`, `range(3)`, `enumerate`, \
`at(array, index)`, `count_null`, `add(1, 2)`, `subtract`, `multiply`, `divide`, `mod`, `round`. \
No `+ - * /`, no `? :`. Wildcards, filters, slices \
and functions work only in `${...}` and `when`.
- A missing value, and the output of a failed or skipped task, is an error in `$OUTPUT[...]` and \
null in an expression. So after two tasks of which one is skipped, a task with `"run_if": \
"any_success"` takes `"${not_null(OUTPUT[search].items[0].title, OUTPUT[forecast].conditions, \
'none')}"`.
- How the items of a `for_each` ended, in a task with `"run_if": "all_done"`: \
`"${ITEMS[searches][?status == 'error'].error.message}"`; each has `index`, `status`, \
`output`, `error`.
- A tool without `->` returns text, or the JSON in it: use all of it, `"$OUTPUT[keywords]"`. The \
lines of a text, such as a listing: `"for_each": "${split(OUTPUT[keywords], '\\n')}"`.
- `$$` is a dollar sign. `$RUN.id`, `$RUN.started_at`: of the run. \
`"$ERROR.message"`, in a `fallback`: why the task failed.

## Common errors

1. A task that refers to itself. `$OUTPUT[x]` is the output of another task, `x`. Wrong: `{"id": \
"summary", "tool": "text:summarize", "arguments": {"text": "$OUTPUT[summary].text"}}`; right: \
`"$OUTPUT[search].items[0].title"`, from the task that has the text.
2. An id that no task has, often off by one. Check each id against your tasks.
3. A cycle: if `b` depends on `a`, `a` must not depend on `b`.
4. A property that does not exist. Read the type after `->` of that very tool; nothing is wrapped \
in `result` or `output` unless the type says so.
"""

CHECK = """\
## Check it

`orchestrator validate FILE --json` calls no tool and reports all errors: what is wrong, where (a \
JSON Pointer), the nearest valid names, and how to fix it. Fix everything and repeat until the \
file is valid; then `orchestrator run FILE`.
"""

_PLAIN = frozenset({"type", "title", "description"})  # keywords that restrict no value further
_SCALARS = ("string", "integer", "number", "boolean")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMES_OF_TEXTS = ("text", "content", "message", "body", "input", "prompt", "query", "question")


def workflow_text(workflow: Mapping[str, Any]) -> str:
    """A workflow as JSON with a line for each field and each task."""
    lines = []
    for name, value in workflow.items():
        text = to_json(value)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(f"    {to_json(item)}" for item in value) + "\n  ]"
        lines.append(f"  {to_json(name)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}"


def example_of(tools: Iterable[Tool]) -> dict[str, Any]:
    """A workflow of two of these tools, or `EXAMPLE` if no two fit together.

    One tool (the giver) is called for each item of an input; another (the taker) gets a text made
    of all outputs.
    """
    usable = [tool for tool in tools if tool.read_only is not False and not tool.destructive]
    takers = [tool for tool in usable if list(_scalars(tool).values()) == ["string"]]
    givers = [tool for tool in usable if _scalars(tool)]
    if not takers or not givers:
        return EXAMPLE
    giver = min(givers, key=_order_of_givers)
    others = [tool for tool in takers if tool.target != giver.target] or takers
    taker = min(others, key=lambda tool: _order_of_takers(tool, giver.server))
    first, *more = types = _scalars(giver)
    inputs: dict[str, Any] = {f"{first}_list": {"type": "array", "items": {"type": types[first]}}}
    inputs |= {name: {"type": types[name]} for name in more}
    arguments = {first: "$ITEM", **{name: f"$INPUT.{name}" for name in more}}
    joined = "to_string(OUTPUT[collected])"
    if strings := _strings_in_output(giver):
        joined = f"join(', ', OUTPUT[collected][*].{strings[0]})"
    (argument,) = _scalars(taker)
    text = {argument: f"${{{joined}}}"}
    return _workflow(inputs, giver.target, arguments, taker.target, text)


def _workflow(
    inputs: Mapping[str, Any], giver: str, arguments: Any, taker: str, text: Any
) -> dict[str, Any]:
    collected = {
        "id": "collected",
        "tool": giver,
        "for_each": f"$INPUT.{next(iter(inputs))}",
        "arguments": arguments,
        "retry": 2,
        "fallback": {"value": []},
    }
    condition = "length(OUTPUT[collected]) > 0"
    report = {"id": "report", "tool": taker, "arguments": text, "when": condition}
    output = {
        "calls": "${length(OUTPUT[collected])}",
        "report": "${not_null(OUTPUT[report], 'nothing was found')}",
    }
    return {"inputs": inputs, "tasks": [collected, report], "output": output}


EXAMPLE = _workflow(
    {"topics": {"type": "array", "items": {"type": "string"}}},
    "news:search",
    {"query": "$ITEM"},
    "text:summarize",
    {"text": "${join('. ', OUTPUT[collected][*].items[0].title)}"},
)


def _order_of_givers(tool: Tool) -> tuple[Any, ...]:
    """Best is a declared read-only tool that takes one string and returns several properties."""
    is_simple = list(_scalars(tool).values()) == ["string"]
    returned, strings = (tool.gives_inside or {}).get("properties"), _strings_in_output(tool)
    number = len(returned) if isinstance(returned, Mapping) else 0
    return tool.read_only is None, not strings, not is_simple, -number, tool.target


def _order_of_takers(tool: Tool, server: str) -> tuple[Any, ...]:
    """Best is a declared read-only tool of another server that takes a text."""
    (name,) = _scalars(tool)
    known = _NAMES_OF_TEXTS.index(name) if name in _NAMES_OF_TEXTS else len(_NAMES_OF_TEXTS)
    return tool.read_only is None, tool.server == server, known, tool.target


def _scalars(tool: Tool) -> dict[str, str]:
    """The types of the required arguments; empty if one of them is not a plain scalar."""
    types = _required(tool.input_schema)
    return {} if "" in types.values() else types


def _strings_in_output(tool: Tool) -> list[str]:
    """The required string properties of the output, those that are no arguments first."""
    types = _required(tool.gives_inside)
    strings = [name for name, of_type in types.items() if of_type == "string"]
    return sorted(strings, key=lambda name: name in _scalars(tool))


def _required(schema: Mapping[str, Any] | None) -> dict[str, str]:
    """The type of each required property; empty if not all values of that type fit it."""
    required, properties = (schema or {}).get("required"), (schema or {}).get("properties")
    if not isinstance(required, list) or not isinstance(properties, Mapping):
        return {}
    return {str(name): _plain_type(name, properties.get(name)) for name in required}


def _plain_type(name: Any, schema: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(schema, Mapping):
        return ""
    found = schema.get("type")
    return found if found in _SCALARS and _PLAIN.issuperset(schema) else ""
