"""The static types of what calls give."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from orchestrator.check.assignable import Assignability
from orchestrator.check.mismatch import Mismatch
from orchestrator.documents.text import quoted
from orchestrator.expressions.templates import ObjectTemplate, Template
from orchestrator.schema.requests import URI, request_tool
from orchestrator.schema.tool import SAMPLE_KEY, Tool
from orchestrator.schema.types import (
    LiteralType,
    ObjectType,
    StaticType,
    UnknownType,
    schema_type,
)
from orchestrator.workflow.plan import CallTemplate, TaskPlan


def not_known(server: str) -> str:
    """Why the type of an output is unknown where the tools of its server are."""
    return f"the tools of server {quoted(server)} are not known"


def answer_type(
    target: CallTemplate, tools: Mapping[str, Tool], unusable: Container[int]
) -> StaticType:
    """The type of what a call gives; `unusable` has the ids of schemas that cannot be used."""
    if (tool := tool_for(target, tools)) is None:
        return UnknownType(not_known(target.server))
    if tool.output_schema is not None and id(tool.output_schema) in unusable:
        return UnknownType(f"the outputSchema of {target.target} cannot be used")
    return tool.output_type


def tool_for(target: CallTemplate, tools: Mapping[str, Tool]) -> Tool | None:
    """The tool of a call if it is known, or what stands for its prompt."""
    tool = tools.get(target.target)
    if tool is None and target.kind == "prompt":
        return request_tool(target.kind, target.server, target.tool)
    return tool


def argument_mismatches(
    given: StaticType, tool: Tool, assignability: Assignability
) -> list[Mismatch]:
    """What is wrong with the type of arguments; nobody has to give one for the idempotency key."""
    if tool.key_argument and isinstance(given, LiteralType):
        given = LiteralType(tool.with_key(given.value, SAMPLE_KEY))
    elif tool.key_argument and isinstance(given, ObjectType):
        given = ObjectType({tool.key_argument: LiteralType(SAMPLE_KEY), **given.members})
    return assignability.arguments(given, tool.input_schema, tool.accepts)


def uri_of(task: TaskPlan) -> Template:
    """The template of the URI that a task reads."""
    assert isinstance(task.arguments, ObjectTemplate)
    return task.arguments.members[0][1]


def uri_mismatches(
    uri: StaticType, task: TaskPlan, assignability: Assignability
) -> tuple[list[Mismatch], Tool]:
    """What is wrong with the type of a URI, and what stands for the resource as a tool."""
    tool = request_tool(task.kind, task.server, task.tool)
    found = assignability.arguments(ObjectType({URI: uri}), tool.input_schema, tool.accepts)
    return [replace(mismatch, path=mismatch.path[1:]) for mismatch in found], tool


def content_type(task: TaskPlan) -> UnknownType:
    """The type of what a resource holds."""
    resource = quoted(f"{task.server}:{task.tool}")
    return UnknownType(f"the content of resource {resource} is not known before the run")


def question_type(given: StaticType) -> StaticType:
    """The type of the answer to a question, by that of its arguments."""
    schema = given.members["schema"] if isinstance(given, ObjectType) else None
    assert isinstance(schema, LiteralType)
    return schema_type(schema.value)
