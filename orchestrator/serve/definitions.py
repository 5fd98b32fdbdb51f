"""The tools of the engine itself: names, descriptions and schemas, as short as models need them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.serve.answers import READS, ServedTool
from orchestrator.serve.results import OUTPUT_SCHEMA

_TEXT: Mapping[str, Any] = {"type": "string"}
_RUN: Mapping[str, Any] = {**_TEXT, "description": "The run_id of a result."}
_ITEM: Mapping[str, Any] = {"type": "integer", "minimum": 0}
# Small on purpose: it is in every prompt. The workflow model checks all fields, known here or not.
_TASK: Mapping[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": _TEXT,
        "tool": {**_TEXT, "description": "server:tool"},
        "arguments": {"type": "object"},
        "depends_on": {"type": "array", "items": _TEXT},
        "for_each": {"description": "An array, or a reference to one: a call per $ITEM"},
        "when": {**_TEXT, "description": "OUTPUT[a].count > `0`"},
        "retry": {"type": "integer"},
        "timeout_s": {"type": "number"},
        "fallback": {"type": "object", "description": '{"value": ...}'},
        "value": {"description": "Instead of tool: a template of the output"},
        "workflow": {"description": "Instead of tool: a saved workflow, or tasks as an object"},
    },
}
PLAN: Mapping[str, Any] = {
    "type": "object",
    "required": ["tasks"],
    "properties": {
        "tasks": {"type": "array", "minItems": 1, "items": _TASK},
        "output": {"description": "What to return, with references. Default: the last outputs"},
        "max_concurrency": {"type": "integer", "minimum": 0},
        "on_error": {"enum": ["continue", "fail_fast"]},
        "timeout_s": {"type": "number"},
    },
}
HOW = (
    'Arguments refer to outputs: "$OUTPUT[id].items[0].title" (a place), "${length(OUTPUT[id].x)}" '
    "(JMESPath), $ITEM in for_each. References give the order; all else runs in parallel."
)
_ANYTHING: Mapping[str, bool] = {"readOnlyHint": False, "destructiveHint": True}
_DETAIL: Mapping[str, Any] = {"enum": ["name", "summary", "full"], "default": "summary"}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required.split()}
    return schema | {"additionalProperties": False}


def _plan_tools(behind: str) -> list[ServedTool]:
    return [
        ServedTool(
            "parallel_execute",
            "Run a plan of tool calls",
            f"Run many tool calls in one go, over {behind}. {HOW} find_tools has their names and "
            "signatures. A failed task does not stop the others: look at its status and error.",
            PLAN,
            OUTPUT_SCHEMA,
            {**_ANYTHING, "idempotentHint": False, "openWorldHint": True},
        ),
        ServedTool(
            "validate_plan",
            "Check a plan",
            "Check a plan for parallel_execute against the schemas of its tools, without calling "
            "any. Findings say what is wrong, where, and what is valid.",
            PLAN,
            {"type": "object", "required": ["status", "findings"]},
            {**READS, "idempotentHint": True},
        ),
    ]


def engine_tools(behind: str) -> list[ServedTool]:
    """The tools of the engine; `behind` says in a few words which tools lie behind them."""
    return [
        *_plan_tools(behind),
        ServedTool(
            "find_tools",
            "Find tools",
            f"Find the tools that plans can call, by words: {behind}. Prefer them to guessing.",
            _object(
                query={**_TEXT, "description": "Words; empty lists all.", "default": ""},
                detail=_DETAIL,
                server={**_TEXT, "description": "Only those of this server."},
                limit={"type": "integer", "minimum": 1, "maximum": 100, "default": 10},
                offset={"type": "integer", "minimum": 0, "default": 0},
            ),
            {"type": "object", "required": ["tools", "total"]},
            {**READS, "idempotentHint": True},
        ),
        *_run_tools(),
        *_result_tools(),
    ]


def _run_tools() -> list[ServedTool]:
    return [
        ServedTool(
            "run_status",
            "Show a run",
            "How far a run has come, or how it ended. Without run_id: the latest runs.",
            _object(run_id=_RUN),
            None,
            {**READS, "idempotentHint": True},
        ),
        ServedTool(
            "cancel_run",
            "Cancel a run",
            "End a run. What its calls have done stays done.",
            _object("run_id", run_id=_RUN),
            None,
            {**_ANYTHING, "idempotentHint": True, "openWorldHint": False},
        ),
    ]


def _result_tools() -> list[ServedTool]:
    return [
        ServedTool(
            "answer_question",
            "Answer a question of a run",
            "Answer what a paused run asks, in the name of the user: ask the user first. The run "
            "goes on, and its result comes back.",
            _object(
                "run_id task",
                run_id=_RUN,
                task={**_TEXT, "description": "The task of the question."},
                item={**_ITEM, "description": "Its item, if the question has one."},
                value={"description": "What fits its schema; true or false for an approval."},
                refuse={"type": "boolean", "description": "Refuse instead: the task fails."},
                all_items={"type": "boolean", "description": "For all items of the task."},
            ),
            OUTPUT_SCHEMA,
            {**_ANYTHING, "idempotentHint": False, "openWorldHint": True},
        ),
        ServedTool(
            "get_result",
            "Get a part of a result",
            "Get the result of a run, or a part of it: the output of a task, a place in it, some "
            "items or characters, or what a JMESPath expression makes of it.",
            _object(
                "run_id",
                run_id=_RUN,
                task={**_TEXT, "description": "Its output. Default: the whole result document."},
                path={**_TEXT, "description": 'A place in that: ".items[0].title"'},
                offset={**_ITEM, "description": "Skip so many items or characters."},
                limit={"type": "integer", "minimum": 1, "description": "At most so many."},
                projection={**_TEXT, "description": 'JMESPath over that: "items[?score > `1`].id"'},
            ),
            None,
            {**READS, "idempotentHint": True},
        ),
    ]
