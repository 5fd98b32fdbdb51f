"""What is said of a call that the words of strangers reach."""

from __future__ import annotations

from typing import NamedTuple

from orchestrator.check.reads import Read
from orchestrator.check.strangers import Danger, FlowPolicy, Trail
from orchestrator.documents.jsonpath import Path
from orchestrator.documents.pointer import pointer
from orchestrator.documents.text import alternatives, quoted
from orchestrator.errors import Problem
from orchestrator.workflow.plan import CallTemplate, TaskPlan


class Reason(NamedTuple):
    """Why a call is dangerous.

    Attributes:
        danger: What could be done with it.
        way: How the words come to it; it ends at its task.
        read: What it reads, and where in its arguments.
        policy: What the operator says.
    """

    danger: Danger
    way: Trail
    read: tuple[Path, Read]
    policy: FlowPolicy


_WHOLE = (
    "run the whole plan at once: [[trusted]] in servers.toml has no effect on a plan whose tasks"
    " come one by one"
)


def flow_finding(task: TaskPlan, target: CallTemplate, field: str, reason: Reason) -> Problem:
    """The finding about a call of a task: its own, or that of a fallback in this field."""
    (path, read), way = reason.read, reason.way
    called = target.target if target.kind == "tool" else quoted(target.target, 80)
    words = f"words of strangers from server {quoted(way.server)}"
    message = f"{words} can reach {called}, {reason.danger.why}: {way}"
    approve = f'"approve": true in task {quoted(task.id)}'
    if target is not task:
        approve = f"approve = [{quoted(target.tool)}] in [servers.{target.server}]"
    fixes = [f"have a person see the arguments ({approve})"] if target.kind == "tool" else []
    fixes.append("take them from another source")
    if reason.policy.answered_for is not None:
        # A task in the middle may be a check of the words; the call itself never is.
        middle = way.before.task if way.before is not None and way.before.before else way.task
        fixes.append(_answer_for(middle, reason.policy.workflow))
    elif reason.policy.in_vain:
        fixes.append(_WHOLE)
    above = (field,) if field else ()
    # The URI of a resource is an argument only for the engine.
    at = (*above, *path[1:]) if field == "read" else (*above, "arguments", *path)
    place, hint, severity = pointer(*task.path, *at), alternatives(fixes), reason.danger.severity
    return Problem("untrusted_flow", message, place, task.id, (), hint, severity, read.text)


def _answer_for(task: str, workflow: str) -> str:
    who = "have the operator answer for a task on this way in servers.toml: [[trusted]]"
    fields = f'workflow = {quoted(workflow)}, task = {quoted(task)}, because = "..."'
    return f"{who} {fields}" if workflow else who
