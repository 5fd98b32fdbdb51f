"""Keeps only the replacements of findings after which their places have no finding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

from orchestrator.check.checker import prove
from orchestrator.check.earlier import Earlier
from orchestrator.documents.pointer import apply_op
from orchestrator.errors import Problem, WorkflowError
from orchestrator.schema.tool import Tool
from orchestrator.workflow.model import Workflow
from orchestrator.workflow.normalize import property_names, with_written_names
from orchestrator.workflow.recovery import recover

# Warnings that a wrong replacement gives where the value is null instead of what is meant.
_NO_BETTER = frozenset({"always_null", "never_true", "wrong_expression"})


def proved(
    found: Sequence[Problem],
    read: Callable[[], Any],
    tools: Mapping[str, Tool],
    earlier: Earlier | None = None,
) -> list[Problem]:
    """The findings, without the replacements that leave an error in their place.

    Args:
        found: All findings in a workflow.
        read: Reads the workflow as it is written; called only if a replacement is offered.
        tools: The known tools, by `server:tool`.
        earlier: What is known of tasks that were checked before; it stays as it is.
    """
    offered = [problem for problem in found if problem.replacement]
    if not offered:
        return list(found)
    data = read()
    written = [with_written_names(each, partial(property_names, data)) for each in offered]
    # Applied all at once, as they are offered: to check each alone would be quadratic.
    known = {(problem.code, problem.message) for problem in found}
    wrong = {
        left.path
        for left in _findings(_fixed(data, written), tools, earlier and earlier.copy())
        if (left.severity == "error" or left.code in _NO_BETTER)
        and (left.code, left.message) not in known
    }
    return [replace(p, replacement=()) if _is_in(wrong, p, data) else p for p in found]


def _is_in(wrong: Iterable[str], problem: Problem, data: Any) -> bool:
    """Whether a replacement of a finding led to one of these places."""
    problem = with_written_names(problem, partial(property_names, data))
    return any(
        # A value that only moved may have mistakes of its own.
        path == operation["path"]
        or (operation["op"] == "replace" and path.startswith(f"{operation['path']}/"))
        for operation in problem.replacement
        for path in wrong
    )


def _fixed(data: Any, problems: Iterable[Problem]) -> Any:
    operations = {str(dict(op)): op for problem in problems for op in problem.replacement}.values()
    # The deepest first, and renames last: no operation changes the path of another.
    order = sorted(operations, key=lambda op: (op["op"] == "move", -op["path"].count("/")))
    made = deepcopy(data)
    for operation in order:
        with suppress(LookupError, TypeError, ValueError):  # another one has changed its place
            apply_op(made, operation)
    return made


def _findings(data: Any, tools: Mapping[str, Tool], earlier: Earlier | None) -> list[Problem]:
    try:
        return prove(Workflow.load(data), tools, earlier)
    except WorkflowError as error:
        rest = recover(data, error.problems)
        checked = rest.telling(prove(rest.workflow, tools, earlier)) if rest is not None else []
        return [*error.problems, *checked]
