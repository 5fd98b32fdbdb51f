"""What a model has to know to write a workflow.

The rule of this file: it is text to be put into a prompt, as short as it can be, and the only place
where it stands; every example in it is checked by a test.
"""

from __future__ import annotations

from typing import Any

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
